package server

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	corev1controllers "github.com/rancher/wrangler/v3/pkg/generated/controllers/core/v1"
	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"
)

// TunnelOptions are what the tunnel works with.
type TunnelOptions struct {
	// Handler answers what comes through the tunnel.
	Handler http.Handler
	// Events tells people why a Secret is not followed.
	Events record.EventRecorder
	// Opened, unless nil, is called whenever the tunnel has been opened.
	Opened func()
	// AllowHTTP lets tests dial a Rancher without TLS.
	AllowHTTP bool
}

// Tunnel serves the handler through Rancher: Rancher writes into a Secret where to dial and with which token, and sends
// down that connection the requests whose path it was told to.
//
//	the Secret       what it says, and whether that is followed      tunnel_endpoint.go
//	follow, Run      one endpoint at a time, at an even pace         here
//	keep, dial       dialing, and dialing again                      tunnel_dial.go
//	session          one connection: serve, watch, drain             tunnel_session.go
//	memoryListener   the only place that a tunnel leads to           tunnel_listener.go
//
// Steve has a client of this kind. It is not used: it turns the check of Rancher's certificate off when ca.crt is empty,
// dials every 5 s whatever happens, and takes a minute to notice a connection that has gone silent.
type Tunnel struct {
	options TunnelOptions
	pace    pace

	mutex   sync.Mutex
	said    secretSays
	want    endpoint
	changed chan struct{} // Closed when want changes.
	state   TunnelState
	// sessions counts those that there were.
	sessions int
}

// pace holds the tunnel's times; tests shorten those that they do not measure.
type pace struct {
	// firstRetry is the longest wait before the first new try; it doubles up to lastRetry.
	firstRetry, lastRetry time.Duration
	// steady is how long a session must have lived for the next wait to be a first one again.
	steady time.Duration
	// hold is the least time between two dials for which changes of the Secret are the reason.
	hold time.Duration
	// handshake bounds a dial from the name look-up to the answer to the upgrade.
	handshake time.Duration
	// silence is how long the other end may give no sign of life; remotedialer asks for one every 5 seconds.
	silence time.Duration
	// drain is how long requests under way may take to end on shutdown, and handover that when the Secret has changed.
	drain, handover time.Duration
}

var usualPace = pace{
	firstRetry: 200 * time.Millisecond,
	lastRetry:  5 * time.Second,
	steady:     30 * time.Second,
	hold:       2 * time.Second,
	handshake:  10 * time.Second,
	silence:    12 * time.Second,
	drain:      drainTimeout,
	handover:   500 * time.Millisecond,
}

// TunnelState is how the tunnel is doing.
type TunnelState struct {
	Connected bool
	// Since is when it was last connected or disconnected; zero before the first connection.
	Since time.Time
	// Reconnects counts the connections after the first.
	Reconnects int
	// LastError is what went wrong last, also when all is well again.
	LastError error
}

// errSecretChanged ends a session whose endpoint is not the Secret's any more.
var errSecretChanged = errors.New("the tunnel's Secret has changed")

// NewTunnel follows the Secret, of which the controller must see no other, until ctx ends. Run dials.
func NewTunnel(ctx context.Context, secrets corev1controllers.SecretController, options TunnelOptions) *Tunnel {
	t := newTunnel(options)
	secrets.OnChange(ctx, "tunnel", func(_ string, secret *corev1.Secret) (*corev1.Secret, error) {
		t.follow(secret)
		return secret, nil
	})
	return t
}

func newTunnel(options TunnelOptions) *Tunnel {
	return &Tunnel{options: options, pace: usualPace, changed: make(chan struct{})}
}

// follow takes up what the Secret says; nil is a Secret that was deleted. The same content again changes nothing and is
// judged once only. A Secret that is refused leaves the tunnel as it was: what it said before was good.
func (t *Tunnel) follow(secret *corev1.Secret) {
	said := read(secret)
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if said == t.said {
		return
	}
	t.said = said
	want, err := judge(said, t.options.AllowHTTP)
	var refused *refusedSecret
	if errors.As(err, &refused) {
		t.state.LastError = err
		logrus.Warnf("the tunnel's Secret is not followed: %v", err)
		t.options.Events.Event(secret, corev1.EventTypeWarning, refused.reason, refused.message)
		return
	}
	if want == t.want {
		return
	}
	if want.none() {
		logrus.Info("waiting for Rancher to fill in the tunnel's Secret")
	}
	t.want = want
	close(t.changed)
	t.changed = make(chan struct{})
}

// wanted is where to dial, and a channel that is closed when that changes.
func (t *Tunnel) wanted() (endpoint, <-chan struct{}) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return t.want, t.changed
}

// Run keeps the tunnel open until ctx ends; then no new request is taken, and those under way may finish.
func (t *Tunnel) Run(ctx context.Context) {
	for ctx.Err() == nil {
		target, _ := t.wanted()
		following, stop := context.WithCancelCause(ctx)
		var keeping sync.WaitGroup
		keeping.Go(func() { t.keep(following, target) })
		t.untilOutdated(ctx, target)
		stop(errSecretChanged)
		keeping.Wait()
	}
}

// untilOutdated returns when the Secret says something else than target, or ctx ends. However often the Secret is
// rewritten, a target is held for some time: the tunnel would do nothing but dial.
func (t *Tunnel) untilOutdated(ctx context.Context, target endpoint) {
	earliest := time.Now().Add(t.pace.hold)
	for ctx.Err() == nil {
		want, changed := t.wanted()
		hold := time.Until(earliest)
		switch {
		case want == target:
			select {
			case <-changed:
			case <-ctx.Done():
			}
		case target.none() || hold <= 0:
			return
		default:
			pause(ctx, hold)
		}
	}
}

// State tells how the tunnel is doing.
func (t *Tunnel) State() TunnelState {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return t.state
}

func (t *Tunnel) noteConnected() {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.state.Connected, t.state.Since = true, time.Now()
	t.state.Reconnects = t.sessions
	t.sessions++
}

func (t *Tunnel) noteDisconnected() {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.state.Connected, t.state.Since = false, time.Now()
}

func (t *Tunnel) noteError(err error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.state.LastError = err
}

// pause returns after the duration, or when ctx ends.
func pause(ctx context.Context, duration time.Duration) {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
