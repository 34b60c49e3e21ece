package netboot

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pin/tftp/v3"
	"github.com/stretchr/testify/require"
)

func TestParseTFTP(t *testing.T) {
	config := configOf(t, twoRegistrations)
	for _, c := range []struct {
		name, binary, mac string
		ok                bool
	}{
		{"undionly.kpxe", "undionly.kpxe", "", true},
		{"/snponly.efi", "snponly.efi", "", true},
		{"52-54-00-00-00-01/undionly.kpxe", "undionly.kpxe", biosMAC, true},
		{"//52-54-00-00-00-01/snponly.efi", "snponly.efi", biosMAC, true},
		{"ipxe.efi", "", "", false},
		{"", "", "", false},
		{"../undionly.kpxe", "", "", false},
		{"52-54-00-00-00-01/../undionly.kpxe", "", "", false},
		{"52-54-00-00-00-01/52-54-00-00-00-01/undionly.kpxe", "", "", false},
		{`..\snponly.efi`, "", "", false},
		{strings.Repeat("a", 60_000), "", "", false},
	} {
		binary, mac, known, ok := config.parseTFTP(c.name)
		require.Equal(t, c.ok, ok, c.name)
		if ok {
			require.Equal(t, c.binary, binary, c.name)
			require.Equal(t, c.mac != "", known, c.name)
			require.Equal(t, c.mac, map[bool]string{true: mac.String()}[known], c.name)
		}
	}
}

// With a client of another's making, at all sizes of blocks, with and without the file's size.
func TestTFTP(t *testing.T) {
	w := newWorld(t, "")
	for name, blocks := range map[string][]int{"undionly.kpxe": {0, 512, 1024, 1456, 1468, 8192, 65464}, "snponly.efi": {1468}} {
		want, err := os.ReadFile(filepath.Join(w.config.IPXE.Folder, name))
		require.NoError(t, err)
		for _, block := range blocks {
			client, err := tftp.NewClient(w.tftpAddr)
			require.NoError(t, err)
			if block > 0 {
				client.SetBlockSize(block)
			}
			client.RequestTSize(true)
			reading, err := client.Receive("52-54-00-00-00-01/"+name, "octet")
			require.NoError(t, err, block)
			size, known := reading.(tftp.IncomingTransfer).Size()
			require.True(t, known)
			require.Equal(t, int64(len(want)), size)
			var received bytes.Buffer
			_, err = reading.WriteTo(&received)
			require.NoError(t, err, block)
			require.True(t, bytes.Equal(want, received.Bytes()), "%s in blocks of %d", name, block)
		}
	}
	machine := w.waitForStage(t, biosMAC, StageTFTP)
	require.Regexp(t, `^was sent (undionly.kpxe|snponly.efi) by TFTP$`, machine.Detail)
	require.Equal(t, "127.0.0.1", machine.Address)

	client, err := tftp.NewClient(w.tftpAddr)
	require.NoError(t, err)
	for _, name := range []string{"ipxe.efi", "/etc/passwd", "../../etc/passwd", "52-54-00-00-00-01/passwd", ""} {
		_, err = client.Receive(name, "octet")
		require.ErrorContains(t, err, "there is no such file", name)
	}
	_, err = client.Send("undionly.kpxe", "octet")
	require.ErrorContains(t, err, "does not support write requests")
}

// request is a read request with options, as bytes.
func request(name string, options ...string) []byte {
	packet := append([]byte{0, 1}, name+"\x00octet\x00"...)
	for _, option := range options {
		packet = append(packet, option+"\x00"...)
	}
	return packet
}

// tell sends packets to the TFTP port, and returns what comes back first; nil when nothing does.
func (w *world) tell(t *testing.T, packet []byte, patience time.Duration) []byte {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer conn.Close()
	to, err := net.ResolveUDPAddr("udp4", w.tftpAddr)
	require.NoError(t, err)
	_, err = conn.WriteTo(packet, to)
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	buffer := make([]byte, 70_000)
	n, from, err := conn.ReadFrom(buffer)
	if err != nil {
		return nil
	}
	// Firmware that has read the size takes its request back.
	_, _ = conn.WriteTo([]byte{0, 5, 0, 8, 'e', 'n', 'o', 'u', 'g', 'h', 0}, from)
	return buffer[:n]
}

// Block sizes and other options as games: the server says what it takes, or leaves it out, and goes on.
func TestTFTPOptions(t *testing.T) {
	w := newWorld(t, "")
	largest := fmt.Sprint(w.links.largestBlock())
	require.Equal(t, "1468", largest, "what fits an Ethernet frame")
	name := "52-54-00-00-00-02/snponly.efi"
	for _, c := range []struct {
		why     string
		packet  []byte
		opcode  byte
		contain []string
		length  int
	}{
		{"nothing asked", request(name), 3, nil, 4 + 512},
		{"a size", request(name, "tsize", "0"), 6, []string{"tsize\x00170002"}, 0},
		{"a size that is not 0", request(name, "tsize", strings.Repeat("9", 5000)), 6, []string{"tsize\x00170002\x00"}, 0},
		{"the usual", request(name, "blksize", "1468", "tsize", "0"), 6, []string{"blksize\x001468\x00", "tsize\x00170002\x00"}, 0},
		{"more than a frame", request(name, "blksize", "65464"), 6, []string{"blksize\x00" + largest + "\x00"}, 0},
		{"more than there is", request(name, "blksize", "65465"), 3, nil, 4 + 512},
		{"less than there is", request(name, "blksize", "7"), 3, nil, 4 + 512},
		{"nothing", request(name, "blksize", ""), 3, nil, 4 + 512},
		{"less than nothing", request(name, "blksize", "-512"), 3, nil, 4 + 512},
		{"no number", request(name, "blksize", "many"), 3, nil, 4 + 512},
		{"a number longer than a request may be", request(name, "blksize", strings.Repeat("0", 60_000)+"512"), 3, nil, 4 + 512},
		{"a number as long as a request may be", request("snponly.efi", "blksize", strings.Repeat("0", 470)+"512", "tsize", "0"), 6, []string{"000512\x00", "170002\x00"}, 0},
		{"windows, which are not served", request(name, "windowsize", "65535", "blksize", "1024"), 6, []string{"blksize\x001024\x00"}, 15},
		{"options that nobody knows", request(name, "multicast", "", "x", "y"), 3, nil, 4 + 512},
		{"a name without an end", []byte("\x00\x01snponly.efi"), 0, nil, 0},
		{"an acknowledgement of nothing", []byte{0, 4, 0, 1}, 0, nil, 0},
		{"an error about nothing", []byte{0, 5, 0, 1, 'x', 0}, 0, nil, 0},
		{"no opcode", []byte{0}, 0, nil, 0},
		{"another opcode", []byte{9, 9, 1, 2, 3}, 0, nil, 0},
	} {
		if c.opcode == 0 {
			require.Empty(t, w.tell(t, c.packet, 200*time.Millisecond), c.why)
			continue
		}
		answer := w.tell(t, c.packet, 10*time.Second)
		require.NotEmpty(t, answer, c.why)
		require.Equal(t, c.opcode, answer[1], c.why)
		for _, want := range c.contain {
			require.Contains(t, string(answer), want, c.why)
		}
		if c.length > 0 {
			require.Len(t, answer, c.length, c.why)
		}
	}
	require.NotContains(t, w.log.String(), "ended after 0 bytes", "a request that is taken back is no failure")
	require.NotNil(t, w.tell(t, request(name), 10*time.Second), "and it still answers")
}

// Clients that never acknowledge keep their places for some seconds, four each, and nobody else's.
func TestTFTPWithoutAcknowledgement(t *testing.T) {
	w := newWorld(t, "")
	to, err := net.ResolveUDPAddr("udp4", w.tftpAddr)
	require.NoError(t, err)
	conn, err := net.ListenPacket("udp4", "127.0.0.2:0")
	require.NoError(t, err)
	defer conn.Close()
	for range 200 {
		_, err = conn.WriteTo(request("52-54-00-00-00-02/snponly.efi", "tsize", "0"), to)
		require.NoError(t, err)
	}
	refused := 0
	buffer := make([]byte, 2000)
	require.Eventually(t, func() bool {
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		n, _, err := conn.ReadFrom(buffer)
		if err == nil && buffer[1] == 5 && strings.Contains(string(buffer[:n]), "too many transfers") {
			refused++
		}
		return refused >= 100
	}, 20*time.Second, time.Millisecond)
	// Somebody else is served meanwhile.
	client, err := tftp.NewClient(w.tftpAddr)
	require.NoError(t, err)
	reading, err := client.Receive("snponly.efi", "octet")
	require.NoError(t, err)
	var received bytes.Buffer
	_, err = reading.WriteTo(&received)
	require.NoError(t, err)
	machine := w.waitForStage(t, uefiMAC, StageFailed)
	require.Contains(t, machine.Failure, "TFTP of snponly.efi ended after 0 bytes")
	require.Contains(t, machine.Failure, "timeout")
}

// A stop does not wait for a client that takes its time.
func TestTFTPStops(t *testing.T) {
	w := newWorld(t, "")
	require.NotNil(t, w.tell(t, request("snponly.efi", "blksize", "512"), 10*time.Second))
	conn, err := net.Dial("udp4", w.tftpAddr)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write(request("snponly.efi"))
	require.NoError(t, err)
	began := time.Now()
	require.NoError(t, w.stop())
	require.Less(t, time.Since(began), stopPatience+5*time.Second)
}
