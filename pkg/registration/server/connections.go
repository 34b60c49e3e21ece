package server

import (
	"container/list"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// connections bounds the connections on which no request is being served: new ones, those that are sending a request,
// and those that wait for the next one. Beyond the bound the oldest makes room, so that whoever opens thousands closes
// his own, and a machine that sends its request at once is served.
type connections struct {
	max int

	mutex sync.Mutex
	// waiting has the oldest in front; its values are net.Conns.
	waiting *list.List
	places  map[net.Conn]*list.Element
}

func newConnections(most int) *connections {
	return &connections{max: most, waiting: list.New(), places: map[net.Conn]*list.Element{}}
}

type connectionKey struct{}

// remember lets serving find the request's connection.
func (c *connections) remember(ctx context.Context, connection net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, connection)
}

// follow is the http.Server's ConnState.
func (c *connections) follow(connection net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew, http.StateIdle:
		c.wait(connection)
	case http.StateClosed, http.StateHijacked:
		c.forget(connection)
	}
}

// serving takes the request's connection out of those that can be closed.
func (c *connections) serving(r *http.Request) {
	if connection, ours := r.Context().Value(connectionKey{}).(net.Conn); ours {
		c.forget(connection)
	}
}

func (c *connections) wait(connection net.Conn) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.places[connection] != nil {
		return
	}
	c.places[connection] = c.waiting.PushBack(connection)
	if c.waiting.Len() <= c.max {
		return
	}
	oldest := c.waiting.Remove(c.waiting.Front()).(net.Conn)
	delete(c.places, oldest)
	// A TLS connection would say goodbye first, and wait for who does not read.
	if secured, ok := oldest.(*tls.Conn); ok {
		oldest = secured.NetConn()
	}
	_ = oldest.Close()
}

func (c *connections) forget(connection net.Conn) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if place := c.places[connection]; place != nil {
		c.waiting.Remove(place)
		delete(c.places, connection)
	}
}
