package server

import (
	"bytes"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// bundleAge is how long a CA bundle is used before its Secret is read again: a change is followed within that.
const bundleAge = 5 * time.Second

// caBundleKey is the bundle's key in its Secret.
const caBundleKey = "tls.crt"

// trust is what a registration demands of a TPM, ready to be used.
type trust struct {
	mode v1.EndorsementMode
	// bundle is nil where no certificate can be judged.
	bundle *attestation.CABundle
}

// policy is what the exchange judges certificates by; without a bundle none is ever verified. What follows from that is
// decided by admit, once the machine has proven to hold the key: who has not is told nothing about it.
func (t trust) policy() attestation.Policy {
	policy := attestation.Policy{KnownEmulated: attestation.KnownSimulator, AllowEmulated: true}
	if t.bundle != nil {
		policy.Roots, policy.Intermediates = t.bundle.Roots, t.bundle.Intermediates
	}
	return policy
}

// trustOf reads the registration's demands. It fails, and with it every registration, when they cannot be met: the
// bundle is demanded and missing, or there and broken, or cannot be read.
func (s *Server) trustOf(registration *v1.MachineRegistration) (trust, error) {
	var admission v1.AdmissionSpec
	if registration.Spec.Admission != nil {
		admission = *registration.Spec.Admission
	}
	name := admission.CASecretName
	if name == "" {
		name = v1.DefaultCASecretName
	}
	bundle, err := s.bundles.get(registration, name)
	if err != nil {
		return trust{}, err
	}
	demands := trust{mode: admission.Endorsement, bundle: bundle}
	switch {
	case demands.mode == "" && bundle != nil:
		demands.mode = v1.EndorsementCertificate
	case demands.mode == "" && admission.CASecretName != "":
		// Who names a bundle wants it used.
		return trust{}, missingBundle(name)
	case demands.mode == "":
		demands.mode = v1.EndorsementAny
	case demands.mode == v1.EndorsementCertificate && bundle == nil:
		return trust{}, missingBundle(name)
	}
	return demands, nil
}

func missingBundle(name string) error {
	return &protocol.Error{Code: protocol.CodeUnavailable, RetryAfter: setupRetry, Message: "this registration cannot check TPMs",
		Hint:   fmt.Sprintf("an administrator must create the Secret %s with the TPM makers' CAs", name),
		Reason: "the CA bundle's Secret does not exist"}
}

// bundles keeps parsed CA bundles for a short while. What cannot be read or parsed leaves the last good one in use.
type bundles struct {
	read func(namespace, name string) (*corev1.Secret, error)
	// broken tells people, once per content, that a bundle cannot be used.
	broken func(registration *v1.MachineRegistration, secret string, err error)
	now    func() time.Time

	mutex   sync.Mutex
	entries map[string]*bundleEntry
}

type bundleEntry struct {
	bundle  *attestation.CABundle
	content []byte
	err     error
	at      time.Time
}

// get is the bundle in the Secret beside the registration; nil when there is no such Secret.
func (b *bundles) get(registration *v1.MachineRegistration, name string) (*attestation.CABundle, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	key := registration.Namespace + "/" + name
	entry := b.entries[key]
	if entry != nil && b.now().Sub(entry.at) < bundleAge {
		return entry.bundle, entry.err
	}
	if entry == nil {
		entry = &bundleEntry{}
		b.entries[key] = entry
	}
	entry.at = b.now()
	secret, err := b.read(registration.Namespace, name)
	switch {
	case apierrors.IsNotFound(err):
		*entry = bundleEntry{at: entry.at}
	case err != nil:
		if entry.bundle == nil {
			entry.err = asUnavailable(fmt.Errorf("reading CA bundle: %w", err))
		}
	case entry.content == nil || !bytes.Equal(entry.content, secret.Data[caBundleKey]):
		b.parse(registration, entry, secret)
	}
	return entry.bundle, entry.err
}

// parse puts the Secret's bundle into the entry; a broken one is told of, and leaves the last good one in use.
func (b *bundles) parse(registration *v1.MachineRegistration, entry *bundleEntry, secret *corev1.Secret) {
	entry.content = append([]byte{}, secret.Data[caBundleKey]...)
	parsed, err := attestation.ParseCABundle(entry.content, false, b.now())
	if err == nil {
		entry.bundle, entry.err = parsed, nil
		return
	}
	b.broken(registration, secret.Name, err)
	if entry.bundle == nil {
		entry.err = &protocol.Error{Code: protocol.CodeUnavailable, RetryAfter: setupRetry, Err: err,
			Message: "this registration cannot check TPMs",
			Hint:    fmt.Sprintf("an administrator must mend the CA bundle in Secret %s", secret.Name)}
	}
}

// newBundles reads Secrets from the API server, by name.
func newBundles(s *Server) *bundles {
	return &bundles{
		read: func(namespace, name string) (*corev1.Secret, error) {
			return s.Secrets.Get(namespace, name, metav1.GetOptions{})
		},
		broken: func(registration *v1.MachineRegistration, secret string, err error) {
			s.Events.Eventf(registration, corev1.EventTypeWarning, "TrustBundleInvalid",
				"the CA bundle in Secret %s cannot be used: %v; machines are judged by the last good one, or refused", secret, err)
		},
		now:     time.Now,
		entries: map[string]*bundleEntry{},
	}
}
