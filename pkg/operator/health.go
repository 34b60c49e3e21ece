package operator

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"time"
)

// health answers Kubernetes' probes. Alive means that the process runs; ready, that machines get right answers.
type health struct {
	listener net.Listener
	profile  bool
	isReady  atomic.Bool
}

// listenHealth takes the port at once, so that a port in use ends the process with a clear word.
func listenHealth(address string, profile bool) (*health, error) {
	if address == "" {
		return &health{}, nil
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening for probes: %w", err)
	}
	return &health{listener: listener, profile: profile}, nil
}

func (h *health) ready() { h.isReady.Store(true) }

func (h *health) serve(ctx context.Context) error {
	if h.listener == nil {
		return nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !h.isReady.Load() {
			http.Error(w, "caches are not filled yet", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second}
	if h.profile {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
		// A profile takes as long as is asked for.
		server.WriteTimeout = 0
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(h.listener); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serving probes: %w", err)
	}
	return nil
}
