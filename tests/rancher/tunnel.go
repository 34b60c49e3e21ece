package rancher

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rancher/remotedialer"
	"github.com/rancher/steve/pkg/proxy"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/rest"
)

// anonymous is both the user and the group of everybody who comes to an aggregated path without a Rancher login.
const anonymous = "system:unauthenticated"

// tunnel connects callers of aggregated paths with the servers that dialled in for them.
type tunnel struct {
	server *remotedialer.Server
	park   time.Duration // how long a request waits for a session
	parked atomic.Int64

	mutex    sync.Mutex
	proxies  map[string]http.Handler // session key -> proxy, which keeps its idle connections
	sessions map[*tunnelConn]struct{}
	frozen   chan struct{} // closed when the tunnels run, open while they stand still
}

func newTunnel(authorize remotedialer.Authorizer, park time.Duration) *tunnel {
	running := make(chan struct{})
	close(running)
	return &tunnel{
		server:   remotedialer.New(authorize, remotedialer.DefaultErrorWriter),
		park:     park,
		proxies:  map[string]http.Handler{},
		sessions: map[*tunnelConn]struct{}{},
		frozen:   running,
	}
}

// connect is /v3/connect.
func (t *tunnel) connect(w http.ResponseWriter, r *http.Request) {
	response := &tunnelResponse{ResponseWriter: w, tunnel: t}
	t.server.ServeHTTP(response, r)
	// remotedialer leaves the connection open, however the session has ended.
	if response.held != nil {
		_ = response.held.Close()
	}
}

// serve passes a request to the server behind a session, which it waits for.
func (t *tunnel) serve(session string, w http.ResponseWriter, r *http.Request) {
	if !t.wait(r.Context(), session) {
		http.Error(w, "Handler disconnected", http.StatusServiceUnavailable)
		return
	}
	// Steve's proxy, the one that Rancher has here, drops the caller's own Impersonate headers and adds those for the
	// user in the context; but a bearer token of an anonymous caller passes through instead of them.
	caller := &user.DefaultInfo{Name: anonymous, Groups: []string{anonymous}}
	t.proxy(session).ServeHTTP(w, r.WithContext(request.WithUser(r.Context(), caller)))
}

func (t *tunnel) wait(ctx context.Context, session string) bool {
	if t.server.HasSession(session) {
		return true
	}
	t.parked.Add(1)
	defer t.parked.Add(-1)
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, t.park, true, func(context.Context) (bool, error) {
		return t.server.HasSession(session), nil
	})
	return err == nil
}

func (t *tunnel) proxy(session string) http.Handler {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	handler, found := t.proxies[session]
	if !found {
		handler = proxy.ImpersonatingHandler("", &rest.Config{
			Host:      "http://" + session,
			UserAgent: rest.DefaultKubernetesUserAgent() + " " + session,
			Transport: &http.Transport{DialContext: t.server.Dialer(session)},
		})
		t.proxies[session] = handler
	}
	return handler
}

// drop cuts all tunnels at once and says how many.
func (t *tunnel) drop() int {
	t.mutex.Lock()
	open := make([]*tunnelConn, 0, len(t.sessions))
	for conn := range t.sessions {
		open = append(open, conn)
	}
	t.mutex.Unlock()
	for _, conn := range open {
		_ = conn.Close()
	}
	return len(open)
}

// freeze lets the tunnels stand: connections stay open and nothing moves, as when a firewall forgets them.
func (t *tunnel) freeze() (thaw func()) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	still := make(chan struct{})
	t.frozen = still
	return sync.OnceFunc(func() { close(still) })
}

func (t *tunnel) open() int {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return len(t.sessions)
}

// tunnelResponse gets hold of the connection under a tunnel.
type tunnelResponse struct {
	http.ResponseWriter
	tunnel *tunnel
	held   *tunnelConn
}

func (r *tunnelResponse) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	// The server's own buffers are left behind: a client that waits for the answer to its upgrade has sent nothing more.
	conn, _, err := http.NewResponseController(r.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	held := &tunnelConn{Conn: conn, tunnel: r.tunnel, closed: make(chan struct{})}
	r.tunnel.mutex.Lock()
	r.tunnel.sessions[held] = struct{}{}
	r.tunnel.mutex.Unlock()
	r.held = held
	return held, bufio.NewReadWriter(bufio.NewReader(held), bufio.NewWriter(held)), nil
}

type tunnelConn struct {
	net.Conn
	tunnel *tunnel
	once   sync.Once
	closed chan struct{}
}

func (c *tunnelConn) Read(p []byte) (int, error) {
	// remotedialer's answer to a ping moves a deadline without a lock. It has done so when the next read begins, and our
	// own lock lets the race detector see that it came before the next request.
	c.standStill()
	n, err := c.Conn.Read(p)
	c.standStill() // after the read: one that was under way when the tunnels froze must not deliver either
	return n, err
}

func (c *tunnelConn) Write(p []byte) (int, error) {
	c.standStill()
	return c.Conn.Write(p)
}

func (c *tunnelConn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.tunnel.mutex.Lock()
		delete(c.tunnel.sessions, c)
		c.tunnel.mutex.Unlock()
	})
	return c.Conn.Close()
}

func (c *tunnelConn) standStill() {
	c.tunnel.mutex.Lock()
	frozen := c.tunnel.frozen
	c.tunnel.mutex.Unlock()
	select {
	case <-frozen:
	case <-c.closed:
	}
}
