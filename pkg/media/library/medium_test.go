package library

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/media/iso"
)

func TestDownload(t *testing.T) {
	w := newWorld(t, func(seed *v1.SeedImage) {
		seed.Spec.CloudConfig = &runtime.RawExtension{Raw: []byte(`{"users":[{"name":"edge"}]}`)}
	})
	got := w.get(t, "usb.iso")
	require.Equal(t, 503, got.StatusCode, "the base is on its way")
	require.Equal(t, "10", got.Header.Get("Retry-After"))
	seed := w.settle(t)

	head := w.do(t, http.MethodHead, "usb.iso")
	require.Equal(t, fmt.Sprint(seed.Status.Size), head.Header.Get("Content-Length"))
	require.Empty(t, head.body)
	whole := w.get(t, "usb.iso")
	require.Equal(t, 200, whole.StatusCode)
	require.Len(t, whole.body, int(seed.Status.Size))
	sum := sha256.Sum256(whole.body)
	require.Equal(t, fmt.Sprintf("sha256:%x", sum), seed.Status.Checksum)
	require.Equal(t, "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":", whole.Header.Get("Repr-Digest"))
	require.Equal(t, `attachment; filename="usb.iso"`, whole.Header.Get("Content-Disposition"))
	require.Equal(t, "application/vnd.efi-iso", whole.Header.Get("Content-Type"))
	require.Equal(t, fmt.Sprintf("%x  usb.iso\n", sum), string(w.get(t, "usb.iso.sha256").body))

	image, err := iso.Open(bytes.NewReader(whole.body), int64(len(whole.body)))
	require.NoError(t, err)
	config, err := image.ReadFile(iso.ConfigPath, 1<<20)
	require.NoError(t, err)
	require.Equal(t, "#cloud-config\nrancheros:\n    install:\n        registrationCaCert: |\n            PEM\n        registrationURL: "+url+"\nusers:\n    - name: edge\n", string(config))

	// Ranges, conditions, resume.
	etag, size := whole.Header.Get("ETag"), int64(len(whole.body))
	for _, c := range []struct {
		why     string
		headers []string
		status  int
		from    int64
		to      int64
	}{
		{"the beginning", []string{"Range", "bytes=0-99"}, 206, 0, 100},
		{"across a change", []string{"Range", bytesAt(40_000, 99_999)}, 206, 40_000, 100_000},
		{"the end", []string{"Range", "bytes=-5000"}, 206, size - 5000, size},
		{"from the middle on", []string{"Range", "bytes=500000-"}, 206, 500_000, size},
		{"past the end, cut", []string{"Range", bytesAt(size-10, size+10)}, 206, size - 10, size},
		{"wholly past the end", []string{"Range", bytesAt(size, size+10)}, 416, 0, 0},
		{"several at once, which are all of it", []string{"Range", "bytes=0-1,3-4"}, 200, 0, size},
		{"nonsense", []string{"Range", "bytes=x"}, 416, 0, 0},
		{"if it is the same", []string{"Range", "bytes=10-19", "If-Range", etag}, 206, 10, 20},
		{"if it were another", []string{"Range", "bytes=10-19", "If-Range", `"other"`}, 200, 0, size},
		{"what is known", []string{"If-None-Match", etag}, 304, 0, 0},
	} {
		got := w.get(t, "usb.iso", c.headers...)
		require.Equal(t, c.status, got.StatusCode, c.why)
		if c.status < 300 {
			require.True(t, bytes.Equal(whole.body[c.from:c.to], got.body), c.why)
		}
	}
}

func TestRefusals(t *testing.T) {
	limit := 1
	for _, c := range []struct {
		why    string
		change func(seed *v1.SeedImage)
		file   string
		status int
		want   string
	}{
		{"another file", nil, "etc", 404, "not found"},
		{"another name", nil, "other.iso", 404, "not found"},
		{"a path", nil, "boot/kernel", 404, "not found"},
		{"a script of an ISO", func(s *v1.SeedImage) { s.Spec.Type = v1.SeedImageISO }, "boot.ipxe", 404, "not found"},
		{"an ISO of a script", func(s *v1.SeedImage) { s.Spec.Type = v1.SeedImageNetboot }, "usb.iso", 404, "not found"},
		{"expired", func(s *v1.SeedImage) { s.Spec.ExpiresAt = &metav1.Time{Time: noon} }, "usb.iso", 404, "the address has expired"},
		{"used up", func(s *v1.SeedImage) { s.Spec.MaxDownloads, s.Status.Downloads = &limit, 1 }, "usb.iso", 403, "downloaded as often as it may be"},
		{"used up, for the network", func(s *v1.SeedImage) { s.Spec.MaxDownloads, s.Status.Downloads = &limit, 1 }, "initrd", 403, "downloaded as often as it may be"},
		{"a registration that went", func(s *v1.SeedImage) { s.Spec.RegistrationName = "gone" }, "usb.iso", 503, "has no URL yet"},
	} {
		w := newWorld(t, nil)
		w.settle(t)
		if c.change != nil {
			seed := w.Seeds.All()[0]
			c.change(seed)
			w.Put(seed)
		}
		got := w.get(t, c.file)
		require.Equal(t, c.status, got.StatusCode, c.why)
		require.Contains(t, string(got.body), c.want, c.why)
		require.Zero(t, w.downloads()-w.Seeds.All()[0].Status.Downloads)
	}
	// A token that is nobody's, and one that two have.
	w := newWorld(t, nil)
	_, err := w.Find(strings.Repeat("b", 54))
	require.EqualError(t, err, "not found")
	copied := w.Secrets.All()[0]
	copied.Name, copied.Labels[v1.LabelSeedImage], copied.UID = "two-seed-token", "two", ""
	w.Put(copied, &v1.SeedImage{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "two"}})
	_, err = w.Find(token)
	require.EqualError(t, err, "two media share this address")
}

// What counts is the part that makes the medium this registration's, and nothing else.
func TestHandOuts(t *testing.T) {
	limit := 2
	w := newWorld(t, func(seed *v1.SeedImage) { seed.Spec.MaxDownloads = &limit })
	seed := w.settle(t)
	size := seed.Status.Size
	personal := size - 2048 // The config is the last block.
	for _, free := range []string{bytesAt(0, personal-1), bytesAt(100, 200)} {
		require.Equal(t, 206, w.get(t, "usb.iso", "Range", free).StatusCode)
	}
	w.do(t, http.MethodHead, "usb.iso")
	w.get(t, "kernel")
	w.get(t, "boot.ipxe")
	require.Zero(t, w.downloads(), "what is the base's is free")

	// A transfer that breaks before the end, and goes on later.
	ctx, cancel := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.URL+"/"+token+"/usb.iso", nil)
	require.NoError(t, err)
	slow := &http.Client{Transport: &http.Transport{DialContext: smallBuffers}}
	response, err := slow.Do(request)
	require.NoError(t, err)
	_, err = io.CopyN(io.Discard, response.Body, 100_000)
	require.NoError(t, err)
	cancel()
	response.Body.Close()
	require.Equal(t, 206, w.get(t, "usb.iso", "Range", bytesAt(100_000, size)).StatusCode)
	require.Equal(t, 1, w.downloads(), "both together are one")

	require.Equal(t, 200, w.get(t, "initrd").StatusCode, "an initrd with the config is one too")
	require.Equal(t, 2, w.downloads())
	require.Equal(t, 403, w.get(t, "usb.iso").StatusCode)
	require.Equal(t, 403, w.get(t, "usb.iso", "Range", bytesAt(personal+5, personal+5)).StatusCode, "not one byte of it")
	require.Equal(t, 206, w.get(t, "usb.iso", "Range", bytesAt(0, 100)).StatusCode, "what is the base's stays free: somebody may be resuming")
	require.Equal(t, 2, w.downloads())
}

func smallBuffers(ctx context.Context, network, address string) (net.Conn, error) {
	connection, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err == nil {
		err = connection.(*net.TCPConn).SetReadBuffer(64 << 10)
	}
	return connection, err
}

// A crowd at a limit: as many get it as may, the others do not, and none gets half of it.
func TestCrowdAtALimit(t *testing.T) {
	limit := 7
	w := newWorld(t, func(seed *v1.SeedImage) { seed.Spec.MaxDownloads = &limit })
	size := w.settle(t).Status.Size
	words := many(50, func(int) string {
		got, err := w.try(t.Context(), http.MethodGet, "usb.iso")
		switch {
		case err == nil && got.StatusCode == http.StatusOK && int64(len(got.body)) == size:
			return "whole"
		case err != nil || got.StatusCode == http.StatusForbidden:
			return "refused"
		}
		return fmt.Sprint(got.StatusCode, len(got.body))
	})
	require.Equal(t, map[string]int{"whole": 7, "refused": 43}, words)
	require.Equal(t, 7, w.downloads())
}

// Two hundred downloads at once, one of them by somebody who does not read: all others end, and memory is not theirs.
func TestManyDownloads(t *testing.T) {
	w := newWorld(t, nil)
	seed := w.settle(t)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.URL+"/"+token+"/usb.iso", nil)
	require.NoError(t, err)
	asleep, err := (&http.Client{Transport: &http.Transport{DialContext: smallBuffers}}).Do(request)
	require.NoError(t, err)
	defer asleep.Body.Close()
	words := many(200, func(int) string {
		got, err := w.try(t.Context(), http.MethodGet, "usb.iso")
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("sha256:%x", sha256.Sum256(got.body))
	})
	require.Equal(t, map[string]int{seed.Status.Checksum: 200}, words)
	rest, err := io.ReadAll(asleep.Body)
	require.NoError(t, err)
	require.Equal(t, seed.Status.Checksum, fmt.Sprintf("sha256:%x", sha256.Sum256(rest)), "and the slow one gets all of it in the end")
	require.Equal(t, 201, w.downloads())
}

func TestNetboot(t *testing.T) {
	w := newWorld(t, func(seed *v1.SeedImage) { seed.Spec.Type = v1.SeedImageNetboot })
	seed := w.settle(t)
	require.Equal(t, "Initrd", seed.Status.Base.Method)
	require.Empty(t, seed.Status.Checksum)
	require.Equal(t, "#!ipxe\nkernel "+kernelFile+" initrd=initrd quiet root=live:CDLABEL=COS_LIVE\ninitrd "+initrdFile+"\nboot\n", string(w.get(t, "boot.ipxe").body))
	require.Equal(t, files()["boot/kernel"], w.get(t, "kernel").body)
	initrd := w.get(t, "initrd").body
	own := files()["boot/initrd"]
	require.Equal(t, own, initrd[:len(own)])
	require.Contains(t, string(initrd[len(own):]), "rancheros/seed.yaml\x00")
	require.Contains(t, string(initrd[len(own):]), url)
	require.Zero(t, len(initrd)%4)

	edited := w.Seeds.All()[0]
	edited.Spec.Netboot = &v1.NetbootSpec{Kernel: "/boot/initrd", Initrd: "/boot/kernel", Arguments: "console=ttyS0"}
	w.Put(edited)
	require.Contains(t, string(w.get(t, "boot.ipxe").body), "kernel "+kernelFile+" initrd=initrd console=ttyS0\n")
	require.Equal(t, own, w.get(t, "kernel").body)
	require.NotContains(t, string(script(iso.Kernel{Arguments: "a\nshell\r\x00b"})), "\nshell", "a menu's garbage is no command of ours")
}

func TestAsked(t *testing.T) {
	for _, c := range []struct {
		header, condition string
		want              iso.Range
	}{
		{"", "", iso.Range{Length: 100}},
		{"bytes=0-", "", iso.Range{Length: 100}},
		{"bytes=10-19", "", iso.Range{Offset: 10, Length: 10}},
		{"bytes=90-200", "", iso.Range{Offset: 90, Length: 10}},
		{"bytes=-10", "", iso.Range{Offset: 90, Length: 10}},
		{"bytes=-1000", "", iso.Range{Length: 100}},
		{"bytes=100-", "", iso.Range{}},
		{"bytes=20-10", "", iso.Range{Offset: 20}},
		{"bytes=-", "", iso.Range{}},
		{"bytes=99999999999999999999-", "", iso.Range{}},
		{"bytes=0-9", `"same"`, iso.Range{Length: 10}},
		{"bytes=0-9", `"other"`, iso.Range{Length: 100}},
		{"lines=0-9", "", iso.Range{Length: 100}},
	} {
		r := &http.Request{Header: http.Header{"Range": {c.header}, "If-Range": {c.condition}}}
		require.Equal(t, c.want, asked(r, `"same"`, 100), c.header)
	}
}

// A base that another process gave up this very moment is sent for again, not half served.
func TestBaseThatWent(t *testing.T) {
	w := newWorld(t, nil)
	seed := w.settle(t)
	base, found := w.Cache.Lookup(source(seed))
	require.True(t, found)
	reading, err := base.Open()
	require.NoError(t, err)
	require.NoError(t, os.Remove(reading.Name()))
	got := w.get(t, "usb.iso")
	require.Equal(t, 503, got.StatusCode)
	require.NoError(t, reading.Close())
	w.settle(t)
	require.Eventually(t, func() bool { return w.get(t, "usb.iso").StatusCode == http.StatusOK }, 10*time.Second, 10*time.Millisecond)
}
