package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
	"github.com/sirupsen/logrus"
)

// keep dials, serves, and dials again, until ctx ends.
func (t *Tunnel) keep(ctx context.Context, target endpoint) {
	if target.none() {
		return
	}
	logrus.Infof("dialing Rancher's tunnel at %s", target.url)
	retry := backoff{first: t.pace.firstRetry, last: t.pace.lastRetry}
	complaint := complaint{}
	for {
		session, err := t.dial(ctx, target)
		if err == nil {
			complaint.forget()
			began := time.Now()
			err = t.serve(ctx, session)
			if time.Since(began) >= t.pace.steady {
				retry.reset()
			}
		}
		if ctx.Err() != nil {
			return
		}
		t.noteError(err)
		if complaint.due(err) {
			logrus.Warnf("there is no tunnel to Rancher, dialing again: %v", err)
		}
		pause(ctx, retry.next())
	}
}

func (t *Tunnel) serve(ctx context.Context, session *session) error {
	logrus.Info("the tunnel to Rancher is open")
	t.noteConnected()
	if t.options.Opened != nil {
		t.options.Opened()
	}
	defer t.noteDisconnected()
	return session.serve(ctx, t.options.Handler)
}

// refusedDial is an answer that says that our token is not good: it will not be until Rancher writes another one.
type refusedDial struct {
	status, body string
}

func (r *refusedDial) Error() string {
	return fmt.Sprintf("Rancher refused the tunnel's token: %s %.200q", r.status, r.body)
}

// dial opens a connection to Rancher. The end of ctx breaks off a dial, but not the connection that comes of it.
func (t *Tunnel) dial(ctx context.Context, target endpoint) (*session, error) {
	var watched *watchedConn
	dialer := websocket.Dialer{
		Proxy:            http.ProxyFromEnvironment,
		HandshakeTimeout: t.pace.handshake,
		TLSClientConfig:  &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: target.roots()},
		NetDialContext: func(dialing context.Context, network, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(dialing, network, address)
			if err != nil {
				return nil, err
			}
			// The websocket library heeds ctx while it connects, but not while it waits for the answer.
			watched = watch(conn, t.pace.silence)
			watched.keep = context.AfterFunc(ctx, func() { watched.Close() })
			return watched, nil
		},
	}
	conn, response, err := dialer.DialContext(ctx, target.address(), http.Header{"Authorization": {"Bearer " + target.token}}) //nolint:bodyclose // The library has closed it.
	kept := watched != nil && watched.keep()
	if err != nil {
		return nil, fmt.Errorf("dialing Rancher: %w", explain(response, err))
	}
	if !kept {
		conn.Close()
		return nil, fmt.Errorf("dialing Rancher: %w", context.Cause(ctx))
	}
	return &session{conn: conn, watched: watched, pace: t.pace}, nil
}

// explain adds to the error of an upgrade what was answered instead.
func explain(response *http.Response, err error) error {
	if response == nil || !errors.Is(err, websocket.ErrBadHandshake) {
		return err
	}
	body, _ := io.ReadAll(response.Body) // The library has cut it short.
	if response.StatusCode == http.StatusUnauthorized || response.StatusCode == http.StatusForbidden {
		return &refusedDial{response.Status, string(body)}
	}
	return fmt.Errorf("%w: %s %.200q", err, response.Status, body)
}

// backoff spreads tries: each wait is anything up to a limit that doubles, so that the replicas that lost the same
// Rancher do not come back to it at the same time.
type backoff struct {
	first, last time.Duration
	limit       time.Duration
}

func (b *backoff) next() time.Duration {
	b.limit = min(max(2*b.limit, b.first), b.last)
	return rand.N(b.limit) //nolint:gosec // A wait is no secret.
}

func (b *backoff) reset() { b.limit = 0 }

// complaintEvery is how often the same trouble is worth a line in the log.
const complaintEvery = time.Minute

// complaint keeps a Rancher that is away for long out of the log.
type complaint struct {
	refused bool
	next    time.Time
}

// due tells whether to log. A refused token is said once: only Rancher can change it, and then the endpoint is another.
func (c *complaint) due(err error) bool {
	var refused *refusedDial
	if errors.As(err, &refused) {
		due := !c.refused
		c.refused = true
		return due
	}
	if time.Now().Before(c.next) {
		return false
	}
	c.next = time.Now().Add(complaintEvery)
	return true
}

func (c *complaint) forget() { *c = complaint{} }
