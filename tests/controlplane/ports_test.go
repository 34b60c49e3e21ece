package main

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func port(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

func TestPortsAreRemembered(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ports.json")
	first, err := openListeners(file, newNarrator(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	first.close()

	second, err := openListeners(file, newNarrator(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	defer second.close()
	if port(first.apiServer) != port(second.apiServer) || port(first.controllerManager) != port(second.controllerManager) {
		t.Errorf("ports changed from %v to %v", first, second)
	}
	if !second.apiServer.Addr().(*net.TCPAddr).IP.IsLoopback() {
		t.Errorf("%s can be reached from outside", second.apiServer.Addr())
	}
	if p := port(second.apiServer); p < lowestPort || p > highestPort {
		t.Errorf("port %d is in the range of outgoing connections", p)
	}
}

func TestTakenPortIsReplaced(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ports.json")
	first, err := openListeners(file, newNarrator(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	defer first.close()
	first.controllerManager.Close() // only the API server's stays taken

	var said strings.Builder
	second, err := openListeners(file, newNarrator(&said))
	if err != nil {
		t.Fatal(err)
	}
	defer second.close()
	if port(first.apiServer) == port(second.apiServer) {
		t.Error("two listen on one port")
	}
	if port(first.controllerManager) != port(second.controllerManager) {
		t.Error("a port that was free has been changed")
	}
	if !strings.Contains(said.String(), "API server") {
		t.Errorf("the change was not told: %q", said.String())
	}
	remembered, err := readPorts(file)
	if err != nil || remembered.APIServer != port(second.apiServer) {
		t.Errorf("remembered %+v, %v; want the new port %d", remembered, err, port(second.apiServer))
	}
}

func TestUnreadablePortsAreReported(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ports.json")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := openListeners(file, newNarrator(io.Discard))
	if err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v, want an error that names %s", err, file)
	}
}
