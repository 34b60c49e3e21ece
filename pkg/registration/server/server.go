package server

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	corev1controllers "github.com/rancher/wrangler/v3/pkg/generated/controllers/core/v1"
	"golang.org/x/sync/singleflight"
	"k8s.io/client-go/tools/record"

	rancheroscontrollers "github.com/rancher/rancheros-operator/pkg/generated/controllers/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	"github.com/rancher/rancheros-operator/pkg/settings"
)

// Options are what the server works with.
type Options struct {
	Indexes       *index.Indexes
	Settings      *settings.Settings
	Inventories   rancheroscontrollers.MachineInventoryClient
	Registrations rancheroscontrollers.MachineRegistrationClient
	// Secrets reads, by name, the Secret of a cluster's token (from Rancher 2.15 on) and that of a CA bundle.
	Secrets corev1controllers.SecretClient
	Events  record.EventRecorder
	// Facts, unless nil, is told what machines report about themselves.
	Facts FactsSink
	// Media, unless nil, has the boot media.
	Media Media
	// MaxInFlight bounds the requests that are served at the same time; it goes before Limits.Requests.
	MaxInFlight int
	Limits      Limits
	// Registering and Joining are told how long exchanges take at a registration's URL, and at the inventory's.
	Registering, Joining Durations
	// Ready, unless nil, tells whether the caches are filled; until then everybody is told to come back.
	Ready func() bool
}

// Server answers machines.
type Server struct {
	Options
	// timeouts are shorter in tests.
	timeouts  timeouts
	limits    *limits
	refusals  *refusals
	enrolled  enrolled
	enrolling singleflight.Group
	reserving sync.Mutex
	bundles   *bundles
	templates templates
	// told and refusalsTold bound the events about machines that were let in or are odd, and refused.
	told, refusalsTold *rates
}

// New makes a server; its caches must be filled before it serves.
func New(options Options) *Server {
	options.Limits.Requests = orInt(options.MaxInFlight, options.Limits.Requests)
	s := &Server{Options: options, limits: newLimits(options.Limits.or(DefaultLimits)), refusals: newRefusals(),
		told: newRates(registrationEvents), refusalsTold: newRates(refusalEvents)}
	s.bundles = newBundles(s)
	return s
}

// busyRetry is when to come back to a server that is full.
const busyRetry = 10 * time.Second

// ServeHTTP routes by the path as it was sent: nothing is unescaped, cleaned or redirected.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.limits.connections.serving(r)
	r = r.WithContext(context.WithValue(r.Context(), refusalsKey{}, s.refusals))
	if e := acceptable(r); e != nil {
		refuseHTTP(w, r, e)
		return
	}
	if s.Ready != nil && !s.Ready() {
		refuseHTTP(w, r, &protocol.Error{Code: protocol.CodeUnavailable, RetryAfter: spread(minBusyRetry, maxBusyRetry),
			Message: "the server is starting", Hint: "come back later"})
		return
	}
	if rest, isMedium := strings.CutPrefix(r.URL.EscapedPath(), protocol.PathSeedImage); isMedium {
		s.serveMedium(w, r, rest)
		return
	}
	if whom := whom(r); s.limits.requests.take(whom) {
		defer s.limits.requests.give(whom)
	} else {
		refuseHTTP(w, r, busy())
		return
	}
	if protocol.SchemeOf(r.Header.Values(protocol.HeaderAuthorization)) == protocol.SchemeAttestation {
		admitted, claim, err := s.limits.admit(r)
		if err != nil {
			refuseHTTP(w, r, err)
			return
		}
		defer claim.end()
		r = admitted
	}
	s.route(w, r)
}

func (s *Server) route(w http.ResponseWriter, r *http.Request) {
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

func notFound() *protocol.Error {
	return &protocol.Error{Code: protocol.CodeNotFound, Message: "not found",
		Hint: "check the registration URL: `kubectl describe machineregistration` shows it"}
}
