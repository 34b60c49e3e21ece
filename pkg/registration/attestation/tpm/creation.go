package tpm

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"

	"github.com/google/go-tpm/legacy/tpm2"

	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// certifyCreation is what TPM2_Create and TPM2_CertifyCreation say about a restricted RSA signing key below the storage root
// key. It returns the key's description and its TPM name.
func certifyCreation(signer *rsa.PrivateKey) (*protocol.AttestationKey, []byte, error) {
	public := tpm2.Public{
		Type:       tpm2.AlgRSA,
		NameAlg:    tpm2.AlgSHA256,
		Attributes: tpm2.FlagSignerDefault | tpm2.FlagNoDA,
		RSAParameters: &tpm2.RSAParams{
			Sign:       &tpm2.SigScheme{Alg: tpm2.AlgRSASSA, Hash: tpm2.AlgSHA256},
			KeyBits:    uint16(signer.N.BitLen()),
			ModulusRaw: signer.N.Bytes(),
		},
	}
	publicArea, err := public.Encode()
	if err != nil {
		return nil, nil, fmt.Errorf("encoding attestation key: %w", err)
	}
	name, err := public.Name()
	if err != nil {
		return nil, nil, fmt.Errorf("naming attestation key: %w", err)
	}
	createData, err := creationData()
	if err != nil {
		return nil, nil, err
	}
	creationHash := sha256.Sum256(createData)
	statement, err := tpm2.AttestationData{
		Magic:                0xff544347,
		Type:                 tpm2.TagAttestCreation,
		QualifiedSigner:      nameOf("qualified signer"),
		ClockInfo:            tpm2.ClockInfo{Safe: 1},
		AttestedCreationInfo: &tpm2.CreationInfo{Name: name, OpaqueDigest: creationHash[:]},
	}.Encode()
	if err != nil {
		return nil, nil, fmt.Errorf("encoding creation attestation: %w", err)
	}
	signature, err := signStatement(signer, statement)
	if err != nil {
		return nil, nil, err
	}
	encodedName, err := name.Digest.Encode()
	if err != nil {
		return nil, nil, fmt.Errorf("naming attestation key: %w", err)
	}
	return &protocol.AttestationKey{
		Public:            publicArea,
		CreateData:        createData,
		CreateAttestation: statement,
		CreateSignature:   signature,
	}, encodedName, nil
}

// creationData is the environment in which the key was made: no PCRs, locality zero, and a storage root key that exists in
// name only.
func creationData() ([]byte, error) {
	noPCRs := sha256.Sum256(nil)
	data := tpm2.CreationData{
		PCRDigest:           noPCRs[:],
		Locality:            1,
		ParentNameAlg:       tpm2.AlgSHA256,
		ParentName:          nameOf("storage root key"),
		ParentQualifiedName: nameOf("qualified storage root key"),
	}
	encoded, err := data.EncodeCreationData()
	if err != nil {
		return nil, fmt.Errorf("encoding creation data: %w", err)
	}
	return encoded, nil
}

func signStatement(signer *rsa.PrivateKey, statement []byte) ([]byte, error) {
	digest := sha256.Sum256(statement)
	raw, err := rsa.SignPKCS1v15(rand.Reader, signer, crypto.SHA256, digest[:])
	if err != nil {
		return nil, fmt.Errorf("signing creation attestation: %w", err)
	}
	signature, err := tpm2.Signature{
		Alg: tpm2.AlgRSASSA,
		RSA: &tpm2.SignatureRSA{HashAlg: tpm2.AlgSHA256, Signature: raw},
	}.Encode()
	if err != nil {
		return nil, fmt.Errorf("encoding signature: %w", err)
	}
	return signature, nil
}

// nameOf is a well-formed TPM name for something that a software TPM does not have.
func nameOf(what string) tpm2.Name {
	sum := sha256.Sum256([]byte(what))
	return tpm2.Name{Digest: &tpm2.HashValue{Alg: tpm2.AlgSHA256, Value: sum[:]}}
}
