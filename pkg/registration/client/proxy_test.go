package client

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	pretend "github.com/rancher/rancheros-operator/tests/machine"
)

const proxyPassword = "canary-proxy-password-5c1e"

// answerCONNECT is a proxy that sends these bytes for every request, and hangs up.
func answerCONNECT(t *testing.T, answer string) *url.URL {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_, _ = conn.Write([]byte(answer))
			conn.Close()
		}
	}))
	t.Cleanup(server.Close)
	return withPassword(t, server.URL)
}

// silent listens, and never answers.
func silent(t *testing.T) *url.URL {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	return withPassword(t, "http://"+listener.Addr().String())
}

func withPassword(t *testing.T, address string) *url.URL {
	t.Helper()
	proxy, err := url.Parse(address)
	require.NoError(t, err)
	proxy.User = url.UserPassword("admin", proxyPassword)
	return proxy
}

// asks are what a machine asks for: by a websocket, and by a plain request.
func asks(t *testing.T, at Endpoint) map[string]func(context.Context) error {
	t.Helper()
	prover, err := tpm.GenerateSoftware(tpm.ECCP256)
	require.NoError(t, err)
	return map[string]func(context.Context) error{
		"register": func(ctx context.Context) error {
			_, err := Register(ctx, Registration{Endpoint: at, Prover: prover})
			return err
		},
		"install script": func(ctx context.Context) error { _, err := InstallScript(ctx, at); return err },
	}
}

// A proxy that is down, restarts or wants a password is no reason to give up, and is called by its name.
func TestProxyFailures(t *testing.T) {
	nobody := withPassword(t, "http://127.0.0.1:1")
	socks := withPassword(t, "socks5://127.0.0.1:1")
	noName := withPassword(t, "http://proxy.invalid:3128")
	for _, c := range []struct {
		why     string
		proxy   *url.URL
		message string
		hint    string
	}{
		{"502", answerCONNECT(t, "HTTP/1.1 502 Bad Gateway\r\n\r\n"), " answered: Bad Gateway", "HTTPS_PROXY"},
		{"503", answerCONNECT(t, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nwait"), " answered: Service Unavailable", "NO_PROXY"},
		{"504, in the proxy's own words", answerCONNECT(t, "HTTP/1.0 504 No\x1b[31m way\r\n\r\n"), " answered: No[31m way", "HTTPS_PROXY"},
		{"407", answerCONNECT(t, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n"), " answered: Proxy Authentication Required", "wants credentials"},
		{"a status without a reason", answerCONNECT(t, "HTTP/1.1 503\r\n\r\n"), " answered: Service Unavailable", "HTTPS_PROXY"},
		{"a status that nobody knows", answerCONNECT(t, "HTTP/1.1 599\r\n\r\n"), " answered: status 599", "HTTPS_PROXY"},
		{"a proxy that hangs up", answerCONNECT(t, ""), "", "HTTPS_PROXY"},
		{"nobody listens", nobody, "the proxy 127.0.0.1:1 refuses connections", "HTTPS_PROXY"},
		{"nobody listens for SOCKS", socks, "the proxy 127.0.0.1:1 refuses connections", "HTTPS_PROXY"},
		{"a name that is wrong", noName, "proxy.invalid", "HTTPS_PROXY"},
		{"silence", silent(t), "did not answer in time", ""},
	} {
		at := Endpoint{URL: "https://r.example.com" + protocol.RegistrationPath(pretend.RegistrationToken), Timeout: time.Second, proxy: http.ProxyURL(c.proxy)}
		for what, ask := range asks(t, at) {
			failure := requireRetried(t, ask, c.why+": "+what)
			require.Equal(t, CauseUnreachable, failure.Cause, "%s: %s: %s", c.why, what, failure.Message)
			require.Contains(t, failure.Message, c.message, "%s: %s", c.why, what)
			require.Contains(t, failure.Hint, c.hint, "%s: %s", c.why, what)
			if c.message != "" && c.message[0] == ' ' {
				require.Equal(t, "the proxy "+c.proxy.Host+c.message, failure.Message, "%s: %s", c.why, what)
			}
		}
	}
}

// requireRetried demands that a machine asks again after this failure, which says what to do and no secret.
func requireRetried(t *testing.T, ask func(context.Context) error, why string) *Failure {
	t.Helper()
	var failure *Failure
	err := Retry{First: time.Millisecond, Max: time.Millisecond}.Do(t.Context(), func(ctx context.Context) error {
		if failure != nil {
			return nil
		}
		err := ask(ctx)
		require.ErrorAs(t, err, &failure, why)
		return err
	})
	require.NoError(t, err, why)
	require.NotEmpty(t, failure.Hint, why)
	require.NotContains(t, failure.Message+failure.Hint, proxyPassword, why)
	require.NotContains(t, failure.Message+failure.Hint, pretend.RegistrationToken, why)
	return failure
}

// What is no HTTP is no answer, of the proxy as of the server.
func TestMalformedAnswers(t *testing.T) {
	for _, malformed := range []string{"SSH-2.0-OpenSSH_9.6\r\n\r\n", "HTTP/1.1 abc no\r\n\r\n", "GET " + protocol.RegistrationPath(pretend.RegistrationToken) + " HTTP/1.1\r\n\r\n"} {
		answers := answerCONNECT(t, malformed)
		server := Endpoint{URL: "http://" + answers.Host + protocol.RegistrationPath(pretend.RegistrationToken), AllowHTTP: true, Timeout: time.Second}
		for what, ask := range asks(t, server) {
			failure := requireRetried(t, ask, what+" of a server: "+malformed)
			require.Equal(t, CauseBadAnswer, failure.Cause, failure.Message)
			require.Equal(t, answers.Host+" answered with something that is not HTTP", failure.Message)
		}
		behind := Endpoint{URL: "https://r.example.com" + protocol.RegistrationPath(pretend.RegistrationToken), Timeout: time.Second, proxy: http.ProxyURL(answers)}
		for what, ask := range asks(t, behind) {
			failure := requireRetried(t, ask, what+" by a proxy: "+malformed)
			require.Contains(t, failure.Message+failure.Hint, "the proxy "+answers.Host, what)
		}
	}
}

// Whatever else happens to a connection may pass; what is no connection's stays a defect.
func TestUnknownErrors(t *testing.T) {
	proxy := withPassword(t, "http://proxy.example.com:3128")
	for _, err := range []error{onTheWay(errTest, nil), closedEarly(errTest), withClock(onTheWay(errTest, nil), "slow"), onTheWay(&url.Error{URL: pretend.RegistrationToken, Err: errTest}, proxy)} {
		failure := requireRetried(t, func(context.Context) error { return Explain(err, "r.example.com") }, "an unknown error")
		require.Equal(t, CauseUnreachable, failure.Cause)
		require.Equal(t, "the connection to r.example.com failed: test", failure.Message)
		require.ErrorIs(t, failure, errTest)
	}
	require.Contains(t, Explain(onTheWay(errTest, proxy), "r.example.com").Hint, "by the proxy proxy.example.com:3128 (HTTPS_PROXY)")
	require.Equal(t, CauseUnknown, Explain(errTest, "r.example.com").Cause)
}

// An address that cannot be a proxy's is for somebody to correct, and is not repeated: there may be a password in it.
func TestMalformedProxy(t *testing.T) {
	for why, find := range map[string]func(*http.Request) (*url.URL, error){
		"malformed": func(*http.Request) (*url.URL, error) {
			return nil, errors.New("invalid proxy address " + proxyPassword)
		},
		"of a scheme": http.ProxyURL(withPassword(t, "ftp://proxy.example.com")),
	} {
		for what, ask := range asks(t, Endpoint{URL: "https://r.example.com" + protocol.RegistrationPath(pretend.RegistrationToken), proxy: find}) {
			var failure *Failure
			require.ErrorAs(t, ask(t.Context()), &failure, "%s: %s", why, what)
			require.Equal(t, CauseConfig, failure.Cause, "%s: %s", why, what)
			require.Contains(t, failure.Hint, "HTTPS_PROXY", "%s: %s", why, what)
			require.NotContains(t, failure.Message+failure.Hint, proxyPassword, "%s: %s", why, what)
		}
	}
}

// The way by a proxy, with credentials, in the clear and by TLS.
func TestProxy(t *testing.T) {
	server := pretend.NewServer(pretend.Script{V2: true, Final: []byte(`{"hostname":"m-1"}`), InstallScript: "#!/bin/sh\n"})
	t.Cleanup(server.Close)
	asked := make(chan string, 10)
	tunnel := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.Host + " " + r.Header.Get("Proxy-Authorization")
		far, err := net.Dial("tcp", r.Host)
		if err != nil {
			return
		}
		defer far.Close()
		near, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer near.Close()
		_, _ = near.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n"))
		go func() { _, _ = io.Copy(far, near); far.Close() }()
		_, _ = io.Copy(near, far)
	})
	plain, secure := httptest.NewServer(tunnel), httptest.NewUnstartedServer(tunnel)
	secure.TLS = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	secure.StartTLS()
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	host := server.URL[len("https://"):]
	for _, proxy := range []string{plain.URL, secure.URL} {
		// All test servers share a certificate.
		at := Endpoint{URL: server.RegistrationURL(), CA: server.CAPEM(), Timeout: 10 * time.Second, proxy: http.ProxyURL(withPassword(t, proxy))}
		for what, ask := range asks(t, at) {
			require.NoError(t, ask(t.Context()), "%s by %s", what, proxy)
			credentials := base64.StdEncoding.EncodeToString([]byte("admin:" + proxyPassword))
			require.Equal(t, "CONNECT "+host+" Basic "+credentials, <-asked, "%s by %s", what, proxy)
		}
	}
	untrusted := Endpoint{URL: server.RegistrationURL(), Timeout: 10 * time.Second, proxy: http.ProxyURL(withPassword(t, plain.URL))}
	for what, ask := range asks(t, untrusted) {
		failure := requireRetried(t, ask, what)
		require.Equal(t, CauseUntrusted, failure.Cause, what)
		require.Contains(t, failure.Message, host+" shows a certificate", "the server's, not the proxy's")
	}
}

// A machine that is switched off does not wait for its proxy.
func TestProxyIsInterrupted(t *testing.T) {
	at := Endpoint{URL: "https://r.example.com" + protocol.RegistrationPath(pretend.RegistrationToken), proxy: http.ProxyURL(silent(t))}
	for what, ask := range asks(t, at) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		start := time.Now()
		require.ErrorIs(t, ask(ctx), context.Canceled, what)
		require.Less(t, time.Since(start), 3*time.Second, what)
	}
}
