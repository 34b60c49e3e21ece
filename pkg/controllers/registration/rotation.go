package registration

import (
	"fmt"
	"time"

	"github.com/rancher/wrangler/v3/pkg/randomtoken"
	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// rotated notes, on the token's Secret, for which value of the registration's annotation its token was made.
func rotated(registration *v1.MachineRegistration) map[string]string {
	if value := registration.Annotations[v1.AnnotationRotateToken]; value != "" {
		return map[string]string{v1.AnnotationRotateToken: value}
	}
	return nil
}

// rotate makes a new token when the registration's annotation asks for one that was not made yet. Old and new change
// hands in one write: no replica ever sees neither.
func (h *handler) rotate(registration *v1.MachineRegistration, secret *corev1.Secret) (*corev1.Secret, error) {
	asked := registration.Annotations[v1.AnnotationRotateToken]
	if asked == "" || asked == secret.Annotations[v1.AnnotationRotateToken] {
		return secret, nil
	}
	token, err := randomtoken.Generate()
	if err != nil {
		return secret, fmt.Errorf("making a token: %w", err)
	}
	update := secret.DeepCopy()
	if update.Annotations == nil {
		update.Annotations = map[string]string{}
	}
	update.Annotations[v1.AnnotationRotateToken] = asked
	delete(update.Data, v1.SecretKeyPreviousToken)
	delete(update.Data, v1.SecretKeyPreviousTokenExpires)
	if grace := grace(registration); grace > 0 {
		update.Data[v1.SecretKeyPreviousToken] = secret.Data[v1.SecretKeyToken]
		update.Data[v1.SecretKeyPreviousTokenExpires] = []byte(h.now().Add(grace).UTC().Format(time.RFC3339))
	}
	update.Data[v1.SecretKeyToken] = []byte(token)
	written, err := h.secrets.Update(update)
	if err != nil {
		return secret, fmt.Errorf("rotating the token: %w", err)
	}
	logrus.WithField("registration", registration.Namespace+"/"+registration.Name).Info("rotated registration token")
	h.events.Event(registration, corev1.EventTypeNormal, "TokenRotated", "the registration has a new URL; media with the old one must be made anew")
	return written, nil
}

// grace is how long the old token still works; what cannot be read counts as not at all, since a token may be rotated
// because it leaked.
func grace(registration *v1.MachineRegistration) time.Duration {
	grace, err := time.ParseDuration(registration.Annotations[v1.AnnotationRotateTokenGrace])
	if err != nil {
		return 0
	}
	return grace
}
