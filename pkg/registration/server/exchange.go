package server

import (
	"net/http"
	"time"

	"github.com/gorilla/websocket"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// upgrader negotiates neither compression, which would open the door to bombs, nor subprotocols.
var upgrader = websocket.Upgrader{
	HandshakeTimeout: protocol.ChallengeTimeout,
	CheckOrigin:      func(r *http.Request) bool { return r.Header.Get("Origin") == "" },
	Error: func(w http.ResponseWriter, r *http.Request, status int, reason error) {
		refuseHTTP(w, r, &protocol.Error{Code: protocol.CodeOfStatus(status), Message: http.StatusText(status), Err: reason})
	},
}

// exchange lets the machine prove who it is, then sends what answer returns for it. known, unless nil, may refuse the
// claimed identity before anything is computed for it.
func (s *Server) exchange(w http.ResponseWriter, r *http.Request, known func(hash string) error,
	answer func(attestation.Identity) ([]byte, error)) {
	session, err := begin(r, known)
	if err != nil {
		refuseHTTP(w, r, err)
		return
	}
	connection, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // The upgrader has answered.
	}
	defer connection.Close()
	deadline := time.Now().Add(protocol.ChallengeTimeout)
	var body []byte
	if err = prove(connection, session, deadline); err == nil {
		body, err = answer(session.Identity())
	}
	if err != nil {
		e := protocol.AsError(err)
		logRefusal(r, e)
		body = protocol.EncodeErrorAnswer(e)
	}
	_ = connection.SetWriteDeadline(time.Now().Add(protocol.ChallengeTimeout))
	_ = connection.WriteMessage(websocket.BinaryMessage, body)
}

// begin reads the claim; all that is wrong with it is answered over HTTP.
func begin(r *http.Request, known func(hash string) error) (*attestation.Session, error) {
	token, err := protocol.ParseAuthorization(r.Header.Get(protocol.HeaderAuthorization))
	if err != nil {
		return nil, err
	}
	if !isUpgrade(r) {
		return nil, &protocol.Error{Code: protocol.CodeBadRequest,
			Message: "the TPM exchange needs a websocket", Hint: "a proxy in between may not pass websockets on"}
	}
	session, err := attestation.Begin(token, attestation.Policy{})
	if err != nil {
		return nil, err
	}
	if known != nil {
		return session, known(session.Identity().Hash)
	}
	return session, nil
}

// prove sends the challenge and judges the answer: one binary frame, in time.
func prove(connection *websocket.Conn, session *attestation.Session, deadline time.Time) error {
	challenge, err := session.Challenge().Encode()
	if err != nil {
		return err
	}
	connection.SetReadLimit(protocol.MaxFrameUnauthenticated)
	_ = connection.SetReadDeadline(deadline)
	_ = connection.SetWriteDeadline(deadline)
	if err := connection.WriteMessage(websocket.BinaryMessage, challenge); err != nil {
		return &protocol.Error{Code: protocol.CodeAttestationFailed, Message: "attestation failed", Err: err}
	}
	kind, response, err := connection.ReadMessage()
	if err != nil || kind != websocket.BinaryMessage {
		return &protocol.Error{Code: protocol.CodeAttestationFailed, Message: "attestation failed", Err: err,
			Reason: "no binary answer to the challenge"}
	}
	return session.Verify(response)
}
