package netboot

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Redirects are followed, for those who have a proxy in front, but neither in circles nor out of TLS; and no address of them is told.
func TestRedirects(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "#!ipxe\n") }))
	defer plain.Close()
	var target string
	front := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/there") {
			_, _ = io.WriteString(w, "#!ipxe\n")
			return
		}
		http.Redirect(w, r, target, http.StatusFound)
	}))
	defer front.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, pemOf(front.Certificate().Raw), 0o600))
	config := configOf(t, "caFile: "+file+"\nregistrations: [{name: edge, downloadURL: '"+downloadURL+"'}]")
	for _, c := range []struct{ why, to, want string }{
		{"elsewhere", front.URL + "/there/" + token, ""},
		{"out of TLS", plain.URL + "/" + token, "it redirects to an address without TLS"},
		{"in circles", front.URL + "/" + token, "it redirects in circles"},
	} {
		target = c.to
		_, err := newUpstream(config).script(t.Context(), front.URL+"/"+token+"/boot.ipxe")
		if c.want == "" {
			require.NoError(t, err, c.why)
			continue
		}
		require.EqualError(t, err, "the operator cannot be reached: "+c.want, c.why)
	}
}

// A script that never ends is none.
func TestLargeScript(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "#!ipxe\n"+strings.Repeat("#", maxScript))
	}))
	defer server.Close()
	_, err := newUpstream(&Config{}).script(t.Context(), server.URL)
	require.EqualError(t, err, "what the ipxeURL leads to is no iPXE script")
}

func TestOwnScript(t *testing.T) {
	const address = "https://rancher.example.com/v1-rancheros/seedimage/secret-token/boot.ipxe"
	require.Equal(t, "https://rancher.example.com/v1-rancheros/seedimage/secret-token/kernel", beside(address, "kernel"))
	require.Empty(t, beside("", "kernel"))
	require.Equal(t, "initrd kernel", string(ownScript([]byte("initrd https://rancher.example.com/v1-rancheros/seedimage/secret-token/kernel"), folderOf(address))))
}

func TestUnbound(t *testing.T) {
	for err, want := range map[error]string{
		syscall.EADDRINUSE: "is taken: another netboot server", syscall.EACCES: "give it CAP_NET_BIND_SERVICE", errors.New("odd"): "listening on udp port :67: odd",
	} {
		require.ErrorContains(t, unbound(err, "DHCP", "udp", ":67"), want)
	}
}

// A transfer ends with its time, or with the server's.
func TestPatient(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	reading := &patient{Reader: bytes.NewReader([]byte("iPXE")), ctx: ctx, until: time.Now().Add(time.Hour)}
	buffer := make([]byte, 2)
	_, err := reading.Read(buffer)
	require.NoError(t, err)
	cancel()
	_, err = reading.Read(buffer)
	require.EqualError(t, err, "the server stops")
	late := &patient{Reader: bytes.NewReader([]byte("iPXE")), ctx: t.Context(), until: time.Now().Add(-time.Second)}
	_, err = late.Read(buffer)
	require.EqualError(t, err, "it took too long")
}
