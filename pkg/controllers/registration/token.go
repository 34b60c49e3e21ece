package registration

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

// newTokenSecret has a new token: 54 characters of an alphabet of 27 that can be told apart on paper, almost 257 bits.
func newTokenSecret(registration *v1.MachineRegistration) (*corev1.Secret, error) {
	token, err := randomtoken.Generate()
	if err != nil {
		return nil, fmt.Errorf("making a token: %w", err)
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       registration.Namespace,
			Name:            index.TokenSecretName(registration.Name),
			Labels:          map[string]string{v1.LabelRegistration: registration.Name},
			Annotations:     rotated(registration),
			OwnerReferences: []metav1.OwnerReference{v1.OwnedBy(registration, registrationKind)},
		},
		Type: v1.SecretTypeRegistration,
		Data: map[string][]byte{v1.SecretKeyToken: []byte(token)},
	}, nil
}

// secretError says what is wrong with the Secret that should hold the token.
type secretError struct{ message string }

func (e *secretError) Error() string { return e.message }

// checkTokenSecret refuses a Secret that somebody else put in the token's place: to serve its token would let whoever
// may write Secrets choose the URL, or share one between registrations.
func checkTokenSecret(registration *v1.MachineRegistration, secret *corev1.Secret) error {
	switch {
	case secret.Type != v1.SecretTypeRegistration:
		return &secretError{fmt.Sprintf("Secret %s exists and is not of type %s; delete it, and it is made anew", secret.Name, v1.SecretTypeRegistration)}
	case secret.Labels[v1.LabelRegistration] != registration.Name:
		return &secretError{fmt.Sprintf("Secret %s lacks the label %s=%s; put it back, or delete the Secret for a new token", secret.Name, v1.LabelRegistration, registration.Name)}
	case !tokenPattern.Match(secret.Data[v1.SecretKeyToken]):
		return &secretError{fmt.Sprintf("Secret %s has no token of the operator's under the key %s; restore it exactly, without a newline, or delete the Secret for a new token", secret.Name, v1.SecretKeyToken)}
	}
	return nil
}
