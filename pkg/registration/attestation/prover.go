package attestation

import "github.com/rancher/rancheros-operator/pkg/registration/protocol"

// Prover is a machine's TPM, or software that acts as one. It may be used for many connections, one after the other.
type Prover interface {
	// EndorsementHash is the machine's identity: see [EndorsementHash].
	EndorsementHash() string
	// NewProof makes a fresh attestation key. One proof serves one connection.
	NewProof() (Proof, error)
	// Close releases the device.
	Close() error
}

// Proof is one connection's half of the exchange.
type Proof interface {
	// Token is what the machine claims about itself.
	Token() *protocol.AttestationToken
	// Activate recovers the challenge's secret, or fails because the challenge was made for somebody else.
	Activate(challenge *protocol.Challenge) (secret []byte, err error)
	// Close forgets the attestation key.
	Close() error
}
