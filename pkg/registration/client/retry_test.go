package client

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// fails is an attempt that fails so often with the error, then succeeds.
func fails(times int, err error) (attempt func(context.Context) error, count *int) {
	count = new(int)
	return func(context.Context) error {
		if *count++; *count <= times {
			return err
		}
		return nil
	}, count
}

func TestRetryPauses(t *testing.T) {
	for _, c := range []struct {
		why    string
		err    error
		random float64
		times  int
		want   []time.Duration
		given  bool // gives up
	}{
		{"doubling up to a minute, the longest of each", &Failure{Cause: CauseUnreachable}, 1, 7,
			[]time.Duration{2, 4, 8, 16, 32, 60, 60}, false},
		{"half of it at least", &Failure{Cause: CauseNotYet}, 0, 3, []time.Duration{1, 2, 4}, false},
		{"F44: the server's hint, never earlier", &Failure{Cause: CauseNotYet, RetryAfter: 20 * time.Second}, 0, 2, []time.Duration{20, 20}, false},
		{"F44: and up to a quarter later", &Failure{Cause: CauseNotYet, RetryAfter: 20 * time.Second}, 1, 2, []time.Duration{25, 25}, false},
		{"F44: a no is asked again with pauses up to an hour, then believed", &Failure{Cause: CauseRefused}, 1, 20,
			[]time.Duration{2, 4, 8, 16, 32, 64, 128, 256}, true},
		{"untrusted may become trusted", &Failure{Cause: CauseUntrusted}, 1, 1, []time.Duration{2}, false},
		{"a clock may be set", &Failure{Cause: CauseClock}, 1, 1, []time.Duration{2}, false},
		{"a wrong flag stays wrong", &Failure{Cause: CauseConfig}, 1, 1, nil, true},
		{"a full disk", &Failure{Cause: CauseDisk}, 1, 1, nil, true},
		{"a defect", errTest, 1, 1, nil, true},
		{"F43: a missing TPM", &tpm.Error{Cause: tpm.Missing}, 1, 1, nil, true},
		{"F43: a busy TPM", &tpm.Error{Cause: tpm.Busy}, 1, 2, []time.Duration{2, 4}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			attempt, count := fails(c.times, c.err)
			var pauses []time.Duration
			start := time.Now()
			err := Retry{Random: func() float64 { return c.random }, OnFailure: func(_ *Failure, pause time.Duration) { pauses = append(pauses, pause) }}.
				Do(t.Context(), attempt)
			require.Equal(t, c.given, err != nil, c.why)
			total := time.Duration(0)
			for i := range c.want {
				c.want[i] *= time.Second
				total += c.want[i]
			}
			require.Equal(t, c.want, pauses, c.why)
			require.Equal(t, total, time.Since(start), c.why)
			require.Equal(t, len(c.want)+1, *count, c.why)
		})
	}
}

func TestRetryEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		err := Retry{}.Do(ctx, func(context.Context) error {
			return &Failure{Cause: CauseNotYet, Message: "why", RetryAfter: time.Hour}
		})
		require.EqualError(t, err, "why", "the last failure says more than the context's end")
		require.Equal(t, 10*time.Second, time.Since(start))
	})
}

func TestExplain(t *testing.T) {
	now := time.Date(1970, 1, 1, 0, 5, 0, 0, time.UTC)
	certificate := &x509.Certificate{NotBefore: now.AddDate(50, 0, 0), NotAfter: now.AddDate(60, 0, 0)}
	expired := x509.CertificateInvalidError{Cert: certificate, Reason: x509.Expired}
	for _, c := range []struct {
		why     string
		err     error
		now     time.Time
		want    Cause
		message string
	}{
		{"F40: a clock at 1970", expired, now, CauseClock, "1970-01-01 00:05:00"},
		{"an expired certificate, or a clock in the future", expired, now.AddDate(61, 0, 0), CauseUntrusted, "ended on"},
		{"a certificate that cannot be used", x509.CertificateInvalidError{Cert: certificate, Reason: x509.NameMismatch}, now, CauseUntrusted, "cannot be used"},
	} {
		failure := explainTLS(fmt.Errorf("dialling: %w", c.err), "r.example.com", c.now)
		require.Equal(t, c.want, failure.Cause, c.why)
		require.Contains(t, failure.Message, c.message, c.why)
		require.NotEmpty(t, failure.Hint, c.why)
	}
	for _, c := range []struct {
		err     error
		want    Cause
		message string
	}{
		{syscall.ECONNREFUSED, CauseUnreachable, "refuses connections"},
		{syscall.EHOSTUNREACH, CauseUnreachable, "no route"},
		{context.DeadlineExceeded, CauseUnreachable, "in time"},
		{&net.DNSError{Name: "r.example.com"}, CauseUnreachable, "cannot be resolved"},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, CauseUnreachable, "broke"},
		{errTest, CauseUnknown, "test"},
		{&tpm.Error{Cause: tpm.Busy, Message: "busy", Hint: "wait"}, CauseTPM, "busy"},
		{tpm.ErrNotForUs, CauseBadAnswer, "cannot read the challenge"},
		{&protocol.Error{Code: protocol.CodePending, Message: "wait"}, CauseNotYet, "waiting for approval by an administrator: wait"},
		{&Failure{Cause: CauseDisk, Message: "as it is"}, CauseDisk, "as it is"},
	} {
		failure := Explain(c.err, "r.example.com")
		require.Equal(t, c.want, failure.Cause, c.message)
		require.Contains(t, failure.Message, c.message)
		require.ErrorIs(t, failure, c.err)
	}
	require.Nil(t, Explain(nil, "x"))
}
