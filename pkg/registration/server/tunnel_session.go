package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/rancher/remotedialer"
)

// errSilent ends a session whose other end gives no sign of life: a firewall may have forgotten the connection, and
// nobody would tell us.
var errSilent = errors.New("nothing was heard from Rancher")

// session is one open connection to Rancher.
type session struct {
	conn    *websocket.Conn
	watched *watchedConn
	pace    pace
}

// serve answers what comes through the connection until that breaks, falls silent, or ctx ends. It closes the connection.
func (s *session) serve(ctx context.Context, handler http.Handler) error {
	listener := newMemoryListener()
	remote := remotedialer.NewClientSessionWithDialer(allowed, s.conn, listener.dial)
	s.takeOver()
	server := newHTTPServer(handler)
	// The end of ctx begins the drain; the session lives on meanwhile.
	living, end := context.WithCancelCause(context.WithoutCancel(ctx))
	var parts, tunnelled sync.WaitGroup
	parts.Go(func() { _ = server.Serve(listener) })
	parts.Go(func() { end(s.watch(living)) })
	tunnelled.Go(func() {
		_, err := remote.Serve(living)
		end(fmt.Errorf("serving the tunnel: %w", err))
		// In this order: to say goodbye to each stream over a connection that hangs would take its time.
		s.conn.Close()
		remote.Close()
	})
	select {
	case <-living.Done():
	case <-ctx.Done():
		s.drain(living, server, listener, context.Cause(ctx))
		end(context.Cause(ctx))
	}
	// From the outside in: remotedialer (v0.6.1) does not stand both ends of a stream closing at once.
	s.conn.Close()
	tunnelled.Wait()
	_ = server.Close()
	parts.Wait()
	return context.Cause(living)
}

// takeOver undoes what remotedialer has just set up to notice a dead connection, which takes it a minute, and which
// moves the connection's deadlines without a lock, whoever uses them. Its pings go on; we watch for the answers.
func (s *session) takeOver() {
	s.conn.SetPingHandler(nil) // Nil is the library's own: it answers.
	s.conn.SetPongHandler(nil)
	_ = s.conn.SetReadDeadline(time.Time{})
}

// drain takes no more requests, and lets those under way finish, as long as the cause of the end allows and the session
// lives. Whoever is cut off has got no answer and comes back.
func (s *session) drain(living context.Context, server *httpServer, listener *memoryListener, cause error) {
	limit := s.pace.drain
	if errors.Is(cause, errSecretChanged) {
		limit = s.pace.handover // Rancher does not know this connection any more, or will not for long.
	}
	draining, cancel := context.WithTimeout(living, limit)
	defer cancel()
	if server.drain(draining) == nil {
		_ = listener.streams.wait(draining)
	}
}

// watch returns errSilent when the other end has given no sign of life for too long. It is asked for one by remotedialer,
// which pings every PingWriteInterval.
func (s *session) watch(ctx context.Context) error {
	timer := time.NewTimer(time.Until(s.watched.doomed()))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
		}
		left := time.Until(s.watched.doomed())
		if left <= 0 {
			return fmt.Errorf("%w for %s", errSilent, s.pace.silence)
		}
		timer.Reset(left)
	}
}

// watchedConn remembers when something was last received. What is written must be taken before the other end would be
// given up: a peer that sends but does not take is of no use either.
type watchedConn struct {
	net.Conn
	silence time.Duration
	began   time.Time
	heard   atomic.Int64 // Nanoseconds after began: unlike a time of day, it does not jump.
	keep    func() bool
}

func watch(conn net.Conn, silence time.Duration) *watchedConn {
	return &watchedConn{Conn: conn, silence: silence, began: time.Now()}
}

// doomed is when the other end will be given up, unless something is received until then.
func (c *watchedConn) doomed() time.Time {
	return c.began.Add(time.Duration(c.heard.Load()) + c.silence)
}

func (c *watchedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.heard.Store(int64(time.Since(c.began)))
	}
	return n, err
}

// Write closes the connection when it fails: else the reading half would go on taking requests that nobody can answer.
func (c *watchedConn) Write(p []byte) (int, error) {
	_ = c.SetWriteDeadline(c.doomed())
	n, err := c.Conn.Write(p)
	if err != nil {
		c.Close()
	}
	return n, err
}
