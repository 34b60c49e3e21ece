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
