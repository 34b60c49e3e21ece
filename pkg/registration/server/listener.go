package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// drainTimeout is how long requests under way may take to end on shutdown.
const drainTimeout = 10 * time.Second

// maxHeaderBytes leaves room for a large endorsement certificate and the SMBIOS data of the first clients.
const maxHeaderBytes = 128 << 10

// Serve answers on the listener until ctx ends, then lets what is under way finish. With certificates it speaks TLS.
func (s *Server) Serve(ctx context.Context, listener net.Listener, certificates *tls.Config) error {
	server := &http.Server{
		Handler:           s,
		TLSConfig:         certificates,
		MaxHeaderBytes:    maxHeaderBytes,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       30 * time.Second,
	}
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
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := server.Shutdown(drain); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stopping to serve: %w", err)
	}
	return nil
}
