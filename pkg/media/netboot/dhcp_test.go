package netboot

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
)

// A UEFI machine by way of a relay, on real sockets: the offer goes to the relay, the acknowledgement to the machine.
func TestDHCPSockets(t *testing.T) {
	relay, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer relay.Close()
	var dhcp, proxy int
	w := newWorld(t, "", func(w *world) {
		dhcp, proxy = w.ports.DHCP, w.ports.Proxy
		w.ports.DHCP = portOf(relay.LocalAddr())
	})
	server, err := net.ResolveUDPAddr("udp4", fmt.Sprintf("127.0.0.1:%d", dhcp))
	require.NoError(t, err)
	discover := made(t, "uefi-pxe-discover", func(p *dhcpv4.DHCPv4) { p.GatewayIPAddr = net.IPv4(127, 0, 0, 1) })
	// What is no request is not answered, and does not stop anything.
	for _, packet := range [][]byte{nil, {1}, discover[:300], captured(t, "uefi-pxe-request"), captured(t, "dnsmasq-offer"), make([]byte, 9000), discover} {
		_, err = relay.WriteTo(packet, server)
		require.NoError(t, err)
	}
	buffer := make([]byte, 4096)
	require.NoError(t, relay.SetReadDeadline(time.Now().Add(10*time.Second)))
	n, _, err := relay.ReadFrom(buffer)
	require.NoError(t, err)
	offer, err := dhcpv4.FromBytes(buffer[:n])
	require.NoError(t, err)
	require.Equal(t, dhcpv4.MessageTypeOffer, offer.MessageType())
	require.Equal(t, "127.0.0.1", offer.ServerIdentifier().String())
	require.Equal(t, "told to ask again on port 4011", w.waitForStage(t, uefiMAC, StageOffered).Detail)

	acknowledged, err := dhcpv4.FromBytes(ask(t, proxy, captured(t, "uefi-pxe-proxy-request"), 10*time.Second))
	require.NoError(t, err)
	require.Equal(t, dhcpv4.MessageTypeAck, acknowledged.MessageType())
	require.Equal(t, "52-54-00-00-00-02/snponly.efi", acknowledged.BootFileName)
	machine := w.machine(t, uefiMAC)
	require.Equal(t, "offered 52-54-00-00-00-02/snponly.efi", machine.Detail)
	require.Equal(t, "127.0.0.1", machine.Address)
	require.Equal(t, FirmwareUEFI, machine.Firmware)
	require.Nil(t, ask(t, proxy, captured(t, "uefi-pxe-discover"), 200*time.Millisecond))
}

// A flood of machines that there are not: answers are bounded, memory is, and so is the log.
func TestFlood(t *testing.T) {
	w := newWorld(t, "")
	for n := range 5000 {
		request, err := parse(made(t, "uefi-pxe-discover", func(p *dhcpv4.DHCPv4) { p.ClientHWAddr = net.HardwareAddr{2, 0, 0, 0, byte(n >> 8), byte(n)} }))
		require.NoError(t, err)
		w.note(request, w.config.decide(request, onDHCP), onDHCP)
	}
	all := w.machines.all()
	require.Len(t, all, maxMachines)
	require.LessOrEqual(t, strings.Count(w.log.String(), "stage=Offered"), 40*linesPerSecond, "of 5000")
	allowed := 0
	for range 10_000 {
		if w.answers.Allow() {
			allowed++
		}
	}
	require.LessOrEqual(t, allowed, 4*answersPerSecond)
}

// One that boots again and again is one line a minute, and what was last is what is shown.
func TestMachines(t *testing.T) {
	w := newWorld(t, "")
	now := time.Now()
	w.machines.now = func() time.Time { return now }
	for range 10 {
		w.machines.saw(sighting{mac: MAC{2}, stage: StageOffered, detail: "offered x"})
	}
	require.Equal(t, 1, strings.Count(w.log.String(), "offered x"))
	now = now.Add(2 * time.Minute)
	w.machines.saw(sighting{mac: MAC{2}, stage: StageOffered, detail: "offered x"})
	require.Equal(t, 2, strings.Count(w.log.String(), "offered x"))
	w.machines.saw(sighting{mac: MAC{2}, stage: StageFailed, detail: "no"})
	require.Equal(t, "no", w.machines.failure(MAC{2}))
	w.machines.saw(sighting{mac: MAC{2}, stage: StageSent})
	require.Empty(t, w.machines.failure(MAC{2}))
	require.Empty(t, w.machines.failure(MAC{9}))
}

func TestOffersOfOthers(t *testing.T) {
	config := configOf(t, twoRegistrations)
	asked, err := parse(captured(t, "uefi-http-discover"))
	require.NoError(t, err)
	ours, _ := answer(asked, config.decide(asked, onDHCP), onDHCP)
	nobody := func(address fmt.Stringer) bool { return address.String() == "10.99.0.1" }
	server, other, ok := offerOf(ours, func(a netip.Addr) bool { return nobody(a) })
	require.True(t, ok, "another's netboot server sends what ours does")
	require.Equal(t, "10.77.0.1", server.String())
	require.Equal(t, "52:54:00:00:00:03", other.Machine)
	require.Contains(t, other.BootFile, "/boot.iso")
	for why, packet := range map[string][]byte{
		"the site's server, which says nothing of booting": captured(t, "dnsmasq-offer"), "a request": captured(t, "uefi-pxe-discover"),
		"nothing": nil, "half": ours[:250], "large": make([]byte, maxPacket+1),
	} {
		_, _, ok = offerOf(packet, func(netip.Addr) bool { return false })
		require.False(t, ok, why)
	}
	_, _, ok = offerOf(ours, func(a netip.Addr) bool { return a == ourAddress })
	require.False(t, ok, "our own")

	w := newWorld(t, "")
	now := time.Now()
	w.others.now = func() time.Time { return now }
	for n := range 100 {
		address := server
		for range n {
			address = address.Next()
		}
		w.others.saw(address, other)
		w.others.saw(address, other)
	}
	require.Len(t, w.others.all(), maxOthers)
	require.Equal(t, maxOthers, strings.Count(w.log.String(), "another server on this segment tells machines to boot"))
	now = now.Add(2 * again)
	w.others.saw(server, other)
	require.Equal(t, maxOthers+1, strings.Count(w.log.String(), "another server on this segment"))
	require.Equal(t, "10.77.0.1", w.status().Others[0].Address)
	var table strings.Builder
	status := w.status()
	require.NoError(t, status.Table(&table, now))
	require.Contains(t, table.String(), "OTHER SERVER")
}

// A port that is taken is named, all of them at once, with what to do.
func TestPortsAreTaken(t *testing.T) {
	w := newWorld(t, "")
	second := newServer(w.config, w.server.log)
	second.ports = Ports{DHCP: w.ports.DHCP, Proxy: w.ports.Proxy, TFTP: portOf(mustResolve(t, w.tftpAddr))}
	err := second.run(t.Context())
	require.Error(t, err)
	for _, what := range []string{"DHCP: udp port", "PXE: udp port", "TFTP: udp port", "HTTP: tcp port", "status: tcp port", "stop it, or run netboot on another host"} {
		require.ErrorContains(t, err, what)
	}
	third := newServer(w.config, w.server.log)
	third.links.names = []string{"nothing0", "nothing1"}
	err = third.run(t.Context())
	require.ErrorContains(t, err, "interfaces[0] nothing0: there is no such interface")
	require.ErrorContains(t, err, "interfaces[1] nothing1: there is no such interface")
}

func TestStatus(t *testing.T) {
	w := newWorld(t, "")
	w.get(t, http.MethodGet, folder+"boot.ipxe", nil)
	require.Eventually(t, func() bool {
		status, err := ReadStatus(t.Context(), w.config.StatusAddress)
		return err == nil && len(status.Registrations) == 1 && status.Registrations[0].Ready
	}, 10*time.Second, 10*time.Millisecond, "the operator's addresses are tried before a machine comes")
	status, err := ReadStatus(t.Context(), w.config.StatusAddress)
	require.NoError(t, err)
	var table strings.Builder
	require.NoError(t, status.Table(&table, time.Now()))
	require.Regexp(t, `(?m)^MACHINE +ADDRESS +FIRMWARE +REGISTRATION +STAGE`, table.String())
	require.Regexp(t, `(?m)^52:54:00:00:00:01 +127.0.0.1 +- +edge +Script`, table.String())
	require.Regexp(t, `(?m)^edge +true`, table.String())

	_, err = ReadStatus(t.Context(), strings.TrimPrefix(w.operator.URL, "https://"))
	require.ErrorContains(t, err, "it is no netboot server")
	_, err = ReadStatus(t.Context(), "127.0.0.1:1")
	require.ErrorContains(t, err, "does `rancheros-operator netboot` run there")
}

// The operator's refusal is known, and logged once, before a machine comes.
func TestChecks(t *testing.T) {
	o, written := newOperator(t), &recorder{}
	log := logrus.New()
	log.SetOutput(written)
	s := newServer(configFor(t, o, ""), log)
	registration := s.config.Registrations[0]
	s.checks.check(t.Context(), registration)
	require.True(t, s.status().Registrations[0].Ready)
	o.Close()
	s.checks.check(t.Context(), registration)
	s.checks.check(t.Context(), registration)
	require.Equal(t, 1, strings.Count(written.String(), "machines can boot into it"))
	require.Contains(t, written.String(), "machines cannot boot into it now: ipxeURL: the operator cannot be reached")
	require.False(t, s.status().Registrations[0].Ready)
	require.NotContains(t, written.String(), token)
}

func mustResolve(t *testing.T, address string) net.Addr {
	t.Helper()
	resolved, err := net.ResolveUDPAddr("udp4", address)
	require.NoError(t, err)
	return resolved
}
