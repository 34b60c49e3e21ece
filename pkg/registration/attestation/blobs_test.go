package attestation_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/legacy/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// TestBadTokens is security.md 3.3, the cases of the header's JSON (T1-T3, T20, T50): what the strict parser or Begin refuses. The other cases are in
// TestBadEKs (T4-T7, T18, T36-T42, T49), TestBadAKs (T21-T35), certificate_test.go (T8-T17, T19, T53) and session_test.go (T41, T43-T45, T48, T51,
// T52, T54). T47 is about what the server keeps, another tenant's claim, and is tested there. T46 wants a counter on the inventory, which any
// stranger who knows a public key could drive up: failed proofs are counted and logged by the server, and write nothing.
func TestBadTokens(t *testing.T) {
	f := newForge(t)
	good, err := json.Marshal(f.token(t))
	require.NoError(t, err)
	ek := string(good[:bytes.Index(good, []byte(`,"AK"`))])

	for _, c := range []struct{ id, why, json string }{
		{"T1", "nothing at all", `{}`},
		{"T2", "EK only", ek + `}`},
		{"T2", "AK null", ek + `,"AK":null}`},
		{"T2", "AK empty", ek + `,"AK":{}}`},
		{"T3", "AK only", `{` + string(good[bytes.Index(good, []byte(`"AK"`)):])},
		{"T3", "EK empty", strings.Replace(string(good), string(good[6:]), `","AK":{}}`, 1)},
		{"T20", "EK twice: two parsers take different ones", ek + `,` + string(good[1:])},
		{"T20", "keys in other capitals, which encoding/json would take", strings.Replace(string(good), `"EK"`, `"ek"`, 1)},
		{"T50", "megabytes of spaces", strings.Repeat(" ", 1<<20) + string(good)},
	} {
		header := "Bearer TPM" + base64.StdEncoding.EncodeToString([]byte(c.json))
		token, err := protocol.ParseAuthorization(header)
		require.Error(t, err, "%s %s", c.id, c.why)
		require.Nil(t, token, "%s %s", c.id, c.why)
	}
	// Begin holds by itself, too.
	for _, token := range []*protocol.AttestationToken{nil, {}, {EK: f.token(t).EK}, {AK: f.token(t).AK}, {EK: f.token(t).EK, AK: &protocol.AttestationKey{}}} {
		requireFailed(t, token, attestation.Policy{}, "T1-T3")
	}
	_, err = attestation.Begin(f.token(t), attestation.Policy{})
	require.NoError(t, err, "the forgery is sound when nothing is changed")
}

func TestBadEKs(t *testing.T) {
	f := newForge(t)
	good := publicPEM(t, f.ek.Public())
	der := f.ek.(*rsa.PrivateKey)
	pkcs1 := x509.MarshalPKCS1PublicKey(&der.PublicKey)
	private, err := x509.MarshalPKCS8PrivateKey(der)
	require.NoError(t, err)
	edwards, _, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	p256 := publicPEM(t, newECC(t, elliptic.P256()).Public())

	for _, c := range []struct {
		id, why string
		ek      []byte
		reason  string
	}{
		{"T4", "not PEM", []byte("hello"), "not PEM"},
		{"T4", "DER without PEM", pkcs1, "not PEM"},
		{"T4", "a broken block", []byte("-----BEGIN PUBLIC KEY-----\n!!!\n-----END PUBLIC KEY-----\n"), "not PEM"},
		{"T5", "two blocks", append(bytes.Clone(good), good...), "after its PEM block"},
		{"T5", "bytes after the block", append(bytes.Clone(good), "x"...), "after its PEM block"},
		{"T5", "bytes before the block", append([]byte("x\n"), good...), "not PEM"},
		{"T5", "a broken block before a good one, which pem.Decode skips", append([]byte("-----BEGIN PUBLIC KEY-----\n!\n"), good...), "several PEM blocks"},
		{"T5", "far too long", bytes.Repeat([]byte("A"), 9<<10), "limit"},
		{"T6", "RSA PUBLIC KEY", pemBlock("RSA PUBLIC KEY", pkcs1), "PEM block of type"},
		{"T6", "a private key", pemBlock("PRIVATE KEY", private), "PEM block of type"},
		{"T6", "a certificate request", pemBlock("CERTIFICATE REQUEST", pkcs1), "PEM block of type"},
		{"T7", "PEM headers", []byte(strings.Replace(string(good), "-----\n", "-----\nProc-Type: 4,ENCRYPTED\n\n", 1)), "PEM headers"},
		{"T4", "PKCS #1 in a PUBLIC KEY block", pemBlock("PUBLIC KEY", pkcs1), "EK public key"},
		{"T5", "bytes after the DER", pemBlock("PUBLIC KEY", append(derOf(good), 0)), "EK public key"},
		{"T18", "RSA-OAEP key, as in old certificates", pemBlock("PUBLIC KEY", oaepSPKI(t, good)), "EK public key"},
		{"T36", "RSA 1024", publicPEM(t, newRSA(t, 1024).Public()), "1024 bits"},
		{"T36", "RSA 16384", publicPEM(t, weakRSA(new(big.Int).Lsh(big.NewInt(1), 16383), big.NewInt(1))), "limit|EK public key|16384 bits"},
		{"T36", "RSA 5000", publicPEM(t, weakRSA(new(big.Int).SetBit(big.NewInt(1), 4999, 1), big.NewInt(1))), "5000 bits"},
		{"T37", "exponent 3", publicPEM(t, &rsa.PublicKey{N: der.N, E: 3}), "exponent 3"},
		{"T37", "exponent 1", publicPEM(t, &rsa.PublicKey{N: der.N, E: 1}), "exponent|EK public key"},
		{"T37", "even exponent", publicPEM(t, &rsa.PublicKey{N: der.N, E: 65536}), "exponent 65536"},
		{"T37", "exponent 2^33", publicPEM(t, &rsa.PublicKey{N: der.N, E: 1 << 33}), "exponent"},
		{"T38", "even modulus", publicPEM(t, &rsa.PublicKey{N: new(big.Int).Lsh(der.N, 1), E: 65537}), "even"},
		{"T38", "a small factor", publicPEM(t, weakRSA(big.NewInt(751), new(big.Int).Rsh(der.N, 5))), "factor|even"},
		{"T38", "close primes", publicPEM(t, closePrimes(t)), "close primes"},
		{"T39", "ROCA", publicPEM(t, rocaKey(t)), "ROCA"},
		{"T40", "Ed25519", publicPEM(t, edwards), "unsupported EK"},
		{"T40", "P-224", publicPEM(t, newECC(t, elliptic.P224()).Public()), "curve P-224"},
		{"T40", "P-521", publicPEM(t, newECC(t, elliptic.P521()).Public()), "curve P-521"},
		{"T42", "not on the curve", pemBlock("PUBLIC KEY", flipLast(derOf(p256))), "EK public key"},
		{"T42", "point at infinity", pemBlock("PUBLIC KEY", pointAtInfinity(derOf(p256))), "EK public key"},
		{"T49", "a modulus with a leading zero too many", pemBlock("PUBLIC KEY", paddedModulus(t, derOf(good))), "EK public key"},
		{"T4", "an empty certificate", pemBlock("CERTIFICATE", nil), "EK certificate"},
		{"T4", "a certificate that is none", pemBlock("CERTIFICATE", []byte{0x10, 0x01, 0x00, 0xff, 0xff, 1}), "EK certificate"},
	} {
		token := f.token(t)
		token.EK = c.ek
		reason := requireFailed(t, token, attestation.Policy{}, c.id+" "+c.why)
		require.Regexp(t, c.reason, reason, "%s %s", c.id, c.why)
		require.LessOrEqual(t, len(reason), 512, "%s: a reason is one log line", c.id)
		require.NotContains(t, reason, base64.StdEncoding.EncodeToString(private)[:40], "%s: a private key is not logged", c.id)
	}
}

// badAK is one thing that is wrong with an attestation key.
type badAK struct {
	id, why string
	change  func(*forge)
}

func TestBadAKs(t *testing.T) {
	f := newForge(t)
	for _, c := range slices.Concat(badPublicAreas(t), badStatements(t), badSignatures(t)) {
		forged := f
		c.change(&forged)
		start := time.Now()
		requireFailed(t, forged.token(t), attestation.Policy{}, c.id+" "+c.why)
		require.Less(t, time.Since(start), time.Second, "%s %s: refused quickly", c.id, c.why)
	}
	f.useECC = true
	_, err := attestation.Begin(f.token(t), attestation.Policy{})
	require.NoError(t, err, "an elliptic attestation key is fine")
}

// badPublicAreas are attestation keys that are no attestation keys.
func badPublicAreas(t *testing.T) []badAK {
	t.Helper()
	return []badAK{
		{"T21", "RSA with null signing scheme: go-attestation 0.6.4 panics", func(f *forge) { f.public = func(p *tpm2.Public) { p.RSAParameters.Sign = nil } }},
		{"T22", "ECC with null signing scheme", ecc(func(p *tpm2.Public) { p.ECCParameters.Sign = nil })},
		{"T22", "ECC on P-224", ecc(func(p *tpm2.Public) { p.ECCParameters.CurveID = tpm2.CurveNISTP224 })},
		{"T22", "ECC point not on its curve", ecc(func(p *tpm2.Public) { p.ECCParameters.Point.XRaw[5] ^= 1 })},
		{"T22", "ECC point of uneven halves", ecc(func(p *tpm2.Public) {
			p.ECCParameters.Point.XRaw = append(p.ECCParameters.Point.XRaw, p.ECCParameters.Point.YRaw[0])
			p.ECCParameters.Point.YRaw = p.ECCParameters.Point.YRaw[1:]
		})},
		{"T23", "1024 bits", func(f *forge) { f.rsaAK = newRSA(t, 1024) }},
		{"T23", "1024 bits that claim to be 2048", func(f *forge) {
			f.rsaAK = newRSA(t, 1024)
			f.public = func(p *tpm2.Public) { p.RSAParameters.KeyBits = 2048 }
		}},
		{"T24", "not restricted", without(tpm2.FlagRestricted)},
		{"T24", "not fixedTPM", without(tpm2.FlagFixedTPM)},
		{"T24", "not fixedParent", without(tpm2.FlagFixedParent)},
		{"T24", "imported", without(tpm2.FlagSensitiveDataOrigin)},
		{"T25", "does not sign", without(tpm2.FlagSign)},
		{"T25", "decrypts, too", func(f *forge) { f.public = func(p *tpm2.Public) { p.Attributes |= tpm2.FlagDecrypt } }},
		{"T31", "SHA-1 as signing hash", func(f *forge) { f.public = func(p *tpm2.Public) { p.RSAParameters.Sign.Hash = tpm2.AlgSHA1 } }},
		{"T31", "RSAPSS", func(f *forge) { f.public = func(p *tpm2.Public) { p.RSAParameters.Sign.Alg = tpm2.AlgRSAPSS } }},
		{"T32", "SHA-1 as name algorithm", func(f *forge) {
			f.public = func(p *tpm2.Public) { p.NameAlg = tpm2.AlgSHA1 }
			f.statement = func(a *tpm2.AttestationData) { a.AttestedCreationInfo.Name = sha1Name(t, *f) }
		}},
		{"T32", "no name algorithm", func(f *forge) { f.public = func(p *tpm2.Public) { p.NameAlg = tpm2.AlgNull } }},
		{"-", "TPM 1.2 activation", func(f *forge) { f.key = func(k *protocol.AttestationKey) { k.UseTCSDActivationFormat = true } }},
		{"-", "a keyed hash as AK", func(f *forge) {
			f.public = func(p *tpm2.Public) {
				p.Type, p.KeyedHashParameters = tpm2.AlgKeyedHash, &tpm2.KeyedHashParams{Alg: tpm2.AlgNull}
			}
		}},
		{"-", "exponent 3", func(f *forge) { f.public = func(p *tpm2.Public) { p.RSAParameters.ExponentRaw = 3 } }},
		{"-", "a storage key's symmetric scheme", func(f *forge) {
			f.public = func(p *tpm2.Public) {
				p.RSAParameters.Symmetric = &tpm2.SymScheme{Alg: tpm2.AlgAES, KeyBits: 128, Mode: tpm2.AlgCFB}
			}
		}},
	}
}

// badStatements are statements about a creation that do not hold, and structures that lie about their length.
func badStatements(t *testing.T) []badAK {
	t.Helper()
	return []badAK{
		{"T26", "another magic", func(f *forge) { f.statement = func(a *tpm2.AttestationData) { a.Magic = 0xff544348 } }},
		{"T27", "a quote", func(f *forge) {
			f.statement = func(a *tpm2.AttestationData) { a.Type, a.AttestedQuoteInfo = tpm2.TagAttestQuote, &tpm2.QuoteInfo{} }
		}},
		{"T27", "a certification", func(f *forge) {
			f.statement = func(a *tpm2.AttestationData) {
				a.Type = tpm2.TagAttestCertify
				a.AttestedCertifyInfo = &tpm2.CertifyInfo{Name: a.AttestedCreationInfo.Name, QualifiedName: a.AttestedCreationInfo.Name}
			}
		}},
		{"T28", "a digest of other creation data", func(f *forge) { f.key = func(k *protocol.AttestationKey) { k.CreateData[6] ^= 1 } }},
		{"T29", "the name of another key", named(digestName([]byte("another")))},
		{"T29", "a handle as name", named(tpm2.Name{Handle: handle(0x81010001)})},
		{"T29", "no name", named(tpm2.Name{})},
		{"T29", "the right digest by the name of another algorithm", func(f *forge) {
			f.key = func(k *protocol.AttestationKey) { k.CreateAttestation = renameAlgorithm(k.CreateAttestation) }
		}},
		{"T33", "a length beyond the buffer", func(f *forge) {
			f.key = func(k *protocol.AttestationKey) { binary.BigEndian.PutUint16(k.Public[22:], 0xffff) }
		}},
		{"T33", "a modulus of no length", func(f *forge) { f.public = func(p *tpm2.Public) { p.RSAParameters.ModulusRaw = nil } }},
		{"T33", "nothing but a header", func(f *forge) { f.key = func(k *protocol.AttestationKey) { k.Public = k.Public[:4] } }},
		{"T33", "a blob of 2 kB", func(f *forge) { f.key = func(k *protocol.AttestationKey) { k.CreateData = make([]byte, 2048) } }},
		{"T33", "an empty blob", func(f *forge) { f.key = func(k *protocol.AttestationKey) { k.CreateData = nil } }},
		{"T34", "bytes after the public area", func(f *forge) { f.key = func(k *protocol.AttestationKey) { k.Public = append(k.Public, 0) } }},
		{"T34", "bytes after the attestation, signed", func(f *forge) {
			f.key = func(k *protocol.AttestationKey) {
				k.CreateAttestation = append(k.CreateAttestation, 0)
				k.CreateSignature = f.sign(t, k.CreateAttestation)
			}
		}},
		{"T35", "4294967295 PCR selections", func(f *forge) { f.key = func(k *protocol.AttestationKey) { copy(k.CreateData, "\xff\xff\xff\xff") } }},
	}
}

// badSignatures are statements that nobody has signed who could.
func badSignatures(t *testing.T) []badAK {
	t.Helper()
	return []badAK{
		{"T30", "signed by another key", func(f *forge) {
			f.key = func(k *protocol.AttestationKey) {
				k.CreateSignature = forge{rsaAK: f.otherAK}.sign(t, k.CreateAttestation)
			}
		}},
		{"T30", "an ECDSA signature beside an RSA key", func(f *forge) {
			f.key = func(k *protocol.AttestationKey) {
				k.CreateSignature = forge{useECC: true, eccAK: f.eccAK}.sign(t, k.CreateAttestation)
			}
		}},
		{"T30", "an RSA signature beside an ECC key", func(f *forge) {
			f.useECC = true
			f.key = func(k *protocol.AttestationKey) {
				k.CreateSignature = forge{rsaAK: f.rsaAK}.sign(t, k.CreateAttestation)
			}
		}},
		{"T30", "7 bytes of signature", func(f *forge) { f.key = func(k *protocol.AttestationKey) { k.CreateSignature = k.CreateSignature[:7] } }},
		{"T30", "bytes after the signature", func(f *forge) {
			f.key = func(k *protocol.AttestationKey) { k.CreateSignature = append(k.CreateSignature, 0) }
		}},
		{"T30", "one bit of the signature", func(f *forge) { f.key = func(k *protocol.AttestationKey) { flipLast(k.CreateSignature) } }},
		{"T31", "SHA-1 in the signature only", func(f *forge) { f.signature = func(s *tpm2.Signature) { s.RSA.HashAlg = tpm2.AlgSHA1 } }},
	}
}

// requireFailed expects the one public sentence and returns the reason behind it.
func requireFailed(t *testing.T, token *protocol.AttestationToken, policy attestation.Policy, why string) string {
	t.Helper()
	session, err := attestation.Begin(token, policy)
	require.Nil(t, session, why)
	var refusal *protocol.Error
	require.ErrorAs(t, err, &refusal, why)
	require.Equal(t, protocol.CodeAttestationFailed, refusal.Code, why)
	require.Equal(t, "attestation failed", refusal.Error(), why)
	require.NotEmpty(t, refusal.Reason, why)
	require.NotContains(t, refusal.Reason, "panic", why)
	return refusal.Reason
}

func ecc(change func(*tpm2.Public)) func(*forge) {
	return func(f *forge) { f.useECC, f.public = true, change }
}

func without(flag tpm2.KeyProp) func(*forge) {
	return func(f *forge) { f.public = func(p *tpm2.Public) { p.Attributes &^= flag } }
}

func named(name tpm2.Name) func(*forge) {
	return func(f *forge) { f.statement = func(a *tpm2.AttestationData) { a.AttestedCreationInfo.Name = name } }
}

func sha1Name(t *testing.T, f forge) tpm2.Name {
	t.Helper()
	public := f.publicArea()
	public.NameAlg = tpm2.AlgSHA1
	encoded, err := public.Encode()
	require.NoError(t, err)
	sum := sha1.Sum(encoded)
	return tpm2.Name{Digest: &tpm2.HashValue{Alg: tpm2.AlgSHA1, Value: sum[:]}}
}
