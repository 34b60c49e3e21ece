package registration

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

const registrationKind = "MachineRegistration"

// keep writes into the token's Secret what a backup without statuses and owner references would lose: whose it is, and which
// machines were ever admitted, which it returns. That the URL works does not depend on it.
func (h *handler) keep(registration *v1.MachineRegistration, secret *corev1.Secret) ([]string, error) {
	update := secret.DeepCopy()
	changed := v1.Own(update, registration, registrationKind)
	all := admitted(registration, update)
	if joined := strings.Join(all, ","); joined != string(update.Data[v1.SecretKeyAdmitted]) {
		update.Data[v1.SecretKeyAdmitted] = []byte(joined)
		changed = true
	}
	if !changed {
		return all, nil
	}
	if _, err := h.secrets.Update(update); err != nil {
		return all, fmt.Errorf("writing the token's Secret: %w", err)
	}
	return all, nil
}

// admitted joins what the Secret holds with what the status holds; the server writes the latter. A Secret that is still that of
// an earlier registration of this name says nothing.
func admitted(registration *v1.MachineRegistration, secret *corev1.Secret) []string {
	var all []string
	if held := string(secret.Data[v1.SecretKeyAdmitted]); held != "" && metav1.IsControlledBy(secret, registration) {
		all = strings.Split(held, ",")
	}
	known := make(map[string]bool, len(all))
	for _, machine := range all {
		known[machine] = true
	}
	for _, machine := range registration.Status.Admitted {
		if !known[machine] {
			all = append(all, machine)
		}
	}
	return all
}

// restoredAdmitted is the status's list once more, or with those at its end that it lacks.
func restoredAdmitted(inStatus, all []string) []string {
	if len(all) <= len(inStatus) {
		return inStatus
	}
	known := make(map[string]bool, len(inStatus))
	for _, machine := range inStatus {
		known[machine] = true
	}
	joined := slices.Clone(inStatus)
	for _, machine := range all {
		if !known[machine] {
			joined = append(joined, machine)
		}
	}
	return joined
}
