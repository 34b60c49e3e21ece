package attestation

import (
	"crypto"
	"crypto/rsa"
	"crypto/subtle"
	"fmt"
	"sync"
	"time"

	"github.com/google/go-attestation/attest"

	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// Session is the server's half of one exchange: one claim, one challenge, one answer.
type Session struct {
	identity  Identity
	challenge *protocol.Challenge
	now       func() time.Time
	expires   time.Time

	mu     sync.Mutex
	secret []byte // nil once an answer was given
}

// Begin checks a machine's claim against the policy and computes the challenge for it. The identity that the session reports is a
// claim until Verify has succeeded.
func Begin(token *protocol.AttestationToken, policy Policy) (*Session, error) {
	if token == nil || len(token.EK) == 0 || token.AK == nil {
		return nil, failed("EK or AK is missing")
	}
	ek, certificate, err := parseEK(token.EK)
	if err != nil {
		return nil, failed("%v", err)
	}
	identity := Identity{KeyType: keyType(ek)}
	if identity.Weak, err = soundEK(ek, &policy); err != nil {
		return nil, failed("%v", err)
	}
	if identity.Hash, err = EndorsementHash(ek); err != nil {
		return nil, failed("%v", err)
	}
	if policy.KnownEmulated != nil && policy.KnownEmulated(identity.Hash) {
		identity.Emulated = true
		if !policy.AllowEmulated {
			return nil, failed("EK %s is a simulator's", identity.Hash)
		}
	}
	if certificate != nil {
		if identity.Certificate, err = judgeCertificate(certificate, &policy); err != nil {
			return nil, failed("%v", err)
		}
	}
	if err := requireCertificate(&identity, &policy); err != nil {
		return nil, err
	}
	params, err := soundAK(token.AK)
	if err != nil {
		return nil, failed("%v", err)
	}
	secret, credential, err := generate(ek, params)
	if err != nil {
		return nil, failed("%v", err)
	}
	return &Session{
		identity:  identity,
		challenge: &protocol.Challenge{EC: protocol.EncryptedCredential{Credential: credential.Credential, Secret: credential.Secret}},
		now:       policy.now,
		expires:   policy.now().Add(policy.challengeLifetime()),
		secret:    secret,
	}, nil
}

// Identity is who the machine claims to be, and after Verify who it is.
func (s *Session) Identity() Identity { return s.identity }

// Challenge is the frame to send.
func (s *Session) Challenge() *protocol.Challenge { return s.challenge }

// Expires is when the challenge can no longer be answered.
func (s *Session) Expires() time.Time { return s.expires }

// Verify judges the machine's answer, given as it came: one frame of version 1. A session takes one answer; whatever it was, a
// second one is refused, so a machine that guesses must start over with a new secret.
func (s *Session) Verify(frame []byte) error {
	return s.verify(func() ([]byte, error) {
		answer, err := protocol.ParseChallengeResponse(frame)
		if err != nil {
			return nil, err
		}
		return answer.Secret, nil
	})
}

// VerifyV2 is Verify for a frame of version 2.
func (s *Session) VerifyV2(frame []byte) error {
	return s.verify(func() ([]byte, error) { return protocol.ParseAnswerV2(frame) })
}

func (s *Session) verify(parse func() ([]byte, error)) error {
	s.mu.Lock()
	secret := s.secret
	s.secret = nil
	s.mu.Unlock()

	if secret == nil {
		return failed("the challenge was answered before")
	}
	if s.now().After(s.expires) {
		return failed("the challenge has expired")
	}
	answer, err := parse()
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(answer, secret) != 1 {
		return failed("the answer (%d bytes) is not the challenge's secret", len(answer))
	}
	return nil
}

// soundEK refuses weak keys. ROCA keys may be allowed by policy: those TPMs exist, and a person may know what they do.
func soundEK(ek crypto.PublicKey, policy *Policy) (weak string, err error) {
	key, ok := ek.(*rsa.PublicKey)
	if !ok {
		return "", nil
	}
	if err := soundRSA(key); err != nil {
		return "", err
	}
	if !rocaFingerprint(key.N) {
		return "", nil
	}
	const roca = "EK has the ROCA fingerprint (CVE-2017-15361): its private half can be computed"
	if !policy.AllowWeakKeys {
		return "", fmt.Errorf("%s", roca)
	}
	return roca, nil
}

func requireCertificate(identity *Identity, policy *Policy) error {
	switch {
	case !policy.RequireCertificate:
		return nil
	case identity.Certificate == nil:
		return certificateRequired()
	case !identity.Certificate.Verified:
		return failed("EK certificate (issuer %s, serial %s): %s",
			identity.Certificate.Issuer, identity.Certificate.Serial, identity.Certificate.Problem)
	}
	return nil
}

// generate lets go-attestation check the AK's creation and compute the challenge. The guards before it are meant to leave it nothing to
// trip over; if it does all the same, one machine is refused and the server stays up.
func generate(ek crypto.PublicKey, ak attest.AttestationParameters) (secret []byte, credential *attest.EncryptedCredential, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			secret, credential, err = nil, nil, fmt.Errorf("AK made go-attestation panic: %v", cause)
		}
	}()
	params := attest.ActivationParameters{EK: ek, AK: ak}
	return params.Generate()
}
