package server

import (
	"context"
	"net"
	"strings"
	"sync"
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
}

func newMemoryListener() *memoryListener {
	return &memoryListener{connections: make(chan net.Conn), closed: make(chan struct{})}
}

// dial connects with the server on this listener, whatever the address.
func (l *memoryListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.connections <- &tunnelledConn{far}:
		return near, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
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
