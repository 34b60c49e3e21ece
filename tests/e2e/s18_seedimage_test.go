package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/media/iso"
	"github.com/rancher/rancheros-operator/tests/harness"
	"github.com/rancher/rancheros-operator/tests/medium"
)

// A registration becomes a medium: applied with kubectl, downloaded through Rancher's tunnel in pieces, and read.
func Test18SeedImage(t *testing.T) {
	ns := namespace(t, "s18-seed")
	url := registration(t, ns, "edge", "{}")
	source := newBase(t)
	applySeed(t, ns, "usb", "type: both\n  baseImage: %s\n  baseChecksum: sha256:%s\n  cloudConfig: {users: [{name: edge}]}", source.URL+"/base.iso", source.sum)
	waitFor(t, ns, "seedimage/usb", "Ready", "Ready")
	download, ipxe := seedField(t, ns, "usb", "downloadURL"), seedField(t, ns, "usb", "ipxeURL")
	require.True(t, strings.HasPrefix(download, world.Rancher.URL()+"/v1-rancheros/seedimage/"), download)
	require.True(t, strings.HasSuffix(download, "/usb.iso"), download)

	// Half of it, and then the rest.
	first := fetchMedium(t, http.MethodGet, download, "Range", "bytes=0-99999")
	require.Equal(t, http.StatusPartialContent, first.StatusCode)
	rest := fetchMedium(t, http.MethodGet, download, "Range", "bytes=100000-", "If-Range", first.Header.Get("ETag"))
	require.Equal(t, http.StatusPartialContent, rest.StatusCode)
	whole := append(first.body, rest.body...)
	require.Equal(t, seedField(t, ns, "usb", "size"), fmt.Sprint(len(whole)))
	eventually(t, func() error {
		return equal("status.checksum", seedField(t, ns, "usb", "checksum"), fmt.Sprintf("sha256:%x", sha256.Sum256(whole)))
	})
	head := fetchMedium(t, http.MethodHead, download)
	require.Equal(t, fmt.Sprint(len(whole)), head.Header.Get("Content-Length"))

	image, err := iso.Open(bytes.NewReader(whole), int64(len(whole)))
	require.NoError(t, err)
	config, err := image.ReadFile(iso.ConfigPath, 1<<20)
	require.NoError(t, err)
	require.Contains(t, string(config), "registrationURL: "+url)
	require.Contains(t, string(config), "BEGIN CERTIFICATE")
	require.Contains(t, string(config), "name: edge")

	script := fetchMedium(t, http.MethodGet, ipxe)
	require.True(t, strings.HasPrefix(string(script.body), "#!ipxe\nkernel "+"kernel initrd=initrd quiet\n"), string(script.body))
	initrd := fetchMedium(t, http.MethodGet, strings.TrimSuffix(ipxe, "boot.ipxe")+"initrd")
	require.Contains(t, string(initrd.body), "registrationURL: "+url)
	kernel := fetchMedium(t, http.MethodGet, strings.TrimSuffix(ipxe, "boot.ipxe")+"kernel")
	require.True(t, bytes.HasPrefix(kernel.body, []byte("kernel")))

	// A second image over the same base fetches nothing, and is another one.
	applySeed(t, ns, "second", "baseImage: %s\n  baseChecksum: sha256:%s", source.URL+"/elsewhere.iso", source.sum)
	waitFor(t, ns, "seedimage/second", "Ready", "Ready")
	require.NotEqual(t, download, seedField(t, ns, "second", "downloadURL"))
	eventually(t, func() error {
		return equal("fetched, once by each replica", fmt.Sprint(source.fetched.Load()), fmt.Sprint(world.Replicas()))
	})
	kubectl(t, "delete", "seedimage", "second", "-n", ns)
	eventually(t, func() error { return gone(t.Context(), "secret", "second-seed-token", "-n", ns) })
}

// An address ends: used up, expired, never there.
func Test18AddressesEnd(t *testing.T) {
	ns := namespace(t, "s18-ends")
	registration(t, ns, "edge", "{}")
	source := newBase(t)
	applySeed(t, ns, "once", "maxDownloads: 1\n  baseImage: %s\n  baseChecksum: sha256:%s", source.URL, source.sum)
	waitFor(t, ns, "seedimage/once", "Ready", "Ready")
	download := seedField(t, ns, "once", "downloadURL")
	require.Equal(t, http.StatusOK, fetchMedium(t, http.MethodGet, download).StatusCode)
	waitFor(t, ns, "seedimage/once", "Ready", "UsedUp")
	again := fetchMedium(t, http.MethodGet, download)
	require.Equal(t, http.StatusForbidden, again.StatusCode)
	require.Equal(t, "the medium was downloaded as often as it may be\n", string(again.body))
	require.Equal(t, "1", seedField(t, ns, "once", "downloads"))

	kubectl(t, "patch", "seedimage", "once", "-n", ns, "--type", "merge", "-p", `{"spec":{"maxDownloads":null}}`)
	waitFor(t, ns, "seedimage/once", "Ready", "Ready")
	require.Equal(t, http.StatusOK, fetchMedium(t, http.MethodGet, download).StatusCode)
	expires := time.Now().Add(2 * time.Second).UTC().Format(time.RFC3339)
	kubectl(t, "patch", "seedimage", "once", "-n", ns, "--type", "merge", "-p", `{"spec":{"expiresAt":"`+expires+`"}}`)
	waitFor(t, ns, "seedimage/once", "Ready", "Expired")
	require.Equal(t, "the address has expired\n", string(fetchMedium(t, http.MethodGet, download).body))

	nobodys := strings.Replace(download, "/seedimage/", "/seedimage/b", 1)
	unknown := fetchMedium(t, http.MethodGet, nobodys)
	require.Equal(t, http.StatusNotFound, unknown.StatusCode)
	require.Equal(t, "not found\n", string(unknown.body))
}

// A replica that does not lead has the base too, and goes on with a download that another began: the image is the same.
func Test18AnotherReplica(t *testing.T) {
	ns := namespace(t, "s18-two")
	registration(t, ns, "edge", "{}")
	source := newBase(t)
	applySeed(t, ns, "usb", "baseImage: %s\n  baseChecksum: sha256:%s", source.URL, source.sum)
	waitFor(t, ns, "seedimage/usb", "Ready", "Ready")
	second, err := world.StartReplica(t.Context(), harness.ReplicaOptions{Name: "second"})
	require.NoError(t, err)
	defer func() { require.NoError(t, second.Stop()) }()
	download := seedField(t, ns, "usb", "downloadURL")
	here := strings.Replace(download, world.Rancher.URL(), "http://"+second.ListenAddr, 1)
	eventually(t, func() error {
		return equal("status", fetchMedium(t, http.MethodHead, here).Status, "200 OK")
	})
	eventually(t, func() error {
		return equal("fetched, since each replica has a cache of its own", fmt.Sprint(source.fetched.Load()), fmt.Sprint(world.Replicas()+1))
	})
	first := fetchMedium(t, http.MethodGet, download, "Range", "bytes=0-99999")
	rest := fetchMedium(t, http.MethodGet, here, "Range", "bytes=100000-", "If-Range", first.Header.Get("ETag"))
	require.Equal(t, http.StatusPartialContent, rest.StatusCode)
	eventually(t, func() error {
		return equal("status.checksum", seedField(t, ns, "usb", "checksum"), fmt.Sprintf("sha256:%x", sha256.Sum256(append(first.body, rest.body...))))
	})
}

// What is wrong is said where people look.
func Test18BadBases(t *testing.T) {
	ns := namespace(t, "s18-bad")
	source := newBase(t)
	applySeed(t, ns, "early", "baseImage: %s\n  baseChecksum: sha256:%s", source.URL, source.sum)
	waitFor(t, ns, "seedimage/early", "Ready", "RegistrationMissing")
	registration(t, ns, "edge", "{}")
	waitFor(t, ns, "seedimage/early", "Ready", "Ready")

	applySeed(t, ns, "other", "baseImage: %s\n  baseChecksum: sha256:%s", source.URL, strings.Repeat("0", 64))
	waitFor(t, ns, "seedimage/other", "Ready", "BaseInvalid")
	applySeed(t, ns, "none", "baseImage: %s\n  baseChecksum: sha256:%s", source.URL+"/404", strings.Repeat("1", 64))
	waitFor(t, ns, "seedimage/none", "Ready", "BaseUnavailable")
	// Corrected, it is there.
	kubectl(t, "patch", "seedimage", "none", "-n", ns, "--type", "merge", "-p", `{"spec":{"baseImage":"`+source.URL+`","baseChecksum":"sha256:`+source.sum+`"}}`)
	waitFor(t, ns, "seedimage/none", "Ready", "Ready")
	for _, name := range []string{"other"} {
		kubectl(t, "delete", "seedimage", name, "-n", ns)
	}

	for why, c := range map[string]struct{ spec, want string }{
		"plain http without a checksum": {"baseImage: http://media.example.com/base.iso", "give baseChecksum, or use https"},
		"a password in the address":     {"baseImage: https://u:p@media.example.com/base.iso", "without a user or password"},
		"another scheme":                {"baseImage: ftp://media.example.com/base.iso", "must begin with https://"},
		"white space":                   {"baseImage: 'a b'", "must not hold white space"},
		"a checksum that is none":       {"baseImage: https://media.example.com/base.iso\n  baseChecksum: abc", "64 lower-case hex digits"},
		"another type":                  {"baseImage: https://media.example.com/base.iso\n  type: usb", "Unsupported value"},
		"no downloads":                  {"baseImage: https://media.example.com/base.iso\n  maxDownloads: 0", "maxDownloads"},
		"arguments of two lines":        {"baseImage: https://media.example.com/base.iso\n  netboot: {arguments: \"a\\nb\"}", "one line of ASCII"},
	} {
		_, err := world.Apply(t.Context(), seedManifest(ns, "bad", c.spec))
		require.ErrorContains(t, err, c.want, why)
	}
}

// baseServer serves a base.
type baseServer struct {
	*httptest.Server
	sum     string
	fetched atomic.Int32
}

func newBase(t *testing.T) *baseServer {
	content := medium.Bytes(medium.Options{RockRidge: true, Joliet: true, Hybrid: true, Files: map[string][]byte{
		"boot/kernel": bytes.Repeat([]byte("kernel"), 50_000), "boot/initrd": bytes.Repeat([]byte("initrd"), 50_000),
		"boot/grub2/grub.cfg": []byte("linux /boot/kernel quiet\ninitrd /boot/initrd\n"), "name": []byte(t.Name()),
	}})
	s := &baseServer{sum: fmt.Sprintf("%x", sha256.Sum256(content))}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/404" {
			http.NotFound(w, r)
			return
		}
		s.fetched.Add(1)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}))
	t.Cleanup(s.Close)
	return s
}

func seedManifest(namespace, name, spec string) string {
	return fmt.Sprintf("apiVersion: rancheros.cattle.io/v1\nkind: SeedImage\nmetadata: {name: %s, namespace: %s}\nspec:\n  registrationName: edge\n  %s\n", name, namespace, spec)
}

func applySeed(t *testing.T, namespace, name, spec string, args ...any) {
	t.Helper()
	apply(t, seedManifest(namespace, name, fmt.Sprintf(spec, args...)))
}

func seedField(t *testing.T, namespace, name, field string) string {
	t.Helper()
	return kubectl(t, "get", "seedimage", name, "-n", namespace, "-o", "jsonpath={.status."+field+"}")
}

type mediumAnswer struct {
	*http.Response
	body []byte
}

// fetchMedium asks through Rancher.
func fetchMedium(t *testing.T, method, url string, headers ...string) mediumAnswer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	require.NoError(t, err)
	for n := 0; n < len(headers); n += 2 {
		request.Header.Set(headers[n], headers[n+1])
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: world.TLS(), DisableKeepAlives: true}}
	response, err := client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return mediumAnswer{response, body}
}

// Media that do not change cost nothing, and an operator that starts anew has their bases without asking for them.
func Test18UnchangedMediaAreNotWritten(t *testing.T) {
	requireUnchangedByRestart(t)
	requireRights(t, time.Time{})
}
