package server

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
)

// sessionPrefix begins the host that Rancher dials through a tunnel: it is the name of its session, no machine's.
const sessionPrefix = "stv-"

// allowed is asked by remotedialer before it connects the other end with anything. Whatever the answer, dial below leads
// to our handler and nowhere else; a Rancher that asks for another place is not the one we know, and its session ends.
func allowed(network, address string) bool {
	return network == "tcp" && strings.HasPrefix(address, sessionPrefix)
}

// memoryListener hands connections to an HTTP server without a network in between.
type memoryListener struct {
	connections chan net.Conn
	closed      chan struct{}
	close       sync.Once
	streams     underWay
}

func newMemoryListener() *memoryListener {
	return &memoryListener{connections: make(chan net.Conn), closed: make(chan struct{})}
}

// dial connects with the server on this listener, whatever the address.
func (l *memoryListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	l.streams.add(1)
	select {
	case l.connections <- &tunnelledConn{far}:
		return &stream{Conn: near, ended: func() { l.streams.add(-1) }}, nil
	case <-l.closed:
		l.streams.add(-1)
		return nil, net.ErrClosed
	case <-ctx.Done():
		l.streams.add(-1)
		return nil, context.Cause(ctx)
	}
}

// closesOfStream is how often remotedialer (v0.6.1) closes what it was given by dial: when each direction has ended, and
// when the other end has been told.
const closesOfStream = 3

// stream knows when remotedialer is done with it. Our handler is done earlier: what it has written is still on its way.
type stream struct {
	net.Conn
	closes atomic.Int32
	ended  func()
}

func (s *stream) Close() error {
	if s.closes.Add(1) == closesOfStream {
		s.ended()
	}
	return s.Conn.Close()
}

// Accept waits for the next connection.
func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.connections:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close makes every dial and Accept fail, also those that wait.
func (l *memoryListener) Close() error {
	l.close.Do(func() { close(l.closed) })
	return nil
}

// Addr is a name for logs.
func (l *memoryListener) Addr() net.Addr { return tunnelAddr{} }

// tunnelledConn says in logs where a request came from.
type tunnelledConn struct{ net.Conn }

func (tunnelledConn) RemoteAddr() net.Addr { return tunnelAddr{} }

type tunnelAddr struct{}

func (tunnelAddr) Network() string { return "tunnel" }
func (tunnelAddr) String() string  { return "tunnel" }
