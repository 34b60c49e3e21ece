package server

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/machine"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// FactsSink is told what machines report about themselves. Record returns at once; it is called for every report, changed or not.
type FactsSink interface {
	Record(ctx context.Context, inventory *v1.MachineInventory, facts machine.Facts)
}

// caller is the machine at the other end, once it has proven who it is, and what it says about itself in either version.
type caller struct {
	Identity attestation.Identity
	SMBIOS   map[string]any
	// Facts are nil in version 1.
	Facts    *machine.Facts
	CallHome bool
}

// conversation is what a path makes of the exchange.
type conversation struct {
	// policy is what is demanded of the endorsement key.
	policy attestation.Policy
	// known, unless nil, may refuse the claimed identity before anything is computed for it.
	known func(hash string) error
	// answer decides about the proven machine: a cloud-config or an assignment, as JSON.
	answer func(caller) ([]byte, error)
	// callHome answers machines that only report; nil where none is expected to.
	callHome func(caller) (*protocol.Assignment, error)
	// last is the type of the answer in version 2.
	last protocol.MessageType
	// durations are told how long it takes.
	durations Durations
}

// decide is answer, held to give one: nothing at all would look like success.
func (c *conversation) decide(who caller) ([]byte, error) {
	body, err := c.answer(who)
	if err == nil && len(body) == 0 {
		return nil, &protocol.Error{Code: protocol.CodeInternal, Message: "internal error", Reason: "there is no answer and no error"}
	}
	return body, err
}

// opening is an exchange before the upgrade: a claim, and how it wants to talk.
type opening struct {
	session *attestation.Session
	smbios  map[string]any
	v2      bool
}

// timeouts are those of protocol; zero fields stand for them.
type timeouts struct {
	challenge, exchange time.Duration
}

func (t timeouts) or(challenge, exchange time.Duration) timeouts {
	if t.challenge > 0 {
		challenge = t.challenge
	}
	if t.exchange > 0 {
		exchange = t.exchange
	}
	return timeouts{challenge: challenge, exchange: exchange}
}

// upgrader negotiates no compression, which would open the door to bombs. It reads nothing: frames does.
var upgrader = websocket.Upgrader{
	ReadBufferSize:   1,
	HandshakeTimeout: protocol.ChallengeTimeout,
	// Nor does it write; without a pool it would make room for that.
	WriteBufferPool: &sync.Pool{},
	CheckOrigin:     func(r *http.Request) bool { return r.Header.Get("Origin") == "" },
	Error: func(w http.ResponseWriter, r *http.Request, status int, reason error) {
		refuseHTTP(w, r, &protocol.Error{Code: protocol.CodeOfStatus(status), Message: http.StatusText(status), Err: reason})
	},
}

// exchange lets the machine prove who it is, then sends what the conversation answers.
func (s *Server) exchange(w http.ResponseWriter, r *http.Request, c conversation) {
	watch := newStopwatch(c.durations)
	c = watch.over(c.counted(r))
	o, err := begin(r, &c)
	if err != nil {
		refuseHTTP(w, r, err)
		return
	}
	watch.lap(watch.Challenge)
	var header http.Header
	if o.v2 {
		// A machine without a clock learns the time.
		header = http.Header{"Sec-Websocket-Protocol": {protocol.SubprotocolV2}, "Date": {time.Now().UTC().Format(http.TimeFormat)}}
	}
	taken := &corkable{ResponseWriter: w}
	connection, err := upgrader.Upgrade(taken, r, header)
	if err != nil {
		return // The upgrader has answered.
	}
	defer connection.Close()
	f := newFrames(connection.NetConn(), taken.reader, s.timeouts.or(protocol.ChallengeTimeout, protocol.ExchangeTimeout))
	if o.v2 {
		err = conversationV2{f, o, &c}.run()
	} else {
		err = conversationV1{f, o, &c}.run()
	}
	if err != nil {
		logRefusal(r, protocol.AsError(err))
	}
}

// begin reads the claim; all that is wrong with it is answered over HTTP.
func begin(r *http.Request, c *conversation) (o opening, err error) {
	token, err := protocol.ParseAuthorization(r.Header.Get(protocol.HeaderAuthorization))
	if err != nil {
		return o, err
	}
	if !isUpgrade(r) {
		return o, &protocol.Error{Code: protocol.CodeBadRequest,
			Message: "the TPM exchange needs a websocket", Hint: "a proxy in between may not pass websockets on"}
	}
	if o.v2, err = protocol.OffersV2(r.Header.Values("Sec-WebSocket-Protocol")); err != nil {
		return o, err
	}
	if o.smbios, err = protocol.ParseSMBIOSHeader(r.Header.Get(protocol.HeaderSMBIOS)); err != nil {
		return o, err
	}
	if o.session, err = attestation.Begin(token, c.policy); err != nil {
		return o, err
	}
	if c.known != nil {
		return o, c.known(o.session.Identity().Hash)
	}
	return o, nil
}

// conversationV1 is what the first clients speak: challenge, answer, and a last frame with the answer, then nothing.
type conversationV1 struct {
	*frames
	opening
	*conversation
}

func (c conversationV1) run() error {
	if err := c.prove(); err != nil {
		c.failed(closing(err))
		return err
	}
	c.authenticated()
	body, err := c.decide(caller{Identity: c.session.Identity(), SMBIOS: c.smbios})
	if err != nil {
		// The first clients show this text, or fail to parse it as their configuration.
		c.write(opBinary, protocol.EncodeErrorAnswer(protocol.AsError(err)))
		c.finish(closing(err))
		return err
	}
	c.write(opBinary, body)
	return nil
}

func (c conversationV1) prove() error {
	challenge, err := c.session.Challenge().Encode()
	if err != nil {
		return err
	}
	c.write(opBinary, challenge)
	response, err := c.read()
	if err != nil {
		return err
	}
	return c.session.Verify(response)
}

// failed is the end of a machine without proof: the text that the first clients show, unless its frames cannot be understood.
func (c conversationV1) failed(code int, reason string) {
	switch code {
	case 0, websocket.CloseProtocolError, websocket.CloseInvalidFramePayloadData, websocket.CloseMessageTooBig:
	default:
		reason = "attestation failed"
		c.write(opBinary, []byte(reason))
	}
	c.finish(code, reason)
}

// closing is the close frame of a refusal. The code is zero when there is nobody left to send it to.
func closing(err error) (code int, reason string) {
	var violation *violation
	refusal := protocol.AsError(err)
	switch {
	case errors.As(err, &violation):
		return violation.code, refusal.Message
	case errors.Is(err, protocol.ErrNoType):
		return websocket.CloseProtocolError, refusal.Message
	case refusal.Code == protocol.CodeTooLarge:
		return websocket.CloseMessageTooBig, refusal.Message
	case refusal.Code.Retriable():
		return websocket.CloseTryAgainLater, refusal.Message
	default:
		return websocket.ClosePolicyViolation, refusal.Message
	}
}
