package operator

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// probes are a health that is served.
type probes struct {
	*health
	told    []bool
	stop    func()
	end     func()
	ended   chan error
	address string
}

func newProbes(t *testing.T, profile bool) *probes {
	t.Helper()
	p := &probes{ended: make(chan error, 1)}
	var err error
	p.health, err = listenHealth("127.0.0.1:0", profile, func(ready bool) { p.told = append(p.told, ready) })
	require.NoError(t, err)
	p.address = p.listener.Addr().String()
	ctx, stop := context.WithCancel(t.Context())
	outlasting, end := context.WithCancel(t.Context())
	p.stop, p.end = stop, end
	go func() { p.ended <- p.serve(ctx, outlasting) }()
	return p
}

func (p *probes) get(t *testing.T, path string) (int, string) {
	t.Helper()
	response, err := http.Get("http://" + p.address + path)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, strings.TrimSpace(string(body))
}

func (p *probes) requireReady(t *testing.T, code int, says string) {
	t.Helper()
	gotCode, got := p.get(t, "/readyz")
	require.Equal(t, says, got)
	require.Equal(t, code, gotCode)
}

// Ready is when all that was waited for is there, and no more when the process is told to end; it goes on answering until
// it has ended.
func TestReady(t *testing.T) {
	p := newProbes(t, false)
	p.requireReady(t, 503, "caches are not filled yet")
	p.wait(waitTunnel)
	p.done(waitCaches)
	p.requireReady(t, 503, "the tunnel to Rancher has not been open yet")
	p.done(waitTunnel)
	p.requireReady(t, 200, "ok")
	p.done(waitTunnel) // It was lost, and is open again.
	p.requireReady(t, 200, "ok")
	p.stop()
	require.Eventually(t, func() bool { code, _ := p.get(t, "/readyz"); return code == 503 }, 5*time.Second, 10*time.Millisecond)
	p.requireReady(t, 503, "the process is ending")
	code, _ := p.get(t, "/healthz")
	require.Equal(t, 200, code, "ending is no illness")
	p.end()
	require.NoError(t, <-p.ended)
	require.Equal(t, []bool{false, false, true, true, false}, p.told, "the metric is told the same")
}

// Alive is all but a lease that is held, not renewed, and not given up.
func TestAlive(t *testing.T) {
	p := newProbes(t, false)
	code, says := p.get(t, "/healthz")
	require.Equal(t, 200, code, "caches are no matter of life")
	require.Equal(t, "ok", says)
	p.watchLease(func(late time.Duration) error {
		require.Equal(t, lateLease, late)
		return errors.New("failed election to renew leadership on lease x")
	})
	code, says = p.get(t, "/healthz")
	require.Equal(t, 503, code)
	require.Equal(t, "failed election to renew leadership on lease x", says)
}

func TestProfiles(t *testing.T) {
	code, _ := newProbes(t, false).get(t, "/debug/pprof/")
	require.Equal(t, 404, code)
	code, _ = newProbes(t, true).get(t, "/debug/pprof/")
	require.Equal(t, 200, code)
}

func TestNoProbes(t *testing.T) {
	h, err := listenHealth("", false, func(bool) {})
	require.NoError(t, err)
	require.NoError(t, h.serve(t.Context(), t.Context()))
	h.done(waitCaches)
	require.NoError(t, h.ready())
	taken := newProbes(t, false)
	_, err = listenHealth(taken.address, false, func(bool) {})
	require.ErrorContains(t, err, "listening for probes")
}
