package cache

import (
	"errors"
	"fmt"
	"syscall"
)

// Reason is why there is no base.
type Reason string

// The reasons.
const (
	// Unavailable is a source that did not give what was asked for. It is worth another try.
	Unavailable Reason = "Unavailable"
	// Invalid is a source that gave something that cannot be used.
	Invalid Reason = "Invalid"
	// Full is a cache, or a disk, without room.
	Full Reason = "Full"
)

// Error says why there is no base, in words that are the same on every try.
type Error struct {
	Reason  Reason
	Message string
	Err     error
}

func (e *Error) Error() string { return e.Message }

// Unwrap is the cause, where there is one.
func (e *Error) Unwrap() error { return e.Err }

func unavailable(format string, args ...any) error {
	return &Error{Reason: Unavailable, Message: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) error {
	return &Error{Reason: Invalid, Message: fmt.Sprintf(format, args...)}
}

// failed wraps what the network or the disk says. Of a chain of errors the innermost is shown: those around it name ports
// that differ on every try.
func failed(doing string, err error) error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &Error{Reason: Full, Err: err, Message: "the disk of the cache is full; give it more room, or delete SeedImages that are not needed"}
	}
	return &Error{Reason: Unavailable, Err: err, Message: fmt.Sprintf("%s: %v", doing, innermost(err))}
}

func innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
