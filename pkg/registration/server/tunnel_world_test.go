package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rancher/remotedialer"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
)

// remotedialer v0.6.1 has a data race of its own: connection.doTunnelClose reads and writes the connection's error
// without a lock, and so does connection.Write, which the race detector reports when both ends of a stream close at
// once, or one closes while the other writes. What is tested here does not depend on that. So in these tests our side
// closes a stream, and Rancher's reads until it sees that, before a tunnel is cut; where a stream is cut in the middle,
// Rancher's side only reads. (An http.Transport at Rancher's side would do all that is forbidden here.)

// tunnelHost is the name under which Rancher reaches what is behind the tunnel.
const tunnelHost = "stv-test"

// rancherEnd is the other end of the tunnel: what Rancher runs at /v3/connect, over real TLS.
type rancherEnd struct {
	t      *testing.T
	dialer *remotedialer.Server
	server *httptest.Server

	mutex sync.Mutex
	token string
	dials []dialled
	open  []net.Conn
}

type dialled struct {
	at    time.Time
	token string
}

func newRancherEnd(t *testing.T) *rancherEnd {
	t.Helper()
	r := &rancherEnd{t: t, token: "one"}
	r.dialer = remotedialer.New(r.authorize, remotedialer.DefaultErrorWriter)
	r.server = httptest.NewTLSServer(http.HandlerFunc(r.connect))
	t.Cleanup(func() {
		r.drop()
		r.server.Close()
	})
	return r
}

func (r *rancherEnd) authorize(request *http.Request) (string, bool, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return tunnelHost, r.token == anyToken || request.Header.Get("Authorization") == "Bearer "+r.token, nil
}

func (r *rancherEnd) connect(w http.ResponseWriter, request *http.Request) {
	r.mutex.Lock()
	r.dials = append(r.dials, dialled{time.Now(), request.Header.Get("Authorization")})
	r.mutex.Unlock()
	held := &heldResponse{ResponseWriter: w, rancher: r}
	r.dialer.ServeHTTP(held, request)
	if held.conn != nil {
		held.conn.Close() // remotedialer leaves it open.
		r.forget(held.conn)
	}
}

// heldResponse gets hold of the connection under a tunnel.
type heldResponse struct {
	http.ResponseWriter
	rancher *rancherEnd
	conn    net.Conn
}

func (h *heldResponse) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffers, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.conn = &heldConn{conn, h.rancher}
	h.rancher.mutex.Lock()
	h.rancher.open = append(h.rancher.open, h.conn)
	h.rancher.mutex.Unlock()
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), buffers.Writer), nil
}

// heldConn makes sure that what a ping does at Rancher's side, which is to move a deadline without a lock, has happened
// before the next stream is opened.
type heldConn struct {
	net.Conn
	rancher *rancherEnd
}

func (c *heldConn) Read(p []byte) (int, error) {
	c.rancher.mutex.Lock()
	c.rancher.mutex.Unlock() //nolint:staticcheck // The order is what it is about.
	return c.Conn.Read(p)
}

func (r *rancherEnd) forget(conn net.Conn) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for i, held := range r.open {
		if held == conn {
			r.open = append(r.open[:i:i], r.open[i+1:]...)
			return
		}
	}
}

// drop cuts all tunnels, the oldest first.
func (r *rancherEnd) drop() {
	r.mutex.Lock()
	open := r.open
	r.mutex.Unlock()
	for _, conn := range open {
		conn.Close()
	}
}

func (r *rancherEnd) dropOldest() {
	r.mutex.Lock()
	oldest := r.open[0]
	r.mutex.Unlock()
	oldest.Close()
}

const anyToken = "any"

func (r *rancherEnd) setToken(token string) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.token = token
}

func (r *rancherEnd) dialled() []dialled {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return append([]dialled(nil), r.dials...)
}

// sessions is how many tunnels are open, and can be used.
func (r *rancherEnd) sessions() int {
	if !r.dialer.HasSession(tunnelHost) {
		return 0
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return len(r.open)
}

func (r *rancherEnd) url() string { return r.server.URL + "/v3/connect" }

func (r *rancherEnd) ca() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.server.Certificate().Raw}))
}

// secret is what Rancher writes for us.
func (r *rancherEnd) secret(token string) *corev1.Secret {
	return tunnelSecret(map[string]string{"url": r.url(), "token": token, "ca.crt": r.ca()})
}

// get sends a request down the tunnel and returns the body of the answer.
func (r *rancherEnd) get(header ...string) (string, error) {
	stream, err := r.stream("tcp", tunnelHost+":80")
	if err != nil {
		return "", err
	}
	defer stream.Close()
	lines := append([]string{"GET /v1-rancheros/x HTTP/1.1", "Host: " + tunnelHost, "Connection: close"}, header...)
	if _, err := io.WriteString(stream, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(stream)
	if err != nil {
		return "", err
	}
	response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), nil)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, body)
	}
	return string(body), err
}

// stream opens a stream to the address, as Rancher could to any.
func (r *rancherEnd) stream(network, address string) (net.Conn, error) {
	r.mutex.Lock()
	r.mutex.Unlock() //nolint:staticcheck // See heldConn.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return r.dialer.Dialer(tunnelHost)(ctx, network, address)
}

func tunnelSecret(data map[string]string) *corev1.Secret {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "operator", Name: "tunnel"}, Data: map[string][]byte{}}
	for key, value := range data {
		secret.Data[key] = []byte(value)
	}
	return secret
}

// hello answers every request.
var hello = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, "hello from "+r.RemoteAddr)
})

// testTunnel is a tunnel that runs until stopped, at the latest when the test ends.
type testTunnel struct {
	*Tunnel
	events *record.FakeRecorder
	stop   context.CancelFunc
	ended  chan struct{}
}

// runTunnel runs a tunnel at the usual pace, unless change makes it another.
func runTunnel(t *testing.T, handler http.Handler, change func(*pace)) *testTunnel {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	tunnel := &testTunnel{events: record.NewFakeRecorder(100), stop: cancel, ended: make(chan struct{})}
	tunnel.Tunnel = newTunnel(TunnelOptions{Handler: handler, Events: tunnel.events})
	if change != nil {
		change(&tunnel.pace)
	}
	go func() {
		tunnel.Run(ctx)
		close(tunnel.ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-tunnel.ended
	})
	return tunnel
}

// connected follows Rancher's Secret and returns when requests come through.
func connected(t *testing.T, r *rancherEnd, handler http.Handler, change func(*pace)) *testTunnel {
	t.Helper()
	tunnel := runTunnel(t, handler, change)
	tunnel.follow(r.secret("one"))
	await(t, "the tunnel", 10*time.Second, func() bool { return tunnel.State().Connected && r.sessions() == 1 })
	return tunnel
}

// await returns how long it took until the condition held.
func await(t *testing.T, what string, timeout time.Duration, condition func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		if time.Since(began) > timeout {
			t.Fatalf("waited %s for %s in vain", timeout, what)
		}
		<-ticker.C
	}
	return time.Since(began)
}

// resources are what a leak would use up.
func resources(t *testing.T) (goroutines, descriptors int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return runtime.NumGoroutine(), len(entries)
}

// otherCA is nobody's.
const otherCA = `-----BEGIN CERTIFICATE-----
MIIBgTCCASegAwIBAgIUcjcwvn8gU4Qnnx1Nb6dCPTfcFNQwCgYIKoZIzj0EAwIw
FTETMBEGA1UEAwwKYW5vdGhlciBDQTAgFw0yNjExMjAxMDU4NDlaGA8yMTI2MTAy
NzEwNTg0OVowFTETMBEGA1UEAwwKYW5vdGhlciBDQTBZMBMGByqGSM49AgEGCCqG
SM49AwEHA0IABJGNlol3Un3ysHh9C0gchawzBtm3iBhjJIo7b7tmNvat9yDmHgvO
L9D+KAanFZD0FMNf3Z3JS4UCw3+J21qhWuujUzBRMB0GA1UdDgQWBBQ1oC9c+IB4
IgVoNcvh1b36ljTLxjAfBgNVHSMEGDAWgBQ1oC9c+IB4IgVoNcvh1b36ljTLxjAP
BgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIQCqwYotOgS5wZYmZLUl
HaQZTqnLUneTISmZDZXlIU4RPwIgJMItturUKFG4OuDOgtWa09vf7F+ejJLg43aN
bMxeVNQ=
-----END CERTIFICATE-----
`
