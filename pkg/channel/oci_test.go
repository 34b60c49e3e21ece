package channel

import (
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"
)

// registryServer is a registry that asks for a password and remembers what it was asked for.
type registryServer struct {
	host     string
	options  Options
	mutex    sync.Mutex
	requests []string
}

func newRegistry(t *testing.T) *registryServer {
	t.Helper()
	made := &registryServer{}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server, options := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); !ok || user != "ann" || password != canary {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		made.mutex.Lock()
		made.requests = append(made.requests, r.Method+" "+r.URL.Path)
		made.mutex.Unlock()
		inner.ServeHTTP(w, r)
	})
	made.host = strings.TrimPrefix(server.URL, "https://")
	options.Token = ""
	options.DockerConfig = fmt.Appendf(nil, `{"auths":{"https://%s/v2/":{"auth":%q},"registry.example.com":{"username":"other","password":"other"}}}`,
		made.host, base64.StdEncoding.EncodeToString([]byte("ann:"+canary)))
	made.options = options
	return made
}

// push gives a tag to the image, or to a new one.
func (r *registryServer) push(t *testing.T, tag string, image v1.Image) v1.Image {
	t.Helper()
	if image == nil {
		var err error
		image, err = random.Image(16, 1)
		require.NoError(t, err)
	}
	reference, err := name.NewTag(r.host + "/rancher/os2:" + tag)
	require.NoError(t, err)
	transport, err := newTransport(r.options, 64<<20)
	require.NoError(t, err)
	keychain, err := newKeychain(r.options)
	require.NoError(t, err)
	require.NoError(t, remote.Write(reference, image, remote.WithTransport(transport), remote.WithAuthFromKeychain(keychain)))
	return image
}

// heads are how many tags were looked up since the last call.
func (r *registryServer) heads() int {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	count := 0
	for _, request := range r.requests {
		if strings.HasPrefix(request, "HEAD ") && strings.Contains(request, "/manifests/") {
			count++
		}
	}
	r.requests = nil
	return count
}

func TestOCI(t *testing.T) {
	r := newRegistry(t)
	image := r.push(t, "v1.2.0", nil)
	digest, err := image.Digest()
	require.NoError(t, err)
	for _, tag := range []string{"v1.2", "v1", "latest", "v1.2.0-amd64", "v1.1.0-arm64", "sha-0123abc"} {
		r.push(t, tag, image)
	}
	r.heads()
	fetcher := OCI{Channel: "stable", URL: r.host + "/rancher/os2", Options: r.options}
	first, err := fetcher.Fetch(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, []string{"stable-v1.1.0-arm64", "stable-v1.2.0"}, names(first), "whole versions, and no part of one")
	require.JSONEq(t, fmt.Sprintf(`{"upgradeImage":"%s/rancher/os2:v1.2.0@%s"}`, r.host, digest), string(first.Releases[1].Metadata), "pinned")
	require.Equal(t, "v1.2.0", first.Releases[1].Version)
	require.Equal(t, 2, r.heads())

	r.push(t, "v1.2.0", nil)
	moved, err := fetcher.Fetch(t.Context(), first)
	require.NoError(t, err)
	require.NotEqual(t, string(first.Releases[1].Metadata), string(moved.Releases[1].Metadata), "V25 a tag that was moved is told of")
}

// A registry with many releases is not asked for all of them each time.
func TestOCIAsksForWhatIsNew(t *testing.T) {
	r := newRegistry(t)
	image := r.push(t, "v1.0.0", nil)
	for i := range 40 {
		r.push(t, fmt.Sprintf("v1.0.%d", i+1), image)
	}
	r.heads()
	fetcher := OCI{Channel: "c", URL: r.host + "/rancher/os2", Options: r.options}
	first, err := fetcher.Fetch(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, first.Releases, 41)
	require.Equal(t, 41, r.heads())
	r.push(t, "v1.1.0", image)
	r.heads()
	second, err := fetcher.Fetch(t.Context(), first)
	require.NoError(t, err)
	require.Len(t, second.Releases, 42)
	require.Equal(t, rechecked, r.heads(), "the new one is among the newest")
}

func TestOCIRefuses(t *testing.T) {
	r := newRegistry(t)
	r.push(t, "v1.0.0", nil)
	fetch := func(change func(*OCI)) error {
		fetcher := OCI{Channel: "c", URL: r.host + "/rancher/os2", Options: r.options}
		change(&fetcher)
		answer, err := fetcher.Fetch(t.Context(), nil)
		require.Nil(t, answer)
		return err
	}
	requireFailure(t, "no password", ReasonRequestRefused, fetch(func(o *OCI) { o.DockerConfig = nil }))
	requireFailure(t, "another registry's password", ReasonRequestRefused, fetch(func(o *OCI) {
		o.DockerConfig = []byte(`{"auths":{"registry.example.com":{"username":"ann","password":"` + canary + `"}}}`)
	}))
	requireFailure(t, "no docker config", ReasonInvalidSpec, fetch(func(o *OCI) { o.DockerConfig = []byte(canary) }))
	requireFailure(t, "V37 an unknown authority", ReasonCertificateNotTrusted, fetch(func(o *OCI) { o.CABundle = nil }))
	requireFailure(t, "C59 the host itself", ReasonAddressForbidden, fetch(func(o *OCI) { o.Networks = nil }))
	requireFailure(t, "no repository", ReasonInvalidSpec, fetch(func(o *OCI) { o.URL = "A B" }))
	requireFailure(t, "a repository that does not exist", ReasonRequestRefused, fetch(func(o *OCI) { o.URL = r.host + "/rancher/other" }))
	answer, err := OCI{Channel: "c", URL: r.host + "/rancher/os2", Options: Options{Timeout: r.options.Timeout, Insecure: true, Networks: loopback, DockerConfig: r.options.DockerConfig}}.Fetch(t.Context(), nil)
	require.NoError(t, err, "on request")
	require.Len(t, answer.Releases, 1)
}

func TestPlainRegistry(t *testing.T) {
	image, err := random.Image(16, 1)
	require.NoError(t, err)
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	tag, err := name.NewTag(host + "/os:v1.0.0")
	require.NoError(t, err)
	require.NoError(t, remote.Write(tag, image))
	fetcher := OCI{Channel: "c", URL: host + "/os", Options: Options{Timeout: time.Minute, Networks: loopback}}
	_, err = fetcher.Fetch(t.Context(), nil)
	require.True(t, isFailure(err), "http is not fallen back to, although the address is a private one")
	fetcher.Insecure = true
	answer, err := fetcher.Fetch(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, []string{"c-v1.0.0"}, names(answer))
}

// ofRegistry answers for a registry without a password.
func ofRegistry(tags, manifest http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/v2/":
		case strings.HasSuffix(r.URL.Path, "/tags/list"):
			tags(w, r)
		default:
			manifest(w, r)
		}
	}
}

func TestHostileRegistry(t *testing.T) {
	one := body(200, `{"name":"os","tags":["v1.0.0"]}`)
	for _, c := range []struct {
		id             string
		tags, manifest http.HandlerFunc
		want           Reason
	}{
		{"V1 500 for tags", body(500, canary), one, ReasonRequestRefused},
		{"429 for tags", body(429, canary), one, ReasonRateLimited},
		{"V1 500 for a tag", one, body(500, canary), ReasonRequestRefused},
		{"V3 empty", body(200, ""), one, ReasonUnreachable},
		{"V5 a list for a map", body(200, "[1]"), one, ReasonInvalidDocument},
		{"V6 truncated", body(200, `{"tags":["v1`), one, ReasonUnreachable},
		{"V8 too large", body(200, `{"tags":["`+strings.Repeat("x", MaxDocument)+`"]}`), one, ReasonInvalidDocument},
		{"V2 to another host", redirect(307, "https://other.example.com/"), one, ReasonRequestRefused},
		{"V2 to the metadata of a cloud", one, redirect(307, "https://169.254.169.254/"), ReasonRequestRefused},
		{"pages of another host", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", `<https://169.254.169.254/v2/>; rel="next"`)
			one(w, r)
		}, one, ReasonUnreachable},
		{"pages without an end", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", `<http://`+r.Host+r.URL.Path+`?last=x>; rel="next"`)
			one(w, r)
		}, one, ReasonInvalidDocument},
	} {
		server, options := serve(t, ofRegistry(c.tags, c.manifest))
		answer, err := OCI{Channel: "c", URL: strings.TrimPrefix(server.URL, "https://") + "/os", Options: options}.Fetch(t.Context(), nil)
		require.Nil(t, answer, c.id)
		requireFailure(t, c.id, c.want, err)
		server.Close()
	}
	server, options := serve(t, ofRegistry(one, body(404, "")))
	answer, err := OCI{Channel: "c", URL: strings.TrimPrefix(server.URL, "https://") + "/os", Options: options}.Fetch(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, answer.Releases, "a tag that was deleted between two questions")
}

// A registry may send us for a token to any address: that one is checked like all others.
func TestTokenServerOfARegistry(t *testing.T) {
	server, options := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="https://kubernetes.default.svc/token",service="x"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	_, err := OCI{Channel: "c", URL: strings.TrimPrefix(server.URL, "https://") + "/os", Options: options}.Fetch(t.Context(), nil)
	requireFailure(t, "C59", ReasonAddressForbidden, err)
}
