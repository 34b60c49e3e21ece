package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Code names one class of refusal. Programs act on it; it never changes once released.
type Code string

const (
	// CodeBadRequest is a request that no correct client sends. Repeating it does not help.
	CodeBadRequest Code = "bad-request"
	// CodeUnauthorized is a request without a usable proof: wrong scheme, malformed header.
	CodeUnauthorized Code = "unauthorized"
	// CodeAttestationFailed is a proof that did not hold. The sentence is always the same: which check failed
	// is for the server's log.
	CodeAttestationFailed Code = "attestation-failed"
	// CodeCertificateRequired is a machine without an endorsement certificate where one is demanded.
	CodeCertificateRequired Code = "certificate-required"
	// CodeForbidden is a proven machine that may not do this here (not listed, identity belongs elsewhere).
	CodeForbidden Code = "forbidden"
	// CodeRevoked is a proven machine whose identity is revoked: another has taken its place.
	CodeRevoked Code = "revoked"
	// CodePaused, CodeExpired and CodeFull are registrations that take no new machines.
	CodePaused  Code = "paused"
	CodeExpired Code = "expired"
	CodeFull    Code = "full"
	// CodePending is a proven machine that waits for a person's approval. Ask again.
	CodePending Code = "pending"
	// CodeNotAssigned is a known machine that has no cluster yet. Ask again.
	CodeNotAssigned Code = "not-assigned"
	// CodeNotFound is a registration or machine that does not exist (or is none of the caller's business).
	CodeNotFound Code = "not-found"
	// CodeInProgress is a second connection of a machine whose first one is still being served. Ask again.
	CodeInProgress Code = "in-progress"
	// CodeTooLarge is a header, frame or document over its limit.
	CodeTooLarge Code = "too-large"
	// CodeUnsupported is a protocol version or message that this side does not know.
	CodeUnsupported Code = "unsupported"
	// CodeRateLimited is a caller that asks too often. Honour RetryAfter.
	CodeRateLimited Code = "rate-limited"
	// CodeUnavailable is a server that cannot answer right now. Honour RetryAfter.
	CodeUnavailable Code = "unavailable"
	// CodeInternal is a failure of the server's own. Ask again.
	CodeInternal Code = "internal"
)

// Status is the HTTP status that goes with the code.
func (c Code) Status() int {
	switch c {
	case CodeBadRequest, CodeUnsupported:
		return http.StatusBadRequest
	case CodeUnauthorized, CodeAttestationFailed, CodeCertificateRequired:
		return http.StatusUnauthorized
	case CodeForbidden, CodeRevoked, CodePaused, CodeFull:
		return http.StatusForbidden
	case CodeNotFound, CodeExpired:
		return http.StatusNotFound
	case CodePending, CodeNotAssigned, CodeInProgress:
		return http.StatusConflict
	case CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case CodeRateLimited:
		return http.StatusTooManyRequests
	case CodeUnavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// CodeOfStatus is the code that a client infers from a bare HTTP status, for servers that send only text.
func CodeOfStatus(status int) Code {
	switch status {
	case http.StatusBadRequest, http.StatusUpgradeRequired, http.StatusMethodNotAllowed:
		return CodeBadRequest
	case http.StatusUnauthorized:
		return CodeUnauthorized
	case http.StatusForbidden:
		return CodeForbidden
	case http.StatusNotFound, http.StatusGone:
		return CodeNotFound
	case http.StatusConflict:
		return CodeInProgress
	case http.StatusRequestEntityTooLarge, http.StatusRequestHeaderFieldsTooLarge, http.StatusRequestURITooLong:
		return CodeTooLarge
	case http.StatusTooManyRequests:
		return CodeRateLimited
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return CodeUnavailable
	default:
		return CodeInternal
	}
}

// Retriable tells whether the same request can succeed later without anybody changing the machine.
func (c Code) Retriable() bool {
	switch c {
	case CodePending, CodeNotAssigned, CodeInProgress, CodeRateLimited, CodeUnavailable, CodeInternal, CodePaused, CodeFull:
		return true
	default:
		return false
	}
}

// Error is every refusal of the conversation. Code, Message, Hint and RetryAfter may be shown to the other side;
// Reason and Err are for our own logs and events and are never encoded.
type Error struct {
	Code Code
	// Message says what happened, in a sentence that is constant per class where the caller is not trusted.
	Message string
	// Hint says what a person can do about it.
	Hint string
	// RetryAfter says when to come back; zero means that the caller decides.
	RetryAfter time.Duration

	// Reason is the precise cause. It may quote the other side's input (bounded), so it stays on our side.
	Reason string
	// Err is the underlying error, if there is one.
	Err error
}

// Error returns the public sentence only, so that an error which escapes to the other side tells nothing more.
func (e *Error) Error() string { return e.Message }

// Unwrap gives errors.Is and errors.As the underlying error.
func (e *Error) Unwrap() error { return e.Err }

// Detail is the line for a log: the public sentence and the precise reason.
func (e *Error) Detail() string {
	switch {
	case e.Reason != "" && e.Err != nil:
		return fmt.Sprintf("%s: %s: %v", e.Message, e.Reason, e.Err)
	case e.Reason != "":
		return e.Message + ": " + e.Reason
	case e.Err != nil:
		return fmt.Sprintf("%s: %v", e.Message, e.Err)
	default:
		return e.Message
	}
}

// wireError is what of an Error travels.
type wireError struct {
	Code       Code   `json:"code"`
	Message    string `json:"message"`
	Hint       string `json:"hint,omitempty"`
	RetryAfter int64  `json:"retryAfterSeconds,omitempty"`
}

// MarshalJSON encodes the public half.
func (e *Error) MarshalJSON() ([]byte, error) {
	seconds := int64((e.RetryAfter + time.Second - 1) / time.Second)
	return json.Marshal(wireError{Code: e.Code, Message: e.Message, Hint: e.Hint, RetryAfter: seconds})
}

// UnmarshalJSON decodes the public half.
func (e *Error) UnmarshalJSON(data []byte) error {
	var w wireError
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	const day = 24 * 60 * 60
	*e = Error{Code: w.Code, Message: w.Message, Hint: w.Hint,
		RetryAfter: time.Duration(min(max(w.RetryAfter, 0), day)) * time.Second}
	return nil
}

// AsError returns the *Error inside err, or wraps err as an internal one whose text stays on our side.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: CodeInternal, Message: "internal error", Err: err}
}

// refuse builds the errors of this package's parsers: a constant sentence and a precise reason.
func refuse(code Code, message, format string, args ...any) *Error {
	return &Error{Code: code, Message: message, Reason: fmt.Sprintf(format, args...)}
}
