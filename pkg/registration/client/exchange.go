package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/gorilla/websocket"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// exchange proves the machine to the server and returns the final frame, whatever is in it. One deadline holds from the first
// packet to the last: a server that sends a byte now and then cannot hold a machine.
func exchange(ctx context.Context, endpoint *Endpoint, target *url.URL, prover attestation.Prover, header http.Header) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, endpoint.timeout())
	defer cancel()
	proof, err := prover.NewProof()
	if err != nil {
		return nil, err
	}
	defer proof.Close()
	authorization, err := proof.Token().EncodeAuthorization()
	if err != nil {
		return nil, err
	}
	header.Set(protocol.HeaderAuthorization, authorization)
	conn, err := dial(ctx, endpoint, target, header)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	// A cancelled context must end a read that is under way.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	frame, err := answerChallenge(ctx, conn, proof)
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return frame, err
}

func dial(ctx context.Context, endpoint *Endpoint, target *url.URL, header http.Header) (*websocket.Conn, error) {
	config, err := endpoint.tlsConfig()
	if err != nil {
		return nil, err
	}
	websocketURL := *target
	websocketURL.Scheme = "wss"
	if target.Scheme == "http" {
		websocketURL.Scheme = "ws"
	}
	header.Set("User-Agent", userAgent())
	dialer := websocket.Dialer{
		Proxy:            http.ProxyFromEnvironment,
		TLSClientConfig:  config,
		HandshakeTimeout: endpoint.timeout(),
	}
	conn, response, err := dialer.DialContext(ctx, websocketURL.String(), header) //nolint:bodyclose // gorilla has read it and closed it
	if err == nil {
		deadline, _ := ctx.Deadline()
		return conn, errors.Join(conn.SetReadDeadline(deadline), conn.SetWriteDeadline(deadline))
	}
	if response == nil {
		return nil, err
	}
	body, _ := io.ReadAll(io.LimitReader(response.Body, protocol.MaxFrameUnauthenticated))
	if response.StatusCode < http.StatusBadRequest {
		return nil, &Failure{Cause: CauseBadAnswer, Message: endpoint.host() + " does not upgrade the connection to a websocket",
			Hint: "a proxy between this machine and the server must let websockets pass", Err: err}
	}
	return nil, protocol.ReadHTTPError(response.StatusCode, response.Header, body, time.Now())
}

func answerChallenge(ctx context.Context, conn *websocket.Conn, proof attestation.Proof) ([]byte, error) {
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
	return frame, ctx.Err()
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
	return err
}
