package attestation_test

import (
	"bytes"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	"github.com/rancher/rancheros-operator/tests/machine"
)

// newMaker is a maker's CA and a policy that demands its certificates.
func newMaker(t *testing.T) (*machine.MakerCA, attestation.Policy) {
	t.Helper()
	maker, err := machine.NewMakerCA("Pretend")
	require.NoError(t, err)
	return maker, demanding(t, maker.RootPEM(), maker.IntermediatePEM())
}

func demanding(t *testing.T, certificates ...[]byte) attestation.Policy {
	t.Helper()
	bundle, err := attestation.ParseCABundle(bytes.Join(certificates, nil), false, time.Now())
	require.NoError(t, err)
	return attestation.Policy{Roots: bundle.Roots, Intermediates: bundle.Intermediates, RequireCertificate: true}
}

func certify(t *testing.T, maker *machine.MakerCA, f forge, options machine.EKCertificate) *protocol.AttestationToken {
	t.Helper()
	der, err := maker.Certify(f.ek.Public(), options)
	require.NoError(t, err)
	token := f.token(t)
	token.EK = pemBlock("CERTIFICATE", der)
	return token
}

func TestCertificates(t *testing.T) {
	f := newForge(t)
	maker, policy := newMaker(t)
	other, otherPolicy := newMaker(t)

	rootOnly := demanding(t, maker.RootPEM())
	pool, err := attestation.ParseCABundle(maker.IntermediatePEM(), true, time.Now())
	require.NoError(t, err)
	trustedIntermediate := attestation.Policy{Roots: pool.Roots, Intermediates: pool.Intermediates, RequireCertificate: true}
	strict := policy
	strict.RequireValidity = true
	lenient := policy
	lenient.AllowMissingKeyUsage = true
	noCA := attestation.Policy{RequireCertificate: true}
	past := machine.EKCertificate{NotBefore: time.Now().AddDate(-2, 0, 0), NotAfter: time.Now().AddDate(-1, 0, 0)}
	future := machine.EKCertificate{NotBefore: time.Now().AddDate(1, 0, 0)}
	unknown := machine.EKCertificate{Extra: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}}

	for _, c := range []struct {
		id, why string
		token   *protocol.AttestationToken
		policy  attestation.Policy
		reason  string // of the refusal; empty: accepted
	}{
		{"T9", "as the TCG profile prescribes, issued by the root", certify(t, maker, f, machine.EKCertificate{ByRoot: true}), policy, ""},
		{"T9", "issued by an intermediate that is in the bundle", certify(t, maker, f, machine.EKCertificate{}), policy, ""},
		{"T10", "issued by an intermediate that is not in the bundle", certify(t, maker, f, machine.EKCertificate{}), rootOnly, "unknown authority"},
		{"T10", "an intermediate alone, declared to be trusted", certify(t, maker, f, machine.EKCertificate{}), trustedIntermediate, ""},
		{"T11", "another CA of the same name", certify(t, maker, f, machine.EKCertificate{}), otherPolicy, "certificate chain"},
		{"T11", "the other way round", certify(t, other, f, machine.EKCertificate{}), policy, "certificate chain"},
		{"T11", "no CA at all: nobody is accepted, not everybody", certify(t, maker, f, machine.EKCertificate{}), noCA, "no CA"},
		{"T12", "self-signed", selfSigned(t, f), policy, "certificate chain"},
		{"T13", "a CA's certificate", certify(t, maker, f, machine.EKCertificate{IsCA: true}), policy, "is a CA's"},
		{"T13", "the CA itself", caItself(t, f, maker), policy, "is a CA's"},
		{"T14", "the maker's ordinary certificate, by default", certify(t, maker, f, machine.EKCertificate{WithoutUsage: true}), policy, "2.23.133.8.1"},
		{"T14", "the same where old TPMs are allowed", certify(t, maker, f, machine.EKCertificate{WithoutUsage: true}), lenient, ""},
		{"T15", "expired, by default", certify(t, maker, f, past), policy, ""},
		{"T15", "not yet valid, by default", certify(t, maker, f, future), policy, ""},
		{"T15", "expired, strict", certify(t, maker, f, past), strict, "expired"},
		{"T15", "not yet valid, strict", certify(t, maker, f, future), strict, "not yet valid"},
		{"T16", "as it is in NVRAM: header and padding", wrapped(certify(t, maker, f, machine.EKCertificate{})), policy, ""},
		{"T17", "an unknown critical extension", certify(t, maker, f, unknown), policy, "unhandled critical extension"},
	} {
		name := c.id + " " + c.why
		if c.reason != "" {
			require.Contains(t, requireFailed(t, c.token, c.policy, name), c.reason, name)
			continue
		}
		session, err := attestation.Begin(c.token, c.policy)
		require.NoError(t, err, name)
		require.True(t, session.Identity().Certificate.Verified, name)
		require.Equal(t, c.id == "T15", session.Identity().Certificate.OutsideValidity, name)
	}
}

// The certificate of an Infineon SLB 9665 and its chain, as the maker issued them: the subject is empty, the TPM is named in a
// critical extension, and the intermediate was issued anew three weeks after the certificate.
func TestVendorCertificate(t *testing.T) {
	file := func(name string) []byte {
		content, err := os.ReadFile("testdata/infineon/" + name + ".pem")
		require.NoError(t, err)
		return content
	}
	token := newForge(t).token(t)
	token.EK = file("leaf")
	today, later := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC), time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(now time.Time, certificates ...[]byte) attestation.Policy {
		policy := demanding(t, certificates...)
		policy.Now = func() time.Time { return now }
		return policy
	}

	session, err := attestation.Begin(token, at(today, file("root"), file("intermediate")))
	require.NoError(t, err)
	require.Equal(t, "6c5aada1", session.Identity().Hash[:8])
	facts := session.Identity().Certificate
	require.True(t, facts.Verified)
	require.False(t, facts.OutsideValidity)
	require.Equal(t, "5ecd5f8e", facts.Serial)
	require.Contains(t, facts.Issuer, "RSA Manufacturing CA 036")

	require.Contains(t, requireFailed(t, token, at(today, file("root")), "without the intermediate"), "unknown authority")
	other, err := machine.NewMakerCA("Infineon")
	require.NoError(t, err)
	require.Contains(t, requireFailed(t, token, at(today, other.RootPEM(), file("intermediate")), "another root"), "unknown authority")

	session, err = attestation.Begin(token, at(later, file("root"), file("intermediate")))
	require.NoError(t, err, "it has expired, and its chain was good only in the later part of its life")
	require.True(t, session.Identity().Certificate.OutsideValidity)
}

// T8: no certificate where one is demanded is a sentence of its own, because the machine's owner can do something about it.
func TestCertificateRequired(t *testing.T) {
	f := newForge(t)
	_, policy := newMaker(t)
	for _, policy := range []attestation.Policy{policy, {RequireCertificate: true}} {
		_, err := attestation.Begin(f.token(t), policy)
		var refusal *protocol.Error
		require.ErrorAs(t, err, &refusal)
		require.Equal(t, protocol.CodeCertificateRequired, refusal.Code)
		require.Equal(t, "EK certificate required", refusal.Error())
		require.NotEmpty(t, refusal.Hint)
	}
}

// Where a certificate is welcome and not demanded (endorsement Any, or CertificateOrListed), a bad chain is a fact and no refusal.
func TestUnverifiedCertificate(t *testing.T) {
	f := newForge(t)
	maker, policy := newMaker(t)
	other, _ := newMaker(t)
	policy.RequireCertificate = false

	session, err := attestation.Begin(certify(t, other, f, machine.EKCertificate{}), policy)
	require.NoError(t, err)
	require.False(t, session.Identity().Certificate.Verified)
	require.Contains(t, session.Identity().Certificate.Problem, "certificate chain")

	session, err = attestation.Begin(certify(t, maker, f, machine.EKCertificate{}), policy)
	require.NoError(t, err)
	require.True(t, session.Identity().Certificate.Verified)
	require.Empty(t, session.Identity().Certificate.Problem)

	session, err = attestation.Begin(f.token(t), policy)
	require.NoError(t, err)
	require.Nil(t, session.Identity().Certificate)

	requireFailed(t, certify(t, maker, f, machine.EKCertificate{IsCA: true}), policy, "T13: a CA's certificate is never an endorsement key's")
}

// T19, T49: the key that is challenged and hashed is the certificate's own, however it was sent.
func TestOneKeyOneIdentity(t *testing.T) {
	maker, policy := newMaker(t)
	for _, keyType := range []tpm.KeyType{tpm.RSA2048, tpm.ECCP256} {
		bare, err := tpm.GenerateSoftware(keyType)
		require.NoError(t, err)
		der, err := maker.Certify(bare.Public(), machine.EKCertificate{})
		require.NoError(t, err)
		certified, err := bare.With(tpm.WithCertificate(der))
		require.NoError(t, err)

		identity := roundTrip(t, certified, policy)
		require.Equal(t, bare.EndorsementHash(), identity.Hash)
		require.Equal(t, certified.EndorsementHash(), identity.Hash)
		require.True(t, identity.Certificate.Verified)
		require.Equal(t, roundTrip(t, bare, attestation.Policy{}).Hash, identity.Hash)
	}
}

// T53: a certificate's texts are its maker's, not ours.
func TestCertificateTextIsBounded(t *testing.T) {
	f := newForge(t)
	issuerKey := newECC(t, elliptic.P256())
	issuer := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		Subject:   pkix.Name{CommonName: strings.Repeat("\x1b[31mEvil\n", 300) + "\u202e"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	leaf := &x509.Certificate{SerialNumber: new(big.Int).Lsh(big.NewInt(1), 150), NotBefore: issuer.NotBefore, NotAfter: issuer.NotAfter}
	der, err := x509.CreateCertificate(rand.Reader, leaf, issuer, f.ek.Public(), issuerKey)
	require.NoError(t, err)
	token := f.token(t)
	token.EK = pemBlock("CERTIFICATE", der)

	session, err := attestation.Begin(token, attestation.Policy{})
	require.NoError(t, err)
	facts := session.Identity().Certificate
	for _, text := range []string{facts.Issuer, facts.Serial, facts.Problem} {
		require.LessOrEqual(t, len(text), 256)
		require.Regexp(t, `^[ -~]+$`, text)
	}
	token.EK = pemBlock("CERTIFICATE", append(der, make([]byte, 10<<10)...))
	requireFailed(t, token, attestation.Policy{}, "T53: 10 kB of certificate")
}

func TestParseCABundle(t *testing.T) {
	maker, err := machine.NewMakerCA("Pretend")
	require.NoError(t, err)
	f := newForge(t)
	leaf, err := maker.Certify(f.ek.Public(), machine.EKCertificate{})
	require.NoError(t, err)
	root := maker.RootPEM()

	for _, c := range []struct {
		id, why  string
		bundle   []byte
		warnings int
		bad      bool
	}{
		{"-", "a root", root, 0, false},
		{"-", "roots and intermediates, in any order, with text between", bytes.Join([][]byte{maker.IntermediatePEM(), []byte("# maker\n"), root}, nil), 0, false},
		{"G2", "empty", nil, 0, true},
		{"G2", "spaces", []byte("  \n"), 0, true},
		{"G3", "not PEM", []byte("garbage"), 0, true},
		{"G3", "a good root and garbage after it", append(bytes.Clone(root), "garbage"...), 1, false},
		{"G3", "a block that is no certificate inside", append(pemBlock("CERTIFICATE", []byte{1, 2}), root...), 1, false},
		{"G4", "more than a thousand certificates", bytes.Repeat(root, 1001), 0, true},
		{"G4", "more than 1 MiB", bytes.Repeat([]byte(" "), 1<<20+1), 0, true},
		{"G5", "a leaf in place of a CA", append(pemBlock("CERTIFICATE", leaf), root...), 1, false},
		{"G5", "nothing but a leaf: fail closed", pemBlock("CERTIFICATE", leaf), 0, true},
		{"G7", "a private key", append(pemBlock("PRIVATE KEY", []byte{1}), root...), 1, false},
		{"G8", "one subject, two keys", append(bytes.Clone(root), root...), 0, false},
		{"-", "intermediates only, not declared to be trusted", maker.IntermediatePEM(), 0, true},
	} {
		bundle, err := attestation.ParseCABundle(c.bundle, false, time.Now())
		if c.bad {
			require.Error(t, err, "%s %s", c.id, c.why)
			require.Nil(t, bundle, "%s %s", c.id, c.why)
			continue
		}
		require.NoError(t, err, "%s %s", c.id, c.why)
		require.Len(t, bundle.Warnings, c.warnings, "%s %s: %v", c.id, c.why, bundle.Warnings)
	}
	bundle, err := attestation.ParseCABundle(root, false, time.Now().AddDate(100, 0, 0))
	require.NoError(t, err, "G5: an expired CA is used, and named")
	require.Len(t, bundle.Warnings, 1)
}

func selfSigned(t *testing.T, f forge) *protocol.AttestationToken {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		UnknownExtKeyUsage: []asn1.ObjectIdentifier{{2, 23, 133, 8, 1}}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, f.ek.Public(), f.ek.(*rsa.PrivateKey))
	require.NoError(t, err)
	token := f.token(t)
	token.EK = pemBlock("CERTIFICATE", der)
	return token
}

func caItself(t *testing.T, f forge, maker *machine.MakerCA) *protocol.AttestationToken {
	t.Helper()
	token := f.token(t)
	token.EK = maker.RootPEM()
	return token
}

// wrapped puts a certificate's DER behind the header that TPMs of the PC profile keep in NVRAM, and pads it.
func wrapped(token *protocol.AttestationToken) *protocol.AttestationToken {
	der := derOf(token.EK)
	header := binary.BigEndian.AppendUint16([]byte{0x10, 0x01, 0x00}, uint16(len(der)))
	token.EK = pemBlock("CERTIFICATE", append(append(header, der...), bytes.Repeat([]byte{0xff}, 100)...))
	return token
}
