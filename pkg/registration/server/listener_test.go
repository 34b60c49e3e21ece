package server

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// listen serves as the operator does, and returns the address and what Serve returned.
func listen(t *testing.T, w world) (string, context.CancelFunc, chan error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	done := make(chan error, 1)
	go func() { done <- w.server.Serve(ctx, listener, nil) }()
	return listener.Addr().String(), cancel, done
}

func TestServeUntilTold(t *testing.T) {
	w := newWorld(t)
	address, cancel, done := listen(t, w)
	response, err := http.Get("http://" + address + "/v1-rancheros/cacerts")
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode)
	cancel()
	select {
	case err := <-done:
		require.NoError(t, err)
	case <-time.After(drainTimeout):
		t.Fatal("it goes on and on")
	}
}

func TestServeSaysWhyItFails(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	require.ErrorContains(t, newWorld(t).server.Serve(t.Context(), listener, nil), "serving 127.0.0.1:")
}

// H22: headers have room for a large certificate and the SMBIOS data of the first clients, and no more.
func TestHeadersAreBounded(t *testing.T) {
	w := newWorld(t)
	address, _, _ := listen(t, w)
	w.url = "http://" + address
	require.Equal(t, http.StatusOK, w.get(t, "/v1-rancheros/cacerts", "X-Large: "+strings.Repeat("x", 100<<10)).status)
	require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, w.get(t, "/v1-rancheros/cacerts", "X-Large: "+strings.Repeat("x", 1<<20)).status)
}
