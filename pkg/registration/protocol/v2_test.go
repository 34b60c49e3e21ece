package protocol

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/machine"
)

// The messages of version 2, byte by byte: machines in the field speak them from the first release on.
func TestMessages(t *testing.T) {
	facts := machine.Facts{Hostname: "n1", Addresses: []string{"10.0.0.1"}, OSImage: "RancherOS", OSVersion: "v1"}
	for want, encode := range map[string]func() ([]byte, error){
		`{"type":"challenge","credential":"Yw==","secret":"cw=="}`: func() ([]byte, error) {
			return EncodeChallengeV2(&Challenge{EC: EncryptedCredential{Credential: []byte("c"), Secret: []byte("s")}})
		},
		`{"type":"answer","secret":"cw=="}`:        func() ([]byte, error) { return EncodeAnswerV2([]byte("s")) },
		`{"type":"proven","identity":"abc"}`:       func() ([]byte, error) { return EncodeProven("abc") },
		`{"type":"facts","facts":{}}`:              func() ([]byte, error) { return (&Report{}).Encode() },
		`{"type":"config","config":{"a":1}}`:       func() ([]byte, error) { return EncodeConfig([]byte(`{"a":1}`)) },
		`{"type":"assignment","state":"released"}`: func() ([]byte, error) { return (&Assignment{State: StateReleased}).Encode() },
		`{"type":"assignment","state":"assigned","assignment":{"role":"agent"}}`: func() ([]byte, error) {
			return (&Assignment{State: StateAssigned, Answer: []byte("{\"role\":\"agent\"}\n")}).Encode()
		},
		`{"type":"assignment","state":"not-assigned","retryAfter":15}`: func() ([]byte, error) {
			return (&Assignment{State: StateNotAssigned, RetryAfter: 15 * time.Second}).Encode()
		},
		`{"type":"facts","smbios":{"a":"b"},"facts":{"hostname":"n1","addresses":["10.0.0.1"],"osImage":"RancherOS","osVersion":"v1"},"callHome":true}`: func() ([]byte, error) {
			return (&Report{SMBIOS: map[string]any{"a": "b"}, Facts: facts, CallHome: true}).Encode()
		},
		`{"type":"error","code":"pending","message":"wait","hint":"approve it","retryAfter":2}`: func() ([]byte, error) {
			return EncodeErrorV2(&Error{Code: CodePending, Message: "wait", Hint: "approve it", RetryAfter: 1500 * time.Millisecond, Reason: "secret"})
		},
	} {
		got, err := encode()
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	_, err := (&Report{SMBIOS: map[string]any{"a": strings.Repeat("x", MaxFrameAuthenticated)}}).Encode()
	require.Equal(t, CodeTooLarge, AsError(err).Code)
}

// What one side says, the other side reads.
func TestMessagesRoundTrip(t *testing.T) {
	report := &Report{SMBIOS: map[string]any{"a": map[string]any{"b": "c"}}, Facts: machine.Facts{Hostname: "n", Addresses: []string{"::1"}}, CallHome: true}
	frame, err := report.Encode()
	require.NoError(t, err)
	read, err := ParseReport(frame)
	require.NoError(t, err)
	require.Equal(t, report, read)

	assignment := &Assignment{State: StateAssigned, Answer: []byte(`{"role":"agent"}`), RetryAfter: 9 * time.Second}
	frame, err = assignment.Encode()
	require.NoError(t, err)
	got, err := ParseAssignment(frame)
	require.NoError(t, err)
	require.Equal(t, assignment, got)

	refusal := &Error{Code: CodeFull, Message: "full", Hint: "ask", RetryAfter: time.Minute}
	frame, err = EncodeErrorV2(refusal)
	require.NoError(t, err)
	for _, parse := range []func([]byte) error{ParseProven, func(frame []byte) error { _, err := ParseConfig(frame); return err },
		func(frame []byte) error { _, err := ParseAssignment(frame); return err }, func(frame []byte) error { _, err := ParseChallengeV2(frame); return err }} {
		require.Equal(t, refusal, AsError(parse(frame)), "a refusal can come in the place of every message")
	}
	_, err = ParseConfig([]byte(`{"type":"config","config":{},"later":1}`))
	require.NoError(t, err, "servers to come may say more")
	_, err = ParseAssignment([]byte(`{"type":"assignment","state":"sold"}`))
	require.Error(t, err)
	_, err = ParseAssignment([]byte(`{"type":"assignment","state":"assigned","retryAfter":-5}`))
	require.NoError(t, err)
}

// Long and ugly facts are made fit to be shown.
func TestFactTexts(t *testing.T) {
	report, err := ParseReport([]byte(`{"type":"facts","facts":{"hostname":"a\u001b[31m","osImage":"` + strings.Repeat("x", 300) + `","addresses":["2001:DB8::1","::ffff:10.0.0.1"]}}`))
	require.NoError(t, err)
	require.Equal(t, `a\u001b[31m`, report.Facts.Hostname)
	require.Len(t, report.Facts.OSImage, 256)
	require.Equal(t, []string{"2001:db8::1", "::ffff:10.0.0.1"}, report.Facts.Addresses)
}
