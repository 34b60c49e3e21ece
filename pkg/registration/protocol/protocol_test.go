package protocol

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestValidRegistrationToken(t *testing.T) {
	good := strings.Repeat(RegistrationTokenAlphabet, 2)
	require.Len(t, good, RegistrationTokenLength)
	for _, c := range []struct {
		id, why, token string
		want           bool
	}{
		{"-", "every letter of the alphabet", good, true},
		{"H1", "empty", "", false},
		{"H3", "one short", good[1:], false},
		{"H3", "one long", good + "b", false},
		{"H4", "another case", strings.ToUpper(good), false},
		{"H5", "10 KiB", strings.Repeat("b", 10<<10), false},
		{"H6", "dots", ".." + good[2:], false},
		{"H7", "a slash", "/" + good[1:], false},
		{"H8", "NUL", "\x00" + good[1:], false},
		{"H9", "not UTF-8", "\xff" + good[1:], false},
	} {
		require.Equal(t, c.want, ValidRegistrationToken(c.token), "%s %s", c.id, c.why)
	}
	for c := range 256 {
		token := string([]byte{byte(c)}) + good[1:]
		require.Equal(t, strings.IndexByte(RegistrationTokenAlphabet, byte(c)) >= 0, ValidRegistrationToken(token), "%q", byte(c))
	}
}

// The bytes of wire.md.
func TestGoldenBytes(t *testing.T) {
	token := &AttestationToken{EK: []byte("ek"), AK: &AttestationKey{
		Public: []byte("p"), CreateData: []byte("d"), CreateAttestation: []byte("a"), CreateSignature: []byte("s")}}
	data, err := json.Marshal(token)
	require.NoError(t, err)
	require.Equal(t, `{"EK":"ZWs=","AK":{"Public":"cA==","UseTCSDActivationFormat":false,"CreateData":"ZA==","CreateAttestation":"YQ==","CreateSignature":"cw=="}}`, string(data))
	header, err := token.EncodeAuthorization()
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(header, "Bearer TPMey"), "no space between TPM and the base64")

	frame, err := (&Challenge{EC: EncryptedCredential{Credential: []byte("c"), Secret: []byte("s")}}).Encode()
	require.NoError(t, err)
	require.Equal(t, `{"EC":{"Credential":"Yw==","Secret":"cw=="}}`, string(frame))
	frame, err = (&ChallengeResponse{Secret: make([]byte, 32)}).Encode()
	require.NoError(t, err)
	require.Len(t, frame, 58)

	frame, err = (&InventoryAnswer{Role: "server", NodeName: "n1", Address: "1.2.3.4", Taints: []string{"k=v:NoSchedule"}, Labels: []string{"a=b"}, Token: "TTT"}).Encode()
	require.NoError(t, err)
	require.Equal(t, `{"role":"server","nodeName":"n1","address":"1.2.3.4","taints":["k=v:NoSchedule"],"labels":["a=b"],"token":"TTT"}`+"\n", string(frame))

	require.Equal(t, "Bearer c2VjcmV0", SharedTokenAuthorization("secret"))
	require.Equal(t, "Bearer K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=", CACertsAuthorization("secret"))
	// printf 'nonce\0body\0' | openssl dgst -sha512 -hmac secret -binary | base64 -w0
	require.Equal(t, "zcDMdQ3A8pWtdekwOzdD/rY6Ilkgvv+hMyJOxyDBEu08k9WS3hU32hSWgz4hmRQzm1upqLmfZ/azFJWr4KW5Tg==", CACertsHash("secret", "nonce", []byte("body")))
}

func TestParseAuthorizationHeader(t *testing.T) {
	good, err := (&AttestationToken{EK: []byte("ek"), AK: &AttestationKey{
		Public: []byte("p"), CreateData: []byte("d"), CreateAttestation: []byte("a"), CreateSignature: []byte("s")}}).EncodeAuthorization()
	require.NoError(t, err)
	encoded := strings.TrimPrefix(good, attestationPrefix)
	_, err = ParseAuthorization(good)
	require.NoError(t, err)
	for _, c := range []struct{ id, why, header string }{
		{"H24", "nothing after TPM", "Bearer TPM"},
		{"H25", "not base64", "Bearer TPM!!!!"},
		{"H26", "the URL alphabet", "Bearer TPM_-__"},
		{"H27", "a line break inside, which Go's decoder skips", "Bearer TPM" + encoded[:8] + "\r\n" + encoded[8:]},
		{"H28", "bytes after the padding", good + "AAAA"},
		{"H28", "pad bits that are not zero", "Bearer TPMe31="},
		{"H28", "no padding", strings.TrimRight("Bearer TPMe30=", "=")},
		{"H29", "lower case", strings.Replace(good, "Bearer", "bearer", 1)},
		{"H29", "tpm", strings.Replace(good, "TPM", "tpm", 1)},
		{"-", "a space after TPM", "Bearer TPM " + encoded},
		{"T50", "over the limit", "Bearer TPM" + strings.Repeat("A", MaxAuthorization)},
	} {
		_, err := ParseAuthorization(c.header)
		var refusal *Error
		require.ErrorAs(t, err, &refusal, "%s %s", c.id, c.why)
		require.Equal(t, CodeUnauthorized, refusal.Code, "%s %s", c.id, c.why)
		require.Equal(t, "the attestation token cannot be read", refusal.Error(), "%s: one sentence for all", c.id)
		require.LessOrEqual(t, len(refusal.Reason), 256, "%s %s", c.id, c.why)
	}
}

func TestSchemeOf(t *testing.T) {
	for _, c := range []struct {
		id, why string
		values  []string
		want    Scheme
	}{
		{"-", "none", nil, SchemeNone},
		{"-", "a machine", []string{"Bearer TPMe30="}, SchemeAttestation},
		{"-", "a shared token", []string{"Bearer c2VjcmV0"}, SchemeBearer},
		{"H23", "two headers", []string{"Bearer TPMe30=", "Bearer TPMe30="}, SchemeUnknown},
		{"H24", "a machine without a token is still one", []string{"Bearer TPM"}, SchemeAttestation},
		{"H29", "lower case", []string{"bearer TPMe30="}, SchemeUnknown},
		{"H30", "basic", []string{"Basic YTpi"}, SchemeUnknown},
		{"H30", "empty", []string{""}, SchemeUnknown},
		{"H30", "bearer of nothing", []string{"Bearer "}, SchemeUnknown},
		{"H31", "the successor's downgrade", []string{"Bearer PLAINAAAA"}, SchemeDowngrade},
		{"H32", "a Rancher API token is no base64", []string{"Bearer token-abcde:xyz"}, SchemeUnknown},
	} {
		require.Equal(t, c.want, SchemeOf(c.values), "%s %s", c.id, c.why)
	}
}

func TestSharedTokens(t *testing.T) {
	token, err := ParseSharedToken(SharedTokenAuthorization("secret\n"))
	require.NoError(t, err)
	require.Equal(t, "secret\n", token, "a token is bytes, and none of them is dropped")
	digest, err := ParseCACertsAuthorization(CACertsAuthorization("secret"))
	require.NoError(t, err)
	require.Equal(t, TokenDigest("secret"), digest)
	for _, header := range []string{"", "Bearer ", "Basic c2VjcmV0", "Bearer c2VjcmV0\n", "Bearer " + strings.Repeat("A", 2000)} {
		_, err := ParseSharedToken(header)
		require.Error(t, err, header)
		_, err = ParseCACertsAuthorization(header)
		require.Error(t, err, header)
	}
	_, err = ParseCACertsAuthorization("Bearer c2VjcmV0")
	require.Error(t, err, "not a SHA-256")
}

func TestCACertsHash(t *testing.T) {
	hash := CACertsHash("secret", "nonce", nil)
	require.True(t, VerifyCACertsHash(hash, "secret", "nonce", nil), "H53: over an empty body, too")
	for _, wrong := range []struct{ hash, token, nonce, body string }{
		{"", "secret", "nonce", ""}, {hash + "=", "secret", "nonce", ""}, {hash, "Secret", "nonce", ""},
		{hash, "secret", "nonce2", ""}, {hash, "secret", "nonce", "\n"},
	} {
		require.False(t, VerifyCACertsHash(wrong.hash, wrong.token, wrong.nonce, []byte(wrong.body)), "%v", wrong)
	}
	for nonce, want := range map[string]bool{
		"": false, "a": false, strings.Repeat("a", 15): false, strings.Repeat("a", 16): true, strings.Repeat("a", 256): true,
		strings.Repeat("a", 257): false, strings.Repeat("a", 16) + "\x00": false, strings.Repeat("a ", 16): false, strings.Repeat("é", 16): false,
	} {
		require.Equal(t, want, ValidNonce(nonce), "H51 %q", nonce)
	}
}

func TestParseInventoryAnswer(t *testing.T) {
	answer, err := ParseInventoryAnswer([]byte(`{"role":"agent","token":"t","labels":["a=b"],"more":{"x":1}}` + "\n"))
	require.NoError(t, err)
	require.Equal(t, &InventoryAnswer{Role: "agent", Token: "t", Labels: []string{"a=b"}, Extra: map[string]any{"more": map[string]any{"x": json.Number("1")}}}, answer,
		"other keys are the user's cloud-config")
	answer, err = ParseInventoryAnswer([]byte(`{"Role":"server","TOKEN":"x","nodename":"n","token":"t"}`))
	require.NoError(t, err)
	require.Equal(t, &InventoryAnswer{Token: "t"}, answer, "G41: a key in another case is not the role, and no cloud-config either")
	for _, c := range []struct {
		id, why, data string
		code          Code
		message       string
	}{
		{"G39", "nothing", "", CodeInternal, "without an answer"},
		{"G39", "white space", " \n", CodeInternal, "without an answer"},
		{"G39", "a captive portal", "<html><body>Login", CodeUnavailable, "web page"},
		{"-", "an error of the first server", "cluster not assigned\n", CodeNotAssigned, "cluster not assigned"},
		{"-", "its text without its return, as it really was", "cluster token not assigned{}\n", CodeNotAssigned, "not assigned"},
		{"-", "an escape sequence in a text", "\x1b[2Jboo\n\nhoo", CodeInternal, "[2Jboo hoo"},
		{"-", "our own error", `{"error":{"code":"pending","message":"wait","hint":"approve it","retryAfterSeconds":7}}`, CodePending, "wait"},
		{"-", "truncated", `{"role":"agent"`, CodeInternal, "cannot be read"},
		{"-", "spliced", `{"role":"agent"}{"role":"server"}`, CodeInternal, "cannot be read"},
		{"-", "one key twice", `{"role":"agent","role":"server"}`, CodeInternal, "cannot be read"},
		{"-", "another type", `{"role":["agent"]}`, CodeInternal, "cannot be read"},
		{"G40", "too large", `{"role":"` + strings.Repeat("a", MaxAnswer) + `"}`, CodeTooLarge, "too large"},
	} {
		_, err := ParseInventoryAnswer([]byte(c.data))
		var refusal *Error
		require.ErrorAs(t, err, &refusal, "%s %s", c.id, c.why)
		require.Equal(t, c.code, refusal.Code, "%s %s", c.id, c.why)
		require.Contains(t, refusal.Message, c.message, "%s %s", c.id, c.why)
	}
}

func TestErrors(t *testing.T) {
	secret := &Error{Code: CodePending, Message: "waiting for approval", Hint: "approve it", RetryAfter: 1500 * time.Millisecond,
		Reason: "inventory fleet-default/m-1", Err: http.ErrAbortHandler}
	require.Equal(t, "waiting for approval", secret.Error())
	require.Contains(t, secret.Detail(), "fleet-default/m-1")
	require.ErrorIs(t, secret, http.ErrAbortHandler)
	data, err := json.Marshal(secret)
	require.NoError(t, err)
	require.JSONEq(t, `{"code":"pending","message":"waiting for approval","hint":"approve it","retryAfterSeconds":2}`, string(data))
	var decoded Error
	require.NoError(t, json.Unmarshal(data, &decoded))
	require.Equal(t, Error{Code: CodePending, Message: "waiting for approval", Hint: "approve it", RetryAfter: 2 * time.Second}, decoded)
	require.NoError(t, json.Unmarshal([]byte(`{"code":"pending","retryAfterSeconds":9223372036854775807}`), &decoded))
	require.Equal(t, 24*time.Hour, decoded.RetryAfter)

	require.Nil(t, AsError(nil))
	require.Equal(t, CodeInternal, AsError(http.ErrAbortHandler).Code)
	require.Equal(t, "internal error", AsError(http.ErrAbortHandler).Error(), "an unforeseen error tells nothing")
}

func TestHTTPErrors(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for _, code := range []Code{CodeBadRequest, CodeUnauthorized, CodeAttestationFailed, CodeCertificateRequired, CodeForbidden, CodeRevoked, CodePaused, CodeExpired,
		CodeFull, CodePending, CodeNotAssigned, CodeNotFound, CodeInProgress, CodeTooLarge, CodeUnsupported, CodeRateLimited, CodeUnavailable, CodeInternal} {
		sent := &Error{Code: code, Message: "what happened", Hint: "what to do", RetryAfter: 3 * time.Second, Reason: "SECRET"}
		recorder := httptest.NewRecorder()
		WriteHTTPError(recorder, sent)
		require.GreaterOrEqual(t, recorder.Code, 400)
		require.Equal(t, "what happened\n", recorder.Body.String())
		for _, values := range recorder.Header() {
			require.NotContains(t, strings.Join(values, ""), "SECRET")
		}
		got := ReadHTTPError(recorder.Code, recorder.Header(), recorder.Body.Bytes(), now)
		got.Reason = ""
		require.Equal(t, &Error{Code: code, Message: "what happened", Hint: "what to do", RetryAfter: 3 * time.Second}, got)
	}
	old := ReadHTTPError(http.StatusUnauthorized, http.Header{}, []byte("MachineRegistration does not exist\n"), now)
	require.Equal(t, CodeUnauthorized, old.Code)
	require.Equal(t, "MachineRegistration does not exist", old.Message)
	proxy := ReadHTTPError(http.StatusServiceUnavailable, http.Header{"Retry-After": {now.Add(time.Minute).Format(http.TimeFormat)}}, []byte("<html>"), now)
	require.Equal(t, CodeUnavailable, proxy.Code)
	require.Equal(t, "the server answered 503 Service Unavailable", proxy.Message)
	require.Equal(t, time.Minute, proxy.RetryAfter)
	for _, value := range []string{"", "-1", "0", "x", "1e9", now.Add(-time.Minute).Format(http.TimeFormat)} {
		require.Zero(t, parseRetryAfter(value, now), value)
	}
	require.Equal(t, maxRetryAfter, parseRetryAfter("2147483647", now))
}

// Documents with and without numbers are decoded in two ways.
func TestNumbersAreKeptAsWritten(t *testing.T) {
	for document, want := range map[string]any{
		`{"n":[-9007199254740993,1e2],"s":"7"}`: map[string]any{"n": []any{json.Number("-9007199254740993"), json.Number("1e2")}, "s": "7"},
		`{"s":"7","b":true}`:                    map[string]any{"s": "7", "b": true},
	} {
		value, err := decodeStrict([]byte(document))
		require.NoError(t, err, document)
		require.Equal(t, want, value, document)
		_, err = decodeStrict([]byte(document + " {}"))
		require.ErrorContains(t, err, "more than one document", document)
	}
}
