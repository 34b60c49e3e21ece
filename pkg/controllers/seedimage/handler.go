package seedimage

import (
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/clients"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/pkg/settings"
	"github.com/rancher/rancheros-operator/pkg/status"
)

func (h *handler) onChange(_ string, seed *v1.SeedImage) (*v1.SeedImage, error) {
	if seed == nil || seed.DeletionTimestamp != nil {
		return seed, nil
	}
	observed, err := h.observe(seed)
	desired := seed.DeepCopy()
	turned := computeStatus(desired, observed)
	written, writeErr := status.Write(h.seeds, seed, desired)
	if writeErr == nil {
		h.emit(seed, turned)
	}
	if expires := seed.Spec.ExpiresAt; expires != nil && expires.After(observed.now) {
		h.seeds.EnqueueAfter(seed.Namespace, seed.Name, expires.Sub(observed.now))
	}
	return written, errors.Join(err, writeErr)
}

// observed is what the status is computed from.
type observed struct {
	serverURL       string
	serverURLErr    error
	token           string
	tokenErr        error
	downloads       int
	registration    *v1.MachineRegistration
	registrationErr error
	now             time.Time
}

// observe gathers, and makes the token when there is none.
func (h *handler) observe(seed *v1.SeedImage) (observed, error) {
	seen := observed{now: h.now()}
	seen.serverURL, seen.serverURLErr = h.settings.ServerURL()
	secret, err := h.tokenSecret(seed)
	if err != nil {
		seen.tokenErr = err
		var notServed *clients.NotServedError
		if errors.As(err, &notServed) {
			err = nil // What is served is decided at our start: trying again helps nobody.
		}
	} else {
		seen.token = string(secret.Data[v1.SecretKeyToken])
		seen.downloads, err = h.keep(seed, secret)
	}
	seen.registration, seen.registrationErr = h.indexes.Registration(seed.Namespace, seed.Spec.RegistrationName)
	// A missing server-url is not worth a retry: the Setting's change brings us back.
	if errors.Is(seen.serverURLErr, settings.ErrServerURL) {
		return seen, errors.Join(err, seen.registrationErr)
	}
	return seen, errors.Join(err, seen.registrationErr, seen.serverURLErr)
}

// tokenSecret is the SeedImage's Secret, made when it is missing.
func (h *handler) tokenSecret(seed *v1.SeedImage) (*corev1.Secret, error) {
	name := index.SeedSecretName(seed.Name)
	secret, err := h.secretCache.Get(seed.Namespace, name)
	if apierrors.IsNotFound(err) {
		if secret, err = newTokenSecret(seed); err != nil {
			return nil, err
		}
		secret, err = h.secrets.Create(secret)
		if apierrors.IsAlreadyExists(err) {
			// The cache lags, or the Secret is of another type and so not in it.
			secret, err = h.secrets.Get(seed.Namespace, name, metav1.GetOptions{})
		}
	}
	if err != nil {
		return nil, fmt.Errorf("getting the token's Secret: %w", err)
	}
	return secret, checkTokenSecret(seed, secret)
}
