package attestation_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"

	"github.com/google/go-tpm/legacy/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	"github.com/rancher/rancheros-operator/tests/machine"
)

// forge makes attestation tokens that are right but for what a case changes. Each hook runs before what follows it is computed, so that
// a forgery is wrong in one place only: a changed public area is named and signed correctly, a changed statement is signed correctly.
type forge struct {
	ek        crypto.Signer
	rsaAK     *rsa.PrivateKey
	otherAK   *rsa.PrivateKey
	eccAK     *ecdsa.PrivateKey
	public    func(*tpm2.Public)
	data      func(*tpm2.CreationData)
	statement func(*tpm2.AttestationData)
	signature func(*tpm2.Signature)
	key       func(*protocol.AttestationKey)
	// useECC signs with an elliptic attestation key.
	useECC bool
}

func newForge(t testing.TB) forge {
	t.Helper()
	return forge{ek: newRSA(t, 2048), rsaAK: newRSA(t, 2048), otherAK: newRSA(t, 2048), eccAK: newECC(t, elliptic.P256())}
}

func newRSA(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	require.NoError(t, err)
	return key
}

func newECC(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	require.NoError(t, err)
	return key
}

func publicPEM(t testing.TB, key crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	require.NoError(t, err)
	return pemBlock("PUBLIC KEY", der)
}

func pemBlock(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func (f forge) token(t testing.TB) *protocol.AttestationToken {
	t.Helper()
	return &protocol.AttestationToken{EK: publicPEM(t, f.ek.Public()), AK: f.attestationKey(t)}
}

func (f forge) attestationKey(t testing.TB) *protocol.AttestationKey {
	t.Helper()
	public := f.publicArea()
	if f.public != nil {
		f.public(&public)
	}
	data := tpm2.CreationData{PCRDigest: make([]byte, 32), Locality: 1, ParentNameAlg: tpm2.AlgSHA256,
		ParentName: digestName([]byte("parent")), ParentQualifiedName: digestName([]byte("qualified parent"))}
	if f.data != nil {
		f.data(&data)
	}
	key := &protocol.AttestationKey{}
	var err error
	key.Public, err = public.Encode()
	require.NoError(t, err)
	key.CreateData, err = data.EncodeCreationData()
	require.NoError(t, err)
	creation := sha256.Sum256(key.CreateData)
	statement := tpm2.AttestationData{Magic: 0xff544347, Type: tpm2.TagAttestCreation, QualifiedSigner: digestName([]byte("signer")),
		AttestedCreationInfo: &tpm2.CreationInfo{Name: digestName(key.Public), OpaqueDigest: creation[:]}}
	if f.statement != nil {
		f.statement(&statement)
	}
	key.CreateAttestation, err = statement.Encode()
	require.NoError(t, err)
	key.CreateSignature = f.sign(t, key.CreateAttestation)
	if f.key != nil {
		f.key(key)
	}
	return key
}

func (f forge) publicArea() tpm2.Public {
	public := tpm2.Public{Type: tpm2.AlgRSA, NameAlg: tpm2.AlgSHA256, Attributes: tpm2.FlagSignerDefault | tpm2.FlagNoDA}
	if f.useECC {
		public.Type = tpm2.AlgECC
		size := (f.eccAK.Curve.Params().BitSize + 7) / 8
		public.ECCParameters = &tpm2.ECCParams{
			Sign:    &tpm2.SigScheme{Alg: tpm2.AlgECDSA, Hash: tpm2.AlgSHA256},
			CurveID: tpm2.CurveNISTP256,
			Point:   tpm2.ECPoint{XRaw: f.eccAK.X.FillBytes(make([]byte, size)), YRaw: f.eccAK.Y.FillBytes(make([]byte, size))},
		}
		return public
	}
	public.RSAParameters = &tpm2.RSAParams{
		Sign:       &tpm2.SigScheme{Alg: tpm2.AlgRSASSA, Hash: tpm2.AlgSHA256},
		KeyBits:    uint16(f.rsaAK.N.BitLen()),
		ModulusRaw: f.rsaAK.N.Bytes(),
	}
	return public
}

func (f forge) sign(t testing.TB, statement []byte) []byte {
	t.Helper()
	digest := sha256.Sum256(statement)
	signature := tpm2.Signature{Alg: tpm2.AlgRSASSA}
	if f.useECC {
		r, s, err := ecdsa.Sign(rand.Reader, f.eccAK, digest[:])
		require.NoError(t, err)
		signature = tpm2.Signature{Alg: tpm2.AlgECDSA, ECC: &tpm2.SignatureECC{HashAlg: tpm2.AlgSHA256, R: r, S: s}}
	} else {
		raw, err := rsa.SignPKCS1v15(rand.Reader, f.rsaAK, crypto.SHA256, digest[:])
		require.NoError(t, err)
		signature.RSA = &tpm2.SignatureRSA{HashAlg: tpm2.AlgSHA256, Signature: raw}
	}
	if f.signature != nil {
		f.signature(&signature)
	}
	encoded, err := signature.Encode()
	require.NoError(t, err)
	return encoded
}

func digestName(data []byte) tpm2.Name {
	sum := sha256.Sum256(data)
	return tpm2.Name{Digest: &tpm2.HashValue{Alg: tpm2.AlgSHA256, Value: sum[:]}}
}

// weakRSA is a key of the wanted size whose modulus is the product of p and q; nobody needs its private half.
func weakRSA(p, q *big.Int) *rsa.PublicKey {
	return &rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537}
}

// rocaKey is a key as Infineon's library made them.
func rocaKey(t testing.TB) *rsa.PublicKey {
	t.Helper()
	key, err := machine.NewWeakKey()
	require.NoError(t, err)
	return &key.PublicKey
}
