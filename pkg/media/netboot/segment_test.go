package netboot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/pin/tftp/v3"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
)

// inSegment is set in the process that has a network of its own.
const inSegment = "NETBOOT_TEST_SEGMENT"

// skipLoudly fails where CI has said, as to the lab, that nothing may be left out.
func skipLoudly(t *testing.T, why string, args ...any) {
	t.Helper()
	message := "netboot's broadcasts are NOT tested here: " + fmt.Sprintf(why, args...)
	if os.Getenv("RANCHEROS_LAB") == "required" {
		t.Fatal(message)
	}
	t.Skip("LOUD: skipped: " + message)
}

// The ports that firmware knows, with real broadcasts, on a segment of the test's own: a network namespace, in which the
// server's end of a cable is site0, and the machines' end is rack0.
func TestSegment(t *testing.T) {
	if os.Getenv(inSegment) == "" {
		if _, err := exec.LookPath("ip"); err != nil {
			skipLoudly(t, "there is no iproute2")
		}
		again := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestSegment$", "-test.v")
		again.Env = append(os.Environ(), inSegment+"=yes")
		again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
		if os.Getuid() != 0 {
			again.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			again.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
			again.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		}
		output, err := again.CombinedOutput()
		if err != nil && again.ProcessState == nil || strings.Contains(string(output), "--- SKIP: TestSegment") {
			skipLoudly(t, "this system allows no network namespace (%v)", err)
		}
		t.Log(string(output))
		require.NoError(t, err)
		require.Contains(t, string(output), "--- PASS: TestSegment")
		return
	}
	for _, command := range []string{
		"link set lo up", "link add site0 type veth peer name rack0", "addr add 10.77.0.1/24 dev site0", "link set site0 up", "link set rack0 up",
	} {
		output, err := exec.CommandContext(t.Context(), "ip", strings.Fields(command)...).CombinedOutput()
		if bytes.Contains(output, []byte("not permitted")) {
			skipLoudly(t, "ip %s: %s", command, output) // A namespace without its rights, as some systems give ordinary users.
		}
		require.NoError(t, err, "ip %s: %s", command, output)
	}
	// Both ends are of this host, which otherwise takes its own address, coming in, for a forged one.
	for _, setting := range []string{"conf/all/accept_local=1", "conf/all/rp_filter=0", "conf/rack0/rp_filter=0", "conf/site0/rp_filter=0"} {
		name, value, _ := strings.Cut(setting, "=")
		require.NoError(t, os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0o600))
	}
	onSegment(t)
}

func onSegment(t *testing.T) {
	o := newOperator(t)
	config := configFor(t, o, "never: ['52:54:00:00:00:01']\n")
	config.Interfaces, config.StatusAddress = []string{"site0"}, "127.0.0.1:8067"
	written := &recorder{}
	log := logrus.New()
	log.SetOutput(written)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, config, log) }()
	defer cancel()
	require.Eventually(t, func() bool { return strings.Contains(written.String(), "DHCP 67 and 4011, TFTP 69, HTTP 8080") }, 30*time.Second, 10*time.Millisecond)

	machine := newRackMachine(t, 68)
	offer := machine.broadcast(t, captured(t, "uefi-pxe-discover"), 10*time.Second)
	require.NotNil(t, offer)
	require.Equal(t, "10.77.0.1", offer.ServerIdentifier().String())
	require.True(t, offer.YourIPAddr.IsUnspecified())
	require.Empty(t, offer.BootFileName)
	http1 := machine.broadcast(t, captured(t, "uefi-http-discover"), 10*time.Second)
	require.Equal(t, "http://10.77.0.1:8080/boot/52-54-00-00-00-03/"+labUUID+"/boot.iso", http1.BootFileNameOption())
	// Who does not boot from the network, or is not to, hears nothing.
	require.Nil(t, machine.broadcast(t, captured(t, "ipxe-bios-discover"), 300*time.Millisecond), "listed in never")
	require.Nil(t, machine.broadcast(t, made(t, "uefi-pxe-discover", func(p *dhcpv4.DHCPv4) { p.Options.Del(dhcpv4.OptionClassIdentifier) }), 300*time.Millisecond))

	acknowledged, err := dhcpv4.FromBytes(askAt(t, "10.77.0.1:4011", captured(t, "uefi-pxe-proxy-request")))
	require.NoError(t, err)
	client, err := tftp.NewClient("10.77.0.1:69")
	require.NoError(t, err)
	client.SetBlockSize(1468)
	reading, err := client.Receive(acknowledged.BootFileName, "octet")
	require.NoError(t, err)
	var binary bytes.Buffer
	_, err = reading.WriteTo(&binary)
	require.NoError(t, err)
	require.Len(t, binary.Bytes(), 170_002)
	response, err := http.Get(http1.BootFileNameOption())
	require.NoError(t, err)
	require.Equal(t, int64(len(o.files["usb.iso"])), response.ContentLength)
	response.Body.Close()

	// Another server on the segment: it is noticed, once.
	asked, err := parse(captured(t, "uefi-http-discover"))
	require.NoError(t, err)
	at := Place{Address: ourAddress.Next(), From: onDHCP.From}
	foreign, _ := answer(asked, config.decide(asked, at), at)
	for range 3 {
		machine.send(t, foreign, 68)
	}
	require.Eventually(t, func() bool {
		return strings.Contains(written.String(), "another server on this segment tells machines to boot http://10.77.0.2:8080/")
	}, 10*time.Second, 10*time.Millisecond, written.String())
	require.Equal(t, 1, strings.Count(written.String(), "another server"), "our own offers are none of another's")

	// The host's own DHCP client is not disturbed: it has its address's port 68 for itself.
	own, err := listenOn(t.Context(), "site0", "10.77.0.1:68", false)
	require.NoError(t, err)
	own.Close()

	// A second one on this host cannot have the ports, and says so of all of them.
	second := Run(t.Context(), config, log)
	for _, port := range []string{":67", ":4011", ":69", ":8080", "127.0.0.1:8067"} {
		require.ErrorContains(t, second, port+" is taken")
	}
	cancel()
	select {
	case err := <-done:
		require.NoError(t, err)
	case <-time.After(30 * time.Second):
		t.Fatal("it does not stop")
	}
}

// rackMachine is a machine without an address, on the other end of the cable.
type rackMachine struct{ net.PacketConn }

func newRackMachine(t *testing.T, port int) rackMachine {
	t.Helper()
	conn, err := listenOn(t.Context(), "rack0", fmt.Sprintf("0.0.0.0:%d", port), true)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return rackMachine{conn}
}

// listenOn listens on one interface, as DHCP clients do.
func listenOn(ctx context.Context, device, address string, reuse bool) (net.PacketConn, error) {
	listen := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (failed error) {
		err := raw.Control(func(fd uintptr) {
			if reuse {
				failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
			}
			failed = errors.Join(failed, syscall.BindToDevice(int(fd), device))
		})
		return errors.Join(err, failed)
	}}
	return listen.ListenPacket(ctx, "udp4", address)
}

func (m rackMachine) send(t *testing.T, packet []byte, port int) {
	t.Helper()
	_, err := m.WriteTo(packet, &net.UDPAddr{IP: net.IPv4bcast, Port: port})
	require.NoError(t, err)
}

// broadcast sends a packet to everybody's port 67, and returns what a server broadcasts back; nil when nothing comes.
func (m rackMachine) broadcast(t *testing.T, packet []byte, patience time.Duration) *dhcpv4.DHCPv4 {
	t.Helper()
	m.send(t, packet, 67)
	require.NoError(t, m.SetReadDeadline(time.Now().Add(patience)))
	buffer := make([]byte, 4096)
	for {
		n, _, err := m.ReadFrom(buffer)
		if err != nil {
			return nil
		}
		if reply, err := dhcpv4.FromBytes(buffer[:n]); err == nil && reply.OpCode == dhcpv4.OpcodeBootReply {
			return reply
		}
	}
}

func askAt(t *testing.T, address string, packet []byte) []byte {
	t.Helper()
	conn, err := net.Dial("udp4", address)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write(packet)
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	buffer := make([]byte, 4096)
	n, err := conn.Read(buffer)
	require.NoError(t, err)
	return buffer[:n]
}
