package operator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"
)

// health answers Kubernetes' probes.
//
// /healthz is alive: 200, unless this replica holds a lease that it has not renewed for far too long and goes on all the
// same. Nothing else that is wrong here would be mended by a restart; that the API server or Rancher is away would not.
//
// /readyz is ready: 200 when machines get right answers, which means that the caches are filled, and somebody can reach us.
// Where there is a listener, its being open is enough: the tunnel is another way in, and whether it is open is for its
// metric and its alert. A replica that is reached through the tunnel alone is ready once that has been open, so that a
// rolling upgrade waits for it; when it is lost later the replica stays ready, since Rancher's absence is no reason to hold
// up the draining of nodes. A process that is told to end is not ready from that moment on.
type health struct {
	listener net.Listener
	profile  bool
	// changed is told whether we are ready.
	changed func(ready bool)

	mutex sync.Mutex
	// waiting is what is missing for being ready, in its order.
	waiting []string
	lease   func(late time.Duration) error
}

// What being ready waits for.
const (
	waitCaches = "caches are not filled yet"
	waitTunnel = "the tunnel to Rancher has not been open yet"
	waitEnd    = "the process is ending"
)

// lateLease is how long after its end a lease that we hold may be unrenewed: client-go gives up long before.
const lateLease = 20 * time.Second

// listenHealth takes the port at once, so that a port in use ends the process with a clear word.
func listenHealth(address string, profile bool, changed func(ready bool)) (*health, error) {
	h := &health{profile: profile, changed: changed, waiting: []string{waitCaches}, lease: func(time.Duration) error { return nil }}
	if address == "" {
		return h, nil
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening for probes: %w", err)
	}
	h.listener = listener
	return h, nil
}

// wait makes being ready depend on one thing more, and done says that it is there.
func (h *health) wait(thing string) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.waiting = append(h.waiting, thing)
	h.changed(false)
}

func (h *health) done(thing string) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	var left []string
	for _, waiting := range h.waiting {
		if waiting != thing {
			left = append(left, waiting)
		}
	}
	h.waiting = left
	h.changed(len(left) == 0)
}

// watchLease makes being alive depend on the check, which is given how late a renewal may be.
func (h *health) watchLease(check func(late time.Duration) error) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.lease = check
}

func (h *health) alive() error {
	h.mutex.Lock()
	check := h.lease
	h.mutex.Unlock()
	return check(lateLease)
}

func (h *health) ready() error {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if len(h.waiting) > 0 {
		return errors.New(h.waiting[0])
	}
	return nil
}

// serve says that the process is ending from the end of ctx on, and answers until that of outlasting.
func (h *health) serve(ctx, outlasting context.Context) error {
	context.AfterFunc(ctx, func() { h.wait(waitEnd) })
	if h.listener == nil {
		return nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", answer(h.alive))
	mux.HandleFunc("GET /readyz", answer(h.ready))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second}
	if h.profile {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
		// A profile takes as long as is asked for.
		server.WriteTimeout = 0
	}
	stop := context.AfterFunc(outlasting, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(h.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving probes: %w", err)
	}
	return nil
}

// answer is 200, or 503 with the reason.
func answer(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if err := check(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	}
}
