package attestation

import (
	"fmt"

	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// failed is the refusal of everything that is wrong with a proof: one sentence for all, so that a caller who
// probes learns nothing, and the reason for our log.
func failed(format string, args ...any) *protocol.Error {
	return &protocol.Error{
		Code:    protocol.CodeAttestationFailed,
		Message: "attestation failed",
		Reason:  fmt.Sprintf(format, args...),
	}
}

// certificateRequired is told apart because an honest machine without a certificate must be able to say so on its console.
func certificateRequired() *protocol.Error {
	return &protocol.Error{
		Code:    protocol.CodeCertificateRequired,
		Message: "EK certificate required",
		Hint:    "this registration accepts only TPMs whose maker certified them; list this machine's TPM hash instead",
		Reason:  "a bare public key where the policy requires a certificate",
	}
}
