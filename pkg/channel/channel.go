package channel

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"
)

// MaxDocument and MaxReleases bound an answer.
const (
	MaxDocument = 2 << 20
	MaxReleases = 1024
)

// Release is one release that an answer lists, complete and checked.
type Release struct {
	// Name is that of the ManagedOSVersion to be.
	Name string `json:"name"`
	// Version, Type and MinVersion are its spec's fields of these names.
	Version    string `json:"version"`
	Type       string `json:"type"`
	MinVersion string `json:"minVersion,omitempty"`
	// Metadata is a JSON object with upgradeImage; its keys are sorted.
	Metadata json.RawMessage `json:"metadata"`
}

// Answer is what a channel said.
type Answer struct {
	// Releases are sorted by name.
	Releases []Release
	// Skipped says, a phrase each, which entries were not taken and why.
	Skipped []string
	// ETag is the server's name of this answer, if it has names.
	ETag string
	// digests are what tags of a registry pointed to.
	digests map[string]string
}

// Fetcher asks a channel, once.
type Fetcher interface {
	// Fetch returns the channel's answer, or a *Failure. Last is the answer before, or nil; it is returned itself when the
	// server says that nothing is new.
	Fetch(ctx context.Context, last *Answer) (*Answer, error)
}

// Reason classes a Failure; those of package v1 have the same text, and say what the user does.
type Reason string

// The reasons.
const (
	ReasonUnreachable           Reason = "Unreachable"
	ReasonCertificateNotTrusted Reason = "CertificateNotTrusted"
	ReasonAddressForbidden      Reason = "AddressForbidden"
	ReasonRequestRefused        Reason = "RequestRefused"
	ReasonRateLimited           Reason = "RateLimited"
	ReasonInvalidDocument       Reason = "InvalidDocument"
	ReasonInvalidSpec           Reason = "InvalidSpec"
)

// Failure is why there is no answer.
type Failure struct {
	Reason Reason
	// Message is for a person, without a capital and a full stop.
	Message string
	// After is how long the server asks not to be asked again; zero when it does not say.
	After time.Duration
}

func (f *Failure) Error() string { return f.Message }

func fail(reason Reason, format string, args ...any) *Failure {
	return &Failure{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Options are what all Fetchers have in common.
type Options struct {
	// Timeout bounds one request, from the look-up of the name to the last byte.
	Timeout time.Duration
	// CABundle are certificates, in PEM, to trust beside the system's.
	CABundle []byte
	// Insecure trusts any certificate and, for registries, plain http.
	Insecure bool
	// Networks may be reached although they would be forbidden: see guard.go.
	Networks []netip.Prefix
	// Token, or Username and Password, are what to be known by; all may be empty.
	Token, Username, Password string
	// DockerConfig is a docker config.json with the credentials of registries; may be empty.
	DockerConfig []byte
}
