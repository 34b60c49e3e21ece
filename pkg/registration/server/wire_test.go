package server

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// wire is a machine that sends what it likes: a socket after the handshake, and the true answer to its challenge.
type wire struct {
	*net.TCPConn
	reader *bufio.Reader
	proof  attestation.Proof
	v2     bool
	// right is the frame with the answer to the challenge.
	right []byte
}

// open shakes hands by hand, and sends first in the same breath.
func open(t *testing.T, w world, v2 bool, path string, first ...byte) *wire {
	t.Helper()
	return openAs(t, w, newTPM(t, tpm.ECCP256), v2, path, first...)
}

func openAs(t *testing.T, w world, prover attestation.Prover, v2 bool, path string, first ...byte) *wire {
	t.Helper()
	x, response := shake(t, w, prover, subprotocol(v2), path, first...)
	require.Equal(t, http.StatusSwitchingProtocols, response.StatusCode)
	x.v2 = v2
	kind, challenge, err := x.next()
	require.NoError(t, err)
	require.Equal(t, opBinary, kind, "the server speaks first")
	x.right = masked(0x80|opBinary, x.solve(t, challenge))
	return x
}

func subprotocol(v2 bool) string {
	if v2 {
		return "Sec-WebSocket-Protocol: " + protocol.SubprotocolV2 + "\r\n"
	}
	return ""
}

func shake(t *testing.T, w world, prover attestation.Prover, lines, path string, first ...byte) (*wire, *http.Response) {
	t.Helper()
	proof, err := prover.NewProof()
	require.NoError(t, err)
	authorization, err := proof.Token().EncodeAuthorization()
	require.NoError(t, err)
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(15*time.Second)))
	_, err = conn.Write(append([]byte("GET "+path+" HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: "+authorization+"\r\n"+lines+"\r\n"), first...))
	require.NoError(t, err)
	x := &wire{TCPConn: conn.(*net.TCPConn), reader: bufio.NewReader(conn), proof: proof}
	response, err := http.ReadResponse(x.reader, nil)
	require.NoError(t, err)
	return x, response
}

// solve answers a challenge as the version has it.
func (x *wire) solve(t *testing.T, challenge []byte) []byte {
	t.Helper()
	parse, encode := protocol.ParseChallenge, func(secret []byte) ([]byte, error) { return (&protocol.ChallengeResponse{Secret: secret}).Encode() }
	if x.v2 {
		parse, encode = protocol.ParseChallengeV2, protocol.EncodeAnswerV2
	}
	parsed, err := parse(challenge)
	require.NoError(t, err)
	secret, err := x.proof.Activate(parsed)
	require.NoError(t, err)
	answer, err := encode(secret)
	require.NoError(t, err)
	return answer
}

// prove sends the answer, and reads that it is accepted. Version 2 only.
func (x *wire) prove(t *testing.T) {
	t.Helper()
	_, err := x.Write(x.right)
	require.NoError(t, err)
	_, message, err := x.next()
	require.NoError(t, err)
	require.NoError(t, protocol.ParseProven(message))
}

// next reads one of the server's frames, which are never masked and never in fragments.
func (x *wire) next() (kind int, payload []byte, err error) {
	var start [2]byte
	if _, err := io.ReadFull(x.reader, start[:]); err != nil {
		return 0, nil, err
	}
	length := uint64(start[1])
	switch {
	case start[0]&0xf0 != 0x80 || start[1] > 127:
		return 0, nil, errors.New("the server's own frame is broken")
	case length == 126:
		var size [2]byte
		_, err = io.ReadFull(x.reader, size[:])
		length = uint64(binary.BigEndian.Uint16(size[:]))
	case length == 127:
		var size [8]byte
		_, err = io.ReadFull(x.reader, size[:])
		length = binary.BigEndian.Uint64(size[:])
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, length)
	_, err = io.ReadFull(x.reader, payload)
	return int(start[0] & 0x0f), payload, err
}

// outcome is how a conversation ended.
type outcome struct {
	// messages are the data frames, pongs how many pings were answered.
	messages []string
	pongs    int
	// code is that of the close frame, zero if there was none.
	code   int
	reason string
	took   time.Duration
}

// end reads until the server hangs up.
func (x *wire) end(t *testing.T) outcome {
	t.Helper()
	since, o := time.Now(), outcome{}
	for {
		kind, payload, err := x.next()
		if err != nil {
			var timeout net.Error
			require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "the server does not hang up")
			o.took = time.Since(since)
			return o
		}
		switch kind {
		case opPong:
			o.pongs++
		case opClose:
			require.Zero(t, o.code, "one close frame")
			if o.code = websocket.CloseNoStatusReceived; len(payload) >= 2 {
				o.code, o.reason = int(binary.BigEndian.Uint16(payload)), string(payload[2:])
			}
			o.took = time.Since(since)
			// The way a client answers a close frame.
			_, _ = x.Write(masked(0x80|opClose, payload))
			_ = x.CloseWrite()
		default:
			require.Zero(t, o.code, "nothing after the close frame")
			o.messages = append(o.messages, string(payload))
		}
	}
}

// refusal is the typed error that the conversation ended with; nil if it ended otherwise.
func (o outcome) refusal(t *testing.T) *protocol.Error {
	t.Helper()
	if len(o.messages) == 0 {
		return nil
	}
	var message struct {
		Type    protocol.MessageType `json:"type"`
		Code    protocol.Code        `json:"code"`
		Message string               `json:"message"`
		Hint    string               `json:"hint"`
		Retry   int64                `json:"retryAfter"`
	}
	last := o.messages[len(o.messages)-1]
	if json.Unmarshal([]byte(last), &message) != nil || message.Type != protocol.TypeError {
		return nil
	}
	return &protocol.Error{Code: message.Code, Message: message.Message, Hint: message.Hint, RetryAfter: time.Duration(message.Retry) * time.Second}
}

// masked is a frame as a client sends it; start holds the final bit, reserved bits and the opcode.
func masked(start byte, payload []byte) []byte {
	frame := header(start, uint64(len(payload)))
	for i, b := range payload {
		frame = append(frame, b^maskKey[i%4])
	}
	return frame
}

var maskKey = [4]byte{0x5a, 0xa5, 0x0f, 0xf0}

// header announces a length, whatever follows.
func header(start byte, length uint64) []byte {
	frame := []byte{start}
	switch {
	case length <= 125:
		frame = append(frame, 0x80|byte(length))
	case length <= 0xffff:
		frame = binary.BigEndian.AppendUint16(append(frame, 0x80|126), uint16(length))
	default:
		frame = binary.BigEndian.AppendUint64(append(frame, 0x80|127), length)
	}
	return append(frame, maskKey[:]...)
}

func binaryFrame(payload string) []byte { return masked(0x80|opBinary, []byte(payload)) }

func closeFrame(code int, reason string) []byte {
	return masked(0x80|opClose, append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...))
}

func secretJSON(name string, size int) string {
	return `"` + name + `":"` + base64.StdEncoding.EncodeToString(make([]byte, size)) + `"`
}
