package server

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// Codes for callers that are no machines; machines never see them.
const (
	codeMethod  protocol.Code = "method-not-allowed"
	codeHeaders protocol.Code = "headers-too-large"
	codeVersion protocol.Code = "websocket-version"
)

// statusOf is the HTTP status of codes that protocol does not know.
var statusOf = map[protocol.Code]int{
	codeMethod:  http.StatusMethodNotAllowed,
	codeHeaders: http.StatusRequestHeaderFieldsTooLarge,
	codeVersion: http.StatusUpgradeRequired,
}

// refuseHTTP answers with the public half of the error, and logs and counts the whole, without the path, which may hold
// a token.
func refuseHTTP(w http.ResponseWriter, r *http.Request, err error) {
	e := protocol.AsError(err)
	logRefusal(r, e)
	header := w.Header()
	// The body is not read, so the connection cannot be used again; nor is its end waited for.
	if r.ContentLength != 0 {
		header.Set("Connection", "close")
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Second))
	}
	switch e.Code {
	case codeMethod:
		header.Set("Allow", "GET, HEAD")
	case codeVersion:
		header.Set("Sec-WebSocket-Version", "13")
	case codeHeaders:
		header.Set("Connection", "close")
	}
	if status, ours := statusOf[e.Code]; ours {
		w = &withStatus{ResponseWriter: w, status: status}
	}
	protocol.WriteHTTPError(w, e)
}

// withStatus answers with a status of its own.
type withStatus struct {
	http.ResponseWriter
	status int
}

func (w *withStatus) WriteHeader(int) { w.ResponseWriter.WriteHeader(w.status) }

// Refusal is a class of refusals: what was asked for, and why it was refused. There are few of either.
type Refusal struct {
	Surface, Reason string
}

// refusals counts what is refused, and logs it: under a flood the first lines of each second and class, and how many
// more there were.
type refusals struct {
	mutex   sync.Mutex
	classes map[Refusal]*class
}

func newRefusals() *refusals {
	return &refusals{classes: map[Refusal]*class{}}
}

type class struct {
	count uint64
	// lines were written, and more were not, since the second began.
	second      time.Time
	lines, more int
}

const (
	// maxLines is how many lines each class gets per second.
	maxLines = 10
	// maxDetail bounds, quoted, what a line says about its refusal; with it the whole line stays below 512 bytes.
	maxDetail = 280
)

// Rejected is how often each class of requests was refused since the start.
func (s *Server) Rejected() map[Refusal]uint64 {
	s.refusals.mutex.Lock()
	defer s.refusals.mutex.Unlock()
	counts := make(map[Refusal]uint64, len(s.refusals.classes))
	for refusal, class := range s.refusals.classes {
		counts[refusal] = class.count
	}
	return counts
}

type refusalsKey struct{}

// logRefusal logs and counts, on the server that the request came to.
func logRefusal(r *http.Request, e *protocol.Error) {
	if refusals, served := r.Context().Value(refusalsKey{}).(*refusals); served {
		refusals.add(r, e)
	}
}

func (f *refusals) add(r *http.Request, e *protocol.Error) {
	refusal := Refusal{Surface: surface(r), Reason: reason(r, e)}
	if f.count(refusal, time.Now()) {
		logrus.WithFields(logrus.Fields{"surface": refusal.Surface, "reason": refusal.Reason, "remote": r.RemoteAddr}).
			Info("refused: " + loggable(e.Detail()))
	}
}

// count tells whether there is a line for this one.
func (f *refusals) count(refusal Refusal, now time.Time) bool {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	c := f.classes[refusal]
	if c == nil {
		c = &class{}
		f.classes[refusal] = c
	}
	c.count++
	if now.Sub(c.second) >= time.Second {
		c.second, c.lines = now, 0
	}
	if c.lines < maxLines {
		c.lines++
		return true
	}
	if c.more++; c.more == 1 {
		time.AfterFunc(time.Second, func() { f.logMore(refusal) })
	}
	return false
}

func (f *refusals) logMore(refusal Refusal) {
	f.mutex.Lock()
	more := f.classes[refusal].more
	f.classes[refusal].more = 0
	f.mutex.Unlock()
	logrus.WithFields(logrus.Fields{"surface": refusal.Surface, "reason": refusal.Reason}).Infof("refused %d more", more)
}

// reason is the error's code, or one of the finer reasons.
func reason(r *http.Request, e *protocol.Error) string {
	switch {
	case e.Code == protocol.CodeUnauthorized && protocol.SchemeOf(r.Header.Values(protocol.HeaderAuthorization)) == protocol.SchemeDowngrade:
		return ReasonDowngrade
	case e.Err == errBusy: //nolint:errorlint // It is never wrapped, and every refusal comes by here.
		return ReasonBusy
	}
	return string(e.Code)
}

// loggable makes a text that may quote a stranger fit for one line: printable, and short even when it is quoted again.
func loggable(text string) string {
	text = strings.Trim(strconv.QuoteToASCII(text[:min(len(text), maxDetail)]), `"`)
	for len(strconv.Quote(text)) > maxDetail {
		text = text[:len(text)-len(text)/8-1]
	}
	return text
}

// surface names the path without what follows it.
func surface(r *http.Request) string {
	path := r.URL.EscapedPath()
	switch {
	case path == protocol.PathInventory:
		return "inventory"
	case path == protocol.PathCACerts:
		return "cacerts"
	case strings.HasPrefix(path, protocol.PathRegistration):
		return "registration"
	case strings.HasPrefix(path, protocol.PathSeedImage):
		return "seedimage"
	}
	return "other"
}

// Write makes refusals the http.Server's error log, where each failed TLS handshake is a line.
func (f *refusals) Write(line []byte) (int, error) {
	if f.count(Refusal{Surface: "connection", Reason: string(protocol.CodeBadRequest)}, time.Now()) {
		logrus.Info("connection: " + loggable(strings.TrimSpace(string(line))))
	}
	return len(line), nil
}
