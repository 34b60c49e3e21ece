package server

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	"github.com/rancher/rancheros-operator/tests/machine"
)

// dial opens an exchange up to where the server waits for the answer to its challenge.
func dial(t *testing.T, w world, prover attestation.Prover, path string) (*websocket.Conn, func() []byte) {
	t.Helper()
	proof, err := prover.NewProof()
	require.NoError(t, err)
	authorization, err := proof.Token().EncodeAuthorization()
	require.NoError(t, err)
	connection, response, err := websocket.DefaultDialer.DialContext(t.Context(), strings.Replace(w.url, "http", "ws", 1)+path, http.Header{"Authorization": {authorization}})
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	t.Cleanup(func() { connection.Close() })
	kind, frame, err := connection.ReadMessage()
	require.NoError(t, err)
	require.Equal(t, websocket.BinaryMessage, kind, "the server speaks first")
	return connection, func() []byte {
		challenge, err := protocol.ParseChallenge(frame)
		require.NoError(t, err)
		secret, err := proof.Activate(challenge)
		require.NoError(t, err)
		answer, err := (&protocol.ChallengeResponse{Secret: secret}).Encode()
		require.NoError(t, err)
		return answer
	}
}

// The good path, byte by byte, as ros-installer has always spoken it, with the endorsement key that most TPMs list first.
func TestTheWire(t *testing.T) {
	w := newWorld(t)
	prover := newTPM(t, tpm.RSA2048)
	conversation, err := (&machine.OldClient{TPM: prover}).Register(t.Context(), w.url+registrationPath, nil)
	require.NoError(t, err)

	require.Len(t, conversation.Challenge, 476)
	var challenge struct {
		EC struct{ Credential, Secret []byte }
	}
	require.NoError(t, json.Unmarshal(conversation.Challenge, &challenge))
	require.Len(t, challenge.EC.Credential, 70)
	require.Equal(t, []byte{0, 0x44, 0, 0x20}, challenge.EC.Credential[:4])
	require.Len(t, challenge.EC.Secret, 258)
	require.Equal(t, []byte{1, 0}, challenge.EC.Secret[:2])
	again, err := json.Marshal(challenge)
	require.NoError(t, err)
	require.Equal(t, string(again), string(conversation.Challenge), "nothing else is in it")

	name := w.Inventories.All()[0].Name
	require.Equal(t, `{"hostname":"`+name+`","rancherd":{"server":"https://rancher.example.com","token":"tpm://"},`+
		`"rancheros":{"install":{"automatic":true,"device":"/dev/nvme0n1"}},"users":[{"name":"root","passwd":"root"}]}`, string(conversation.Final))
	require.Equal(t, prover.EndorsementHash(), w.Inventories.All()[0].Spec.TPM)
}

// After the last frame the connection is closed without a websocket close frame, which the first clients do not expect.
func TestTheWireEnds(t *testing.T) {
	w := newWorld(t)
	connection, solve := dial(t, w, newTPM(t, tpm.ECCP256), registrationPath)
	require.NoError(t, connection.WriteMessage(websocket.BinaryMessage, solve()))
	kind, _, err := connection.ReadMessage()
	require.NoError(t, err)
	require.Equal(t, websocket.BinaryMessage, kind)
	_, _, err = connection.ReadMessage()
	require.True(t, websocket.IsCloseError(err, websocket.CloseAbnormalClosure), "%v", err)
}

// W4, W18 to W22, W24: one answer, and it is right or it is not. Which it was not is for our log.
func TestWrongAnswers(t *testing.T) {
	w := newWorld(t)
	prover := newTPM(t, tpm.ECCP256)
	_, replay := dial(t, w, prover, registrationPath)
	replayed := replay()
	for _, c := range []struct {
		why   string
		frame func(right []byte) []byte
	}{
		{"W4 nothing", func([]byte) []byte { return nil }},
		{"W18 no JSON", func([]byte) []byte { return []byte("secret") }},
		{"W19 null", func([]byte) []byte { return []byte("null") }},
		{"W20 an empty secret", func([]byte) []byte { return []byte(`{"Secret":""}`) }},
		{"W20 31 bytes", func([]byte) []byte { return secretOf(31) }},
		{"W20 32 wrong bytes", func([]byte) []byte { return secretOf(32) }},
		{"W21 a secret twice", func(right []byte) []byte {
			return []byte(strings.Replace(string(right), "{", `{"Secret":"`+base64.StdEncoding.EncodeToString(make([]byte, 32))+`",`, 1))
		}},
		{"W22 the secret of another connection", func([]byte) []byte { return replayed }},
	} {
		t.Run(c.why, func(t *testing.T) {
			connection, solve := dial(t, w, prover, registrationPath)
			right := solve()
			require.NoError(t, connection.WriteMessage(websocket.BinaryMessage, c.frame(right)))
			require.NoError(t, connection.WriteMessage(websocket.BinaryMessage, right), "W24: a second answer, the right one")
			requireFailed(t, connection, websocket.ClosePolicyViolation)
		})
	}
	require.Empty(t, w.Inventories.Names(), "nothing is made before the proof")
}

// requireFailed says that the one sentence comes, which the first clients show, and the end with its code.
func requireFailed(t *testing.T, connection *websocket.Conn, code int) {
	t.Helper()
	kind, frame, err := connection.ReadMessage()
	require.NoError(t, err)
	require.Equal(t, websocket.BinaryMessage, kind)
	require.Equal(t, "attestation failed", string(frame))
	requireClosed(t, connection, websocket.CloseError{Code: code, Text: "attestation failed"})
}

// requireClosed says that nothing comes any more but the end.
func requireClosed(t *testing.T, connection *websocket.Conn, want websocket.CloseError) {
	t.Helper()
	_, _, err := connection.ReadMessage()
	var closed *websocket.CloseError
	require.ErrorAs(t, err, &closed)
	require.Equal(t, want, *closed)
}

func secretOf(length int) []byte {
	return []byte(`{"Secret":"` + base64.StdEncoding.EncodeToString(make([]byte, length)) + `"}`)
}

// W3 and W5: an answer is one binary frame, and what has proven nothing cannot make us read much.
func TestFramesThatAreNoAnswer(t *testing.T) {
	w := newWorld(t)
	connection, solve := dial(t, w, newTPM(t, tpm.ECCP256), registrationPath)
	require.NoError(t, connection.WriteMessage(websocket.TextMessage, solve()))
	requireFailed(t, connection, websocket.CloseUnsupportedData)

	connection, _ = dial(t, w, newTPM(t, tpm.ECCP256), registrationPath)
	require.NoError(t, connection.WriteMessage(websocket.BinaryMessage, make([]byte, protocol.MaxFrameUnauthenticated+1)))
	requireClosed(t, connection, websocket.CloseError{Code: websocket.CloseMessageTooBig, Text: "the message is too large"})
	require.Empty(t, w.Inventories.Names())
}

// H23 to H32: what is refused before the upgrade, where the first clients print the reason.
func TestAuthorizations(t *testing.T) {
	w := newWorld(t)
	proof, err := newTPM(t, tpm.ECCP256).NewProof()
	require.NoError(t, err)
	good, err := proof.Token().EncodeAuthorization()
	require.NoError(t, err)
	for _, c := range []struct {
		id    string
		lines []string
	}{
		{"H24 nothing after TPM", []string{"Authorization: Bearer TPM"}},
		{"H25 no base64", []string{"Authorization: Bearer TPM!!!!"}},
		{"H28 something after the end", []string{"Authorization: " + good + "A"}},
		{"H29 another case", []string{"Authorization: " + strings.Replace(good, "Bearer TPM", "bearer tpm", 1)}},
		{"H30 another scheme", []string{"Authorization: Basic YWRtaW46YWRtaW4="}},
		{"H31 the successor's unproven identity", []string{"Authorization: Bearer PLAIN" + "aa:bb:cc:dd:ee:ff"}},
		{"H32 a token of Rancher's API", []string{"Authorization: Bearer token-abcde:bcdfghjkl"}},
		{"a shared token", []string{"Authorization: Bearer " + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("s", 40)))}},
		{"nothing at all in it", []string{"Authorization: "}},
		{"T1 a token without keys", []string{"Authorization: Bearer TPM" + base64.StdEncoding.EncodeToString([]byte("{}"))}},
	} {
		got := w.get(t, registrationPath, append(c.lines, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")...)
		require.Equal(t, http.StatusUnauthorized, got.status, c.id)
		require.NotContains(t, got.body, "cloud-config", "%s: a sample is for who sends no proof at all", c.id)
	}
	require.Equal(t, http.StatusBadRequest, w.get(t, registrationPath, "Authorization: "+good, "Authorization: "+good).status, "H23 two")
}
