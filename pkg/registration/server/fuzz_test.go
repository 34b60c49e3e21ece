package server

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// recorded is a socket on which a machine has said everything before it hangs up. What it is told is kept.
type recorded struct {
	net.Conn
	said []byte
	told bytes.Buffer
	// solve, unless nil, says the true answer first.
	solve func(challenge []byte) []byte
}

func (c *recorded) Read(buffer []byte) (int, error) {
	if c.solve != nil {
		c.said = append(c.solve(c.told.Bytes()), c.said...)
		c.solve = nil
	}
	if len(c.said) == 0 {
		return 0, io.EOF
	}
	n := copy(buffer, c.said)
	c.said = c.said[n:]
	return n, nil
}

func (c *recorded) Write(data []byte) (int, error)   { return c.told.Write(data) }
func (c *recorded) SetReadDeadline(time.Time) error  { return nil }
func (c *recorded) SetWriteDeadline(time.Time) error { return nil }

// Whatever a machine sends after the handshake, in either version, before or after its proof: the server says whole frames, at most one of
// them a close frame and that the last, answers only who has proven himself, at most once, and never without an answer as if it had one.
func FuzzFrameSequence(f *testing.F) {
	for _, sequence := range [][]byte{
		binaryFrame(`{"type":"facts"}`),
		binaryFrame(`{"type":"facts","smbios":{"System Information":{"UUID":"x"}},"facts":{"hostname":"n","addresses":["10.0.0.1"]},"callHome":false}`),
		binaryFrame(`{"type":"facts","callHome":true}`),
		binaryFrame(`{"Secret":"AAAA"}`),
		append(masked(opBinary, []byte(`{"type":`)), masked(0x80|opContinuation, []byte(`"facts"}`))...),
		append(masked(0x80|opPing, []byte("x")), closeFrame(1000, "bye")...),
		repeat(40, masked(opBinary, nil)),
		masked(0x80|opText, []byte("{}")),
		header(0x80|opBinary, 1<<63),
	} {
		f.Add(sequence, true, true)
		f.Add(sequence, true, false)
		f.Add(sequence, false, false)
	}
	key, err := attestationKey()
	require.NoError(f, err)
	prover, err := tpm.GenerateSoftware(tpm.ECCP256, tpm.WithAttestationKey(key))
	require.NoError(f, err)
	proof, err := prover.NewProof()
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, sequence []byte, v2, proves bool) {
		session, err := attestation.Begin(proof.Token(), attestation.Policy{})
		require.NoError(t, err)
		conn := &recorded{said: bytes.Clone(sequence)}
		if proves {
			conn.solve = func(told []byte) []byte {
				x := &wire{proof: proof, v2: v2, reader: bufio.NewReader(bytes.NewReader(told))}
				_, challenge, err := x.next()
				require.NoError(t, err)
				return masked(0x80|opBinary, x.solve(t, challenge))
			}
		}
		answers := 0
		c := conversation{last: protocol.TypeConfig, answer: func(caller) ([]byte, error) {
			answers++
			return []byte(`{"canary":true}`), nil
		}}
		frames, o := newFrames(conn, bufio.NewReader(conn), timeouts{challenge: time.Minute, exchange: time.Minute}), opening{session: session, v2: v2}
		if v2 {
			err = conversationV2{frames, o, &c}.run()
		} else {
			err = conversationV1{frames, o, &c}.run()
		}
		require.Equal(t, err == nil, answers == 1)
		require.LessOrEqual(t, answers, 1)
		require.True(t, proves || answers == 0, "answered without proof")
		checkTold(t, conn.told.Bytes(), answers, v2)
	})
}

func checkTold(t *testing.T, told []byte, answers int, v2 bool) {
	t.Helper()
	x := &wire{reader: bufio.NewReader(bytes.NewReader(told))}
	closed, config := false, 0
	for {
		kind, payload, err := x.next()
		if err != nil {
			require.ErrorIs(t, err, io.EOF, "whole frames")
			break
		}
		require.False(t, closed, "nothing after the close frame")
		if closed = kind == opClose; closed && v2 {
			normal := len(payload) >= 2 && payload[0] == 1000>>8 && payload[1] == 1000&0xff
			require.True(t, answers == 0 || normal)
		}
		if strings.Contains(string(payload), "canary") && kind == opBinary {
			config++
		}
	}
	require.Equal(t, answers, config)
}
