package attestation_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// Blind mutation finds little in structures that hold their own digests, so the seeds are whole and right, and the fuzzer breaks them.

func FuzzParseEK(f *testing.F) {
	sound := newForge(f)
	f.Add(publicPEM(f, sound.ek.Public()))
	f.Add(publicPEM(f, sound.eccAK.Public()))
	token := sound.token(f)
	f.Fuzz(func(t *testing.T, ek []byte) {
		session, err := attestation.Begin(&protocol.AttestationToken{EK: ek, AK: token.AK}, attestation.Policy{})
		checkBegin(t, session, err)
	})
}

func FuzzParseAK(f *testing.F) {
	sound := newForge(f)
	token := sound.token(f)
	f.Add(token.AK.Public, token.AK.CreateData, token.AK.CreateAttestation, token.AK.CreateSignature)
	sound.useECC = true
	elliptic := sound.attestationKey(f)
	f.Add(elliptic.Public, elliptic.CreateData, elliptic.CreateAttestation, elliptic.CreateSignature)
	f.Fuzz(func(t *testing.T, public, data, statement, signature []byte) {
		ak := &protocol.AttestationKey{Public: public, CreateData: data, CreateAttestation: statement, CreateSignature: signature}
		session, err := attestation.Begin(&protocol.AttestationToken{EK: token.EK, AK: ak}, attestation.Policy{})
		checkBegin(t, session, err)
	})
}

func FuzzVerify(f *testing.F) {
	software := newSoftware(f, tpm.ECCP256, tpm.WithAttestationKey(newRSA(f, 2048)))
	f.Add([]byte(`{"Secret":"AAAA"}`))
	f.Fuzz(func(t *testing.T, frame []byte) {
		session, _ := begin(t, software, attestation.Policy{})
		require.Error(t, session.Verify(frame))
	})
}

func FuzzParseCABundle(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		bundle, err := attestation.ParseCABundle(data, true, testTime)
		require.Equal(t, err == nil, bundle != nil)
	})
}

func checkBegin(t *testing.T, session *attestation.Session, err error) {
	t.Helper()
	if err == nil {
		require.True(t, attestation.ValidEndorsementHash(session.Identity().Hash))
		return
	}
	var refusal *protocol.Error
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, "attestation failed", refusal.Error())
	require.NotContains(t, refusal.Reason, "panic", "the guards leave go-attestation nothing to trip over")
}
