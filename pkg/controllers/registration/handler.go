package registration

import (
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/clients"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/pkg/settings"
	"github.com/rancher/rancheros-operator/pkg/status"
)

func (h *handler) onChange(key string, registration *v1.MachineRegistration) (*v1.MachineRegistration, error) {
	if registration == nil || registration.DeletionTimestamp != nil {
		h.counts.forget(key)
		return registration, nil
	}
	observed, err := h.observe(registration)
	desired := registration.DeepCopy()
	turned := computeStatus(desired, observed)
	written, writeErr := status.Write(h.registrations, registration, desired)
	if writeErr == nil {
		h.emit(registration, turned)
		h.emitOverridden(registration, observed.serverURL)
		h.wakeShared(turned, observed.shared)
	}
	h.wakeAtExpiry(registration, observed.now)
	h.wakeForBundle(registration, observed.bundle)
	if len(observed.shared) > 0 {
		// Nothing tells us that the other one has a new token.
		h.registrations.EnqueueAfter(registration.Namespace, registration.Name, mendedDelay)
	}
	return written, errors.Join(err, writeErr)
}

// wakeAtExpiry brings the registration back when its expiry turns its Ready condition.
func (h *handler) wakeAtExpiry(registration *v1.MachineRegistration, now time.Time) {
	admission := registration.Spec.Admission
	if admission != nil && admission.ExpiresAt != nil && admission.ExpiresAt.After(now) {
		h.registrations.EnqueueAfter(registration.Namespace, registration.Name, admission.ExpiresAt.Sub(now))
	}
}

// observed is what the status is computed from.
type observed struct {
	serverURL    string
	serverURLErr error
	token        string
	tokenErr     error
	// shared are the other registrations that the token opens, sorted.
	shared    []types.NamespacedName
	bundle    *bundle
	bundleErr error
	admitted  []string
	machines  int
	pending   int
	now       time.Time
}

// observe gathers, and makes the token when there is none.
func (h *handler) observe(registration *v1.MachineRegistration) (observed, error) {
	seen := observed{now: h.now()}
	seen.serverURL, seen.serverURLErr = h.settings.ServerURL()
	secret, err := h.tokenSecret(registration)
	if err != nil {
		seen.tokenErr = err
		var notServed *clients.NotServedError
		if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) || errors.As(err, &notServed) {
			err = nil // The registration goes with its namespace, or waits for another start of ours: trying again helps nobody.
		}
	} else {
		seen.token = string(secret.Data[v1.SecretKeyToken])
		seen.admitted, err = h.keep(registration, secret)
		var sharedErr error
		seen.shared, sharedErr = h.sharers(registration.Namespace, registration.Name, seen.token)
		seen.bundle, seen.bundleErr = h.bundleOf(registration, seen.now)
		err = errors.Join(err, sharedErr, seen.bundleErr)
	}
	var countErr error
	seen.machines, seen.pending, countErr = h.countMachines(registration, seen.now)
	// A missing server-url is not worth a retry: the Setting's change brings us back.
	if errors.Is(seen.serverURLErr, settings.ErrServerURL) {
		return seen, errors.Join(err, countErr)
	}
	return seen, errors.Join(err, countErr, seen.serverURLErr)
}

// tokenSecret is the registration's Secret, made when it is missing. A token, once made, is never made anew by itself:
// media with the old one may be anywhere.
func (h *handler) tokenSecret(registration *v1.MachineRegistration) (*corev1.Secret, error) {
	name := index.TokenSecretName(registration.Name)
	secret, err := h.secretCache.Get(registration.Namespace, name)
	if apierrors.IsNotFound(err) {
		if secret, err = newTokenSecret(registration); err != nil {
			return nil, err
		}
		secret, err = h.secrets.Create(secret)
		if apierrors.IsAlreadyExists(err) {
			// The cache lags, or the Secret is of another type and so not in it.
			secret, err = h.secrets.Get(registration.Namespace, name, metav1.GetOptions{})
		}
	}
	if err != nil {
		return nil, fmt.Errorf("getting the token's Secret: %w", err)
	}
	if err := checkTokenSecret(registration, secret); err != nil {
		return secret, err
	}
	return h.rotate(registration, secret)
}
