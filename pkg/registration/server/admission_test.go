package server

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	"github.com/rancher/rancheros-operator/tests/machine"
)

func TestAdmit(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	hash := strings.Repeat("ab", 32)
	past, future := metav1.NewTime(now), metav1.NewTime(now.Add(time.Second))
	vouched := &attestation.Certificate{Verified: true}
	foreign := &attestation.Certificate{Problem: "certificate signed by unknown authority"}
	vouchedOnce := &attestation.Certificate{Verified: true, OutsideValidity: true}
	outside := &attestation.Certificate{Problem: "certificate has expired", OutsideValidity: true}
	weakAllowed := &v1.AdmissionSpec{AllowWeakKeys: true}
	premade := &v1.MachineInventory{}
	proven := func(assurance string) *v1.MachineInventory {
		return &v1.MachineInventory{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1.LabelRegistration: "edge", v1.LabelAssurance: assurance}}}
	}
	// byAnother is a machine that the registration "other" has let in.
	byAnother := func(assurance string, approved *bool) *v1.MachineInventory {
		machine := proven(assurance)
		machine.Labels[v1.LabelRegistration], machine.Spec.Approved = "other", approved
		return machine
	}
	manual := &v1.AdmissionSpec{Approval: v1.ApprovalManual}
	listed := []v1.EndorsementKeyHash{v1.EndorsementKeyHash(hash)}
	for _, test := range []struct {
		why         string
		mode        v1.EndorsementMode
		admission   *v1.AdmissionSpec
		paused      bool
		certificate *attestation.Certificate
		known       *v1.MachineInventory
		emulated    bool
		weak        string
		strict      bool
		want        string
		code        protocol.Code
		hint        string
	}{
		{why: "T43: a simulator whose keys everybody has", mode: v1.EndorsementAny, emulated: true, code: protocol.CodeForbidden},
		{why: "T43: a certificate does not make it one's own", mode: v1.EndorsementAny, emulated: true, certificate: vouched, code: protocol.CodeForbidden},
		{why: "T43: somebody wants it", mode: v1.EndorsementAny, emulated: true, admission: &v1.AdmissionSpec{EndorsementKeys: listed}, want: v1.AssuranceListed},
		{why: "T39: a weak key", mode: v1.EndorsementAny, weak: "ROCA", code: protocol.CodeForbidden, hint: "spec.admission.allowWeakKeys"},
		{why: "T39: a certificate makes it no stronger", mode: v1.EndorsementCertificate, weak: "ROCA", certificate: vouched, code: protocol.CodeForbidden, hint: "CVE-2017-15361"},
		{why: "T39: nor does a list", mode: v1.EndorsementListed, weak: "ROCA", admission: &v1.AdmissionSpec{EndorsementKeys: listed}, code: protocol.CodeForbidden},
		{why: "T39: a machine that registered while it was allowed", mode: v1.EndorsementAny, weak: "ROCA", known: proven(v1.AssuranceFirstUse), code: protocol.CodeForbidden},
		{why: "T39: somebody knows what they do", mode: v1.EndorsementAny, weak: "ROCA", admission: weakAllowed, want: v1.AssuranceFirstUse},
		{why: "T39: what else is demanded is demanded of it, too", mode: v1.EndorsementCertificate, weak: "ROCA", admission: weakAllowed, code: protocol.CodeCertificateRequired},
		{why: "T15: a certificate outside its validity", mode: v1.EndorsementCertificate, certificate: vouchedOnce, want: v1.AssuranceCertificate},
		{why: "T15: strict", mode: v1.EndorsementCertificate, certificate: outside, strict: true, code: protocol.CodeCertificateRequired, hint: "spec.admission.requireValidCertificates"},
		{why: "T15: strict where none is demanded", mode: v1.EndorsementAny, certificate: outside, strict: true, want: v1.AssuranceFirstUse},
		{why: "T15: an expired one of nobody's", mode: v1.EndorsementCertificate, certificate: outside, code: protocol.CodeCertificateRequired, hint: "its maker's CA"},
		{why: "anybody who comes first", mode: v1.EndorsementAny, want: v1.AssuranceFirstUse},
		{why: "a certificate is seen where none is demanded", mode: v1.EndorsementAny, certificate: vouched, want: v1.AssuranceCertificate},
		{why: "a certificate of nobody's is none", mode: v1.EndorsementAny, certificate: foreign, want: v1.AssuranceFirstUse},
		{why: "an inventory that was made beforehand lists it", mode: v1.EndorsementAny, known: premade, want: v1.AssuranceListed},
		{why: "certificate", mode: v1.EndorsementCertificate, certificate: vouched, want: v1.AssuranceCertificate},
		{why: "no certificate", mode: v1.EndorsementCertificate, code: protocol.CodeCertificateRequired},
		{why: "a certificate of nobody's", mode: v1.EndorsementCertificate, certificate: foreign, code: protocol.CodeCertificateRequired},
		{why: "a list is no certificate", mode: v1.EndorsementCertificate, admission: &v1.AdmissionSpec{EndorsementKeys: listed}, code: protocol.CodeCertificateRequired},
		{why: "a machine that registered before the demand", mode: v1.EndorsementCertificate, known: proven(v1.AssuranceFirstUse), code: protocol.CodeCertificateRequired},
		{why: "on the list", mode: v1.EndorsementListed, admission: &v1.AdmissionSpec{EndorsementKeys: listed}, want: v1.AssuranceListed},
		{why: "not on the list", mode: v1.EndorsementListed, certificate: vouched, code: protocol.CodeForbidden},
		{why: "made beforehand, and proven since", mode: v1.EndorsementListed, known: proven(v1.AssuranceListed), want: v1.AssuranceListed},
		{why: "known, but never listed", mode: v1.EndorsementListed, known: proven(v1.AssuranceFirstUse), code: protocol.CodeForbidden},
		{why: "either: certificate", mode: v1.EndorsementCertificateOrListed, certificate: vouched, want: v1.AssuranceCertificate},
		{why: "either: list", mode: v1.EndorsementCertificateOrListed, known: premade, want: v1.AssuranceListed},
		{why: "either: neither", mode: v1.EndorsementCertificateOrListed, certificate: foreign, code: protocol.CodeCertificateRequired},
		{why: "a mode that this version does not know", mode: "Psychic", certificate: vouched, known: premade, code: protocol.CodeCertificateRequired},
		{why: "paused", mode: v1.EndorsementAny, paused: true, code: protocol.CodePaused},
		{why: "paused, but known", mode: v1.EndorsementAny, paused: true, known: proven(v1.AssuranceFirstUse), want: v1.AssuranceFirstUse},
		{why: "C21: expired this very moment", mode: v1.EndorsementAny, admission: &v1.AdmissionSpec{ExpiresAt: &past}, code: protocol.CodeExpired},
		{why: "expired, but known", mode: v1.EndorsementAny, admission: &v1.AdmissionSpec{ExpiresAt: &past}, known: premade, want: v1.AssuranceListed},
		{why: "by another registration", mode: v1.EndorsementAny, known: byAnother(v1.AssuranceFirstUse, nil), want: v1.AssuranceFirstUse},
		{why: "by another registration, paused", mode: v1.EndorsementAny, paused: true, known: byAnother(v1.AssuranceFirstUse, nil), code: protocol.CodePaused},
		{why: "by another registration, expired", mode: v1.EndorsementAny, admission: &v1.AdmissionSpec{ExpiresAt: &past}, known: byAnother(v1.AssuranceFirstUse, nil), code: protocol.CodeExpired},
		{why: "by another registration, which lists it", mode: v1.EndorsementListed, known: byAnother(v1.AssuranceListed, nil), code: protocol.CodeForbidden},
		{why: "by another registration, and listed here", mode: v1.EndorsementListed, admission: &v1.AdmissionSpec{EndorsementKeys: listed}, known: byAnother(v1.AssuranceFirstUse, nil), want: v1.AssuranceListed},
		{why: "by another registration, which needs nobody's approval", mode: v1.EndorsementAny, admission: manual, known: byAnother(v1.AssuranceFirstUse, nil), code: protocol.CodePending},
		{why: "by another registration, and approved", mode: v1.EndorsementAny, admission: manual, known: byAnother(v1.AssuranceFirstUse, new(true)), want: v1.AssuranceFirstUse},
		{why: "by this registration, before it wanted approval", mode: v1.EndorsementAny, admission: manual, known: proven(v1.AssuranceFirstUse), want: v1.AssuranceFirstUse},
		{why: "not expired yet", mode: v1.EndorsementAny, admission: &v1.AdmissionSpec{ExpiresAt: &future}, want: v1.AssuranceFirstUse},
	} {
		t.Run(test.why, func(t *testing.T) {
			got, err := admit(applicant{
				registration: &v1.MachineRegistration{ObjectMeta: metav1.ObjectMeta{Name: "edge"}, Spec: v1.MachineRegistrationSpec{Admission: test.admission, Paused: test.paused}},
				trust:        trust{mode: test.mode, requireValidity: test.strict},
				identity:     attestation.Identity{Hash: hash, Certificate: test.certificate, Emulated: test.emulated, Weak: test.weak},
				known:        test.known,
				now:          now,
			})
			require.Equal(t, test.want, got)
			if test.code == "" {
				require.NoError(t, err)
				return
			}
			require.Equal(t, test.code, protocol.AsError(err).Code)
			require.NotEmpty(t, protocol.AsError(err).Hint, "every refusal names the way out")
			require.Contains(t, protocol.AsError(err).Hint, test.hint)
		})
	}
}

// Whatever happens to a CA bundle, it never comes to mean that all are trusted (C18, G1 to G3, P16).
func TestBundlesFailClosed(t *testing.T) {
	maker, err := machine.NewMakerCA("maker")
	require.NoError(t, err)
	now := time.Now()
	var secret *corev1.Secret
	var failure error
	broken := 0
	b := &bundles{
		read: func(string, string) (*corev1.Secret, error) {
			if failure != nil {
				return nil, failure
			}
			if secret == nil {
				return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, "tpm-ca")
			}
			return secret, nil
		},
		broken:  func(*v1.MachineRegistration, string, error) { broken++ },
		now:     func() time.Time { return now },
		entries: map[string]*bundleEntry{},
	}
	s := &Server{bundles: b}
	with := func(content string) { secret = &corev1.Secret{Data: map[string][]byte{caBundleKey: []byte(content)}} }
	registration := func(mode v1.EndorsementMode, name string) *v1.MachineRegistration {
		return &v1.MachineRegistration{Spec: v1.MachineRegistrationSpec{Admission: &v1.AdmissionSpec{Endorsement: mode, CASecretName: name}}}
	}
	later := func() { now = now.Add(bundleAge) }

	demands, err := s.trustOf(registration("", ""))
	require.NoError(t, err)
	require.Equal(t, v1.EndorsementAny, demands.mode, "no bundle, and none asked for")
	for _, asked := range []*v1.MachineRegistration{registration(v1.EndorsementCertificate, ""), registration("", "tpm-ca")} {
		_, err = s.trustOf(asked)
		require.Equal(t, protocol.CodeUnavailable, protocol.AsError(err).Code, "a bundle that is asked for and missing")
	}
	demands, err = s.trustOf(registration(v1.EndorsementCertificateOrListed, ""))
	require.NoError(t, err, "the list still works")
	require.Nil(t, demands.policy().Roots)

	for _, content := range []string{"", "garbage", string(maker.IntermediatePEM())} {
		later()
		with(content)
		_, err = s.trustOf(registration("", ""))
		require.Equal(t, protocol.CodeUnavailable, protocol.AsError(err).Code, "a broken bundle: %q", content)
	}
	require.Equal(t, 3, broken, "told once per content")
	later()
	_, err = s.trustOf(registration("", ""))
	require.Error(t, err)
	require.Equal(t, 3, broken)

	later()
	with(string(maker.RootPEM()))
	demands, err = s.trustOf(registration("", ""))
	require.NoError(t, err)
	require.Equal(t, v1.EndorsementCertificate, demands.mode, "where the Secret exists, certificates are demanded")
	good := demands.bundle

	later()
	with("garbage")
	demands, err = s.trustOf(registration("", ""))
	require.NoError(t, err)
	require.Same(t, good, demands.bundle, "the last good one stays in use")
	later()
	failure = errors.New("no API server")
	demands, err = s.trustOf(registration("", ""))
	require.NoError(t, err)
	require.Same(t, good, demands.bundle)
	later()
	failure, secret = nil, nil
	demands, err = s.trustOf(registration("", ""))
	require.NoError(t, err)
	require.Equal(t, v1.EndorsementAny, demands.mode, "the Secret was deleted on purpose")
}
