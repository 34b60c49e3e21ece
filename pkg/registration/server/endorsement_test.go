package server

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	"github.com/rancher/rancheros-operator/tests/machine"
)

const weakKeyRefused = "this machine's TPM has a weak key"

// newWeakMachine has a TPM of Infineon's.
func newWeakMachine(t *testing.T) *machine.OldClient {
	t.Helper()
	key, err := machine.NewWeakKey()
	require.NoError(t, err)
	ak, err := attestationKey()
	require.NoError(t, err)
	weak, err := tpm.NewSoftware(key, tpm.WithAttestationKey(ak))
	require.NoError(t, err)
	return &machine.OldClient{TPM: weak}
}

// T39: a machine with a weak key is refused when it has proven it, with a way out; where it is let in, it is told of.
func TestWeakKeyRegisters(t *testing.T) {
	w := newWorld(t)
	log := logged(t)
	client := newWeakMachine(t)
	require.Equal(t, weakKeyRefused, w.register(t, client, nuc))
	require.Empty(t, w.writes())
	require.Equal(t, "Warning MachineRefused the machine with TPM hash "+client.TPM.EndorsementHash()+" was refused: this machine's TPM has a weak key; "+
		"update the TPM's firmware (CVE-2017-15361), or let an administrator set spec.admission.allowWeakKeys of the MachineRegistration to true, and register there", <-w.recorder.Events)

	allowing := edge()
	allowing.Spec.Admission = &v1.AdmissionSpec{AllowWeakKeys: true}
	w.Put(allowing)
	require.Contains(t, w.register(t, client, nuc), `"hostname"`)
	require.Equal(t, "Normal MachineRegistered machine "+w.Inventories.All()[0].Name+" registered (FirstUse; its key is weak: "+
		"EK has the ROCA fingerprint (CVE-2017-15361): its private half can be computed)", <-w.recorder.Events)
	require.Contains(t, log(), `caveats="its key is weak: EK has the ROCA fingerprint`)

	w.Put(edge())
	require.Equal(t, weakKeyRefused, w.register(t, client, nuc), "what is demanded of a TPM holds at every registration")
}

// T39: what a registration has let in joins; an inventory that somebody merely wrote lets nobody in who has computed a key.
func TestWeakKeyJoins(t *testing.T) {
	client := newWeakMachine(t)
	hash := client.TPM.EndorsementHash()
	w := newWorld(t, assigned("m", v1.MachineInventorySpec{TPM: hash})...)
	ask := func() string {
		conversation, err := client.Inventory(t.Context(), w.url)
		require.NoError(t, err)
		return string(conversation.Final)
	}
	who := caller{Identity: attestation.Identity{Hash: hash, Weak: "ROCA"}}
	require.Equal(t, weakKeyRefused, ask())
	_, err := w.server.callHome(t.Context(), who)
	require.Equal(t, protocol.CodeForbidden, protocol.AsError(err).Code)

	registered := w.Inventories.All()[0]
	registered.Labels = map[string]string{v1.LabelRegistration: "edge"}
	w.Put(registered)
	require.Contains(t, ask(), "cluster-token")
	assignment, err := w.server.callHome(t.Context(), who)
	require.NoError(t, err)
	require.Equal(t, protocol.StateAssigned, assignment.State)
}

// T15: a certificate outside its validity counts and is marked, by the one write that there is; strict, it is none.
func TestCertificateOutsideItsValidity(t *testing.T) {
	maker, err := machine.NewMakerCA("maker")
	require.NoError(t, err)
	bundle := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: v1.DefaultCASecretName},
		Data: map[string][]byte{caBundleKey: bytes.Join([][]byte{maker.RootPEM(), maker.IntermediatePEM()}, nil)}}
	past := machine.EKCertificate{NotBefore: time.Now().AddDate(-2, 0, 0), NotAfter: time.Now().AddDate(-1, 0, 0)}
	future := machine.EKCertificate{NotBefore: time.Now().AddDate(1, 0, 0)}
	const marked = "(Certificate; its endorsement certificate is outside its validity)"
	for _, c := range []struct {
		why             string
		certificate     machine.EKCertificate
		strict, premade bool
		told            string
		mark            string
	}{
		{"T15: valid", machine.EKCertificate{}, false, false, "registered (Certificate)", ""},
		{"T15: valid, strict", machine.EKCertificate{}, true, false, "registered (Certificate)", ""},
		{"T15: expired", past, false, false, marked, v1.EndorsementOutsideValidity},
		{"T15: not yet valid", future, false, false, marked, v1.EndorsementOutsideValidity},
		{"T15: expired, of an inventory that was made beforehand", past, false, true, marked, v1.EndorsementOutsideValidity},
		{"T15: expired, strict", past, true, false, "endorsement certificate is outside its validity (certificate chain: x509: certificate has expired or is not yet valid", ""},
		{"T15: not yet valid, strict", future, true, false, "an administrator must set spec.admission.requireValidCertificates to false", ""},
	} {
		t.Run(c.why, func(t *testing.T) {
			software := newTPM(t, tpm.ECCP256)
			der, err := maker.Certify(software.Public(), c.certificate)
			require.NoError(t, err)
			software, err = software.With(tpm.WithCertificate(der))
			require.NoError(t, err)
			registration := edge()
			registration.Spec.Admission = &v1.AdmissionSpec{RequireValidCertificates: c.strict}
			w := newWorld(t, registration, bundle)
			if c.premade {
				w.Put(inventory("shelf-7", v1.MachineInventorySpec{TPM: software.EndorsementHash()}))
			}
			log := logged(t)
			final := w.register(t, &machine.OldClient{TPM: software}, nil)
			require.Contains(t, <-w.recorder.Events, c.told)
			if !strings.Contains(final, `"hostname"`) {
				require.Equal(t, "this machine's endorsement certificate is outside its validity", final)
				require.Empty(t, w.Inventories.All())
				return
			}
			require.Len(t, w.writes(), 1)
			require.Equal(t, c.mark, w.Inventories.All()[0].Annotations[v1.AnnotationEndorsementCertificate])
			if c.mark != "" {
				require.Contains(t, log(), "its endorsement certificate is outside its validity")
			}
		})
	}
}
