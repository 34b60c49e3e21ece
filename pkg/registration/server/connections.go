package server

import (
	"container/list"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"
)

// connections bounds the connections on which no request is being served: the quiet ones, which are new or wait for
// their next request and cost little, and a quarter as many that are in the middle of a request's headers, which are
// kept in memory. Beyond the bound the oldest of its kind makes room. So whoever opens thousands closes his own, and a
// machine that sends its request at once is served.
type connections struct {
	quiet, reading *queue

	mutex  sync.Mutex
	places map[net.Conn]place
	now    func() time.Time
}

// queue has the oldest connection in front.
type queue struct {
	list.List
	max   int
	grace time.Duration
}

// place is where in which queue a connection is.
type place struct {
	in *queue
	at *list.Element
}

// waiter is a connection in a queue.
type waiter struct {
	net.Conn
	since time.Time
}

// quietGrace and readingGrace are what every connection gets to make itself useful, as long as there are no more than
// twice as many as should be: when a thousand machines come at once, most of them are only in a scheduler's queue, here
// or on their side. Headers take memory, so who sends them slowly gets less.
const (
	quietGrace   = 3 * time.Second
	readingGrace = 100 * time.Millisecond
)

func newConnections(most int) *connections {
	return &connections{quiet: &queue{max: most, grace: quietGrace}, reading: &queue{max: max(1, most/4), grace: readingGrace}, places: map[net.Conn]place{}, now: time.Now}
}

type connectionKey struct{}

// remember lets serving find the request's connection.
func (c *connections) remember(ctx context.Context, connection net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, connection)
}

// follow is the http.Server's ConnState.
func (c *connections) follow(connection net.Conn, state http.ConnState) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.forget(connection)
	switch state {
	case http.StateNew, http.StateIdle:
		c.wait(connection, c.quiet)
	case http.StateActive:
		c.wait(connection, c.reading)
	}
}

// serving takes the request's connection out of those that can be closed: its headers have come.
func (c *connections) serving(r *http.Request) {
	if connection, ours := r.Context().Value(connectionKey{}).(net.Conn); ours {
		c.mutex.Lock()
		defer c.mutex.Unlock()
		c.forget(connection)
	}
}

func (c *connections) wait(connection net.Conn, in *queue) {
	now := c.now()
	c.places[connection] = place{in: in, at: in.PushBack(waiter{Conn: connection, since: now})}
	for in.Len() > in.max {
		oldest := in.Front().Value.(waiter)
		if now.Sub(oldest.since) < in.grace && in.Len() <= 2*in.max {
			return
		}
		c.forget(oldest.Conn)
		abandon(oldest.Conn)
	}
}

func (c *connections) forget(connection net.Conn) {
	if place, known := c.places[connection]; known {
		place.in.Remove(place.at)
		delete(c.places, connection)
	}
}

// abandon closes without a word: a TLS connection would say goodbye first, and wait for who does not read.
func abandon(connection net.Conn) {
	if secured, ok := connection.(*tls.Conn); ok {
		connection = secured.NetConn()
	}
	_ = connection.Close()
}
