package netboot

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
)

// fuzzConfig needs no files.
func fuzzConfig(t testing.TB) *Config {
	t.Helper()
	config, err := Parse([]byte("ipxe: {folder: /nowhere}\nregistrations:\n- {name: isos, downloadURL: '" + downloadURL + "', subnets: [10.9.0.0/16]}\n"))
	require.NoError(t, err)
	edge := &Registration{Name: "edge", IPXEURL: ipxeURL, DownloadURL: downloadURL}
	config.Registrations = append(config.Registrations, edge)
	return config
}

// Whatever comes in on port 67 or 4011: silence, or an answer that any client can read, assigns nothing, fits a frame and says
// nothing of the operator's addresses.
func FuzzDHCP(f *testing.F) {
	for _, name := range []string{"ipxe-bios-discover", "ipxe-uefi-discover", "uefi-pxe-discover", "uefi-pxe-request", "uefi-pxe-proxy-request", "uefi-http-discover", "dnsmasq-offer"} {
		f.Add(captured(f, name), false, uint32(0))
		f.Add(captured(f, name), true, uint32(0x0a4d009d))
	}
	f.Add(intelROM(f), false, uint32(0))
	f.Add([]byte{}, true, uint32(1))
	config := fuzzConfig(f)
	f.Fuzz(func(t *testing.T, data []byte, proxy bool, from uint32) {
		at := Place{Address: ourAddress, Proxy: proxy, From: netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(from >> 24), byte(from >> 16), byte(from >> 8), byte(from)}), 68)}
		_, _, _ = offerOf(data, func(netip.Addr) bool { return false })
		request, err := parse(data)
		if err != nil {
			return
		}
		decision := config.decide(request, at)
		packet, to := answer(request, decision, at)
		if packet == nil {
			require.Nil(t, decision.Registration)
			return
		}
		requireAnswer(t, request, at, packet, to)
		require.NotContains(t, string(packet), token)
		if path, found := strings.CutPrefix(decision.BootFile, "http://10.77.0.1:8080"); found && strings.HasPrefix(path, pathBoot) {
			mac, uuid, _, ok := parsePath(path)
			require.True(t, ok, "a machine that comes with its address is known again")
			require.Equal(t, request.MAC, mac)
			require.Equal(t, request.UUID, uuid)
		}
	})
}

// Whatever is sent to the TFTP port, the server still answers who asks rightly.
func FuzzTFTPRequest(f *testing.F) {
	for _, packet := range [][]byte{
		request("snponly.efi"), request("52-54-00-00-00-01/undionly.kpxe", "tsize", "0", "blksize", "1468"), request("snponly.efi", "blksize", strings.Repeat("0", 470)+"512", "tsize", "0"),
		request("../../etc/passwd"), request(strings.Repeat("/", 600)), {0, 2, 'a', 0, 'o', 'c', 't', 'e', 't', 0}, {0, 3, 0, 1, 1}, {0, 4, 0, 1}, {0, 5, 0, 0, 0}, {0, 6, 1, 0, 1, 0}, {0, 1, 0, 0}, {0}, {},
		append([]byte{0, 1}, "snponly.efi\x00netascii\x00windowsize\x0065535\x00timeout\x00255\x00multicast\x00\x00"...),
	} {
		f.Add(packet)
	}
	config := fuzzConfig(f)
	config.IPXE.Folder = folderWith(f, config.IPXE.BIOS, config.IPXE.UEFI)
	log := logrus.New()
	log.SetLevel(logrus.PanicLevel)
	s := newServer(config, log)
	s.links.names = []string{"lo"}
	ctx, cancel := context.WithCancel(f.Context())
	f.Cleanup(cancel)
	transfers := s.newTFTP(ctx)
	// A client that never acknowledges shall not hold up the next case.
	transfers.library.SetTimeout(time.Millisecond)
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(f, err)
	go func() { _ = transfers.library.Serve(conn) }()
	f.Cleanup(transfers.library.Shutdown)
	f.Fuzz(func(t *testing.T, packet []byte) {
		client, err := net.ListenPacket("udp4", "127.0.0.1:0")
		require.NoError(t, err)
		defer client.Close()
		if len(packet) < 1<<15 {
			_, err = client.WriteTo(packet, conn.LocalAddr())
			require.NoError(t, err)
		}
		asking, err := net.ListenPacket("udp4", "127.0.0.1:0")
		require.NoError(t, err)
		defer asking.Close()
		buffer := make([]byte, 2048)
		for range 100 {
			_, err = asking.WriteTo(request("nothing"), conn.LocalAddr())
			require.NoError(t, err)
			require.NoError(t, asking.SetReadDeadline(time.Now().Add(time.Second)))
			if n, _, err := asking.ReadFrom(buffer); err == nil {
				require.Contains(t, string(buffer[:n]), "there is no such file")
				return
			}
		}
		t.Fatal("the server answers nobody any more")
	})
}

// What a machine writes into its addresses leads to a file of the few that there are, or nowhere.
func FuzzPath(f *testing.F) {
	for _, path := range []string{folder + "boot.ipxe", otherFiles + "kernel", "/boot/../../etc/passwd", "/boot//none/", "/boot/52-54-00-00-00-01/none/a/b", pathBinary} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		mac, uuid, file, ok := parsePath(path)
		if !ok {
			return
		}
		require.NotContains(t, file, "/")
		again, same, _, ok := parsePath(pathBoot + mac.dashed() + "/" + map[bool]string{true: noUUID, false: uuid.String()}[uuid.none()] + "/" + file)
		require.True(t, ok)
		require.Equal(t, mac, again)
		require.Equal(t, uuid, same)
	})
}

// Nothing that the operator or a machine says becomes a command of iPXE's.
func FuzzReason(f *testing.F) {
	for _, reason := range []string{"", "no\nshell", "${net0/mac} || shell && reboot", "#!ipxe", strings.Repeat("long ", 500)} {
		f.Add(reason)
	}
	f.Fuzz(func(t *testing.T, reason string) {
		script := string(reasonScript(reason))
		require.Equal(t, 2, strings.Count(script, "\n"))
		require.Less(t, len(script), 500)
		for _, special := range []string{"$", "{", "&", "|", "\r", "\x00"} {
			require.NotContains(t, script, special)
		}
	})
}

// Whatever is in the file, it is a config or an error, and no panic.
func FuzzConfig(f *testing.F) {
	for _, text := range []string{twoRegistrations, "only: [1]", "registrations: [null, {machines: null}]", "a: &a [*a]", "- x", "{}", "---\n---\n"} {
		f.Add([]byte("ipxe: {folder: /nowhere}\n" + text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		// Files that a config names are not for a fuzzer to open.
		if strings.Contains(string(text), "caFile") {
			return
		}
		config, err := Parse(text)
		if err == nil {
			config.choose(MAC{2}, UUID{1}, ourAddress)
		}
	})
}
