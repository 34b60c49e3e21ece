package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/tools/record"
)

const someURL = "https://rancher.example.com/v3/connect"

// G16: what is not filled in is waited for, and what would leave machines' secrets unprotected is refused.
func TestTunnelJudgesTheSecret(t *testing.T) {
	ca := newRancherEnd(t).ca()
	for _, c := range []struct {
		why    string
		data   map[string]string
		want   endpoint
		reason string
	}{
		{"nothing yet", nil, endpoint{}, ""},
		{"no token yet", map[string]string{"url": someURL}, endpoint{}, ""},
		{"no address yet", map[string]string{"token": "t"}, endpoint{}, ""},
		{"blank is as good as nothing", map[string]string{"url": " \n", "token": "t"}, endpoint{}, ""},
		{"nothing yet, whatever the CA", map[string]string{"url": someURL, "ca.crt": ""}, endpoint{}, ""},
		{"without a CA the system's count", map[string]string{"url": someURL, "token": "t"}, endpoint{someURL, "t", ""}, ""},
		{"a private CA", map[string]string{"url": someURL, "token": "t", "ca.crt": ca}, endpoint{someURL, "t", ca}, ""},
		{"a CA among remarks", map[string]string{"url": someURL, "token": "t", "ca.crt": "# ours\n" + ca}, endpoint{someURL, "t", "# ours\n" + ca}, ""},
		{"a last newline, from kubectl --from-file", map[string]string{"url": someURL + "\n", "token": "t\n"}, endpoint{someURL, "t", ""}, ""},
		{"an empty CA makes Steve's client trust everybody", map[string]string{"url": someURL, "token": "t", "ca.crt": ""}, endpoint{}, reasonTunnelInsecure},
		{"and so does a blank one", map[string]string{"url": someURL, "token": "t", "ca.crt": " \n"}, endpoint{}, reasonTunnelInsecure},
		{"in clear", map[string]string{"url": "http://rancher.example.com/v3/connect", "token": "t"}, endpoint{}, reasonTunnelInsecure},
		{"in clear, with a CA", map[string]string{"url": "http://rancher.example.com", "token": "t", "ca.crt": ca}, endpoint{}, reasonTunnelInsecure},
		{"another protocol", map[string]string{"url": "ftp://rancher.example.com", "token": "t"}, endpoint{}, reasonTunnelInsecure},
		{"no URL", map[string]string{"url": "rancher.example.com", "token": "t"}, endpoint{}, reasonTunnelURLInvalid},
		{"no URL at all", map[string]string{"url": "https://%zz", "token": "t"}, endpoint{}, reasonTunnelURLInvalid},
		{"no host", map[string]string{"url": "https:///v3/connect", "token": "t"}, endpoint{}, reasonTunnelURLInvalid},
		{"a password that would end in logs", map[string]string{"url": "https://me:secret@rancher.example.com", "token": "t"}, endpoint{}, reasonTunnelURLInvalid},
		{"no certificate", map[string]string{"url": someURL, "token": "t", "ca.crt": "garbage"}, endpoint{}, reasonTunnelCAInvalid},
		{"PEM around garbage", map[string]string{"url": someURL, "token": "t", "ca.crt": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}, endpoint{}, reasonTunnelCAInvalid},
		{"another kind of PEM", map[string]string{"url": someURL, "token": "t", "ca.crt": strings.ReplaceAll(ca, "CERTIFICATE", "PUBLIC KEY")}, endpoint{}, reasonTunnelCAInvalid},
	} {
		t.Run(c.why, func(t *testing.T) {
			recorder := record.NewFakeRecorder(10)
			tunnel := newTunnel(TunnelOptions{Events: recorder})
			for range 3 { // Resyncs tell the same thing again.
				tunnel.follow(tunnelSecret(c.data))
			}
			got, _ := tunnel.wanted()
			require.Equal(t, c.want, got)
			if c.reason != "" {
				require.Contains(t, <-recorder.Events, "Warning "+c.reason+" ")
				require.Error(t, tunnel.State().LastError)
			}
			require.Empty(t, recorder.Events, "once per change")
		})
	}
}

func TestTunnelAllowsHTTPInTests(t *testing.T) {
	tunnel := newTunnel(TunnelOptions{Events: record.NewFakeRecorder(1), AllowHTTP: true})
	tunnel.follow(tunnelSecret(map[string]string{"url": "http://localhost/v3/connect", "token": "t"}))
	got, _ := tunnel.wanted()
	require.Equal(t, "ws://localhost/v3/connect", got.address())
	tunnel.follow(tunnelSecret(map[string]string{"url": someURL, "token": "t"}))
	got, _ = tunnel.wanted()
	require.Equal(t, "wss://rancher.example.com/v3/connect", got.address())
}

// A change for the worse is told once for each change, and does not end what works.
func TestTunnelRefusalKeepsWhatWorks(t *testing.T) {
	t.Parallel()
	r := newRancherEnd(t)
	tunnel := connected(t, r, hello, nil)
	bad := r.secret("one")
	bad.Data["ca.crt"] = nil
	for range 5 {
		tunnel.follow(bad)
	}
	require.Contains(t, <-tunnel.events.Events, "Warning TunnelInsecure ca.crt is empty")
	bad.Data["ca.crt"] = []byte("garbage")
	tunnel.follow(bad)
	require.Contains(t, <-tunnel.events.Events, "Warning TunnelCAInvalid ")
	tunnel.follow(r.secret("one"))
	bad.Data["ca.crt"] = nil
	tunnel.follow(bad)
	require.Contains(t, <-tunnel.events.Events, "Warning TunnelInsecure ", "bad anew")
	require.Empty(t, tunnel.events.Events)
	body, err := r.get()
	require.NoError(t, err)
	require.Equal(t, "hello from tunnel", body)
	require.Len(t, r.dialled(), 1)
}

// What the Secret says is followed within 3 seconds; what it does not change is not.
func TestTunnelFollowsTheSecret(t *testing.T) {
	t.Parallel()
	r := newRancherEnd(t)
	tunnel := connected(t, r, hello, nil)

	same := r.secret("one")
	same.ResourceVersion, same.Data["other"] = "2", []byte("key")
	tunnel.follow(same)

	r.setToken("two")
	tunnel.follow(r.secret("two"))
	took := await(t, "the new token", 3*time.Second, func() bool {
		dials := r.dialled()
		return dials[len(dials)-1].token == "Bearer two" && tunnel.State().Connected && r.sessions() == 1
	})
	t.Logf("a new token was followed within %s", took)
	require.Len(t, r.dialled(), 2, "the same content again is no reason to dial")
	require.Equal(t, 1, tunnel.State().Reconnects)

	other := newRancherEnd(t)
	other.setToken("two")
	tunnel.follow(other.secret("two"))
	took = await(t, "the new URL and CA", 3*time.Second, func() bool { return other.sessions() == 1 && r.sessions() == 0 })
	t.Logf("a new URL and CA were followed within %s", took)

	tunnel.follow(nil)
	took = await(t, "the end of the tunnel", 3*time.Second, func() bool { return other.sessions() == 0 && !tunnel.State().Connected })
	t.Logf("the end of the Secret was followed within %s", took)
	before := len(other.dialled())
	tunnel.follow(other.secret("two"))
	await(t, "the tunnel's return", 3*time.Second, func() bool { return other.sessions() == 1 })
	require.Len(t, other.dialled(), before+1, "nobody dialled meanwhile")
}

// G17: however often the Secret is rewritten, there is one dial in 2 seconds, and the last content wins.
func TestTunnelHoldsItsPace(t *testing.T) {
	t.Parallel()
	r := newRancherEnd(t)
	tunnel := connected(t, r, hello, nil)
	r.setToken(anyToken)
	rewrite := time.NewTicker(50 * time.Millisecond)
	defer rewrite.Stop()
	began := time.Now()
	for i := 0; time.Since(began) < 5*time.Second; i++ {
		tunnel.follow(r.secret(strings.Repeat("x", i+1)))
		<-rewrite.C
	}
	tunnel.follow(r.secret("last"))
	await(t, "the last content", 3*time.Second, func() bool {
		dials := r.dialled()
		return dials[len(dials)-1].token == "Bearer last" && tunnel.State().Connected
	})
	dials := r.dialled()
	require.GreaterOrEqual(t, len(dials), 3, "changes are followed meanwhile")
	for i := 1; i < len(dials); i++ {
		// What the other end sees varies a little with the time that a handshake takes.
		require.Greater(t, dials[i].at.Sub(dials[i-1].at), 1500*time.Millisecond)
	}
}

// A dial that hangs does not keep the tunnel from following, nor from ending.
func TestTunnelBreaksOffADial(t *testing.T) {
	t.Parallel()
	hung := make(chan struct{})
	reached := make(chan struct{}, 10)
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		reached <- struct{}{}
		<-hung
	}))
	defer server.Close()
	defer close(hung)
	r := newRancherEnd(t)
	tunnel := runTunnel(t, hello, nil)
	secret := r.secret("one")
	secret.Data["url"] = []byte(server.URL)
	tunnel.follow(secret)
	<-reached
	tunnel.follow(r.secret("one"))
	await(t, "the other Rancher", 3*time.Second, func() bool { return r.sessions() == 1 })

	again := runTunnel(t, hello, nil)
	again.follow(secret)
	<-reached
	again.stop()
	await(t, "the end", 3*time.Second, again.hasEnded)
}
