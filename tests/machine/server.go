package machine

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// RegistrationToken is the only token that Server knows.
const RegistrationToken = "bcdfghjklmnpqrstvwxz2456789bcdfghjklmnpqrstvwxz2456789"

// Server is a registration server without a cluster behind it. It speaks version 1, and knows of no other unless its Script says so. Change
// its fields with Set.
type Server struct {
	*httptest.Server
	mu    sync.Mutex
	say   Script
	asked []Asked
}

// Script is what a Server says.
type Script struct {
	// Refuse answers everything but cacerts over HTTP, before any websocket.
	Refuse *protocol.Error
	// Raw answers everything by itself when set.
	Raw http.HandlerFunc
	// Challenge takes the place of the true challenge.
	Challenge []byte
	// Final is the last frame of a registration, Inventory that of an inventory request. Nil closes without one.
	Final, Inventory []byte
	// V2 makes it speak version 2 with clients that offer it: Final and Inventory are then wrapped into messages.
	V2 bool
	// Messages take the place of the server's messages of version 2.
	Messages map[protocol.MessageType][]byte
	// Refusal is a typed error of version 2, after the proof.
	Refusal *protocol.Error
	// State answers those who call home in version 2.
	State protocol.AssignmentState
	// Date is the server's clock, in the answer to the upgrade and in refusals; default now.
	Date time.Time
	// Delay comes before the last frame.
	Delay time.Duration
	// SharedToken is the one shared token that is known.
	SharedToken string
	// CACerts is the CA that is handed out, InstallScript the script.
	CACerts, InstallScript string
}

// Asked is one request that a Server got.
type Asked struct {
	Path     string
	Identity string // once proven
	SMBIOS   map[string]any
	// Report is what was said in version 2; nil in version 1.
	Report *protocol.Report
}

// NewServer starts a TLS server whose CA is CAPEM.
func NewServer(say Script) *Server {
	s := &Server{say: say}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	// Clients that distrust it are what it is there for.
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	return s
}

// Set changes what the server says from now on.
func (s *Server) Set(change func(*Script)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.say)
}

// Asked are all requests so far.
func (s *Server) Asked() []Asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Asked{}, s.asked...)
}

// RegistrationURL is where a machine registers.
func (s *Server) RegistrationURL() string {
	return s.URL + protocol.RegistrationPath(RegistrationToken)
}

// CAPEM is what a machine must trust.
func (s *Server) CAPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	say := s.say
	s.mu.Unlock()
	switch {
	case say.Raw != nil:
		say.Raw(w, r)
	case r.URL.Path == protocol.PathCACerts:
		serveCACerts(w, r, &say)
	case say.Refuse != nil:
		if !say.Date.IsZero() {
			w.Header().Set("Date", say.Date.UTC().Format(http.TimeFormat))
		}
		protocol.WriteHTTPError(w, say.Refuse)
	case r.URL.Path == "/system-agent-install.sh":
		_, _ = w.Write([]byte(say.InstallScript))
	case r.URL.Path == protocol.RegistrationPath(RegistrationToken):
		s.attest(w, r, &say, say.Final)
	case r.URL.Path == protocol.PathInventory && protocol.SchemeOf(r.Header.Values(protocol.HeaderAuthorization)) == protocol.SchemeBearer:
		token, err := protocol.ParseSharedToken(r.Header.Get(protocol.HeaderAuthorization))
		if err != nil || token != say.SharedToken {
			protocol.WriteHTTPError(w, &protocol.Error{Code: protocol.CodeUnauthorized, Message: "Unauthorized"})
			return
		}
		_, _ = w.Write(say.Inventory)
	case r.URL.Path == protocol.PathInventory:
		s.attest(w, r, &say, say.Inventory)
	default:
		protocol.WriteHTTPError(w, &protocol.Error{Code: protocol.CodeNotFound, Message: "not found"})
	}
}

func (s *Server) attest(w http.ResponseWriter, r *http.Request, say *Script, final []byte) {
	token, err := protocol.ParseAuthorization(r.Header.Get(protocol.HeaderAuthorization))
	var smbios map[string]any
	if err == nil {
		smbios, err = protocol.ParseSMBIOSHeader(r.Header.Get(protocol.HeaderSMBIOS))
	}
	var session *attestation.Session
	if err == nil {
		session, err = attestation.Begin(token, attestation.Policy{})
	}
	if err != nil {
		protocol.WriteHTTPError(w, protocol.AsError(err))
		return
	}
	upgrader := websocket.Upgrader{}
	header := http.Header{}
	if !say.Date.IsZero() {
		header.Set("Date", say.Date.UTC().Format(http.TimeFormat))
	}
	v2, _ := protocol.OffersV2(r.Header.Values("Sec-WebSocket-Protocol"))
	if v2 = v2 && say.V2; v2 {
		header.Set("Sec-WebSocket-Protocol", protocol.SubprotocolV2)
	}
	conn, err := upgrader.Upgrade(w, r, header)
	if err != nil {
		return
	}
	defer conn.Close()
	if v2 {
		s.attestV2(conn, session, r.URL.Path, say)
		return
	}
	challenge := say.Challenge
	if challenge == nil {
		challenge, _ = session.Challenge().Encode()
	}
	if conn.WriteMessage(websocket.BinaryMessage, challenge) != nil {
		return
	}
	_, answer, err := conn.ReadMessage()
	if err != nil || session.Verify(answer) != nil {
		return
	}
	s.mu.Lock()
	s.asked = append(s.asked, Asked{Path: r.URL.Path, Identity: session.Identity().Hash, SMBIOS: smbios})
	s.mu.Unlock()
	time.Sleep(say.Delay)
	if final != nil {
		_ = conn.WriteMessage(websocket.BinaryMessage, final)
	}
}

// attestV2 says its lines in version 2, and ends with a close frame.
func (s *Server) attestV2(conn *websocket.Conn, session *attestation.Session, path string, say *Script) {
	send := func(kind protocol.MessageType, message []byte) error {
		if instead, ok := say.Messages[kind]; ok {
			message = instead
		}
		return conn.WriteMessage(websocket.BinaryMessage, message)
	}
	challenge, _ := protocol.EncodeChallengeV2(session.Challenge())
	if send(protocol.TypeChallenge, challenge) != nil {
		return
	}
	_, answer, err := conn.ReadMessage()
	if err != nil || session.VerifyV2(answer) != nil {
		return
	}
	proven, _ := protocol.EncodeProven(session.Identity().Hash)
	if send(protocol.TypeProven, proven) != nil {
		return
	}
	_, facts, err := conn.ReadMessage()
	if err != nil {
		return
	}
	report, err := protocol.ParseReport(facts)
	if err != nil {
		return
	}
	s.mu.Lock()
	s.asked = append(s.asked, Asked{Path: path, Identity: session.Identity().Hash, SMBIOS: report.SMBIOS, Report: report})
	s.mu.Unlock()
	time.Sleep(say.Delay)
	if last := lastMessage(path, report, say); last != nil {
		_ = send(protocol.TypeConfig, last)
	}
	_ = conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
}

func lastMessage(path string, report *protocol.Report, say *Script) (last []byte) {
	switch {
	case say.Refusal != nil:
		last, _ = protocol.EncodeErrorV2(say.Refusal)
	case report.CallHome:
		last, _ = (&protocol.Assignment{State: say.State}).Encode()
	case path == protocol.PathInventory:
		last, _ = (&protocol.Assignment{State: protocol.StateAssigned, Answer: say.Inventory}).Encode()
	case say.Final != nil:
		last, _ = protocol.EncodeConfig(say.Final)
	}
	return last
}

func serveCACerts(w http.ResponseWriter, r *http.Request, say *Script) {
	body := say.CACerts
	if body != "" && !strings.HasSuffix(body, "\n") {
		body += "\n"
	}
	digest, err := protocol.ParseCACertsAuthorization(r.Header.Get(protocol.HeaderAuthorization))
	if nonce := r.Header.Get(protocol.HeaderNonce); err == nil && digest == protocol.TokenDigest(say.SharedToken) && protocol.ValidNonce(nonce) {
		w.Header().Set(protocol.HeaderHash, protocol.CACertsHash(say.SharedToken, nonce, []byte(body)))
	}
	w.Header().Set("Content-Type", "text/plain")
	_, _ = w.Write([]byte(body))
}
