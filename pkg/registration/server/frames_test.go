package server

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	"github.com/rancher/rancheros-operator/tests/memoryapi"
)

const (
	normal, protocolError, unsupported = websocket.CloseNormalClosure, websocket.CloseProtocolError, websocket.CloseUnsupportedData
	notUTF8, policy, tooBig, tryLater  = websocket.CloseInvalidFramePayloadData, websocket.ClosePolicyViolation, websocket.CloseMessageTooBig, websocket.CloseTryAgainLater
)

func repeat(count int, frame []byte) []byte { return bytes.Repeat(frame, count) }

// What is wrong with frames themselves is answered alike in both versions and in every phase.
func TestFrames(t *testing.T) {
	w := newWorld(t)
	w.server.timeouts = timeouts{challenge: 5 * time.Second, exchange: 10 * time.Second}
	ping := masked(0x80|opPing, nil)
	for _, c := range []struct {
		id, why string
		send    []byte
		code    int
	}{
		{"W3", "a text frame", masked(0x80|opText, []byte("{}")), unsupported},
		{"W4", "an empty binary frame", binaryFrame(""), policy},
		{"W5", "one byte more than the limit after the proof", binaryFrame(strings.Repeat(" ", protocol.MaxFrameAuthenticated+1)), tooBig},
		{"W6", "2 GiB are announced", header(0x80|opBinary, 2<<30), tooBig},
		{"W6", "2 GiB in fragments", append(masked(opBinary, make([]byte, 8<<10)), repeat(20, masked(opContinuation, make([]byte, 8<<10)))...), tooBig},
		{"W6", "fragments whose sum overflows", append(masked(opBinary, []byte("x")), header(opContinuation, 1<<63-1)...), tooBig},
		{"W7", "a million empty fragments", append(masked(opBinary, nil), repeat(2000, masked(opContinuation, nil))...), policy},
		{"W8", "a 64-bit length with the top bit set", header(0x80|opBinary, 1<<63), protocolError},
		{"W8", "a length of all ones", header(0x80|opBinary, 1<<64-1), protocolError},
		{"W9", "an unmasked frame", []byte{0x80 | opBinary, 2, '{', '}'}, protocolError},
		{"W10", "the first reserved bit: compression that was not negotiated", masked(0xc0|opBinary, nil), protocolError},
		{"W10", "the second reserved bit", masked(0xa0|opBinary, nil), protocolError},
		{"W10", "the third reserved bit", masked(0x90|opBinary, nil), protocolError},
		{"W10", "a reserved opcode for data", masked(0x83, nil), protocolError},
		{"W10", "a reserved opcode for control", masked(0x8b, nil), protocolError},
		{"W11", "a control frame of 126 bytes", masked(0x80|opPing, make([]byte, 126)), protocolError},
		{"W11", "a ping in fragments", masked(opPing, nil), protocolError},
		{"W11", "a close frame in fragments", masked(opClose, nil), protocolError},
		{"W12", "10,000 pings", repeat(10000, ping), policy},
		{"W12", "10,000 pongs", repeat(10000, masked(0x80|opPong, nil)), policy},
		{"W12", "pings between fragments", append(masked(opBinary, nil), repeat(100, ping)...), policy},
		{"W14", "close code 1005", closeFrame(1005, ""), protocolError},
		{"W14", "close code 1006", closeFrame(1006, ""), protocolError},
		{"W14", "close code 0", closeFrame(0, ""), protocolError},
		{"W14", "close code 5000", closeFrame(5000, ""), protocolError},
		{"W14", "half a close code", masked(0x80|opClose, []byte{3}), protocolError},
		{"W14", "a good close code is answered with itself", closeFrame(1001, "bye"), 1001},
		{"W14", "no close code", masked(0x80|opClose, nil), websocket.CloseNoStatusReceived},
		{"W15", "a close reason that is not UTF-8", closeFrame(1000, "\xff"), notUTF8},
		{"W16", "data after close", append(closeFrame(1000, ""), binaryFrame("{}")...), normal},
		{"W17", "a continuation without start", masked(0x80|opContinuation, nil), protocolError},
		{"W17", "a start within a message", append(masked(opBinary, nil), binaryFrame("")...), protocolError},
	} {
		for _, phase := range []string{"v1", "v2", "v2 proven"} {
			t.Run(c.id+" "+c.why+" "+phase, func(t *testing.T) {
				t.Parallel()
				x := open(t, w, phase != "v1", registrationPath)
				if phase == "v2 proven" {
					x.prove(t)
				}
				_, _ = x.Write(c.send) // The server may hang up in the middle of a flood.
				o := x.end(t)
				require.Equal(t, c.code, o.code, "%q", o.messages)
				require.LessOrEqual(t, o.pongs, controlBurst+1)
				require.Less(t, o.took, 4*time.Second, "it is not the deadline that ends it")
				require.LessOrEqual(t, len(o.reason), 123)
				goodbye := c.id == "W14" && c.code != protocolError || c.id == "W16"
				if phase != "v1" && !goodbye {
					refusal := o.refusal(t)
					require.NotNil(t, refusal, "a typed error comes before the close frame")
					require.NotEqual(t, protocol.CodeInternal, refusal.Code)
				}
			})
		}
	}
	t.Cleanup(func() { require.Empty(t, w.Inventories.Names(), "nothing came of any of it") })
}

// W6, W7: what endless messages make us remember is bounded by the limit, whatever is announced and however it comes.
func TestEndlessMessages(t *testing.T) {
	for why, stream := range map[string][]byte{
		"large fragments":       append(masked(opBinary, nil), repeat(64, masked(opContinuation, make([]byte, 32<<10)))...),
		"an announced gigabyte": append(header(0x80|opBinary, 1<<30), make([]byte, 1<<20)...),
		"one byte of 64 KiB":    append(header(0x80|opBinary, protocol.MaxFrameUnauthenticated), 0),
		"empty fragments":       append(masked(opBinary, nil), repeat(10000, masked(opContinuation, nil))...),
	} {
		conn := &recorded{said: stream}
		f := newFrames(conn, bufio.NewReader(conn), timeouts{challenge: time.Minute, exchange: time.Minute})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := f.read()
		runtime.ReadMemStats(&after)
		require.Error(t, err, why)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20), why)
		require.LessOrEqual(t, f.count, protocol.MaxFrames+1, why)
	}
}

// W5, exactly: the limit before the proof is half of that after it.
func TestFrameLimits(t *testing.T) {
	w := newWorld(t)
	for _, v2 := range []bool{false, true} {
		x := open(t, w, v2, registrationPath)
		_, err := x.Write(binaryFrame(strings.Repeat(" ", protocol.MaxFrameUnauthenticated)))
		require.NoError(t, err)
		require.Equal(t, policy, x.end(t).code, "the limit itself is read, and is no answer")
		x = open(t, w, v2, registrationPath)
		_, err = x.Write(header(0x80|opBinary, protocol.MaxFrameUnauthenticated+1))
		require.NoError(t, err)
		require.Equal(t, tooBig, x.end(t).code, "W5")
	}
	x := open(t, w, true, registrationPath)
	x.prove(t)
	_, err := x.Write(binaryFrame(strings.Repeat(" ", protocol.MaxFrameUnauthenticated) + `{"type":"facts"}`))
	require.NoError(t, err)
	require.Equal(t, normal, x.end(t).code)
}

// W13, and pings as they are meant: they disturb nothing, in the middle of a message neither.
func TestControlFramesInBetween(t *testing.T) {
	w := newWorld(t)
	x := open(t, w, true, registrationPath)
	x.prove(t)
	var stream []byte
	stream = append(stream, masked(0x80|opPong, []byte("unsolicited"))...)
	stream = append(stream, masked(opBinary, []byte(`{"type":`))...)
	stream = append(stream, masked(0x80|opPing, []byte("x"))...)
	stream = append(stream, masked(0x80|opContinuation, []byte(`"facts"}`))...)
	_, err := x.Write(stream)
	require.NoError(t, err)
	o := x.end(t)
	require.Equal(t, normal, o.code)
	require.Equal(t, 1, o.pongs)
	require.Contains(t, o.messages[0], `"type":"config"`)
}

// W1, W2, W23: time is measured over the whole exchange, whatever trickles in.
func TestDeadlines(t *testing.T) {
	w := newWorld(t)
	w.server.timeouts = timeouts{challenge: time.Second, exchange: 2 * time.Second}
	trickle := func(x *wire, bytes []byte) {
		for _, b := range bytes {
			if _, err := x.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	for _, c := range []struct {
		id, why string
		proven  bool
		do      func(x *wire)
		within  time.Duration
	}{
		{"W1", "no answer to the challenge", false, func(*wire) {}, time.Second},
		{"W2", "a byte now and then", false, func(x *wire) { trickle(x, x.right) }, time.Second},
		{"W2", "a ping now and then", false, func(x *wire) { trickle(x, repeat(20, masked(0x80|opPing, nil))) }, time.Second},
		{"W23", "the right secret, too late", false, func(x *wire) { time.Sleep(1200 * time.Millisecond); _, _ = x.Write(x.right) }, time.Second},
		{"W1", "no facts", true, func(*wire) {}, 2 * time.Second},
		{"W2", "facts, a byte now and then", true, func(x *wire) { trickle(x, binaryFrame(`{"type":"facts"}`)) }, 2 * time.Second},
	} {
		for _, v2 := range []bool{false, true} {
			if c.proven && !v2 {
				continue
			}
			t.Run(fmt.Sprintf("%s %s %v", c.id, c.why, v2), func(t *testing.T) {
				t.Parallel()
				x := open(t, w, v2, registrationPath)
				since := time.Now()
				if c.proven {
					x.prove(t)
				}
				go c.do(x)
				o := x.end(t)
				require.Equal(t, policy, o.code)
				require.GreaterOrEqual(t, time.Since(since), c.within-100*time.Millisecond)
				require.Less(t, time.Since(since), c.within+5*time.Second)
				if v2 {
					require.Equal(t, protocol.CodeUnavailable, o.refusal(t).Code)
				}
			})
		}
	}
	t.Cleanup(func() { require.Empty(t, w.Inventories.Names()) })
}

// W29, H43: the versions that a client can offer.
func TestVersions(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		offer  string
		status int
		picked string
	}{
		{"", http.StatusSwitchingProtocols, ""},
		{"Sec-WebSocket-Protocol: v2.rancheros.cattle.io\r\n", http.StatusSwitchingProtocols, protocol.SubprotocolV2},
		{"Sec-WebSocket-Protocol: v3.rancheros.cattle.io, v2.rancheros.cattle.io\r\n", http.StatusSwitchingProtocols, protocol.SubprotocolV2},
		{"Sec-WebSocket-Protocol: v3.rancheros.cattle.io\r\nSec-WebSocket-Protocol: v2.rancheros.cattle.io\r\n", http.StatusSwitchingProtocols, protocol.SubprotocolV2},
		{"Sec-WebSocket-Protocol: v0.rancheros.cattle.io\r\n", http.StatusBadRequest, ""},
		{"Sec-WebSocket-Protocol: v1.rancheros.cattle.io\r\n", http.StatusBadRequest, ""},
		{"Sec-WebSocket-Protocol: v255.rancheros.cattle.io\r\n", http.StatusBadRequest, ""},
		{"Sec-WebSocket-Protocol: V2.RANCHEROS.CATTLE.IO\r\n", http.StatusBadRequest, ""},
		{"Sec-WebSocket-Protocol: \x02\r\n", http.StatusBadRequest, ""},
		{"Sec-WebSocket-Protocol:\r\n", http.StatusBadRequest, ""},
	} {
		x, response := shake(t, w, newTPM(t, tpm.ECCP256), c.offer, registrationPath)
		require.Equal(t, c.status, response.StatusCode, "W29 %q", c.offer)
		require.Equal(t, c.picked, response.Header.Get("Sec-WebSocket-Protocol"), "W29 %q", c.offer)
		if c.status == http.StatusSwitchingProtocols {
			require.Equal(t, c.picked != "", response.Header.Get("Date") != "", "version 1 is as it was, byte by byte")
		}
		x.Close()
	}
}

// W44 to W47: what goes wrong after the proof is a typed error, and never looks like success.
func TestFailuresAfterTheProof(t *testing.T) {
	for _, c := range []struct {
		id, why string
		fail    error
		text    string
	}{
		{"W44", "the save fails", apierrors.NewInternalError(context.DeadlineExceeded), "the machine could not be saved"},
		{"W45", "a conflict", apierrors.NewConflict(schema.GroupResource{}, "x", nil), "the machine could not be saved"},
		{"W45", "too many requests", apierrors.NewTooManyRequests("", 1), "the machine could not be saved"},
	} {
		w := newWorld(t)
		w.Fail = func(r memoryapi.Request) error {
			if r.Verb == "create" {
				return c.fail
			}
			return nil
		}
		x := open(t, w, true, registrationPath)
		x.prove(t)
		_, err := x.Write(binaryFrame(`{"type":"facts"}`))
		require.NoError(t, err)
		o := x.end(t)
		require.Equal(t, tryLater, o.code, "%s %s", c.id, c.why)
		require.Len(t, o.messages, 1)
		refusal := o.refusal(t)
		require.Equal(t, protocol.CodeUnavailable, refusal.Code, "%s %s", c.id, c.why)
		require.Equal(t, c.text, refusal.Message)
		require.NotEmpty(t, refusal.Hint)
		require.Positive(t, refusal.RetryAfter, "%s %s: retriable", c.id, c.why)

		x = open(t, w, false, registrationPath)
		_, err = x.Write(x.right)
		require.NoError(t, err)
		o = x.end(t)
		require.Equal(t, outcome{messages: []string{c.text}, code: tryLater, reason: c.text}, o.still(), "%s %s: version 1 has text, then the close frame", c.id, c.why)
		require.Empty(t, w.Inventories.Names())
	}

	w := newWorld(t)
	x := open(t, w, true, registrationPath)
	x.prove(t)
	require.NoError(t, x.Close())
	require.Never(t, func() bool { return len(w.Inventories.Names()) > 0 }, 100*time.Millisecond, 20*time.Millisecond, "W47 half a conversation makes nothing")
	x = open(t, w, true, registrationPath)
	_, err := x.Write(append(x.right, binaryFrame(`{"type":"facts"}`)...))
	require.NoError(t, err)
	require.Equal(t, normal, x.end(t).code, "W47 started over")
	require.Len(t, w.Inventories.Names(), 1)
}

// W46: a machine that has said all it has to say may close its half of the connection.
func TestHalfClose(t *testing.T) {
	w := newWorld(t)
	for _, v2 := range []bool{false, true} {
		x := open(t, w, v2, registrationPath)
		stream := x.right
		if v2 {
			stream = append(stream, binaryFrame(`{"type":"facts"}`)...)
		}
		_, err := x.Write(stream)
		require.NoError(t, err)
		require.NoError(t, x.CloseWrite())
		o := x.end(t)
		require.Contains(t, o.messages[len(o.messages)-1], "rancherd")
	}
	require.Len(t, w.Inventories.Names(), 2)
}

// W31, S40: facts are said once. What is sent after them is not read, and what came before counts.
func TestFactsTwice(t *testing.T) {
	w := newWorld(t)
	x := open(t, w, true, registrationPath)
	x.prove(t)
	stream := binaryFrame(`{"type":"facts","smbios":{"System Information":{"Serial Number":"first"}}}`)
	stream = append(stream, repeat(65, binaryFrame(`{"type":"facts","smbios":{"System Information":{"Serial Number":"second"}}}`))...)
	_, err := x.Write(stream)
	require.NoError(t, err)
	require.Equal(t, normal, x.end(t).code)
	require.Contains(t, string(w.Inventories.All()[0].Spec.SMBIOS.Raw), "first")
}

// W48: two connections of one machine at once end at one object.
func TestOneMachineTwice(t *testing.T) {
	w := newWorld(t)
	prover := newTPM(t, tpm.ECCP256)
	one, two := openAs(t, w, prover, true, registrationPath), openAs(t, w, prover, false, registrationPath)
	one.prove(t)
	for x, bytes := range map[*wire][]byte{one: binaryFrame(`{"type":"facts"}`), two: two.right} {
		_, err := x.Write(bytes)
		require.NoError(t, err)
	}
	require.Contains(t, one.end(t).messages[0], w.Inventories.All()[0].Name)
	require.Contains(t, two.end(t).messages[0], w.Inventories.All()[0].Name)
	require.Len(t, w.Inventories.All(), 1)
}

// W49: connections that are stuck before the challenge's answer are bounded, and one URL gets no more than its share of them.
func TestStuckConnections(t *testing.T) {
	w := newWorld(t)
	w.server.limits = newLimits(Limits{Exchanges: 8}.or(DefaultLimits))
	refused := 0
	for range 10 {
		x, response := shake(t, w, newTPM(t, tpm.ECCP256), subprotocol(true), registrationPath)
		defer x.Close()
		if response.StatusCode == http.StatusServiceUnavailable {
			require.NotEmpty(t, response.Header.Get("Retry-After"))
			refused++
		}
	}
	require.Equal(t, 10-8/2, refused, "one URL gets half")
	_, response := shake(t, w, newTPM(t, tpm.ECCP256), subprotocol(true), protocol.PathInventory)
	require.Equal(t, http.StatusUnauthorized, response.StatusCode, "the others are served: this one is merely unknown (W37)")
}
