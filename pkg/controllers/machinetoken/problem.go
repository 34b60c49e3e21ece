package machinetoken

import (
	"bytes"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// problem is what is wrong with a token, as the reason of an event.
type problem string

const (
	fine problem = ""
	// tokenMissing: the Secret has no key token, or nothing in it.
	tokenMissing problem = "TokenMissing"
	// tokenTooShort: it can be guessed, and is ignored.
	tokenTooShort problem = "TokenTooShort"
	// tokenTooLong: no request can carry it.
	tokenTooLong problem = "TokenTooLong"
	// tokenShared: another Secret holds it, and neither opens anything.
	tokenShared problem = "TokenShared"
	// tokenEndsInNewline: it works, with the newline; the machine's copy probably has none.
	tokenEndsInNewline problem = "TokenEndsInNewline"
)

// maxToken is the longest token that a machine can send.
const maxToken = 1 << 10

// problemOf is the worst that is wrong with the Secret's token, which so many Secrets hold.
func problemOf(secret *corev1.Secret, holders int) problem {
	token := secret.Data[v1.SecretKeyToken]
	switch {
	case len(token) == 0:
		return tokenMissing
	case len(token) < v1.MinMachineToken:
		return tokenTooShort
	case len(token) > maxToken:
		return tokenTooLong
	case holders > 1:
		return tokenShared
	case bytes.HasSuffix(token, []byte("\n")):
		return tokenEndsInNewline
	}
	return fine
}
