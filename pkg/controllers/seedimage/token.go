package seedimage

import (
	"fmt"
	"regexp"

	"github.com/rancher/wrangler/v3/pkg/randomtoken"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
)

// tokenPattern is the shape outside of which the server does not even look a token up; see registration/protocol.
var tokenPattern = regexp.MustCompile(`^[bcdfghjklmnpqrstvwxz2456789]{54}$`)

// newTokenSecret has a new token: 54 characters of an alphabet of 27, almost 257 bits.
func newTokenSecret(seed *v1.SeedImage) (*corev1.Secret, error) {
	token, err := randomtoken.Generate()
	if err != nil {
		return nil, fmt.Errorf("making a token: %w", err)
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       seed.Namespace,
			Name:            index.SeedSecretName(seed.Name),
			Labels:          map[string]string{v1.LabelSeedImage: seed.Name},
			OwnerReferences: []metav1.OwnerReference{v1.OwnedBy(seed, seedKind)},
		},
		Type: v1.SecretTypeSeedImage,
		Data: map[string][]byte{v1.SecretKeyToken: []byte(token)},
	}, nil
}

// secretError says what is wrong with the Secret that should hold the token.
type secretError struct{ message string }

func (e *secretError) Error() string { return e.message }

// checkTokenSecret refuses a Secret that somebody else put in the token's place: whoever may write Secrets must not choose
// the address.
func checkTokenSecret(seed *v1.SeedImage, secret *corev1.Secret) error {
	switch {
	case secret.Type != v1.SecretTypeSeedImage:
		return &secretError{fmt.Sprintf("Secret %s exists and is not of type %s; delete it, and it is made anew", secret.Name, v1.SecretTypeSeedImage)}
	case secret.Labels[v1.LabelSeedImage] != seed.Name:
		return &secretError{fmt.Sprintf("Secret %s lacks the label %s=%s; put it back, or delete the Secret for a new token", secret.Name, v1.LabelSeedImage, seed.Name)}
	case !tokenPattern.Match(secret.Data[v1.SecretKeyToken]):
		return &secretError{fmt.Sprintf("Secret %s has no token of the operator's under the key %s; restore it exactly, without a newline, or delete the Secret for a new token", secret.Name, v1.SecretKeyToken)}
	}
	return nil
}
