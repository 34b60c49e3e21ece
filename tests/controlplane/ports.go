package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
)

// ports are remembered between two starts on one directory, so that a
// kubeconfig that somebody copied stays good.
type ports struct {
	APIServer         int `json:"apiserver"`
	ControllerManager int `json:"controllerManager"`
}

// listeners are open before anything is told their number: a port that is only
// known to be free may be taken a moment later.
type listeners struct {
	apiServer         net.Listener
	controllerManager net.Listener
}

// close is for listeners that no server has taken over: kube-apiserver panics
// when its own is closed under it.
func (l listeners) close() {
	for _, listener := range []net.Listener{l.apiServer, l.controllerManager} {
		if listener != nil {
			listener.Close()
		}
	}
}

// openListeners opens the remembered ports, or new ones in place of those that
// are missing or taken, and remembers the outcome.
func openListeners(file string, log *narrator) (listeners, error) {
	var l listeners
	remembered, err := readPorts(file)
	if err != nil {
		return l, err
	}
	now := remembered
	l.apiServer, err = openListener("API server", &now.APIServer, log)
	if err == nil {
		l.controllerManager, err = openListener("controller manager", &now.ControllerManager, log)
	}
	if err == nil && now != remembered {
		err = writePorts(file, now)
	}
	if err != nil {
		l.close()
		return listeners{}, err
	}
	return l, nil
}

func openListener(who string, port *int, log *narrator) (net.Listener, error) {
	if *port != 0 {
		listener, err := listen(*port)
		if err == nil {
			return listener, nil
		}
		log.sayf("port %d, which the %s had before, is not free any more (%v); taking a new one", *port, who, err)
	}
	listener, err := listenOnFreePort()
	if err != nil {
		return nil, fmt.Errorf("finding a port for the %s: %w", who, err)
	}
	*port = listener.Addr().(*net.TCPAddr).Port
	return listener, nil
}

// Ports are drawn from below the range that Linux uses for outgoing
// connections. A port the kernel had picked from that range could be in use by
// some stranger's connection when the control plane is started again.
const (
	lowestPort  = 20000
	highestPort = 29999
	portTries   = 200
)

func listenOnFreePort() (net.Listener, error) {
	var lastErr error
	for range portTries {
		listener, err := listen(lowestPort + rand.IntN(highestPort-lowestPort+1))
		if err == nil {
			return listener, nil
		}
		lastErr = err
	}
	return nil, fmt.Errorf("trying %d ports of 127.0.0.1: %w", portTries, lastErr)
}

func listen(port int) (net.Listener, error) {
	return net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}

func readPorts(file string) (ports, error) {
	var p ports
	content, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, fmt.Errorf("reading remembered ports: %w", err)
	}
	if err := json.Unmarshal(content, &p); err != nil {
		return p, fmt.Errorf("reading remembered ports from %s (delete it to get new ones): %w", file, err)
	}
	return p, nil
}

func writePorts(file string, p ports) error {
	content, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding ports: %w", err)
	}
	if err := writeFile(file, append(content, '\n')); err != nil {
		return fmt.Errorf("remembering ports: %w", err)
	}
	return nil
}
