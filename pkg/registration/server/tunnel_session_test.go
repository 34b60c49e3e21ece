package server

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/rancher/remotedialer"
	"github.com/stretchr/testify/require"
)

// relay passes bytes on until told to swallow them: as a firewall that has forgotten its connections, it closes none.
type relay struct {
	net.Listener
	target    string
	swallowed atomic.Int64 // The number of connections, from the first, of which nothing passes any more.

	mutex sync.Mutex
	open  []net.Conn
	count int64
}

func newRelay(t *testing.T, target string) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &relay{Listener: listener, target: target}
	go r.run()
	t.Cleanup(func() {
		listener.Close()
		r.mutex.Lock()
		defer r.mutex.Unlock()
		for _, conn := range r.open {
			conn.Close()
		}
	})
	return r
}

func (r *relay) run() {
	for {
		in, err := r.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", r.target)
		if err != nil {
			in.Close()
			continue
		}
		r.mutex.Lock()
		r.open = append(r.open, in, out)
		r.count++
		number := r.count
		r.mutex.Unlock()
		go r.pass(in, out, number)
		go r.pass(out, in, number)
	}
}

func (r *relay) pass(from, to net.Conn, number int64) {
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		if number > r.swallowed.Load() {
			if n > 0 {
				_, _ = to.Write(buffer[:n])
			}
			if err != nil {
				to.Close()
			}
		}
		if err != nil {
			return
		}
	}
}

// P11, half-open: nobody says that the connection is dead, and yet a new one is there within 15 seconds.
func TestTunnelNoticesSilence(t *testing.T) {
	t.Parallel()
	r := newRancherEnd(t)
	relay := newRelay(t, r.server.Listener.Addr().String())
	tunnel := runTunnel(t, hello, nil)
	secret := r.secret("one")
	secret.Data["url"] = []byte("https://" + relay.Addr().String() + "/v3/connect")
	tunnel.follow(secret)
	await(t, "the tunnel", 10*time.Second, func() bool { return tunnel.State().Connected && r.sessions() == 1 })
	_, err := r.get()
	require.NoError(t, err)

	relay.swallowed.Store(1)
	took := await(t, "a new tunnel", 15*time.Second, func() bool { return tunnel.State().Reconnects == 1 && tunnel.State().Connected })
	t.Logf("noticed and back after %s", took)
	require.ErrorIs(t, tunnel.State().LastError, errSilent)
	require.Greater(t, took, 5*time.Second, "a hiccup is no silence")

	// remotedialer on Rancher's side sends everything down the oldest session until it notices too.
	await(t, "the second session", 10*time.Second, func() bool { return r.sessions() == 2 })
	r.dropOldest()
	await(t, "the end of the first session", 10*time.Second, func() bool { return r.sessions() == 1 })
	body, err := r.get()
	require.NoError(t, err)
	require.Equal(t, "hello from tunnel", body)
}

// A connection that is alive but idle stays: remotedialer asks for a sign of life at least twice before we give up.
func TestTunnelOutlivesIdleness(t *testing.T) {
	t.Parallel()
	require.Less(t, 2*remotedialer.PingWriteInterval, usualPace.silence)
	r := newRancherEnd(t)
	tunnel := connected(t, r, hello, nil)
	idle := time.NewTimer(usualPace.silence + time.Second) // Between two pings.
	defer idle.Stop()
	<-idle.C
	require.Equal(t, 0, tunnel.State().Reconnects)
	require.Equal(t, 1, r.sessions())
	body, err := r.get()
	require.NoError(t, err)
	require.Equal(t, "hello from tunnel", body)
}

// A peer that sends but does not take what we send is given up too: requests would come in, and no answer get out.
func TestWatchedConnGivesUpStuckWrites(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	defer far.Close()
	conn := watch(near, 300*time.Millisecond)
	go func() {
		// It goes on sending.
		for {
			if _, err := far.Write([]byte("x")); err != nil {
				return
			}
		}
	}()
	reading := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, conn)
		reading <- err
	}()
	_, err := conn.Write([]byte("answer"))
	var timeout net.Error
	require.True(t, errors.As(err, &timeout) && timeout.Timeout(), "%v", err)
	select {
	case <-reading:
	case <-time.After(10 * time.Second):
		t.Fatal("the reading half goes on")
	}
}

// Whoever has Rancher's side of the tunnel reaches our handler, and nothing else.
func TestTunnelLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	victim, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer victim.Close()
	go func() {
		for {
			conn, err := victim.Accept()
			if err != nil {
				return
			}
			reached.Add(1)
			conn.Close()
		}
	}()
	r := newRancherEnd(t)
	tunnel := connected(t, r, hello, func(p *pace) { p.lastRetry = 100 * time.Millisecond })
	for i, to := range []struct{ network, address string }{
		{"tcp", victim.Addr().String()},
		{"tcp", "kubernetes.default.svc:443"},
		{"tcp4", tunnelHost + ":80"},
		{"udp", tunnelHost + ":53"},
		{"unix", "/run/containerd/containerd.sock"},
		{"tcp", ""},
		{"", ""},
	} {
		stream, err := r.stream(to.network, to.address)
		require.NoError(t, err, "it is we who refuse")
		_, err = stream.Read(make([]byte, 1))
		require.Error(t, err, "%v", to)
		// A Rancher that asks for such a thing loses its session.
		await(t, "a new session", 10*time.Second, func() bool {
			return tunnel.State().Reconnects == i+1 && tunnel.State().Connected && r.sessions() == 1
		})
		require.ErrorContains(t, tunnel.State().LastError, "connect not allowed")
	}
	// Names that look like ours lead to us as well.
	stream, err := r.stream("tcp", "stv-"+victim.Addr().String())
	require.NoError(t, err)
	_, err = fmt.Fprintf(stream, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", tunnelHost)
	require.NoError(t, err)
	answer, err := io.ReadAll(stream)
	require.NoError(t, err)
	require.Contains(t, string(answer), "hello from tunnel")
	require.Zero(t, reached.Load())
}

// A tunnelled request meets the same limits as one on the listener.
func TestTunnelHasLimits(t *testing.T) {
	t.Parallel()
	r := newRancherEnd(t)
	connected(t, r, hello, nil)
	_, err := r.get("X-Large: " + strings.Repeat("x", 100<<10))
	require.NoError(t, err)

	// Beyond the limit both ends would close at once.
	server := newHTTPServer(hello)
	require.Equal(t, maxHeaderBytes, server.MaxHeaderBytes)
	for _, limit := range []time.Duration{server.ReadHeaderTimeout, server.ReadTimeout, server.WriteTimeout, server.IdleTimeout} {
		require.NotZero(t, limit)
	}
}

// exchangeHandler is the shape of every exchange: a challenge, an answer, the result, and the server closes.
func exchangeHandler(w http.ResponseWriter, r *http.Request) {
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.WriteMessage(websocket.BinaryMessage, []byte("challenge"))
	if _, answer, err := conn.ReadMessage(); err == nil {
		_ = conn.WriteMessage(websocket.BinaryMessage, append([]byte("well: "), answer...))
	}
}

// begin starts an exchange through the tunnel, up to the challenge.
func (r *rancherEnd) begin(t *testing.T) *websocket.Conn {
	t.Helper()
	stream, err := r.stream("tcp", tunnelHost+":80")
	require.NoError(t, err)
	dialer := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) { return stream, nil }}
	conn, _, err := dialer.DialContext(t.Context(), "ws://"+tunnelHost+"/", nil)
	require.NoError(t, err)
	_, challenge, err := conn.ReadMessage()
	require.NoError(t, err)
	require.Equal(t, "challenge", string(challenge))
	return conn
}

// On shutdown, exchanges under way finish and none begins.
func TestTunnelDrains(t *testing.T) {
	t.Parallel()
	r := newRancherEnd(t)
	tunnel := connected(t, r, http.HandlerFunc(exchangeHandler), nil)
	exchange := r.begin(t)
	tunnel.stop()
	await(t, "new streams to be refused", 5*time.Second, func() bool {
		stream, err := r.stream("tcp", tunnelHost+":80")
		require.NoError(t, err)
		defer stream.Close()
		_ = stream.SetReadDeadline(time.Now().Add(time.Second))
		_, err = stream.Read(make([]byte, 1))
		return err != nil && !strings.Contains(err.Error(), "deadline")
	})
	select {
	case <-tunnel.ended:
		t.Fatal("it did not wait for the exchange")
	default:
	}
	require.NoError(t, exchange.WriteMessage(websocket.BinaryMessage, []byte("answer")))
	_, result, err := exchange.ReadMessage()
	require.NoError(t, err)
	require.Equal(t, "well: answer", string(result))
	took := await(t, "the end", 5*time.Second, tunnel.hasEnded)
	t.Logf("ended %s after the last exchange", took)
	await(t, "the session's end", 5*time.Second, func() bool { return r.sessions() == 0 })
	require.False(t, tunnel.State().Connected)
}

// An exchange that does not end is cut off in time.
func TestTunnelDrainsNoLongerThanAllowed(t *testing.T) {
	t.Parallel()
	require.Equal(t, 10*time.Second, usualPace.drain)
	r := newRancherEnd(t)
	tunnel := connected(t, r, http.HandlerFunc(exchangeHandler), func(p *pace) { p.drain = 500 * time.Millisecond })
	exchange := r.begin(t)
	tunnel.stop()
	took := await(t, "the end", 5*time.Second, tunnel.hasEnded)
	require.GreaterOrEqual(t, took, 400*time.Millisecond)
	_, _, err := exchange.ReadMessage()
	require.Error(t, err)
}

// An exchange under way when the Secret changes gets a moment to finish, then the machine has to come back.
func TestTunnelHandsOver(t *testing.T) {
	t.Parallel()
	r := newRancherEnd(t)
	tunnel := connected(t, r, http.HandlerFunc(exchangeHandler), nil)
	exchange := r.begin(t)
	r.setToken("two")
	tunnel.follow(r.secret("two"))
	took := await(t, "the new session", 5*time.Second, func() bool { return tunnel.State().Reconnects == 1 && tunnel.State().Connected })
	t.Logf("handed over within %s", took)
	_, _, err := exchange.ReadMessage()
	require.Error(t, err)
}

func (t *testTunnel) hasEnded() bool {
	select {
	case <-t.ended:
		return true
	default:
		return false
	}
}

// P11, flapping: 500 times, and nothing is left behind. Not parallel: it counts all that the process holds.
func TestTunnelFlaps(t *testing.T) {
	r := newRancherEnd(t)
	goroutinesBefore, descriptorsBefore := resources(t)
	tunnel := connected(t, r, hello, func(p *pace) { p.firstRetry, p.lastRetry = time.Millisecond, 2*time.Millisecond })
	flap := func(number int) {
		await(t, "the tunnel", 10*time.Second, func() bool {
			return tunnel.State().Reconnects == number && tunnel.State().Connected && r.sessions() == 1
		})
		if number%5 == 0 {
			_, err := r.get()
			require.NoError(t, err)
		}
		r.drop()
	}
	const warm = 5 // Pools and caches fill.
	for i := range warm {
		flap(i)
	}
	settled := func(goroutines, descriptors int) func() bool {
		return func() bool {
			g, d := resources(t)
			return g <= goroutines+5 && d <= descriptors+5
		}
	}
	await(t, "the tunnel", 10*time.Second, func() bool { return tunnel.State().Reconnects == warm && r.sessions() == 1 })
	goroutines, descriptors := resources(t)
	began := time.Now()
	for i := range 500 {
		flap(warm + i)
	}
	t.Logf("500 flaps in %s", time.Since(began))
	await(t, "the tunnel", 10*time.Second, func() bool { return tunnel.State().Reconnects == warm+500 && r.sessions() == 1 })
	await(t, "what the flaps left behind to go", 20*time.Second, settled(goroutines, descriptors))
	g, d := resources(t)
	t.Logf("goroutines %d then %d, descriptors %d then %d", goroutines, g, descriptors, d)

	tunnel.stop()
	<-tunnel.ended
	await(t, "everything to end", 20*time.Second, settled(goroutinesBefore, descriptorsBefore))
}
