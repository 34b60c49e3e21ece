package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// drainTimeout is how long requests under way may take to end on shutdown.
const drainTimeout = 10 * time.Second

// maxHeaderBytes leaves room for a large endorsement certificate and the SMBIOS data of the first clients.
const maxHeaderBytes = 128 << 10

// Serve answers on the listener until ctx ends, then lets what is under way finish. With certificates it speaks TLS.
func (s *Server) Serve(ctx context.Context, listener net.Listener, certificates *tls.Config) error {
	server := newHTTPServer(s)
	defer func() { _ = server.Close() }()
	// Only here: the connections of a tunnel are Rancher's, and it has bounds of its own.
	server.ConnState, server.ConnContext = s.limits.connections.follow, s.limits.connections.remember
	server.ErrorLog = log.New(s.refusals, "", 0)
	if certificates != nil {
		listener = tls.NewListener(listener, certificates)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	select {
	case err := <-done:
		return fmt.Errorf("serving %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := server.drain(draining); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stopping to serve: %w", err)
	}
	return nil
}

// httpServer serves machines, on a listener and through the tunnel, within the same limits.
type httpServer struct {
	http.Server
	underWay underWay
}

func newHTTPServer(handler http.Handler) *httpServer {
	s := &httpServer{}
	s.Server = http.Server{
		Handler: s.underWay.counting(handler),
		// Else `OPTIONS *` is answered without us.
		DisableGeneralOptionsHandler: true,
		MaxHeaderBytes:               maxHeaderBytes,
		ReadHeaderTimeout:            5 * time.Second,
		ReadTimeout:                  15 * time.Second,
		WriteTimeout:                 30 * time.Second,
		IdleTimeout:                  30 * time.Second,
	}
	return s
}

// drain takes no more requests and returns when those under way have ended, or with the error of ctx.
func (s *httpServer) drain(ctx context.Context) error {
	if err := s.Shutdown(ctx); err != nil {
		return err
	}
	return s.underWay.wait(ctx)
}

// underWay counts the requests under way. The HTTP server knows those too, but forgets the ones that became a websocket,
// and most of ours do.
type underWay struct {
	mutex sync.Mutex
	count int
	none  chan struct{} // Closed when the count comes back to 0.
}

func (u *underWay) counting(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.add(1)
		defer u.add(-1)
		handler.ServeHTTP(w, r)
	})
}

func (u *underWay) add(change int) {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	if u.count == 0 {
		u.none = make(chan struct{})
	}
	u.count += change
	if u.count == 0 {
		close(u.none)
	}
}

func (u *underWay) wait(ctx context.Context) error {
	u.mutex.Lock()
	count, none := u.count, u.none
	u.mutex.Unlock()
	if count == 0 {
		return nil
	}
	select {
	case <-none:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
