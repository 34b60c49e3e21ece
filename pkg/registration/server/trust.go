package server

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// bundleAge is how long a CA bundle is used before its Secret is read again: a change is followed within that.
const bundleAge = 5 * time.Second

// bundleForgotten is when a bundle that no machine has asked for goes from memory: registrations come and go.
const bundleForgotten = time.Hour

// bundlePatience is how long a machine waits for that: it is answered within a second also while the API server is away.
const bundlePatience = 800 * time.Millisecond

var errSlowBundle = errors.New("the API server has not answered yet")

// caBundleKey is the bundle's key in its Secret.
const caBundleKey = "tls.crt"

// trust is what a registration demands of a TPM, ready to be used.
type trust struct {
	mode v1.EndorsementMode
	// bundle is nil where no certificate can be judged.
	bundle *attestation.CABundle
	// requireValidity takes certificates outside their validity for none.
	requireValidity bool
}

// policy is what the exchange judges keys and certificates by; without a bundle none is ever verified. What follows from that is
// decided by admit, once the machine has proven to hold the key: who has not is told nothing about it.
func (t trust) policy() attestation.Policy {
	policy := attestation.Policy{KnownEmulated: attestation.KnownSimulator, AllowEmulated: true, AllowWeakKeys: true, RequireValidity: t.requireValidity}
	if t.bundle != nil {
		policy.Roots, policy.Intermediates = t.bundle.Roots, t.bundle.Intermediates
	}
	return policy
}

// trustOf reads the registration's demands. It fails, and with it every registration, when they cannot be met: the
// bundle is demanded and missing, or there and broken, or was never read and may be demanded.
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
	demands := trust{mode: admission.Endorsement, bundle: bundle, requireValidity: admission.RequireValidCertificates}
	switch {
	case demands.mode == v1.EndorsementAny || demands.mode == v1.EndorsementListed:
		// No certificate is asked for. A bundle only lets the operator say of a machine that it has one.
	case err != nil:
		return trust{}, err
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

func unreadBundle(name string, err error) error {
	return &protocol.Error{Code: protocol.CodeUnavailable, RetryAfter: busyRetry, Err: err,
		Message: "the TPM makers' CAs could not be read",
		Hint:    fmt.Sprintf("it is tried again by itself; if it stays so, look at the operator's log, and at its right to get the Secret %s", name)}
}

// bundles keeps parsed CA bundles for a short while. What cannot be read or parsed leaves the last good one in use; where
// there was none, what cannot be read leaves it at that.
type bundles struct {
	read func(namespace, name string) (*corev1.Secret, error)
	// broken tells people, once per content, that a bundle cannot be used.
	broken func(registration *v1.MachineRegistration, secret string, err error)
	now    func() time.Time

	// reading has one read of each Secret at a time. The mutex is not held meanwhile: who asks for another waits for none.
	reading singleflight.Group
	mutex   sync.RWMutex
	entries map[string]*bundleEntry
}

// bundleEntry is never changed, but replaced.
type bundleEntry struct {
	bundle *attestation.CABundle
	// content is what bundle or err came from; nil where there is no Secret.
	content []byte
	err     error
	// known tells that the API server has answered once, be it that there is no Secret.
	known bool
	at    time.Time
}

// get is the bundle in the Secret beside the registration; nil when there is no such Secret.
func (b *bundles) get(registration *v1.MachineRegistration, name string) (*attestation.CABundle, error) {
	key := registration.Namespace + "/" + name
	entry := b.entry(key)
	if !b.fresh(entry) {
		entry = b.renewed(key, registration, name)
	}
	return entry.bundle, entry.err
}

func (b *bundles) entry(key string) *bundleEntry {
	b.mutex.RLock()
	defer b.mutex.RUnlock()
	return b.entries[key]
}

func (b *bundles) fresh(entry *bundleEntry) bool {
	return entry != nil && b.now().Sub(entry.at) < bundleAge
}

// renewed waits for the Secret to be read, but not for long: an API server that does not answer keeps no machine waiting.
func (b *bundles) renewed(key string, registration *v1.MachineRegistration, name string) *bundleEntry {
	done := b.reading.DoChan(key, func() (any, error) {
		if !b.fresh(b.entry(key)) { // Else a read has ended since the caller looked.
			b.renew(key, registration, name)
		}
		return nil, nil
	})
	timer := time.NewTimer(bundlePatience)
	defer timer.Stop()
	select {
	case <-done:
		return b.entry(key)
	case <-timer.C:
		return b.goOn(key, name)
	}
}

// goOn makes do with what was known before, for as long as if it had been read: the next ones do not wait as well. The read
// goes on, and what it brings counts as soon as it is there.
func (b *bundles) goOn(key, name string) *bundleEntry {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	entry := b.entries[key]
	if b.fresh(entry) {
		return entry
	}
	entry = kept(entry, name, errSlowBundle)
	entry.at = b.now()
	b.entries[key] = entry
	return entry
}

// renew reads the Secret.
func (b *bundles) renew(key string, registration *v1.MachineRegistration, name string) {
	last := b.entry(key)
	secret, err := b.read(registration.Namespace, name)
	var entry *bundleEntry
	switch {
	case apierrors.IsNotFound(err):
		entry = &bundleEntry{known: true}
	case err != nil:
		entry = kept(last, name, err)
	case last == nil || last.content == nil || !bytes.Equal(last.content, secret.Data[caBundleKey]):
		entry = b.parsed(registration, last, secret)
	default:
		entry = kept(last, name, nil)
	}
	entry.at = b.now()
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if last == nil {
		maps.DeleteFunc(b.entries, func(_ string, unused *bundleEntry) bool { return entry.at.Sub(unused.at) > bundleForgotten })
	}
	b.entries[key] = entry
}

// kept is a copy of the last entry. As long as nothing is known, it is that the bundle could not be read, never that there
// is none.
func kept(last *bundleEntry, name string, err error) *bundleEntry {
	if last == nil || !last.known {
		return &bundleEntry{err: unreadBundle(name, fmt.Errorf("reading CA bundle: %w", err))}
	}
	entry := *last
	return &entry
}

// parsed is the Secret's bundle; a broken one is told of, and leaves the last good one in use.
func (b *bundles) parsed(registration *v1.MachineRegistration, last *bundleEntry, secret *corev1.Secret) *bundleEntry {
	entry := &bundleEntry{known: true, content: append([]byte{}, secret.Data[caBundleKey]...)}
	bundle, err := attestation.ParseCABundle(entry.content, false, b.now())
	if err == nil {
		entry.bundle = bundle
		return entry
	}
	b.broken(registration, secret.Name, err)
	if last != nil && last.bundle != nil {
		entry.bundle = last.bundle
		return entry
	}
	entry.err = &protocol.Error{Code: protocol.CodeUnavailable, RetryAfter: setupRetry, Err: err,
		Message: "this registration cannot check TPMs",
		Hint:    fmt.Sprintf("an administrator must mend the CA bundle in Secret %s", secret.Name)}
	return entry
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
