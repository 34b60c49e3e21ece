package attestation

import (
	"bytes"
	"crypto/ecdh"
	"fmt"

	"github.com/google/go-attestation/attest"
	"github.com/google/go-tpm/legacy/tpm2"

	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// maxAKBlob bounds each structure of an attestation key. The largest of an RSA-4096 key is about 530 bytes.
const maxAKBlob = 1 << 10

// soundAK checks what go-attestation leaves to luck: that each structure is in its one canonical form (a null signing scheme,
// for one, makes go-attestation 0.6.4 panic), that sizes are what they claim, that only current hashes are used, and that the key signs and does
// nothing else. What go-attestation does check (digest, magic, name, signature) is not repeated.
func soundAK(ak *protocol.AttestationKey) (attest.AttestationParameters, error) {
	params := attest.AttestationParameters{
		Public:            ak.Public,
		CreateData:        ak.CreateData,
		CreateAttestation: ak.CreateAttestation,
		CreateSignature:   ak.CreateSignature,
	}
	if ak.UseTCSDActivationFormat {
		return params, fmt.Errorf("TPM 1.2 activation format")
	}
	for _, blob := range []struct {
		name string
		data []byte
	}{
		{"Public", ak.Public}, {"CreateData", ak.CreateData},
		{"CreateAttestation", ak.CreateAttestation}, {"CreateSignature", ak.CreateSignature},
	} {
		if len(blob.data) == 0 || len(blob.data) > maxAKBlob {
			return params, fmt.Errorf("AK %s of %d bytes, allowed are 1 to %d", blob.name, len(blob.data), maxAKBlob)
		}
	}
	public, err := soundAKPublic(ak.Public)
	if err != nil {
		return params, err
	}
	if err := soundCreation(ak, public); err != nil {
		return params, err
	}
	return params, soundSignature(ak.CreateSignature, public)
}

func soundAKPublic(data []byte) (tpm2.Public, error) {
	public, err := tpm2.DecodePublic(data)
	if err != nil {
		return public, fmt.Errorf("AK public area: %w", err)
	}
	if canonical, err := public.Encode(); err != nil || !bytes.Equal(canonical, data) {
		return public, fmt.Errorf("AK public area is not in canonical form")
	}
	if !currentHash(public.NameAlg) {
		return public, fmt.Errorf("AK name algorithm 0x%x", uint16(public.NameAlg))
	}
	const want = tpm2.FlagFixedTPM | tpm2.FlagFixedParent | tpm2.FlagSensitiveDataOrigin | tpm2.FlagRestricted | tpm2.FlagSign
	if public.Attributes&want != want || public.Attributes&tpm2.FlagDecrypt != 0 {
		return public, fmt.Errorf("AK attributes 0x%x are not those of an attestation key", uint32(public.Attributes))
	}
	switch public.Type {
	case tpm2.AlgRSA:
		return public, soundRSAParameters(public.RSAParameters)
	case tpm2.AlgECC:
		return public, soundECCParameters(public.ECCParameters)
	default:
		return public, fmt.Errorf("AK of type 0x%x", uint16(public.Type))
	}
}

func soundRSAParameters(p *tpm2.RSAParams) error {
	switch {
	case p.Sign == nil || p.Sign.Alg != tpm2.AlgRSASSA:
		return fmt.Errorf("AK signing scheme is not RSASSA")
	case !currentHash(p.Sign.Hash):
		return fmt.Errorf("AK signing hash 0x%x", uint16(p.Sign.Hash))
	case p.Symmetric != nil:
		return fmt.Errorf("AK has a symmetric scheme")
	case p.Exponent() != rsaExponent:
		return fmt.Errorf("AK exponent %d", p.Exponent())
	case p.KeyBits < minRSABits || p.KeyBits > maxRSABits || p.Modulus().BitLen() != int(p.KeyBits):
		return fmt.Errorf("AK claims %d bits and has %d", p.KeyBits, p.Modulus().BitLen())
	case p.Modulus().Bit(0) == 0:
		return fmt.Errorf("AK modulus is even")
	}
	return nil
}

func soundECCParameters(p *tpm2.ECCParams) error {
	switch {
	case p.Sign == nil || p.Sign.Alg != tpm2.AlgECDSA:
		return fmt.Errorf("AK signing scheme is not ECDSA")
	case !currentHash(p.Sign.Hash):
		return fmt.Errorf("AK signing hash 0x%x", uint16(p.Sign.Hash))
	case p.Symmetric != nil || p.KDF != nil:
		return fmt.Errorf("AK has a symmetric or key derivation scheme")
	}
	var curve ecdh.Curve
	switch p.CurveID {
	case tpm2.CurveNISTP256:
		curve = ecdh.P256()
	case tpm2.CurveNISTP384:
		curve = ecdh.P384()
	default:
		return fmt.Errorf("AK curve 0x%x", uint16(p.CurveID))
	}
	point := append([]byte{4}, p.Point.XRaw...)
	if _, err := curve.NewPublicKey(append(point, p.Point.YRaw...)); err != nil || len(p.Point.XRaw) != len(p.Point.YRaw) {
		return fmt.Errorf("AK point is not on its curve")
	}
	return nil
}

func soundCreation(ak *protocol.AttestationKey, public tpm2.Public) error {
	if _, err := tpm2.DecodeCreationData(ak.CreateData); err != nil {
		return fmt.Errorf("AK creation data: %w", err)
	}
	statement, err := tpm2.DecodeAttestationData(ak.CreateAttestation)
	if err != nil {
		return fmt.Errorf("AK creation attestation: %w", err)
	}
	if canonical, err := statement.Encode(); err != nil || !bytes.Equal(canonical, ak.CreateAttestation) {
		return fmt.Errorf("AK creation attestation is not in canonical form")
	}
	if statement.AttestedCreationInfo == nil {
		return fmt.Errorf("AK attestation of type 0x%x is not about a creation", uint16(statement.Type))
	}
	// go-attestation compares the name's digest only; the challenge is computed with the name's own algorithm.
	name := statement.AttestedCreationInfo.Name
	if name.Digest == nil || name.Digest.Alg != public.NameAlg {
		return fmt.Errorf("AK creation attestation does not name the key by its digest")
	}
	return nil
}

func soundSignature(data []byte, public tpm2.Public) error {
	rest := bytes.NewBuffer(data)
	signature, err := tpm2.DecodeSignature(rest)
	if err != nil {
		return fmt.Errorf("AK signature: %w", err)
	}
	if rest.Len() > 0 {
		return fmt.Errorf("AK signature has %d trailing bytes", rest.Len())
	}
	switch {
	case public.Type == tpm2.AlgRSA && signature.Alg == tpm2.AlgRSASSA && signature.RSA != nil:
		if signature.RSA.HashAlg != public.RSAParameters.Sign.Hash {
			return fmt.Errorf("AK signature hash 0x%x is not the key's", uint16(signature.RSA.HashAlg))
		}
	case public.Type == tpm2.AlgECC && signature.Alg == tpm2.AlgECDSA && signature.ECC != nil:
		if signature.ECC.HashAlg != public.ECCParameters.Sign.Hash {
			return fmt.Errorf("AK signature hash 0x%x is not the key's", uint16(signature.ECC.HashAlg))
		}
	default:
		return fmt.Errorf("AK signature algorithm 0x%x is not the key's", uint16(signature.Alg))
	}
	return nil
}

func currentHash(alg tpm2.Algorithm) bool {
	return alg == tpm2.AlgSHA256 || alg == tpm2.AlgSHA384 || alg == tpm2.AlgSHA512
}
