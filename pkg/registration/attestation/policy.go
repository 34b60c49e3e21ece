package attestation

import (
	"crypto/x509"
	"time"

	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// Policy is what an administrator demands of an endorsement key. The zero value accepts any sound key and judges no
// certificate: who may join is then decided by whoever reads the Identity.
type Policy struct {
	// Roots and Intermediates are the CAs that endorsement certificates must chain to; see ParseCABundle.
	// With Roots nil, no certificate is ever verified.
	Roots         *x509.CertPool
	Intermediates *x509.CertPool
	// RequireCertificate refuses every machine whose certificate is missing or not verified. With Roots nil it refuses all.
	RequireCertificate bool
	// RequireValidity refuses certificates outside their validity. By default that is only reported.
	RequireValidity bool
	// AllowMissingKeyUsage accepts certificates without tcg-kp-EKCertificate (2.23.133.8.1), which old TPMs lack. A vendor's
	// ordinary TLS certificate then passes too.
	AllowMissingKeyUsage bool
	// AllowWeakKeys accepts keys with the ROCA fingerprint (CVE-2017-15361): anybody with some money can compute their private half.
	AllowWeakKeys bool
	// KnownEmulated tells whether an endorsement hash belongs to a simulator with a published key. May be nil.
	KnownEmulated func(hash string) bool
	// AllowEmulated accepts such keys, marked in the Identity.
	AllowEmulated bool
	// ChallengeLifetime is how long the challenge can be answered; default protocol.ChallengeLifetime.
	ChallengeLifetime time.Duration
	// Now is the clock; default time.Now.
	Now func() time.Time
}

func (p *Policy) now() time.Time {
	if p.Now != nil {
		return p.Now()
	}
	return time.Now()
}

func (p *Policy) challengeLifetime() time.Duration {
	if p.ChallengeLifetime > 0 {
		return p.ChallengeLifetime
	}
	return protocol.ChallengeLifetime
}
