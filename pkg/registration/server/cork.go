package server

import (
	"bufio"
	"net"
	"net/http"
)

// corkable hands out a connection that holds back the first thing written to it, the websocket's handshake: the challenge
// follows at once, and both travel together.
type corkable struct {
	http.ResponseWriter
	// reader is the one that the request came through.
	reader *bufio.Reader
}

// Hijack is http.Hijacker's.
func (c *corkable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffers, err := http.NewResponseController(c.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	c.reader = buffers.Reader
	return &corked{Conn: conn}, buffers, nil
}

// corked is used by one goroutine.
type corked struct {
	net.Conn
	held    []byte
	flowing bool
}

// Write says of the first bytes that they are written, as the kernel would of what it has only buffered.
func (c *corked) Write(data []byte) (int, error) {
	if !c.flowing {
		c.held, c.flowing = append(c.held, data...), true
		return len(data), nil
	}
	if c.held == nil {
		return c.Conn.Write(data)
	}
	held := len(c.held)
	written, err := c.Conn.Write(append(c.held, data...))
	c.held = nil
	return max(0, written-held), err
}

// Close sends what is still held.
func (c *corked) Close() error {
	if c.held != nil {
		_, _ = c.Conn.Write(c.held)
		c.held = nil
	}
	return c.Conn.Close()
}
