package attestation

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"time"
)

// Identity is what a session knows about the machine at the other end. Until Verify has succeeded it is a claim.
type Identity struct {
	// Hash is the machine's identity: see [EndorsementHash].
	Hash string
	// KeyType is RSA-2048, ECC-P-256 and the like, for people.
	KeyType string
	// Certificate is nil when the machine sent a bare public key.
	Certificate *Certificate
	// Emulated is true when the key is known to belong to a simulator: everybody has its private half.
	Emulated bool
	// Weak is the reason why the key would have been refused by default, when the policy allows it all the same.
	Weak string
}

// Certificate is what an endorsement certificate says, and whether to believe it. All texts are printable ASCII and short.
type Certificate struct {
	// Verified is true when the certificate follows the TCG profile and chains to the policy's CAs.
	Verified bool
	// Problem is why it is not verified.
	Problem string
	// OutsideValidity is true when the certificate or one of its chain has expired or is not valid yet. TPMs outlive
	// their certificates, so by default this is reported and not refused.
	OutsideValidity bool
	Issuer          string
	Serial          string
	NotAfter        time.Time
}

// EndorsementHash is a machine's identity: lower-case hex SHA-256 of the PKIX DER of its endorsement public key. The key is
// encoded anew, whatever bytes it came in, so that one key has one hash.
func EndorsementHash(ek crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(ek)
	if err != nil {
		return "", fmt.Errorf("encoding endorsement key: %w", err)
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}

// ValidEndorsementHash tells whether s has the shape of an endorsement hash.
func ValidEndorsementHash(s string) bool {
	if len(s) != 2*sha256.Size {
		return false
	}
	for i := 0; i < len(s); i++ {
		if (s[i] < '0' || s[i] > '9') && (s[i] < 'a' || s[i] > 'f') {
			return false
		}
	}
	return true
}

func keyType(ek crypto.PublicKey) string {
	switch key := ek.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA-%d", key.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECC-" + key.Curve.Params().Name
	default:
		return fmt.Sprintf("%T", ek)
	}
}
