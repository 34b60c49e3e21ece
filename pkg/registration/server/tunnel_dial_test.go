package server

import (
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
)

func TestTunnelReconnects(t *testing.T) {
	t.Parallel()
	r := newRancherEnd(t)
	tunnel := connected(t, r, hello, nil)
	state := tunnel.State()
	require.Equal(t, 0, state.Reconnects)
	require.NoError(t, state.LastError)
	require.WithinDuration(t, time.Now(), state.Since, 10*time.Second)
	body, err := r.get()
	require.NoError(t, err)
	require.Equal(t, "hello from tunnel", body)

	r.drop()
	took := await(t, "the tunnel's return", 2*time.Second, func() bool {
		return tunnel.State().Reconnects == 1 && r.sessions() == 1
	})
	t.Logf("back after %s", took)
	require.Error(t, tunnel.State().LastError)
	body, err = r.get()
	require.NoError(t, err)
	require.Equal(t, "hello from tunnel", body)
}

func TestTunnelChecksTheCertificate(t *testing.T) {
	t.Parallel()
	r := newRancherEnd(t)
	for why, ca := range map[string]string{
		"without a CA only the system's count": "",
		// Another key than Rancher's; httptest has the same certificate for all.
		"another CA": otherCA,
	} {
		t.Run(why, func(t *testing.T) {
			tunnel := runTunnel(t, hello, nil)
			secret := r.secret("one")
			secret.Data["ca.crt"] = []byte(ca)
			if ca == "" {
				delete(secret.Data, "ca.crt")
			}
			tunnel.follow(secret)
			await(t, "the refusal", 10*time.Second, func() bool { return tunnel.State().LastError != nil })
			var unknown x509.UnknownAuthorityError
			require.ErrorAs(t, tunnel.State().LastError, &unknown)
			require.False(t, tunnel.State().Connected)
		})
	}
	require.Empty(t, r.dialled(), "no token was sent")
}

// lines collects what is logged.
type lines struct {
	mutex sync.Mutex
	all   []string
}

func (l *lines) Levels() []logrus.Level { return logrus.AllLevels }

func (l *lines) Fire(entry *logrus.Entry) error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.all = append(l.all, entry.Message)
	return nil
}

func (l *lines) with(text string) (found []string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for _, line := range l.all {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// P11, token rotated: Rancher may take its time to write the new one. Not parallel: it reads the log.
func TestTunnelSaysOnceThatItsTokenIsRefused(t *testing.T) {
	logged := &lines{}
	hooks := logrus.StandardLogger().ReplaceHooks(logrus.LevelHooks{})
	logrus.AddHook(logged)
	defer logrus.StandardLogger().ReplaceHooks(hooks)
	const canary = "canary-5f1d2c"

	r := newRancherEnd(t)
	tunnel := runTunnel(t, hello, func(p *pace) { p.firstRetry, p.lastRetry, p.hold = time.Millisecond, 5*time.Millisecond, 0 })
	tunnel.follow(r.secret(canary))
	await(t, "many tries", 10*time.Second, func() bool { return len(r.dialled()) > 20 })
	require.Len(t, logged.with("refused the tunnel's token: 401 Unauthorized"), 1)
	var refused *refusedDial
	require.ErrorAs(t, tunnel.State().LastError, &refused)

	tunnel.follow(r.secret(canary + "2"))
	await(t, "a line for the other token", 10*time.Second, func() bool { return len(logged.with("refused the tunnel's token")) == 2 })
	tunnel.follow(r.secret("one"))
	await(t, "the tunnel", 10*time.Second, func() bool { return tunnel.State().Connected })
	require.Empty(t, logged.with(canary), "no token is logged")
}

func TestTunnelExplainsOtherAnswers(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "come back later", http.StatusServiceUnavailable)
	}))
	defer server.Close()
	tunnel := runTunnel(t, hello, nil)
	tunnel.follow(tunnelSecret(map[string]string{"url": server.URL, "token": "t", "ca.crt": newRancherEnd(t).ca()}))
	await(t, "an answer", 10*time.Second, func() bool { return tunnel.State().LastError != nil })
	require.ErrorContains(t, tunnel.State().LastError, `dialing Rancher: websocket: bad handshake: 503 Service Unavailable "come back later`)
}

func TestBackoff(t *testing.T) {
	retry := backoff{first: usualPace.firstRetry, last: usualPace.lastRetry}
	for i, limit := range []time.Duration{200, 400, 800, 1600, 3200, 5000, 5000} {
		wait := retry.next()
		require.Less(t, wait, limit*time.Millisecond, "wait %d", i)
		require.GreaterOrEqual(t, wait, time.Duration(0))
		require.Equal(t, limit*time.Millisecond, retry.limit)
	}
	retry.reset()
	require.Less(t, retry.next(), usualPace.firstRetry)
	seen := map[time.Duration]bool{}
	for range 100 {
		seen[retry.next()] = true
	}
	require.Greater(t, len(seen), 90, "replicas do not come back at the same time")
}

func TestComplaint(t *testing.T) {
	c := complaint{}
	away, refused := errors.New("connection refused"), &refusedDial{"401 Unauthorized", ""}
	require.True(t, c.due(away))
	require.False(t, c.due(away), "the same trouble, a moment later")
	require.True(t, c.due(refused))
	require.False(t, c.due(refused))
	c.next = time.Now()
	require.True(t, c.due(away), "a minute later")
	require.False(t, c.due(refused), "no line per minute for what only Rancher can change")
	c.forget()
	require.True(t, c.due(refused), "after a session it is news")
}

// A cluster may reach Rancher through a proxy only. The environment is read once in a process, so the tunnel runs in one
// of its own.
func TestTunnelHonoursTheProxy(t *testing.T) {
	if url := os.Getenv("TEST_TUNNEL_URL"); url != "" {
		tunnel := runTunnel(t, hello, nil)
		tunnel.follow(tunnelSecret(map[string]string{"url": url, "token": "one", "ca.crt": os.Getenv("TEST_TUNNEL_CA")}))
		_, _ = io.ReadAll(os.Stdin) // Until the parent has seen enough.
		return
	}
	t.Parallel()
	r := newRancherEnd(t)
	asked := make(chan string, 10)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		asked <- request.Method + " " + request.Host
		out, err := net.Dial("tcp", r.server.Listener.Addr().String())
		if err != nil {
			return
		}
		defer out.Close()
		w.WriteHeader(http.StatusOK)
		in, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer in.Close()
		go func() { _, _ = io.Copy(out, in) }()
		_, _ = io.Copy(in, out)
	}))
	defer proxy.Close()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTunnelHonoursTheProxy$")
	child.Env = append(os.Environ(), "HTTPS_PROXY="+proxy.URL, "NO_PROXY=", "no_proxy=",
		"TEST_TUNNEL_URL=https://example.com/v3/connect", "TEST_TUNNEL_CA="+r.ca())
	stdin, err := child.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	await(t, "the tunnel through the proxy", 20*time.Second, func() bool { return r.sessions() == 1 })
	require.Equal(t, "CONNECT example.com:443", <-asked)
	body, err := r.get()
	require.NoError(t, err)
	require.Equal(t, "hello from tunnel", body)
	require.NoError(t, stdin.Close())
	require.NoError(t, child.Wait())
}
