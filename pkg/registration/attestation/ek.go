package attestation

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"github.com/google/go-attestation/attest"
)

// maxEK bounds the PEM of an endorsement key. Certificates of real TPMs are 0.8 to 2 kB.
const maxEK = 8 << 10

// PEM types that an endorsement key comes in.
const (
	pemCertificate = "CERTIFICATE"
	pemPublicKey   = "PUBLIC KEY"
)

// parseEK reads exactly one PEM block. The certificate is nil when a bare key was sent; when there is one, the key is
// the certificate's own, so that what was certified and what is challenged cannot differ.
func parseEK(data []byte) (crypto.PublicKey, *x509.Certificate, error) {
	if len(data) > maxEK {
		return nil, nil, fmt.Errorf("EK of %d bytes, limit %d", len(data), maxEK)
	}
	block, err := onlyBlock(data)
	if err != nil {
		return nil, nil, err
	}
	var key crypto.PublicKey
	var certificate *x509.Certificate
	switch block.Type {
	case pemPublicKey:
		if key, err = x509.ParsePKIXPublicKey(block.Bytes); err != nil {
			return nil, nil, fmt.Errorf("EK public key: %w", err)
		}
	case pemCertificate:
		// Some clients send what is in the TPM's NVRAM as it is: with a header, and padded. go-attestation unwraps that.
		if certificate, err = attest.ParseEKCertificate(block.Bytes); err != nil {
			return nil, nil, fmt.Errorf("EK certificate: %w", err)
		}
		if key = certificate.PublicKey; key == nil {
			// Old certificates declare their key as RSA-OAEP, which crypto/x509 does not read.
			return nil, nil, fmt.Errorf("EK certificate: its public key algorithm is not supported")
		}
	default:
		// The type only: a PRIVATE KEY sent by mistake must not end up in a log.
		return nil, nil, fmt.Errorf("EK is a PEM block of type %.40q", block.Type)
	}
	return key, certificate, supportedKey(key)
}

// onlyBlock insists on one PEM block without headers and with nothing around it but white space.
func onlyBlock(data []byte) (*pem.Block, error) {
	trimmed := bytes.TrimSpace(data)
	if !bytes.HasPrefix(trimmed, []byte("-----BEGIN ")) {
		return nil, fmt.Errorf("EK is not PEM")
	}
	block, rest := pem.Decode(trimmed)
	switch {
	case block == nil:
		return nil, fmt.Errorf("EK is not PEM")
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, fmt.Errorf("EK has %d bytes after its PEM block", len(rest))
	case len(block.Headers) > 0:
		return nil, fmt.Errorf("EK has PEM headers")
	case bytes.Count(trimmed, []byte("-----BEGIN ")) != 1:
		// pem.Decode skips a broken block and returns the next one.
		return nil, fmt.Errorf("EK has several PEM blocks")
	}
	return block, nil
}

func supportedKey(key crypto.PublicKey) error {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return nil
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() && key.Curve != elliptic.P384() {
			return fmt.Errorf("unsupported EK: curve %s", key.Curve.Params().Name)
		}
		if _, err := key.ECDH(); err != nil {
			return fmt.Errorf("EK: %w", err)
		}
		return nil
	default:
		return fmt.Errorf("unsupported EK: %T", key)
	}
}
