package registration

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/clients"
)

// sharers are the other registrations that the token opens, sorted. The server answers no machine at a token that opens two:
// it would have to guess which one was meant.
func (h *handler) sharers(namespace, name, token string) ([]types.NamespacedName, error) {
	registrations, err := h.indexes.RegistrationsByToken(token)
	if err != nil {
		return nil, err
	}
	var others []types.NamespacedName
	for _, registration := range registrations {
		if registration.Namespace != namespace || registration.Name != name {
			others = append(others, types.NamespacedName{Namespace: registration.Namespace, Name: registration.Name})
		}
	}
	slices.SortFunc(others, func(a, b types.NamespacedName) int { return strings.Compare(a.String(), b.String()) })
	return others, nil
}

// wakeSharers brings back those whose token has turned up in a second Secret.
func (h *handler) wakeSharers(namespace, name string, secret *corev1.Secret) error {
	if secret == nil {
		return nil
	}
	for _, key := range []string{v1.SecretKeyToken, v1.SecretKeyPreviousToken} {
		token := string(secret.Data[key])
		if token == "" {
			continue
		}
		others, err := h.sharers(namespace, name, token)
		if err != nil {
			return err
		}
		h.wake(others)
	}
	return nil
}

// wakeShared brings the others back once, when this registration was seen to share its token: the Secret may have been there
// before the registration was. To do so each time, the two would wake one another for ever.
func (h *handler) wakeShared(turned []metav1.Condition, others []types.NamespacedName) {
	if slices.ContainsFunc(turned, func(c metav1.Condition) bool { return c.Reason == v1.ReasonTokenShared }) {
		h.wake(others)
	}
}

func (h *handler) wake(registrations []types.NamespacedName) {
	for _, registration := range registrations {
		clients.Enqueue(h.registrations, registration.Namespace, registration.Name)
	}
}

func joined(names []types.NamespacedName) string {
	all := make([]string, 0, len(names))
	for _, name := range names {
		all = append(all, name.String())
	}
	return strings.Join(all, ", ")
}
