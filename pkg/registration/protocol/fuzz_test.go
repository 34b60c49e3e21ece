package protocol

import (
	"encoding/json"
	"errors"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// What every parser here promises for any input: an answer or an *Error whose sentence is constant, never both, never a panic.

func FuzzParseAuthorization(f *testing.F) {
	f.Add("Bearer TPMe30=")
	whole, err := (&AttestationToken{EK: []byte("ek"), AK: &AttestationKey{
		Public: []byte("p"), CreateData: []byte("d"), CreateAttestation: []byte("a"), CreateSignature: []byte("s")}}).EncodeAuthorization()
	require.NoError(f, err)
	f.Add(whole)
	f.Fuzz(func(t *testing.T, header string) {
		token, err := ParseAuthorization(header)
		if !refused(t, err) {
			again, err := token.EncodeAuthorization()
			require.NoError(t, err)
			same, err := ParseAuthorization(again)
			require.NoError(t, err)
			require.Equal(t, token, same)
		}
	})
}

func FuzzParseSMBIOS(f *testing.F) {
	f.Add([]byte(`{"System Information":{"Manufacturer":"x","n":1e400}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		object, err := ParseSMBIOS(data)
		if refused(t, err) {
			require.Nil(t, object)
			return
		}
		encoded, err := json.Marshal(object)
		require.NoError(t, err)
		require.True(t, utf8.Valid(encoded))
	})
}

func FuzzParseChallengeResponse(f *testing.F) {
	f.Add([]byte(`{"Secret":"AAAA"}`))
	f.Fuzz(func(t *testing.T, frame []byte) {
		response, err := ParseChallengeResponse(frame)
		if !refused(t, err) {
			require.NotEmpty(t, response.Secret)
		}
	})
}

func FuzzParseAnswerV2(f *testing.F) {
	f.Add([]byte(`{"type":"answer","secret":"AAAA"}`))
	f.Fuzz(func(t *testing.T, frame []byte) {
		secret, err := ParseAnswerV2(frame)
		if !refused(t, err) {
			require.NotEmpty(t, secret)
		}
	})
}

func FuzzParseReport(f *testing.F) {
	f.Add([]byte(`{"type":"facts","smbios":{"a":{"b":1e400}},"facts":{"hostname":"n","addresses":["::1"],"osImage":"i","osVersion":"v"},"callHome":true}`))
	f.Fuzz(func(t *testing.T, frame []byte) {
		report, err := ParseReport(frame)
		if refused(t, err) {
			require.Nil(t, report)
			return
		}
		encoded, err := report.Encode()
		require.NoError(t, err)
		_, err = ParseReport(encoded)
		require.True(t, err == nil || len(encoded) > MaxSMBIOS, "what was read can be said: %v", err)
	})
}

// What the server says is read by machines that trust it, but not with their eyes closed.
func FuzzServerMessages(f *testing.F) {
	f.Add([]byte(`{"type":"config","config":{"a":[1]}}`))
	f.Add([]byte(`{"type":"assignment","state":"assigned","assignment":{"token":"T"},"retryAfter":9}`))
	f.Add([]byte(`{"type":"error","code":"pending","message":"m","hint":"h","retryAfter":60}`))
	f.Add([]byte(`{"type":"challenge","credential":"AAAA","secret":"AAAA"}`))
	f.Fuzz(func(t *testing.T, frame []byte) {
		if config, err := ParseConfig(frame); !refused(t, err) {
			require.NotNil(t, config)
		}
		if assignment, err := ParseAssignment(frame); !refused(t, err) {
			require.NotEmpty(t, assignment.State)
		}
		if challenge, err := ParseChallengeV2(frame); !refused(t, err) {
			require.NotEmpty(t, challenge.EC.Secret)
		}
	})
}

func FuzzParseAnswer(f *testing.F) {
	f.Add([]byte(`{"rancherd":{"server":"x"}}`))
	f.Add([]byte("cluster not assigned\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if object, err := ParseAnswer(data); err == nil {
			require.NotNil(t, object)
		}
		_, _ = ParseInventoryAnswer(data)
		_, _ = ParseChallenge(data)
	})
}

func refused(t *testing.T, err error) bool {
	t.Helper()
	if err == nil {
		return false
	}
	var refusal *Error
	require.True(t, errors.As(err, &refusal))
	require.LessOrEqual(t, len(refusal.Reason), 512)
	require.NotEmpty(t, refusal.Message)
	return true
}
