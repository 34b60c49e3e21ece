package machinetoken

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// emit says what is wrong and what to do. Neither the token nor the other Secret, which may be another tenant's, is named.
func (h *handler) emit(secret *corev1.Secret, found problem) {
	h.events.Event(secret, corev1.EventTypeWarning, string(found), sentence(found))
}

func sentence(found problem) string {
	switch found {
	case tokenMissing:
		return "there is no token: put at least " + fmt.Sprint(v1.MinMachineToken) + " random characters into the key token"
	case tokenTooShort:
		return fmt.Sprintf("the token is ignored because it can be guessed: use at least %d random characters", v1.MinMachineToken)
	case tokenTooLong:
		return fmt.Sprintf("the token is ignored because no machine can send it: use at most %d characters", maxToken)
	case tokenShared:
		return "another Secret holds the same token, so neither is accepted: give every machine a token of its own"
	case tokenEndsInNewline:
		return "the token ends in a newline, which counts: machines must send it too; `echo -n` writes none"
	}
	return ""
}
