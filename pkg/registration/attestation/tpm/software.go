package tpm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// KeyType is the kind of a software endorsement key.
type KeyType string

const (
	// RSA2048 is what nearly every TPM offers first.
	RSA2048 KeyType = "RSA-2048"
	// ECCP256 is the other kind that the TCG profile prescribes.
	ECCP256 KeyType = "ECC-P-256"
)

// Software is a TPM in plain Go. It is safe for concurrent use.
type Software struct {
	ek   crypto.Signer
	hash string
	// pem is what the token carries: the public key, or a certificate for it.
	pem []byte
	// ak is used for every proof when set; else each proof makes its own.
	ak *rsa.PrivateKey
}

// SoftwareOption adjusts a Software TPM.
type SoftwareOption func(*Software) error

// WithCertificate presents this DER certificate instead of the bare public key.
func WithCertificate(der []byte) SoftwareOption {
	return func(s *Software) error {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("parsing endorsement certificate: %w", err)
		}
		public, ok := certificate.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
		if !ok || !public.Equal(s.ek.Public()) {
			return fmt.Errorf("the endorsement certificate is for another key")
		}
		s.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
		return nil
	}
}

// WithAttestationKey uses this attestation key for every proof. A real TPM never does; a load test that plays
// thousands of machines cannot afford an RSA key for each.
func WithAttestationKey(key *rsa.PrivateKey) SoftwareOption {
	return func(s *Software) error {
		s.ak = key
		return nil
	}
}

// NewSoftware is a TPM around the given endorsement key: *rsa.PrivateKey or *ecdsa.PrivateKey.
func NewSoftware(ek crypto.Signer, options ...SoftwareOption) (*Software, error) {
	switch ek.(type) {
	case *rsa.PrivateKey, *ecdsa.PrivateKey:
	default:
		return nil, fmt.Errorf("unsupported endorsement key %T", ek)
	}
	der, err := x509.MarshalPKIXPublicKey(ek.Public())
	if err != nil {
		return nil, fmt.Errorf("encoding endorsement key: %w", err)
	}
	s := &Software{ek: ek, pem: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})}
	if s.hash, err = attestation.EndorsementHash(ek.Public()); err != nil {
		return nil, err
	}
	return s.With(options...)
}

// GenerateSoftware is a TPM with a new endorsement key that nobody keeps.
func GenerateSoftware(keyType KeyType, options ...SoftwareOption) (*Software, error) {
	ek, err := generateEK(keyType)
	if err != nil {
		return nil, err
	}
	return NewSoftware(ek, options...)
}

func generateEK(keyType KeyType) (crypto.Signer, error) {
	switch keyType {
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case ECCP256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		return nil, fmt.Errorf("unknown endorsement key type %q", keyType)
	}
}

// With is the same TPM with other options: the same identity that now presents a certificate, say.
func (s *Software) With(options ...SoftwareOption) (*Software, error) {
	changed := *s
	for _, option := range options {
		if err := option(&changed); err != nil {
			return nil, err
		}
	}
	return &changed, nil
}

// EndorsementHash implements attestation.Prover.
func (s *Software) EndorsementHash() string { return s.hash }

// Public is the endorsement public key, for tests that certify it.
func (s *Software) Public() crypto.PublicKey { return s.ek.Public() }

// Close implements attestation.Prover.
func (s *Software) Close() error { return nil }

// NewProof implements attestation.Prover.
func (s *Software) NewProof() (attestation.Proof, error) {
	signer := s.ak
	if signer == nil {
		var err error
		if signer, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			return nil, fmt.Errorf("making attestation key: %w", err)
		}
	}
	ak, name, err := certifyCreation(signer)
	if err != nil {
		return nil, err
	}
	return &softwareProof{
		ek:     s.ek,
		akName: name,
		token:  &protocol.AttestationToken{EK: bytes.Clone(s.pem), AK: ak},
	}, nil
}

type softwareProof struct {
	ek     crypto.PrivateKey
	akName []byte
	token  *protocol.AttestationToken
}

func (p *softwareProof) Token() *protocol.AttestationToken { return p.token }

func (p *softwareProof) Activate(challenge *protocol.Challenge) ([]byte, error) {
	return activateCredential(p.ek, p.akName, challenge.EC)
}

func (p *softwareProof) Close() error { return nil }
