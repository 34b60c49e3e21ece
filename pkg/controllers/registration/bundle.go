package registration

import (
	"bytes"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/status"
)

const (
	// mendedDelay is when to look again at what keeps machines out and whose change nobody tells us of.
	mendedDelay = 15 * time.Second
	// brokenDelay is when to look again at a bundle that is in order: nobody watches Secrets of people's.
	brokenDelay = 5 * time.Minute
	// bundleAge is how long a bundle counts as looked at: machines that come in their hundreds cost no more than the first.
	bundleAge = 10 * time.Second
)

// bundle is what is in the Secret with the TPM makers' CAs.
type bundle struct {
	secret string
	// exists is false where there is no such Secret.
	exists bool
	// problem, unless empty, says what is wrong with what is there; reason is that of the condition.
	reason, problem string
	at              time.Time
}

// bundles remembers what was last seen of each Secret.
type bundles struct {
	// check judges a bundle, PEM, as the server does: controllers know nothing of what machines prove.
	check func(pem []byte) error
	mutex sync.Mutex
	seen  map[string]bundle
}

// bundleOf is the registration's bundle as it is; nil where the registration can do without any, and asks for none.
func (h *handler) bundleOf(registration *v1.MachineRegistration, now time.Time) (*bundle, error) {
	name, mode := v1.DefaultCASecretName, v1.EndorsementMode("")
	if admission := registration.Spec.Admission; admission != nil {
		mode = admission.Endorsement
		if admission.CASecretName != "" {
			name = admission.CASecretName
		}
	}
	if mode == v1.EndorsementAny || mode == v1.EndorsementListed {
		return nil, nil
	}
	key := registration.Namespace + "/" + name
	h.bundles.mutex.Lock()
	last, known := h.bundles.seen[key]
	h.bundles.mutex.Unlock()
	if known && now.Sub(last.at) < bundleAge {
		return &last, nil
	}
	secret, err := h.secrets.Get(registration.Namespace, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		last = bundle{secret: name}
	case err != nil && known:
		// The server goes on with what it knew as well.
	case err != nil:
		return nil, fmt.Errorf("reading the CA bundle in Secret %s: %w", name, err)
	default:
		last = h.bundles.judge(secret)
	}
	last.at = now
	h.bundles.mutex.Lock()
	defer h.bundles.mutex.Unlock()
	h.bundles.seen[key] = last
	return &last, nil
}

func (b *bundles) judge(secret *corev1.Secret) bundle {
	judged := bundle{secret: secret.Name, exists: true}
	content := secret.Data[corev1.TLSCertKey]
	if len(bytes.TrimSpace(content)) == 0 {
		judged.reason, judged.problem = v1.ReasonTrustBundleMissing, "holds nothing under the key "+corev1.TLSCertKey
		return judged
	}
	if err := b.check(content); err != nil {
		judged.reason, judged.problem = v1.ReasonTrustBundleInvalid, fmt.Sprintf("cannot be used: %v", err)
	}
	return judged
}

// trustable is nil where the registration's demands can be met; see trustOf in registration/server, which refuses every
// machine where they cannot.
func trustable(registration *v1.MachineRegistration, seen *bundle) *metav1.Condition {
	if seen == nil {
		return nil
	}
	no := func(reason, format string, args ...any) *metav1.Condition {
		condition := status.False(v1.ConditionReady, reason, fmt.Sprintf(format, args...))
		return &condition
	}
	switch {
	case seen.exists && seen.reason == v1.ReasonTrustBundleMissing:
		return no(seen.reason, "machines are refused: Secret %s %s; put the TPM makers' CAs there in PEM, or set spec.admission.endorsement to Any", seen.secret, seen.problem)
	case seen.exists && seen.reason != "":
		return no(seen.reason, "machines are judged by the last good bundle, or refused: Secret %s %s; mend its key %s, or set spec.admission.endorsement to Any",
			seen.secret, seen.problem, corev1.TLSCertKey)
	case !seen.exists && demanded(registration):
		return no(v1.ReasonTrustBundleMissing, "machines are refused: Secret %s does not exist; create it with the TPM makers' CAs in PEM under the key %s, or set spec.admission.endorsement to Any",
			seen.secret, corev1.TLSCertKey)
	}
	return nil
}

// demanded tells whether no machine registers without a bundle: certificates are asked for, or a bundle is named.
func demanded(registration *v1.MachineRegistration) bool {
	admission := registration.Spec.Admission
	if admission == nil {
		return false
	}
	return admission.Endorsement == v1.EndorsementCertificate || admission.Endorsement == "" && admission.CASecretName != ""
}

// wakeForBundle brings the registration back to look at its bundle, where one is there or is asked for.
func (h *handler) wakeForBundle(registration *v1.MachineRegistration, seen *bundle) {
	asked := registration.Spec.Admission != nil && registration.Spec.Admission.Endorsement != ""
	switch {
	case trustable(registration, seen) != nil:
		h.registrations.EnqueueAfter(registration.Namespace, registration.Name, mendedDelay)
	case seen != nil && (seen.exists || asked):
		h.registrations.EnqueueAfter(registration.Namespace, registration.Name, brokenDelay)
	}
}
