package machinetoken

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
)

// onSecret judges the Secret, the others that have the same token, and those that had company before.
func (h *handler) onSecret(key string, secret *corev1.Secret) (*corev1.Secret, error) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	company, err := h.company(key, secret)
	if err != nil {
		return secret, err
	}
	if secret == nil || secret.DeletionTimestamp != nil {
		delete(h.told, key)
	} else {
		h.tell(secret, problemOf(secret, len(company)))
	}
	for _, other := range company {
		h.tell(other, problemOf(other, len(company)))
	}
	return secret, h.rejudge()
}

// company are the Secrets with the token, this one among them.
func (h *handler) company(key string, secret *corev1.Secret) ([]*corev1.Secret, error) {
	if secret == nil || len(secret.Data[v1.SecretKeyToken]) == 0 {
		return nil, nil
	}
	company, err := h.indexes.MachineTokensByToken(secret.Data[v1.SecretKeyToken])
	if err != nil {
		return nil, fmt.Errorf("looking for others with the token of %s: %w", key, err)
	}
	return company, nil
}

// rejudge looks whether those that shared their token still do, so that they are told again when it happens again.
func (h *handler) rejudge() error {
	var errs []error
	for key, problem := range h.told {
		if problem != tokenShared {
			continue
		}
		secret, err := h.secrets.Get(index.SplitKey(key))
		if apierrors.IsNotFound(err) {
			delete(h.told, key)
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		company, err := h.company(key, secret)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		h.tell(secret, problemOf(secret, len(company)))
	}
	return errors.Join(errs...)
}

// tell emits an event when it has something new to say.
func (h *handler) tell(secret *corev1.Secret, found problem) {
	key := secret.Namespace + "/" + secret.Name
	if h.told[key] == found {
		return
	}
	if found == fine {
		delete(h.told, key)
		return
	}
	h.told[key] = found
	h.emit(secret, found)
}
