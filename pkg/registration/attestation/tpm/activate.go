package tpm

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/google/go-tpm/legacy/tpm2"

	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// Labels and sizes of TPM2_ActivateCredential (TPM library specification, part 1, section 24), for endorsement keys made from
// the templates L-1 and L-2: SHA-256 and AES-128.
const (
	labelIdentity  = "IDENTITY"
	labelStorage   = "STORAGE"
	labelIntegrity = "INTEGRITY"
	symmetricBits  = 128
)

// activateCredential is the arithmetic of TPM2_ActivateCredential: the seed is encrypted to the endorsement key, and from
// the seed and the attestation key's name come the keys that protect the secret.
func activateCredential(ek crypto.PrivateKey, akName []byte, credential protocol.EncryptedCredential) ([]byte, error) {
	encryptedSeed, rest, ok := takeSized(credential.Secret)
	if !ok || len(rest) > 0 {
		return nil, fmt.Errorf("reading challenge: malformed secret")
	}
	idObject, rest, ok := takeSized(credential.Credential)
	if !ok || len(rest) > 0 {
		return nil, fmt.Errorf("reading challenge: malformed credential")
	}
	integrity, encIdentity, ok := takeSized(idObject)
	if !ok {
		return nil, fmt.Errorf("reading challenge: malformed credential")
	}
	seed, err := recoverSeed(ek, encryptedSeed)
	if err != nil {
		return nil, err
	}
	macKey, err := tpm2.KDFa(tpm2.AlgSHA256, seed, labelIntegrity, nil, nil, sha256.Size*8)
	if err != nil {
		return nil, fmt.Errorf("deriving integrity key: %w", err)
	}
	mac := hmac.New(sha256.New, macKey)
	mac.Write(encIdentity)
	mac.Write(akName)
	if !hmac.Equal(mac.Sum(nil), integrity) {
		return nil, ErrNotForUs
	}
	symmetricKey, err := tpm2.KDFa(tpm2.AlgSHA256, seed, labelStorage, akName, nil, symmetricBits)
	if err != nil {
		return nil, fmt.Errorf("deriving storage key: %w", err)
	}
	block, err := aes.NewCipher(symmetricKey)
	if err != nil {
		return nil, fmt.Errorf("decrypting challenge: %w", err)
	}
	identity := make([]byte, len(encIdentity))
	//nolint:staticcheck // CFB is what the TPM specification prescribes; the HMAC above authenticates it.
	cipher.NewCFBDecrypter(block, make([]byte, aes.BlockSize)).XORKeyStream(identity, encIdentity)
	secret, rest, ok := takeSized(identity)
	if !ok || len(rest) > 0 {
		return nil, ErrNotForUs
	}
	return secret, nil
}

func recoverSeed(ek crypto.PrivateKey, encrypted []byte) ([]byte, error) {
	switch key := ek.(type) {
	case *rsa.PrivateKey:
		seed, err := rsa.DecryptOAEP(sha256.New(), nil, key, encrypted, []byte(labelIdentity+"\x00"))
		if err != nil {
			return nil, ErrNotForUs
		}
		return seed, nil
	case *ecdsa.PrivateKey:
		return agreeSeed(key, encrypted)
	default:
		return nil, fmt.Errorf("unsupported endorsement key %T", ek)
	}
}

// agreeSeed is the elliptic-curve form: the encrypted seed is the server's ephemeral point.
func agreeSeed(ek *ecdsa.PrivateKey, encrypted []byte) ([]byte, error) {
	x, rest, ok := takeSized(encrypted)
	if !ok {
		return nil, ErrNotForUs
	}
	y, rest, ok := takeSized(rest)
	if !ok || len(rest) > 0 {
		return nil, ErrNotForUs
	}
	private, err := ek.ECDH()
	if err != nil {
		return nil, fmt.Errorf("reading endorsement key: %w", err)
	}
	ephemeral, err := private.Curve().NewPublicKey(append(append([]byte{4}, x...), y...))
	if err != nil {
		return nil, ErrNotForUs
	}
	z, err := private.ECDH(ephemeral)
	if err != nil {
		return nil, ErrNotForUs
	}
	return tpm2.KDFe(tpm2.AlgSHA256, z, labelIdentity, x, pointX(private.PublicKey()), sha256.Size*8)
}

// pointX is the first half of an uncompressed point.
func pointX(key *ecdh.PublicKey) []byte {
	point := key.Bytes()[1:]
	return point[:len(point)/2]
}

// takeSized splits a TPM2B, a byte string behind its 16-bit length, off the front of data.
func takeSized(data []byte) (value, rest []byte, ok bool) {
	if len(data) < 2 {
		return nil, nil, false
	}
	size := int(binary.BigEndian.Uint16(data))
	if len(data)-2 < size {
		return nil, nil, false
	}
	return data[2 : 2+size], data[2+size:], true
}
