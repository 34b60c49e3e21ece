package netboot

import (
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

func pemOf(certificate []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})
}

const (
	folder     = "/boot/52-54-00-00-00-01/" + labUUID + "/"
	otherFiles = "/boot/52-54-00-00-00-02/none/"
)

// A machine with iPXE, from the script to the last byte of its initrd.
func TestHTTPBoot(t *testing.T) {
	w := newWorld(t, "")
	script := w.get(t, http.MethodGet, folder+"boot.ipxe", nil)
	require.Equal(t, 200, script.status)
	require.True(t, strings.HasPrefix(string(script.body), "#!ipxe\necho Machine 52:54:00:00:00:01 boots into registration edge\n"), string(script.body))
	require.Equal(t, string(w.operator.files["boot.ipxe"]), string(w.get(t, http.MethodGet, folder+"medium.ipxe", nil).body))
	require.Equal(t, w.operator.files["kernel"], w.get(t, http.MethodGet, folder+"kernel", nil).body)
	require.Equal(t, StageKernel, w.machine(t, biosMAC).Stage)
	initrd := w.get(t, http.MethodGet, folder+"initrd", nil)
	require.Equal(t, w.operator.files["initrd"], initrd.body)
	require.Equal(t, fmt.Sprint(len(initrd.body)), initrd.header.Get("Content-Length"))
	machine := w.waitForStage(t, biosMAC, StageSent)
	require.Equal(t, 1, machine.Boots)
	require.Equal(t, "edge", machine.Registration)
	require.Equal(t, labUUID, machine.UUID)
	require.Equal(t, "127.0.0.1", machine.Address)
	require.Equal(t, int64(len(w.operator.files["kernel"])+len(initrd.body)), machine.Sent)
	for _, stage := range []string{"stage=Script", "stage=Kernel", "stage=Initrd", "stage=Sent"} {
		require.Equal(t, 1, strings.Count(w.log.String(), stage), "one line for each stage")
	}
}

// Firmware that boots the ISO: it asks for the header, then for all of it, or for parts.
func TestHTTPBootOfAnISO(t *testing.T) {
	w := newWorld(t, "")
	head := w.get(t, http.MethodHead, otherFiles+"boot.iso", nil)
	require.Equal(t, 200, head.status)
	require.Equal(t, "3600000", head.header.Get("Content-Length"))
	require.Zero(t, w.machine(t, uefiMAC).Boots)
	part := w.get(t, http.MethodGet, otherFiles+"boot.iso", http.Header{"Range": {"bytes=4-7"}})
	require.Equal(t, 206, part.status)
	require.Equal(t, "iso ", string(part.body))
	require.Equal(t, "bytes 4-7/3600000", part.header.Get("Content-Range"))
	require.Zero(t, w.machine(t, uefiMAC).Boots, "a part is not all of it")
	require.Equal(t, w.operator.files["usb.iso"], w.get(t, http.MethodGet, otherFiles+"boot.iso", nil).body)
	require.Equal(t, 1, w.waitForStage(t, uefiMAC, StageSent).Boots)
	beyond := w.get(t, http.MethodGet, otherFiles+"boot.iso", http.Header{"Range": {"bytes=9999999-"}})
	require.Equal(t, 416, beyond.status)
	require.Equal(t, "application/efi", w.get(t, http.MethodHead, "/ipxe/snponly.efi", nil).header.Get("Content-Type"))
}

func TestHTTPRefusals(t *testing.T) {
	w := newWorld(t, "never: ['52:54:00:00:00:09']\n")
	for _, c := range []struct {
		method, path string
		status       int
		want         string
	}{
		{"GET", "/", 404, ""},
		{"GET", "/boot/", 404, ""},
		{"GET", "/boot/x/none/boot.ipxe", 404, ""},
		{"GET", "/boot/52-54-00-00-00-01/x/boot.ipxe", 404, ""},
		{"GET", folder + "passwd", 404, ""},
		{"GET", folder + "../../../etc/passwd", 404, ""},
		{"GET", "/ipxe/..%2fpasswd", 404, ""},
		{"GET", "/ipxe/", 404, ""},
		{"GET", "/ipxe/snponly.efi", 200, "ssss"},
		{"POST", folder + "boot.ipxe", 405, "only GET and HEAD"},
		{"DELETE", folder + "boot.ipxe", 405, ""},
		{"GET", "/boot/52-54-00-00-00-09/none/kernel", 403, "left alone: it is listed in never"},
		{"GET", "/status", 404, ""},
	} {
		answer := w.get(t, c.method, c.path, nil)
		require.Equal(t, c.status, answer.status, c.path)
		require.Contains(t, string(answer.body), c.want, c.path)
	}
	require.Empty(t, slicesWithout(w.operator.requests(), "boot.ipxe", "usb.iso"), "the operator was not asked")
}

// slicesWithout leaves the requests out that the server's own checks make.
func slicesWithout(requests []string, names ...string) []string {
	var rest []string
	for _, request := range requests {
		mine := false
		for _, name := range names {
			mine = mine || strings.Contains(request, name)
		}
		if !mine {
			rest = append(rest, request)
		}
	}
	return rest
}

// What the operator refuses, a machine's console shows, and the status; when it may again, it goes on by itself.
func TestOperatorRefuses(t *testing.T) {
	w := newWorld(t, "")
	for _, c := range []struct {
		refuse *protocol.Error
		status int
		want   string
	}{
		{&protocol.Error{Code: protocol.CodeFull, Message: "the medium was downloaded as often as it may be", Hint: "an administrator can raise spec.maxDownloads of its SeedImage"}, 403,
			"the operator answered 403: the medium was downloaded as often as it may be; an administrator can raise spec.maxDownloads of its SeedImage"},
		{&protocol.Error{Code: protocol.CodeExpired, Message: "the address has expired", Hint: "set a later spec.expiresAt"}, 404, "the operator answered 404: the address has expired; set a later spec.expiresAt"},
		{&protocol.Error{Code: protocol.CodeUnavailable, RetryAfter: 7 * time.Second, Message: "the base medium is on its way"}, 503, "the operator answered 503: the base medium is on its way"},
	} {
		w.operator.set(func() { w.operator.refuse = c.refuse })
		for _, file := range []string{"medium.ipxe", "kernel", "initrd", "boot.iso"} {
			answer := w.get(t, http.MethodGet, folder+file, nil)
			require.Equal(t, c.status, answer.status, file)
			require.Equal(t, c.want+"\n", string(answer.body))
			if c.refuse.RetryAfter > 0 {
				require.Equal(t, "7", answer.header.Get("Retry-After"))
			}
			machine := w.machine(t, biosMAC)
			require.Equal(t, StageFailed, machine.Stage)
			require.Equal(t, file+": "+c.want, machine.Failure)
		}
		console := string(w.get(t, http.MethodGet, folder+"reason.ipxe", nil).body)
		require.Contains(t, console, "echo Cannot boot: boot.iso: "+c.want)
		require.Equal(t, c.status, w.get(t, http.MethodHead, folder+"boot.iso", nil).status)
	}
	w.operator.set(func() { w.operator.refuse = nil })
	require.Equal(t, 200, w.get(t, http.MethodGet, folder+"initrd", nil).status)
	require.Empty(t, w.waitForStage(t, biosMAC, StageSent).Failure)
}

// Nobody there, somebody else there, something else there.
func TestOperatorIsNotThere(t *testing.T) {
	w := newWorld(t, "", func(w *world) { w.operator.files["boot.ipxe"] = []byte("<html>a portal</html>") })
	require.Equal(t, "what the ipxeURL leads to is no iPXE script\n", string(w.get(t, http.MethodGet, folder+"medium.ipxe", nil).body))
	w = newWorld(t, "", func(w *world) {
		w.operator.files["boot.ipxe"] = []byte("#!ipxe\nkernel " + w.operator.URL + "/seedimage/" + token + "/kernel\n")
	})
	require.Equal(t, "#!ipxe\nkernel "+"kernel\n", string(w.get(t, http.MethodGet, folder+"medium.ipxe", nil).body), "an address with a token does not leave")

	stranger := newWorld(t, "", func(w *world) { w.upstream.client.Transport.(*http.Transport).TLSClientConfig.RootCAs = nil })
	answer := stranger.get(t, http.MethodGet, folder+"kernel", nil)
	require.Equal(t, 502, answer.status)
	require.Contains(t, string(answer.body), "certificate signed by unknown authority")
	require.NotContains(t, string(answer.body), token)

	w.operator.Close()
	answer = w.get(t, http.MethodGet, folder+"kernel", nil)
	require.Equal(t, 502, answer.status)
	require.Contains(t, string(answer.body), "connection refused")
	require.NotContains(t, string(answer.body), token)
}

// A connection to the operator that breaks goes on where it broke, and the machine does not notice.
func TestOperatorBreaks(t *testing.T) {
	var changes atomic.Bool
	w := newWorld(t, "", func(w *world) {
		base := w.upstream.client.Transport
		w.upstream.client.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Header.Get("Range") != "" && changes.Load() {
				w.operator.set(func() { w.operator.etag = `"two"` })
			}
			return base.RoundTrip(r)
		})
	})
	w.operator.set(func() { w.operator.breakAt, w.operator.breaks = 500_000, 3 })
	initrd := w.get(t, http.MethodGet, folder+"initrd", nil)
	require.NoError(t, initrd.err)
	require.Equal(t, w.operator.files["initrd"], initrd.body)
	ranges := slicesWithout(w.operator.requests(), "boot.ipxe", "usb.iso")
	require.Len(t, ranges, 4)
	require.Equal(t, "GET initrd ", ranges[0])
	require.Regexp(t, `^GET initrd bytes=\d+-2799999$`, ranges[3])

	// It breaks all the time: the machine is told so by a connection that breaks, and the console by a reason.
	w.operator.set(func() { w.operator.breakAt, w.operator.breaks = 1000, 1000 })
	broken := w.get(t, http.MethodGet, folder+"initrd", nil)
	require.ErrorIs(t, broken.err, io.ErrUnexpectedEOF)
	require.Contains(t, w.waitForStage(t, biosMAC, StageFailed).Failure, "initrd: the operator stopped sending")

	// It is another file when it comes back: half of each is none.
	w.operator.set(func() { w.operator.breaks, w.operator.breakAt = 1, 500_000 })
	changes.Store(true)
	changed := w.get(t, http.MethodGet, folder+"initrd", nil)
	require.ErrorIs(t, changed.err, io.ErrUnexpectedEOF)
	require.Eventually(t, func() bool {
		return strings.Contains(w.machine(t, biosMAC).Failure, "the medium changed while it was sent")
	}, 10*time.Second, 10*time.Millisecond)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// One address has eight places, and all together a bound, so that a crowd waits instead of taking all memory.
func TestStreamsAreBounded(t *testing.T) {
	w := newWorld(t, "", func(w *world) { w.operator.files["usb.iso"] = make([]byte, 32<<20) })
	var open []net.Conn
	for range maxStreamsEach {
		conn, err := net.Dial("tcp", strings.TrimPrefix(w.http, "http://"))
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(4096))
		_, err = fmt.Fprintf(conn, "GET %sboot.iso HTTP/1.1\r\nHost: x\r\n\r\n", otherFiles)
		require.NoError(t, err)
		open = append(open, conn)
	}
	require.Eventually(t, func() bool {
		w.streams.mutex.Lock()
		defer w.streams.mutex.Unlock()
		return w.streams.taken == maxStreamsEach
	}, 10*time.Second, 10*time.Millisecond)
	busy := w.get(t, http.MethodGet, folder+"kernel", nil)
	require.Equal(t, 503, busy.status)
	require.Equal(t, "10", busy.header.Get("Retry-After"))
	require.Equal(t, 200, w.get(t, http.MethodGet, folder+"boot.ipxe", nil).status, "scripts take no place")
	for _, conn := range open {
		conn.Close()
	}
	require.Eventually(t, func() bool { return w.get(t, http.MethodGet, folder+"kernel", nil).status == http.StatusOK }, 20*time.Second, 50*time.Millisecond)
}

// Only addresses of the chosen interfaces are answered on.
func TestOtherInterfaces(t *testing.T) {
	w := newWorld(t, "", func(w *world) { w.links.names = []string{"another0"} })
	require.Equal(t, 404, w.get(t, http.MethodGet, folder+"boot.ipxe", nil).status)
}

// A machine that is switched off while it waits is no failure of the operator's.
func TestMachineHangsUp(t *testing.T) {
	began, release := make(chan struct{}), make(chan struct{})
	w := newWorld(t, "", func(w *world) {
		base := w.upstream.client.Transport
		w.upstream.client.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/kernel") {
				close(began)
				<-r.Context().Done()
				<-release
				return nil, r.Context().Err()
			}
			return base.RoundTrip(r)
		})
	})
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.http, "http://"))
	require.NoError(t, err)
	_, err = fmt.Fprintf(conn, "GET %skernel HTTP/1.1\r\nHost: x\r\n\r\n", folder)
	require.NoError(t, err)
	<-began
	conn.Close()
	close(release)
	require.Equal(t, "kernel: the machine hung up while the operator was asked", w.waitForStage(t, biosMAC, StageFailed).Failure)
}

// A long way that breaks again and again, but comes further each time, ends well.
func TestALongWay(t *testing.T) {
	w := newWorld(t, "", func(w *world) { w.operator.files["initrd"] = make([]byte, 20<<20) })
	w.operator.set(func() { w.operator.breakAt, w.operator.breaks = 2<<20, 3*resumes })
	initrd := w.get(t, http.MethodGet, folder+"initrd", nil)
	require.NoError(t, initrd.err)
	require.Len(t, initrd.body, 20<<20)
	require.Greater(t, len(slicesWithout(w.operator.requests(), "boot.ipxe", "usb.iso")), resumes+1)
}
