package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/gorilla/websocket"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// conversation is what a machine wants to say to a path, in whichever version the server speaks.
type conversation struct {
	endpoint *Endpoint
	target   *url.URL
	prover   attestation.Prover
	report   protocol.Report
}

// reply is the last frame of a conversation, whatever is in it.
type reply struct {
	frame []byte
	v2    bool
	// clock is what is wrong with this machine's clock.
	clock string
}

// exchange proves the machine to the server and returns the final frame. One deadline holds from the first
// packet to the last: a server that sends a byte now and then cannot hold a machine.
func (c *conversation) exchange(ctx context.Context) (*reply, error) {
	// A TPM may take long to make its key; the server's time has not begun yet.
	proof, err := c.prover.NewProof()
	if err != nil {
		return nil, err
	}
	defer proof.Close()
	ctx, cancel := context.WithTimeout(ctx, c.endpoint.timeout())
	defer cancel()
	header, err := c.header(proof)
	if err != nil {
		return nil, err
	}
	conn, clock, err := dial(ctx, c.endpoint, c.target, header)
	if err != nil {
		return nil, withClock(err, clock)
	}
	defer conn.Close()
	// A cancelled context must end a read that is under way.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	r := &reply{clock: clock}
	switch conn.Subprotocol() {
	case protocol.SubprotocolV2:
		r.v2 = true
		r.frame, err = c.converseV2(conn, proof)
	case "":
		if c.report.CallHome {
			return nil, &protocol.Error{Code: protocol.CodeUnsupported, Message: "this server is too old to be called home",
				Hint: "nothing is wrong with this machine; have the operator updated", Err: ErrServerTooOld}
		}
		r.frame, err = converseV1(conn, proof)
	default:
		return nil, &Failure{Cause: CauseBadAnswer, Message: fmt.Sprintf("%s speaks another protocol (%.40q)", c.endpoint.host(), conn.Subprotocol()),
			Hint: "check the URL: a proxy may answer in the server's place"}
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, withClock(err, clock)
	}
	return r, nil
}

// header holds what both versions need, and what only servers of version 1 read: which of them answers is not known yet.
func (c *conversation) header(proof attestation.Proof) (http.Header, error) {
	authorization, err := proof.Token().EncodeAuthorization()
	if err != nil {
		return nil, err
	}
	header := http.Header{protocol.HeaderAuthorization: {authorization}}
	smbios, err := smbiosHeader(c.report.SMBIOS)
	if smbios != "" {
		header.Set(protocol.HeaderSMBIOS, smbios)
	}
	return header, err
}

// dial also tells what is wrong with this machine's clock, as far as the answer shows it.
func dial(ctx context.Context, endpoint *Endpoint, target *url.URL, header http.Header) (conn *websocket.Conn, clock string, err error) {
	config, err := endpoint.tlsConfig()
	if err != nil {
		return nil, "", err
	}
	websocketURL := *target
	websocketURL.Scheme = "wss"
	if target.Scheme == "http" {
		websocketURL.Scheme = "ws"
	}
	header.Set("User-Agent", userAgent())
	proxy, err := endpoint.proxyFor(target)
	if err != nil {
		return nil, "", err
	}
	dialer := websocket.Dialer{
		TLSClientConfig:  config,
		HandshakeTimeout: endpoint.timeout(),
		Subprotocols:     []string{protocol.SubprotocolV2},
	}
	switch {
	case proxy == nil:
	case proxy.Scheme == "http" || proxy.Scheme == "https":
		dialer.NetDialContext = connectBy(proxy, config)
	default:
		dialer.Proxy = http.ProxyURL(proxy)
	}
	conn, response, err := dialer.DialContext(ctx, websocketURL.String(), header) //nolint:bodyclose // gorilla has read it and closed it
	if response != nil {
		clock = clockProblem(response.Header, time.Now())
	}
	if err == nil {
		deadline, _ := ctx.Deadline()
		return conn, clock, errors.Join(conn.SetReadDeadline(deadline), conn.SetWriteDeadline(deadline))
	}
	if response == nil {
		return nil, "", onTheWay(err, proxy)
	}
	body, _ := io.ReadAll(io.LimitReader(response.Body, protocol.MaxFrameUnauthenticated))
	if response.StatusCode < http.StatusBadRequest {
		return nil, clock, &Failure{Cause: CauseBadAnswer, Message: endpoint.host() + " does not upgrade the connection to a websocket",
			Hint: "a captive portal or a proxy answers in its place, or the URL is wrong", Err: err}
	}
	return nil, clock, protocol.ReadHTTPError(response.StatusCode, response.Header, body, time.Now())
}

// converseV1 is what every server understands.
func converseV1(conn *websocket.Conn, proof attestation.Proof) ([]byte, error) {
	conn.SetReadLimit(protocol.MaxFrameUnauthenticated)
	_, frame, err := conn.ReadMessage()
	if err != nil {
		return nil, closedEarly(err)
	}
	challenge, err := protocol.ParseChallenge(frame)
	if err != nil {
		return nil, err
	}
	secret, err := proof.Activate(challenge)
	if err != nil {
		return nil, err
	}
	answer, err := (&protocol.ChallengeResponse{Secret: secret}).Encode()
	if err != nil {
		return nil, err
	}
	if err := conn.WriteMessage(websocket.BinaryMessage, answer); err != nil {
		return nil, closedEarly(err)
	}
	conn.SetReadLimit(protocol.MaxAnswer)
	if _, frame, err = conn.ReadMessage(); err != nil {
		return nil, closedEarly(err)
	}
	return frame, nil
}

// converseV2 is ours. The server can refuse in the place of each of its messages.
func (c *conversation) converseV2(conn *websocket.Conn, proof attestation.Proof) ([]byte, error) {
	conn.SetReadLimit(protocol.MaxFrameUnauthenticated)
	_, frame, err := conn.ReadMessage()
	if err != nil {
		return nil, closedEarly(err)
	}
	challenge, err := protocol.ParseChallengeV2(frame)
	if err != nil {
		return nil, err
	}
	secret, err := proof.Activate(challenge)
	if err != nil {
		return nil, err
	}
	answer, err := protocol.EncodeAnswerV2(secret)
	if err != nil {
		return nil, err
	}
	if frame, err = ask(conn, answer); err != nil {
		return nil, err
	}
	if err := protocol.ParseProven(frame); err != nil {
		return nil, err
	}
	report := c.report
	report.SMBIOS = fitting(report.SMBIOS, func(smbios map[string]any) bool { return sizeOf(smbios) <= protocol.MaxSMBIOS })
	facts, err := report.Encode()
	if err != nil {
		return nil, err
	}
	// The envelope around the largest answer.
	conn.SetReadLimit(protocol.MaxAnswer + 1<<10)
	if frame, err = ask(conn, facts); err != nil {
		return nil, err
	}
	goodbye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	_ = conn.WriteControl(websocket.CloseMessage, goodbye, time.Now().Add(time.Second))
	return frame, nil
}

func ask(conn *websocket.Conn, message []byte) ([]byte, error) {
	// A server that has refused meanwhile has said why: that is what to read, whether this could be written or not.
	writeErr := conn.WriteMessage(websocket.BinaryMessage, message)
	_, frame, err := conn.ReadMessage()
	if err != nil && writeErr != nil {
		err = writeErr
	}
	if err != nil {
		return nil, closedEarly(err)
	}
	return frame, nil
}

// closedEarly is a conversation that ended before its last frame. The server closes with a reason when it has one.
func closedEarly(err error) error {
	var closed *websocket.CloseError
	if errors.As(err, &closed) {
		refusal := &protocol.Error{Code: protocol.CodeInternal, Message: protocol.CleanText(closed.Text), Err: err}
		switch closed.Code {
		case websocket.CloseTryAgainLater, websocket.CloseServiceRestart:
			refusal.Code = protocol.CodeUnavailable
		case websocket.ClosePolicyViolation:
			refusal.Code = protocol.CodeAttestationFailed
		}
		if refusal.Message == "" || closed.Code == websocket.CloseAbnormalClosure {
			refusal.Message = "the server closed the conversation without an answer"
		}
		return refusal
	}
	if errors.Is(err, websocket.ErrReadLimit) {
		return &Failure{Cause: CauseBadAnswer, Message: "the server's answer is too large", Hint: "make the registration's cloudConfig smaller", Err: err}
	}
	return onTheWay(err, nil)
}
