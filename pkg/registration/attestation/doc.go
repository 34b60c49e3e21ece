// Package attestation is how a machine proves who it is: a [Prover] on the machine, a [Session] on the server.
//
// A TPM holds an endorsement key (EK) that its maker put there and that never leaves it. The EK can only decrypt.
// The proof is therefore an errand: the machine names its EK and a fresh attestation key (AK), the server
// encrypts a random secret to the EK and ties it to the AK's name, and only the TPM that holds both can return the secret
// (TPM2_ActivateCredential). The server's half, read top to bottom:
//
//	Begin    1 parse the EK           one PEM block, a public key or a certificate       ek.go
//	         2 guard the EK           size, exponent, weak primes, ROCA                  weakkeys.go
//	         3 judge its certificate  the TCG profile, against the policy's CAs          certificate.go
//	         4 guard the AK           what go-attestation does not check, or panics on   ak.go
//	         5 compute the challenge  go-attestation's ActivationParameters              session.go
//	Verify   6 compare the answer     once, in time, in constant time                    session.go
//
// What a session proves is possession of the EK's private half by whoever answered. It does not prove that the EK lives in
// a TPM: a hundred lines of software do the same. Only a certificate of a maker, a list of known hashes or a person's
// approval says that, which is why [Identity] reports what is known and leaves the decision to the caller's policy.
//
// The challenge assumes the EK templates that TPMs ship with (TCG EK credential profile, L-1 and L-2: SHA-256 names,
// AES-128). EKs made from the high-range templates with SHA-384 and AES-256 cannot activate it and fail as any wrong answer
// does.
//
// The package is pure: no files, no network, no clock of its own when the policy brings one. It never logs. Every failure is a
// *protocol.Error whose sentence is the same for all of a class, and whose Reason is precise and for our eyes only.
package attestation
