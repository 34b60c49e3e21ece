package channel

import (
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestJSON(t *testing.T) {
	requests := 0
	server, options := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests++
		require.Equal(t, "Bearer "+canary, r.Header.Get("Authorization"))
		w.Header().Set("ETag", `"one"`)
		w.Header().Set("Set-Cookie", "a=b") // V41: not sent back.
		require.Empty(t, r.Header.Get("Cookie"))
		if r.Header.Get("If-None-Match") == `"one"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = io.WriteString(w, list(version("v1.0.0")))
	})
	fetcher := JSON{URI: server.URL + "/versions.json", Options: options}
	first, err := fetcher.Fetch(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, []string{"v1.0.0"}, names(first))
	second, err := fetcher.Fetch(t.Context(), first)
	require.NoError(t, err)
	require.Same(t, first, second, "nothing new is the same answer")
	require.Equal(t, 2, requests)
}

func TestJSONWithAPassword(t *testing.T) {
	server, options := serve(t, func(w http.ResponseWriter, r *http.Request) {
		user, password, ok := r.BasicAuth()
		require.True(t, ok)
		require.Equal(t, "ann "+canary, user+" "+password)
		_, _ = io.WriteString(w, "[]")
	})
	options.Token, options.Username, options.Password = "", "ann", canary
	_, err := JSON{URI: server.URL, Options: options}.Fetch(t.Context(), nil)
	require.NoError(t, err)
}

// redirect sends to another path of the server, or to another server.
func redirect(status int, to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", strings.ReplaceAll(to, "HOST", r.Host))
		w.WriteHeader(status)
	}
}

// The server of horrors: whatever it does is a reason, at once or at the deadline, and no secret is told.
func TestHostileServer(t *testing.T) {
	for _, c := range []struct {
		id      string
		handler http.HandlerFunc
		want    Reason
		message string
	}{
		{"V1 404 with HTML", body(404, "<html>"+canary), ReasonRequestRefused, "HTTP status 404"},
		{"V1 401", body(401, canary), ReasonRequestRefused, "HTTP status 401; give in spec.secretName"},
		{"V1 403", body(403, canary), ReasonRequestRefused, "HTTP status 403; give in spec.secretName"},
		{"V1 500", body(500, canary), ReasonRequestRefused, "HTTP status 500"},
		{"429", body(429, ""), ReasonRateLimited, "HTTP status 429"},
		{"304 that nobody asked for", body(304, ""), ReasonRequestRefused, "HTTP status 304"},
		{"204", body(204, ""), ReasonRequestRefused, "HTTP status 204"},
		{"206", body(206, list(version("v1.0.0"))), ReasonRequestRefused, "HTTP status 206"},
		{"V2 to another host", redirect(302, "https://other.example.com/"), ReasonRequestRefused, "another host"},
		{"V2 to another port", redirect(301, "https://127.0.0.1:1/"), ReasonRequestRefused, "another host"},
		{"V2 to http", redirect(307, "http://HOST/"), ReasonRequestRefused, "another host or scheme"},
		{"V2 to the metadata of a cloud", redirect(302, "https://169.254.169.254/latest"), ReasonRequestRefused, "another host"},
		{"V2 with a password", redirect(302, "https://a:b@HOST/"), ReasonRequestRefused, "another host"},
		{"V2 in a circle", redirect(302, "https://HOST/"), ReasonRequestRefused, "too many redirects"},
		{"V2 to nowhere", redirect(302, "https://%zz/"), ReasonRequestRefused, "another host"},
		{"V2 without an address", body(302, ""), ReasonRequestRefused, "HTTP status 302"},
		{"V3 empty", body(200, ""), ReasonInvalidDocument, "the answer is empty"},
		{"V6 truncated", body(200, list(version("v1.0.0"))[:50]), ReasonInvalidDocument, "not one whole"},
		{"V8 2 MiB and 1", body(200, strings.Repeat(" ", MaxDocument+1)), ReasonInvalidDocument, "larger than 2 MiB"},
		{"V8 without an end", func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := io.WriteString(w, strings.Repeat(" ", 64<<10)); err != nil {
					return
				}
			}
		}, ReasonInvalidDocument, "larger than 2 MiB"},
		{"V9 a byte now and then", func(w http.ResponseWriter, r *http.Request) {
			for {
				_, _ = io.WriteString(w, " ")
				_ = http.NewResponseController(w).Flush()
				select {
				case <-time.After(50 * time.Millisecond):
				case <-r.Context().Done():
					return
				}
			}
		}, ReasonUnreachable, "did not answer in time"},
		{"V9 no byte at all", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, ReasonUnreachable, "did not answer in time"},
		{"V10 a bomb", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			packed := gzip.NewWriter(w)
			_, _ = packed.Write(make([]byte, 8<<20))
			_ = packed.Close()
		}, ReasonInvalidDocument, "larger than 2 MiB"},
		{"V10 no gzip", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, "[]"+strings.Repeat(" ", 100))
		}, ReasonUnreachable, "failed or broke"},
		{"V11 a length that lies", func(w http.ResponseWriter, _ *http.Request) {
			connection, writer, _ := http.NewResponseController(w).Hijack()
			_, _ = writer.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[]")
			_ = writer.Flush()
			_ = connection.Close()
		}, ReasonUnreachable, "shorter than it says"},
		{"no HTTP", func(w http.ResponseWriter, _ *http.Request) {
			connection, writer, _ := http.NewResponseController(w).Hijack()
			_, _ = writer.WriteString("SSH-2.0\r\n" + canary)
			_ = writer.Flush()
			_ = connection.Close()
		}, ReasonUnreachable, "failed or broke"},
		{"endless headers", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
			_, _ = io.WriteString(w, "[]")
		}, ReasonUnreachable, "failed or broke"},
	} {
		server, options := serve(t, c.handler)
		options.Timeout = time.Minute
		if strings.HasPrefix(c.id, "V9") {
			options.Timeout = time.Second
		}
		answer, err := JSON{URI: server.URL, Options: options}.Fetch(t.Context(), nil)
		require.Nil(t, answer, c.id)
		first := requireFailure(t, c.id, c.want, err)
		require.Contains(t, first.Message, c.message, c.id)
		server.Close()
	}
}

// A body that ends in good order after the deadline was cut by it, and is not whole.
func TestLateEnd(t *testing.T) {
	body := &boundedBody{ReadCloser: io.NopCloser(strings.NewReader("[]")), left: MaxDocument, late: func() error { return context.DeadlineExceeded }, cancel: func() {}}
	_, err := io.ReadAll(body)
	requireFailure(t, "V9", ReasonUnreachable, failureOf(err, "example.com", MaxDocument))
}

// A message that changed on every try would be written into the status on every try.
func TestMessagesAreTheSameEachTime(t *testing.T) {
	server, options := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		connection, _, _ := http.NewResponseController(w).Hijack()
		_ = connection.Close()
	})
	_, first := JSON{URI: server.URL, Options: options}.Fetch(t.Context(), nil)
	_, second := JSON{URI: server.URL, Options: options}.Fetch(t.Context(), nil)
	require.EqualError(t, second, first.Error())
}

func TestRedirectsWithinAHost(t *testing.T) {
	hops := 0
	server, options := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if hops++; hops <= maxRedirects {
			http.Redirect(w, r, fmt.Sprintf("/%d", hops), http.StatusFound)
			return
		}
		require.Equal(t, "Bearer "+canary, r.Header.Get("Authorization"))
		_, _ = io.WriteString(w, list(version("v1.0.0")))
	})
	answer, err := JSON{URI: server.URL, Options: options}.Fetch(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, []string{"v1.0.0"}, names(answer))
}

func TestCertificates(t *testing.T) {
	server, options := serve(t, body(200, "[]"))
	ask := func(change func(*JSON)) error {
		fetcher := JSON{URI: server.URL, Options: options}
		change(&fetcher)
		_, err := fetcher.Fetch(t.Context(), nil)
		return err
	}
	require.NoError(t, ask(func(*JSON) {}))
	requireFailure(t, "V37 signed by nobody", ReasonCertificateNotTrusted, ask(func(j *JSON) { j.CABundle = nil }))
	for id, certificate := range map[string]*x509.Certificate{
		"V37 for another name": {DNSNames: []string{"other.example.com"}, NotAfter: time.Now().Add(time.Hour)},
		"V37 expired":          {IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(-time.Hour)},
	} {
		other := httptest.NewUnstartedServer(body(200, "[]"))
		other.Config.ErrorLog = log.New(io.Discard, "", 0)
		other.TLS = &tls.Config{Certificates: []tls.Certificate{signed(t, certificate)}}
		other.StartTLS()
		requireFailure(t, id, ReasonCertificateNotTrusted, ask(func(j *JSON) { j.URI, j.CABundle = other.URL, caOf(other) }))
		other.Close()
	}
	require.NoError(t, ask(func(j *JSON) { j.CABundle, j.Insecure = nil, true }), "on request")
	for _, bundle := range []string{"x", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}))} {
		requireFailure(t, "a bundle of nothing trusts nothing", ReasonInvalidSpec, ask(func(j *JSON) { j.CABundle = []byte(bundle) }))
	}
	requireFailure(t, "a token with a line break", ReasonInvalidSpec, ask(func(j *JSON) { j.Token = canary + "\n" }))

	old := httptest.NewUnstartedServer(body(200, "[]"))
	old.Config.ErrorLog = log.New(io.Discard, "", 0)
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	old.StartTLS()
	defer old.Close()
	require.Error(t, ask(func(j *JSON) { j.URI, j.CABundle = old.URL, caOf(old) }), "V37 TLS 1.1")
}

// signed is a certificate that is its own authority.
func signed(t *testing.T, template *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template.SerialNumber, template.IsCA, template.BasicConstraintsValid = big.NewInt(1), true, true
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestForbiddenAddresses(t *testing.T) {
	options := Options{Timeout: time.Minute, Token: canary}
	for _, c := range []struct {
		id, uri string
		want    Reason
	}{
		{"C59 http", "http://example.com/", ReasonInvalidSpec},
		{"C59 ftp", "ftp://example.com/", ReasonInvalidSpec},
		{"C59 a file", "file:///etc/passwd", ReasonInvalidSpec},
		{"C59 gopher", "gopher://example.com/", ReasonInvalidSpec},
		{"C59 no address", "::::", ReasonInvalidSpec},
		{"C59 a password", "https://a:" + canary + "@example.com/", ReasonInvalidSpec},
		{"C59 nothing", "", ReasonInvalidSpec},
		{"C59 the host itself", "https://127.0.0.1:1/", ReasonAddressForbidden},
		{"C59 the host itself, by name", "https://localhost:1/", ReasonAddressForbidden},
		{"C59 the host itself, in IPv6", "https://[::1]:1/", ReasonAddressForbidden},
		{"C59 the host itself, in disguise", "https://[::ffff:127.0.0.1]:1/", ReasonAddressForbidden},
		{"C59 the host itself, unspecified", "https://0.0.0.0:1/", ReasonAddressForbidden},
		{"C59 the metadata of a cloud", "https://169.254.169.254/", ReasonAddressForbidden},
		{"C59 the metadata of another", "https://100.100.100.200/", ReasonAddressForbidden},
		{"C59 link-local", "https://[fe80::1%25eth0]/", ReasonAddressForbidden},
		{"C59 a service", "https://kubernetes.default.svc/", ReasonAddressForbidden},
		{"C59 a service, in full", "https://kubernetes.default.svc.cluster.local./", ReasonAddressForbidden},
	} {
		_, err := JSON{URI: c.uri, Options: options}.Fetch(t.Context(), nil)
		requireFailure(t, c.id, c.want, err)
	}
}

// What a name is looked up to is checked when it is dialled, whatever it was before.
func TestDialledAddressIsChecked(t *testing.T) {
	listener := httptest.NewServer(body(200, ""))
	defer listener.Close()
	guarded := &guard{}
	_, err := guarded.dial(t.Context(), "tcp", listener.Listener.Addr().String())
	require.ErrorIs(t, err, errForbidden, "V38")
	_, port, _ := strings.Cut(listener.Listener.Addr().String(), ":")
	_, err = guarded.dial(t.Context(), "tcp", "localhost:"+port)
	require.ErrorIs(t, err, errForbidden, "V38 a name that leads to the host itself")
	guarded.allowed = loopback
	connection, err := guarded.dial(t.Context(), "tcp", listener.Listener.Addr().String())
	require.NoError(t, err)
	_ = connection.Close()
	require.NoError(t, (&guard{}).checkAddress(netip.MustParseAddr("10.1.2.3")), "a mirror in a private network")
}

func TestUnreachable(t *testing.T) {
	server, options := serve(t, body(200, "[]"))
	server.Close()
	_, err := JSON{URI: server.URL, Options: options}.Fetch(t.Context(), nil)
	require.Contains(t, requireFailure(t, "closed", ReasonUnreachable, err).Message, "refuses the connection")
	_, err = JSON{URI: "https://nobody.invalid/", Options: options}.Fetch(t.Context(), nil)
	requireFailure(t, "V39 no such name", ReasonUnreachable, err)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = JSON{URI: "https://example.com/", Options: options}.Fetch(ended, nil)
	requireFailure(t, "the operator ends", ReasonUnreachable, err)
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 0, "soon": 0, "-5": 0, "0": 0, "120": 2 * time.Minute, "99999999999": maxAfter, "9223372036854775807": maxAfter,
		now.Add(time.Hour).Format(http.TimeFormat): time.Hour, now.Add(-time.Hour).Format(http.TimeFormat): 0,
		now.Add(9999 * time.Hour).Format(http.TimeFormat): maxAfter,
	} {
		require.Equal(t, want, retryAfter(header, now), header)
	}
}
