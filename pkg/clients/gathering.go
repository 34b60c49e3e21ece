package clients

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"k8s.io/client-go/rest"
)

// What follows on an event of a watch is waking one goroutine after the other, from the connection to the cache, and costs more
// than the event itself. While machines register by the hundred in a second, events of inventories are therefore gathered for a
// moment. The watch has a connection of its own, so that nothing else waits.

// gatherFor is short beside the second in which a machine, a person or another controller would notice.
const gatherFor = 10 * time.Millisecond

// dialTimeout and keepAlive are client-go's own.
const (
	dialTimeout = 30 * time.Second
	keepAlive   = 30 * time.Second
)

// watchesApart sends watches over another connection than the rest.
type watchesApart struct{ watches, others http.RoundTripper }

func newWatchesApart(config *rest.Config) (watchesApart, error) {
	gathered := rest.CopyConfig(config)
	gathered.Dial = gathering(config.Dial)
	var apart watchesApart
	var err error
	if apart.watches, err = rest.TransportFor(gathered); err != nil {
		return apart, fmt.Errorf("making connection of watches: %w", err)
	}
	if apart.others, err = rest.TransportFor(config); err != nil {
		return apart, fmt.Errorf("making connection: %w", err)
	}
	return apart, nil
}

// RoundTrip is http.RoundTripper's.
func (a watchesApart) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Method == http.MethodGet && request.URL.Query().Get("watch") == "true" {
		return a.watches.RoundTrip(request)
	}
	return a.others.RoundTrip(request)
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// gathering dials as before; nil stands for client-go's way.
func gathering(dial dialFunc) dialFunc {
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive}).DialContext
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &gatheringConn{Conn: conn}, nil
	}
}

// gatheringConn reads all there is, and then not again before its time; what comes after a pause is read at once.
type gatheringConn struct {
	net.Conn
	// next is when to read again; past while there may be more to read.
	next time.Time
}

// Read is net.Conn's; one goroutine reads, as of every connection.
func (c *gatheringConn) Read(into []byte) (int, error) {
	if wait := time.Until(c.next); wait > 0 {
		<-time.After(wait)
	}
	n, err := c.Conn.Read(into)
	if n < len(into) {
		c.next = time.Now().Add(gatherFor)
	}
	return n, err
}
