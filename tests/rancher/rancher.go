package rancher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
)

// Options say which Rancher to pretend to be. Only Config is needed.
type Options struct {
	// Config reaches the API server with the rights of an administrator. Install has been called for it.
	Config *rest.Config
	// ListenAddr defaults to 127.0.0.1:0.
	ListenAddr string
	// ServerURL is the setting server-url, by default the URL that is listened on.
	ServerURL string
	// SystemDefaultRegistry is the setting of that name, by default none.
	SystemDefaultRegistry string

	// TokenForm defaults to TokenSecret, the newest Rancher's.
	TokenForm TokenForm
	// TokenTTL and TokenGrace apply to TokenSecret where a token's spec says nothing: 30 days and 1 hour by default, and
	// as short as a test likes.
	TokenTTL, TokenGrace time.Duration

	// ClusterDelay is the time between a provisioning Cluster and its status.clusterName, TokenDelay the one between a
	// ClusterRegistrationToken and its token, FleetDelay the one between a Bundle and its deployment. 0 by default.
	ClusterDelay, TokenDelay, FleetDelay time.Duration
	// ParkTimeout is how long a request for an aggregated path waits for a session: 15 s by default, as in Rancher.
	ParkTimeout time.Duration
	// UpgradeTakes is how long the upgrade of a node takes: 100 ms by default.
	UpgradeTakes time.Duration
	// OldFleet ignores a Bundle's downstreamResources, as Fleet before 0.16 does.
	OldFleet bool

	// Log gets a line for what happens, by default nobody.
	Log func(string)
}

func (o Options) withDefaults() Options {
	defaultTo(&o.ListenAddr, "127.0.0.1:0")
	defaultTo(&o.TokenForm, TokenSecret)
	defaultTo(&o.TokenTTL, 30*24*time.Hour)
	defaultTo(&o.TokenGrace, time.Hour)
	defaultTo(&o.ParkTimeout, 15*time.Second)
	defaultTo(&o.UpgradeTakes, 100*time.Millisecond)
	if o.Log == nil {
		o.Log = func(string) {}
	}
	return o
}

func defaultTo[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Rancher is one running pretend Rancher. All its state is in the API server: another one may take over from it.
type Rancher struct {
	opts        Options
	url         string
	authority   *authority
	api         *api
	form        *tokenFormBox
	clusters    *clusters
	tokens      *tokens
	tokenLoop   *loop
	nodes       *nodes
	apiServices *apiServices
	tunnel      *tunnel
	fleet       *fleetController
	downstream  *downstream
	server      *http.Server

	cancel context.CancelFunc
	done   sync.WaitGroup
}

// Start listens and begins to work. It returns once the settings and the local cluster are there; Close ends it, as does
// the end of ctx.
func Start(ctx context.Context, opts Options) (*Rancher, error) {
	opts = opts.withDefaults()
	a, err := newAPI(opts.Config)
	if err != nil {
		return nil, err
	}
	if err := a.ensureNamespaces(ctx); err != nil {
		return nil, err
	}
	ca, err := loadAuthority(ctx, a)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", opts.ListenAddr)
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	r := &Rancher{opts: opts, url: urlOf(listener.Addr()), authority: ca, api: a, form: &tokenFormBox{form: opts.TokenForm}}
	defaultTo(&r.opts.ServerURL, r.url)
	if err := r.start(ctx, listener); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return r, nil
}

func (r *Rancher) start(ctx context.Context, listener net.Listener) error {
	if err := r.api.ensureSettings(ctx, r.opts, r.url, string(r.authority.pem)); err != nil {
		return err
	}
	certificate, err := r.authority.serving(hostsOf(r.url, r.opts.ServerURL)...)
	if err != nil {
		return err
	}
	mapper, err := newMapper(r.opts.Config)
	if err != nil {
		return err
	}
	manifests, err := newManifestReader()
	if err != nil {
		return err
	}
	r.clusters = &clusters{api: r.api}
	r.tokens = newTokens(r.api, r.opts, r.form)
	r.nodes = &nodes{api: r.api, tokens: r.tokens}
	r.apiServices = newAPIServices(r.api)
	r.tunnel = newTunnel(r.apiServices.authorize, r.opts.ParkTimeout)
	r.fleet = newFleetController(r.api, manifests, mapper, r.opts)
	r.downstream = newDownstream(r.api, r.fleet.ledger, r.fleet.links, r.opts.UpgradeTakes, r.opts.Log)
	r.server = newServer(r.handler(), certificate)

	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r.cancel = cancel
	context.AfterFunc(ctx, r.Close)
	if err := r.startLoops(ctx, running); err != nil {
		r.Close()
		return err
	}
	r.done.Go(func() {
		if err := r.server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			r.opts.Log(fmt.Sprintf("serving: %v", err))
		}
	})
	return nil
}

// startLoops fills the caches, sees to the local cluster, and lets the loops run.
func (r *Rancher) startLoops(ctx, running context.Context) error {
	clusterLoop, err := r.clusters.loop(r.opts.ClusterDelay, r.opts.Log)
	if err != nil {
		return err
	}
	if r.tokenLoop, err = r.tokens.loop(r.opts.Log); err != nil {
		return err
	}
	apiServiceLoop, err := r.apiServices.loop(r.opts.Log)
	if err != nil {
		return err
	}
	fleetLoop, err := r.fleet.loop(r.opts.Log)
	if err != nil {
		return err
	}
	r.api.informers.Start(running.Done())
	for gvr, synced := range r.api.informers.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return fmt.Errorf("waiting for cache of %s: %w", gvr.Resource, ctx.Err())
		}
	}
	if err := r.ensureLocalCluster(ctx); err != nil {
		return err
	}
	if err := r.fleet.recall(ctx); err != nil {
		return err
	}
	if err := r.recall(ctx); err != nil {
		return err
	}
	// One cluster has nothing to do with another, and hundreds may come at once. The other loops keep state.
	for _, l := range []*loop{clusterLoop, clusterLoop, clusterLoop, clusterLoop, r.tokenLoop, apiServiceLoop, fleetLoop} {
		r.done.Go(func() { l.run(running) })
	}
	r.done.Go(func() { r.downstream.run(running) })
	return nil
}

// ensureLocalCluster makes the cluster that Rancher itself runs in, and waits for what it gets: an operator that starts
// now finds it.
func (r *Rancher) ensureLocalCluster(ctx context.Context) error {
	k := key{Namespace: localWorkspace, Name: localCluster}
	local := manifest("provisioning.cattle.io/v1", "Cluster", k, map[string]any{"spec": map[string]any{}})
	if err := r.api.apply(ctx, provisioningClustersGVR, local); err != nil {
		return err
	}
	local, err := r.api.get(ctx, provisioningClustersGVR, k)
	if err != nil || local == nil {
		return errors.Join(err, ctx.Err())
	}
	return r.clusters.ensure(ctx, local)
}

// URL is where this Rancher listens.
func (r *Rancher) URL() string { return r.url }

// CACert is the CA of URL in PEM, the same as the setting cacerts.
func (r *Rancher) CACert() []byte { return slices.Clone(r.authority.pem) }

// Close stops everything and waits for it. What is in the API server stays.
func (r *Rancher) Close() {
	r.cancel()
	_ = r.server.Close()
	r.tunnel.drop()
	r.done.Wait()
	r.api.informers.Shutdown()
}

// SetTokenForm makes this another version of Rancher. The registration tokens follow: an upgrade moves them into Secrets,
// a downgrade makes new ones.
func (r *Rancher) SetTokenForm(form TokenForm) {
	r.form.set(form)
	for _, k := range r.tokens.all() {
		r.tokenLoop.queue.Add(k)
	}
}

// RotateTokens replaces every registration token and returns when all are written. In the TokenSecret form machines may
// use the previous one during the grace period.
func (r *Rancher) RotateTokens(ctx context.Context) error {
	if err := r.tokens.rotateAll(ctx); err != nil {
		return err
	}
	for _, k := range r.tokens.all() {
		r.tokenLoop.queue.Add(k) // to look again when the new deadlines come
	}
	return nil
}

// TokenIsGood says whether a machine could join with that token now.
func (r *Rancher) TokenIsGood(token string) bool {
	_, found := r.tokens.find(token)
	return found
}

// TokenIssued says whose token that is or was, and until when it was the present one.
func (r *Rancher) TokenIssued(token string) (Issued, bool) {
	r.tokens.mutex.RLock()
	defer r.tokens.mutex.RUnlock()
	issued, known := r.tokens.issued[token]
	return issued, known
}

// Tunnels is the number of servers connected over /v3/connect.
func (r *Rancher) Tunnels() int { return r.tunnel.open() }

// WaitForTunnel returns when one is connected, or with the error of ctx.
func (r *Rancher) WaitForTunnel(ctx context.Context) error {
	return wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(context.Context) (bool, error) {
		return r.Tunnels() > 0, nil
	})
}

// DropTunnels cuts all tunnels, which their servers notice at once, and says how many.
func (r *Rancher) DropTunnels() int { return r.tunnel.drop() }

// FreezeTunnels lets the tunnels stand half-open: nothing moves, nobody is told. Call the result to let them move again.
func (r *Rancher) FreezeTunnels() (thaw func()) { return r.tunnel.freeze() }

// Parked is the number of requests that wait for a tunnel.
func (r *Rancher) Parked() int { return int(r.tunnel.parked.Load()) }

// Delivered is what Fleet has brought to a cluster, named as its provisioning Cluster: the objects of all Bundles and
// the copies of their downstreamResources, in the order of the Bundles' names.
func (r *Rancher) Delivered(namespace, name string) []unstructured.Unstructured {
	return r.fleet.ledger.delivered(key{Namespace: namespace, Name: name})
}

// urlOf is a URL that reaches the address from this machine, also when it is every address.
func urlOf(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); err == nil && ip.IsUnspecified() {
		return "https://" + net.JoinHostPort("127.0.0.1", port)
	}
	return "https://" + addr.String()
}

// hostsOf lists the names that a serving certificate must hold.
func hostsOf(urls ...string) []string {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	for _, raw := range urls {
		if parsed, err := url.Parse(raw); err == nil && !slices.Contains(hosts, parsed.Hostname()) {
			hosts = append(hosts, parsed.Hostname())
		}
	}
	return hosts
}

// quiet drops what the HTTP server would say about clients that hang up or do not trust us.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
