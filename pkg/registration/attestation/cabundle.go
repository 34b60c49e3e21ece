package attestation

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"
)

// maxCAs and maxCABundle bound what an administrator's bundle may hold: all TPM makers together have about 300 CAs.
const (
	maxCAs      = 1000
	maxCABundle = 1 << 20
)

// CABundle is an administrator's trust in TPM makers, ready for a Policy.
type CABundle struct {
	Roots         *x509.CertPool
	Intermediates *x509.CertPool
	// Warnings name each certificate or block that was skipped or deserves a look, in the bundle's order.
	Warnings []string
}

// ParseCABundle reads PEM roots and intermediates. Self-issued CAs are roots, other CAs are intermediates; with
// trustIntermediates those are trusted by themselves, for bundles that hold no root. What cannot be a CA is skipped with a
// warning. A bundle without any usable root is an error: never read it as "no CA demanded".
func ParseCABundle(data []byte, trustIntermediates bool, now time.Time) (*CABundle, error) {
	if len(data) > maxCABundle {
		return nil, fmt.Errorf("CA bundle of %d bytes, limit %d", len(data), maxCABundle)
	}
	bundle := &CABundle{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool()}
	roots, position := 0, 0
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			if len(bytes.TrimSpace(rest)) > 0 {
				bundle.warn("%d bytes at the end are not PEM", len(bytes.TrimSpace(rest)))
			}
			break
		}
		if position++; position > maxCAs {
			return nil, fmt.Errorf("CA bundle of more than %d blocks", maxCAs)
		}
		ca := bundle.usable(block, position, now)
		switch {
		case ca == nil:
		case trustIntermediates || bytes.Equal(ca.RawSubject, ca.RawIssuer):
			bundle.Roots.AddCert(ca)
			roots++
		default:
			bundle.Intermediates.AddCert(ca)
		}
	}
	if roots == 0 {
		return nil, fmt.Errorf("CA bundle holds no usable root certificate%s", firstOf(bundle.Warnings))
	}
	return bundle, nil
}

// usable is the block's certificate if it can be a CA, else nil and a warning.
func (b *CABundle) usable(block *pem.Block, position int, now time.Time) *x509.Certificate {
	if block.Type != pemCertificate {
		b.warn("block %d is a %.40q, not a certificate: remove it, above all if it is a private key", position, block.Type)
		return nil
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		b.warn("certificate %d cannot be read: %v", position, err)
		return nil
	}
	subject := boundedText(ca.Subject.String())
	switch {
	case !ca.BasicConstraintsValid || !ca.IsCA:
		b.warn("certificate %d (%s) is not a CA's", position, subject)
		return nil
	case ca.KeyUsage != 0 && ca.KeyUsage&x509.KeyUsageCertSign == 0:
		b.warn("certificate %d (%s) may not sign certificates", position, subject)
		return nil
	case now.After(ca.NotAfter):
		b.warn("certificate %d (%s) has expired on %s", position, subject, ca.NotAfter.UTC().Format(time.DateOnly))
	}
	return ca
}

func (b *CABundle) warn(format string, args ...any) {
	b.Warnings = append(b.Warnings, fmt.Sprintf(format, args...))
}

func firstOf(warnings []string) string {
	if len(warnings) == 0 {
		return ""
	}
	return ": " + warnings[0]
}
