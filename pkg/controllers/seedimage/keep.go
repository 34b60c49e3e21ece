package seedimage

import (
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

const seedKind = "SeedImage"

// keep writes into the token's Secret what a backup without statuses and owner references would lose: whose it is, and how
// often the medium was handed out where that is limited, which it returns. That the address works does not depend on it.
func (h *handler) keep(seed *v1.SeedImage, secret *corev1.Secret) (int, error) {
	update := secret.DeepCopy()
	changed := v1.Own(update, seed, seedKind)
	all := max(seed.Status.Downloads, downloads(seed, update))
	if held := strconv.Itoa(all); seed.Spec.MaxDownloads != nil && all > 0 && held != string(update.Data[v1.SecretKeyDownloads]) {
		update.Data[v1.SecretKeyDownloads] = []byte(held)
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

// downloads is how often the medium was handed out, as the Secret remembers it. A Secret that is still that of an earlier
// SeedImage of this name says nothing.
func downloads(seed *v1.SeedImage, secret *corev1.Secret) int {
	held, err := strconv.Atoi(string(secret.Data[v1.SecretKeyDownloads]))
	if err != nil || !metav1.IsControlledBy(secret, seed) {
		return 0
	}
	return held
}
