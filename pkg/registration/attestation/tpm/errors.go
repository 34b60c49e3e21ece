package tpm

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/google/go-tpm/legacy/tpm2"
)

// Cause is why a TPM cannot be used. A program's exit code follows it.
type Cause int

const (
	// Missing: the machine has no TPM, or its firmware hides it.
	Missing Cause = iota + 1
	// Permission: the caller may not open the device.
	Permission
	// Busy: another program holds the device. The only cause that passes by itself.
	Busy
	// OldVersion: a TPM 1.2, or no TPM at all behind the path.
	OldVersion
	// LockedOut: the TPM has seen too many wrong passwords (dictionary attack protection).
	LockedOut
	// PasswordSet: somebody has set an owner or endorsement password, so that no key can be made.
	PasswordSet
	// Unusable: anything else.
	Unusable
)

// Error is a TPM that cannot be used, for the person at the machine.
type Error struct {
	Cause   Cause
	Message string
	// Hint says what to do about it.
	Hint string
	Err  error
}

// Error is the sentence without the hint.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Message
	}
	return e.Message + ": " + e.Err.Error()
}

// Unwrap gives errors.Is and errors.As the underlying error.
func (e *Error) Unwrap() error { return e.Err }

// ErrNotForUs is a challenge that this TPM cannot activate: it was made for another endorsement or attestation key, or for a
// kind of endorsement key that this TPM's is not. A TPM says no more about it.
var ErrNotForUs = errors.New("the challenge was made for another endorsement or attestation key")

// Bits of TPM_PT_PERMANENT (TPM library specification, part 2, section 8.6).
const (
	permanentProperty  = 0x200
	ownerAuthSet       = 1 << 0
	endorsementAuthSet = 1 << 1
	inLockout          = 1 << 9
)

// diagnose finds out why a command failed by asking the TPM for its state: the library in between keeps the text of a
// TPM's answer and drops its code.
func diagnose(tpm io.ReadWriter, err error) *Error {
	if errors.Is(err, syscall.EBUSY) {
		return openError("its device", err)
	}
	state, ok := permanentState(tpm)
	switch {
	case ok && state&inLockout != 0:
		return &Error{Cause: LockedOut, Message: "the TPM has locked itself after too many wrong passwords",
			Hint: "wait (the TPM says how long: tpm2_getcap properties-variable), or reset the lockout with its owner's password", Err: err}
	case ok && state&(ownerAuthSet|endorsementAuthSet) != 0:
		return &Error{Cause: PasswordSet, Message: "the TPM's owner or endorsement hierarchy has a password",
			Hint: "remove it, or clear the TPM in the firmware's setup", Err: err}
	default:
		return &Error{Cause: Unusable, Message: fmt.Sprintf("the TPM refuses to work (%v)", err),
			Hint: "reboot; if it stays, clear the TPM in the firmware's setup", Err: err}
	}
}

func permanentState(tpm io.ReadWriter) (uint32, bool) {
	values, _, err := tpm2.GetCapability(tpm, tpm2.CapabilityTPMProperties, 1, permanentProperty)
	if err != nil || len(values) == 0 {
		return 0, false
	}
	property, ok := values[0].(tpm2.TaggedProperty)
	return property.Value, ok && property.Tag == permanentProperty
}
