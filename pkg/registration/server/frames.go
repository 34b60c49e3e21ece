package server

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// frames is a websocket after its handshake, as RFC 6455 has it. The library does the handshake; its reader follows empty
// fragments and pings for ever, so frames are read and counted here.
type frames struct {
	conn   net.Conn
	reader *bufio.Reader
	// limit bounds one message, fragments together.
	limit int
	// count is how many data frames have come, fragments each for itself.
	count    int
	controls allowance
	// end is when the whole exchange must be over.
	end time.Time
}

// violation is a refusal that has a close code of its own; with none there is nobody left to send it to.
type violation struct {
	code    int
	refusal *protocol.Error
}

func (v *violation) Error() string { return v.refusal.Error() }

// Unwrap makes it a protocol.Error.
func (v *violation) Unwrap() error { return v.refusal }

func violated(code int, reason string) error {
	return &violation{code, &protocol.Error{Code: protocol.CodeBadRequest, Message: "the websocket protocol was violated", Reason: reason}}
}

func gone(reason string, err error) error {
	return &violation{refusal: &protocol.Error{Code: protocol.CodeBadRequest, Message: "the machine is gone", Reason: reason, Err: err}}
}

// newFrames gives the machine its time: so much until it has proven who it is, and so much for all. The reader is
// the one that the request came through: a frame may have come with it.
func newFrames(conn net.Conn, reader *bufio.Reader, t timeouts) *frames {
	f := &frames{conn: conn, reader: reader, limit: protocol.MaxFrameUnauthenticated, controls: allowance{left: controlBurst}}
	f.end = time.Now().Add(t.exchange)
	_ = conn.SetReadDeadline(time.Now().Add(t.challenge))
	// A refusal for being late must still get through.
	_ = conn.SetWriteDeadline(f.end.Add(lingerTimeout))
	return f
}

// authenticated gives a machine that has proven who it is the rest of the time, and room for what it has to say.
func (f *frames) authenticated() {
	f.limit = protocol.MaxFrameAuthenticated
	_ = f.conn.SetReadDeadline(f.end)
}

const (
	opContinuation = 0
	opText         = websocket.TextMessage
	opBinary       = websocket.BinaryMessage
	opClose        = websocket.CloseMessage
	opPing         = websocket.PingMessage
	opPong         = websocket.PongMessage

	finalBit, reservedBits, opcodeBits = 0x80, 0x70, 0x0f
	maskBit, lengthBits                = 0x80, 0x7f

	maxControl = 125
)

type frameHeader struct {
	final  bool
	opcode int
	length uint64
	mask   [4]byte
}

// read returns the next message: binary, whole, and within the limits. Its errors are violations.
func (f *frames) read() ([]byte, error) {
	var message bytes.Buffer
	for started := false; ; started = true {
		header, err := f.nextData()
		if err != nil {
			return nil, err
		}
		switch {
		case started != (header.opcode == opContinuation):
			return nil, violated(websocket.CloseProtocolError, "a fragment out of order")
		case header.opcode == opText:
			return nil, violated(websocket.CloseUnsupportedData, "a text frame")
		}
		if f.count++; f.count > protocol.MaxFrames {
			return nil, violated(websocket.ClosePolicyViolation, fmt.Sprintf("more than %d frames", protocol.MaxFrames))
		}
		if header.length > uint64(f.limit-message.Len()) {
			return nil, &violation{websocket.CloseMessageTooBig, &protocol.Error{Code: protocol.CodeTooLarge,
				Message: "the message is too large", Reason: fmt.Sprintf("limit %d", f.limit)}}
		}
		if err := f.payload(&message, header); err != nil {
			return nil, err
		}
		if header.final {
			return message.Bytes(), nil
		}
	}
}

// nextData answers control frames until one with data comes.
func (f *frames) nextData() (frameHeader, error) {
	for {
		header, err := f.header()
		if err != nil || header.opcode <= opBinary {
			return header, err
		}
		if !f.controls.take(time.Now()) {
			return header, violated(websocket.ClosePolicyViolation, "too many control frames")
		}
		var payload bytes.Buffer
		if err := f.payload(&payload, header); err != nil {
			return header, err
		}
		switch header.opcode {
		case opPing:
			f.write(opPong, payload.Bytes())
		case opClose:
			return header, f.closed(payload.Bytes())
		}
	}
}

func (f *frames) header() (header frameHeader, err error) {
	var start [2]byte
	if err := f.fill(start[:]); err != nil {
		return header, err
	}
	header = frameHeader{final: start[0]&finalBit != 0, opcode: int(start[0] & opcodeBits), length: uint64(start[1] & lengthBits)}
	control := header.opcode >= opClose
	switch {
	case start[0]&reservedBits != 0 || header.opcode > opPong || (header.opcode > opBinary && !control):
		return header, violated(websocket.CloseProtocolError, "reserved bits or opcode")
	case start[1]&maskBit == 0:
		return header, violated(websocket.CloseProtocolError, "an unmasked frame")
	case control && (!header.final || header.length > maxControl):
		return header, violated(websocket.CloseProtocolError, "a control frame in fragments or too long")
	}
	extended := map[uint64]int{126: 2, 127: 8}[header.length]
	if extended > 0 {
		var length [8]byte
		if err := f.fill(length[8-extended:]); err != nil {
			return header, err
		}
		if header.length = binary.BigEndian.Uint64(length[:]); header.length>>63 != 0 {
			return header, violated(websocket.CloseProtocolError, "a length with the top bit set")
		}
	}
	return header, f.fill(header.mask[:])
}

// payload grows with what comes, not with what is announced.
func (f *frames) payload(to *bytes.Buffer, header frameHeader) error {
	start := to.Len()
	if _, err := io.CopyN(to, f.reader, int64(header.length)); err != nil {
		return readError(err)
	}
	masked := to.Bytes()[start:]
	for i := range masked {
		masked[i] ^= header.mask[i%len(header.mask)]
	}
	return nil
}

func (f *frames) fill(buffer []byte) error {
	_, err := io.ReadFull(f.reader, buffer)
	return readError(err)
}

func readError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &violation{websocket.ClosePolicyViolation, &protocol.Error{Code: protocol.CodeUnavailable, RetryAfter: busyRetry,
			Message: "the machine took too long", Hint: "a busy TPM can be slow; it is tried again by itself", Err: err}}
	default:
		return gone("", err)
	}
}

// closed answers the machine's own close frame, and nothing with a code that must not be sent.
func (f *frames) closed(payload []byte) error {
	if len(payload) == 0 {
		f.finish(websocket.CloseNoStatusReceived, "")
		return gone("it closed the conversation", nil)
	}
	if len(payload) < 2 {
		return violated(websocket.CloseProtocolError, "half a close code")
	}
	code := int(binary.BigEndian.Uint16(payload))
	switch {
	case code < 1000, code == 1004, code == 1005, code == 1006, code > 1014 && code < 3000, code > 4999:
		return violated(websocket.CloseProtocolError, fmt.Sprintf("the close code %d", code))
	case !utf8.Valid(payload[2:]):
		return violated(websocket.CloseInvalidFramePayloadData, "a close reason that is not UTF-8")
	}
	f.finish(code, "")
	return gone(fmt.Sprintf("it closed the conversation with %d", code), nil)
}

// write sends one whole frame. Nothing follows from its failure: whoever did not get it asks again.
func (f *frames) write(opcode int, payload []byte) {
	frame := []byte{finalBit | byte(opcode)}
	switch length := len(payload); {
	case length <= maxControl:
		frame = append(frame, byte(length))
	case length <= 0xffff:
		frame = binary.BigEndian.AppendUint16(append(frame, 126), uint16(length))
	default:
		frame = binary.BigEndian.AppendUint64(append(frame, 127), uint64(length))
	}
	_, _ = f.conn.Write(append(frame, payload...))
}

// lingerTimeout is how long a machine may take to say goodbye.
const lingerTimeout = time.Second

// finish sends a close frame and waits a moment for the machine's. What it has sent in the meantime must be read: bytes that are left
// unread make the kernel reset the connection, and the machine might lose the last frame.
func (f *frames) finish(code int, reason string) {
	if code == 0 {
		return
	}
	reason = strings.ToValidUTF8(reason[:min(len(reason), maxControl-2)], "")
	f.write(opClose, websocket.FormatCloseMessage(code, reason))
	_ = f.conn.SetReadDeadline(time.Now().Add(lingerTimeout))
	_, _ = io.CopyN(io.Discard, f.reader, protocol.MaxFrameAuthenticated)
}

// Control frames are answered up to ten a second.
const (
	controlBurst  = 10
	controlPerSec = 10
)

// allowance is a token bucket.
type allowance struct {
	left float64
	last time.Time
}

func (a *allowance) take(now time.Time) bool {
	if !a.last.IsZero() {
		a.left = min(controlBurst, a.left+now.Sub(a.last).Seconds()*controlPerSec)
	}
	a.last = now
	a.left--
	return a.left >= 0
}
