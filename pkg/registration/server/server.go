package server

import (
	"net/http"
	"strings"
	"time"

	corev1controllers "github.com/rancher/wrangler/v3/pkg/generated/controllers/core/v1"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/singleflight"
	"k8s.io/client-go/tools/record"

	rancheroscontrollers "github.com/rancher/rancheros-operator/pkg/generated/controllers/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	"github.com/rancher/rancheros-operator/pkg/settings"
)

// Options are what the server works with.
type Options struct {
	Indexes     *index.Indexes
	Settings    *settings.Settings
	Inventories rancheroscontrollers.MachineInventoryClient
	// Secrets reads the Secret that holds a cluster's token, from Rancher 2.15 on.
	Secrets corev1controllers.SecretClient
	Events  record.EventRecorder
	// MaxInFlight bounds the requests that are served at the same time.
	MaxInFlight int
}

// Server answers machines.
type Server struct {
	Options
	slots     chan struct{}
	enrolling singleflight.Group
}

// New makes a server; its caches must be filled before it serves.
func New(options Options) *Server {
	return &Server{Options: options, slots: make(chan struct{}, options.MaxInFlight)}
}

// busyRetry is when to come back to a server that is full.
const busyRetry = 10 * time.Second

// ServeHTTP routes by the path as it was sent: nothing is unescaped, cleaned or redirected.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if e := acceptable(r); e != nil {
		refuseHTTP(w, r, e)
		return
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		refuseHTTP(w, r, &protocol.Error{Code: protocol.CodeUnavailable, RetryAfter: busyRetry,
			Message: "the server is busy", Hint: "come back later"})
		return
	}
	path := r.URL.EscapedPath()
	switch token, isRegistration := strings.CutPrefix(path, protocol.PathRegistration); {
	case path == protocol.PathInventory:
		s.serveInventory(w, r)
	case path == protocol.PathCACerts:
		s.serveCACerts(w, r)
	case isRegistration && protocol.ValidRegistrationToken(token):
		s.serveRegistration(w, r, token)
	default:
		refuseHTTP(w, r, notFound())
	}
}

// acceptable refuses what no machine sends, before anything is done for it.
func acceptable(r *http.Request) *protocol.Error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return &protocol.Error{Code: codeMethod, Message: "only GET is answered here"}
	}
	if r.ContentLength != 0 {
		return &protocol.Error{Code: protocol.CodeTooLarge, Message: "requests must have no body"}
	}
	return nil
}

// codeMethod is for callers that are no machines; machines never see it.
const codeMethod protocol.Code = "method-not-allowed"

func notFound() *protocol.Error {
	return &protocol.Error{Code: protocol.CodeNotFound, Message: "not found",
		Hint: "check the registration URL: `kubectl describe machineregistration` shows it"}
}

// refuseHTTP answers with the public half of the error and logs the whole, without the path, which may hold a token.
func refuseHTTP(w http.ResponseWriter, r *http.Request, err error) {
	e := protocol.AsError(err)
	logRefusal(r, e)
	// The body is not read, so the connection cannot be used again.
	if r.ContentLength != 0 {
		w.Header().Set("Connection", "close")
	}
	if e.Code == codeMethod {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, e.Message, http.StatusMethodNotAllowed)
		return
	}
	protocol.WriteHTTPError(w, e)
}

func logRefusal(r *http.Request, e *protocol.Error) {
	logrus.WithFields(logrus.Fields{"surface": surface(r), "code": e.Code, "remote": r.RemoteAddr}).
		Infof("refused: %.400q", e.Detail())
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
	}
	return "other"
}
