package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/pin/tftp/v3"
	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/media/netboot"
)

// The netboot server of a site, outside the cluster, with nothing but a SeedImage's addresses: firmware is led to iPXE and
// iPXE to the media, what is sent counts as handed out, a limit is shown where people look, and a machine registers with what
// it was sent.
func Test22Netboot(t *testing.T) {
	ns := namespace(t, "s22-netboot")
	url := registration(t, ns, "edge", "{}")
	source := newBase(t)
	applySeed(t, ns, "site", "type: both\n  maxDownloads: 2\n  baseImage: %s\n  baseChecksum: sha256:%s", source.URL+"/base.iso", source.sum)
	waitFor(t, ns, "seedimage/site", "Ready", "Ready")
	site := startNetboot(t, seedField(t, ns, "site", "ipxeURL"), seedField(t, ns, "site", "downloadURL"))

	// UEFI firmware, on port 4011, and TFTP.
	name := site.askProxy(t)
	require.Equal(t, "52-54-00-00-00-02/snponly.efi", name)
	client, err := tftp.NewClient(site.tftp)
	require.NoError(t, err)
	reading, err := client.Receive(name, "octet")
	require.NoError(t, err)
	var binary bytes.Buffer
	_, err = reading.WriteTo(&binary)
	require.NoError(t, err)
	require.Equal(t, "snponly", binary.String())

	// iPXE: the script, and what it names.
	status, script := site.get(t, "boot.ipxe")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, script, "chain --autofree medium.ipxe")
	_, medium := site.get(t, "medium.ipxe")
	require.True(t, strings.HasPrefix(medium, "#!ipxe\nkernel "+"kernel initrd=initrd quiet\n"), medium)
	_, kernel := site.get(t, "kernel")
	require.True(t, strings.HasPrefix(kernel, "kernel"))
	require.Equal(t, "0", seedField(t, ns, "site", "downloads"), "the base's own bytes are free")
	_, initrd := site.get(t, "initrd")
	eventually(t, func() error { return equal("downloads", seedField(t, ns, "site", "downloads"), "1") })

	// What came over the network is all that the machine needs.
	at := strings.LastIndex(initrd, "registrationURL: "+url)
	require.Positive(t, at)
	begin := strings.LastIndex(initrd[:at], "#cloud-config")
	end := strings.IndexByte(initrd[begin:], 0)
	m := newMachine(t, "S22-1")
	require.NoError(t, m.WriteFile("oem/registration.yaml", initrd[begin:begin+end]))
	result, err := m.RegisterFromConfig(t.Context(), "--config", filepath.Join(m.Root, "oem/registration.yaml"))
	require.NoError(t, err)
	require.Zero(t, result.ExitCode, result.Stderr)
	host, err := m.Hostname()
	require.NoError(t, err)
	require.NotEmpty(t, inventory(t, ns, host).Spec.TPM)

	// UEFI that boots the ISO.
	_, image := site.get(t, "boot.iso")
	eventually(t, func() error {
		return equal("status.checksum", seedField(t, ns, "site", "checksum"), fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(image))))
	})
	waitFor(t, ns, "seedimage/site", "Ready", "UsedUp")
	machine := site.machine(t)
	require.Equal(t, netboot.StageSent, machine.Stage)
	require.Equal(t, 2, machine.Boots)
	require.Equal(t, "edge-site", machine.Registration)

	// The limit: on the console, in the status; raised, it goes on.
	status, refused := site.get(t, "initrd")
	require.Equal(t, http.StatusForbidden, status)
	require.Contains(t, refused, "the medium was downloaded as often as it may be")
	_, reason := site.get(t, "reason.ipxe")
	require.Contains(t, reason, "echo Cannot boot: initrd: the operator answered 403: the medium was downloaded as often as it may be; an administrator can raise spec.maxDownloads")
	require.Equal(t, netboot.StageFailed, site.machine(t).Stage)
	kubectl(t, "patch", "seedimage", "site", "-n", ns, "--type", "merge", "-p", `{"spec":{"maxDownloads":null}}`)
	waitFor(t, ns, "seedimage/site", "Ready", "Ready")
	eventually(t, func() error {
		status, _ := site.get(t, "initrd")
		return equal("status", fmt.Sprint(status), "200")
	})
	log := site.stop(t)
	require.NotContains(t, log, strings.Split(seedField(t, ns, "site", "ipxeURL"), "/")[5], "the token is in no log")
	for _, stage := range []string{"Offered", "TFTP", "Script", "Kernel", "Initrd", "Sent", "ISO", "Failed"} {
		require.Contains(t, log, "stage="+stage)
	}
}

// netbootSite is a running `rancheros-operator netboot`, on the loopback interface and on ports that nobody has.
type netbootSite struct {
	command             *exec.Cmd
	log                 string
	proxy, tftp, status string
	http                string
}

func startNetboot(t *testing.T, ipxeURL, downloadURL string) *netbootSite {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"snponly.efi", "undionly.kpxe"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(strings.Split(name, ".")[0]), 0o600))
	}
	ports := freePorts(t, 6)
	config := fmt.Sprintf(`interfaces: [lo]
caFile: %s
httpPort: %d
statusAddress: 127.0.0.1:%d
ipxe: {folder: %s}
ports: {dhcp: %d, client: %d, proxy: %d, tftp: %d}
registrations:
- {name: edge-site, ipxeURL: "%s", downloadURL: "%s"}
`, caFile(t), ports[0], ports[1], dir, ports[2], ports[3], ports[4], ports[5], ipxeURL, downloadURL)
	file := filepath.Join(dir, "netboot.yaml")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	site := &netbootSite{log: filepath.Join(dir, "netboot.log"), proxy: fmt.Sprintf("127.0.0.1:%d", ports[4]), tftp: fmt.Sprintf("127.0.0.1:%d", ports[5]),
		status: fmt.Sprintf("127.0.0.1:%d", ports[1]), http: fmt.Sprintf("http://127.0.0.1:%d/boot/52-54-00-00-00-02/none/", ports[0])}
	log, err := os.Create(site.log)
	require.NoError(t, err)
	defer log.Close()
	program := filepath.Join(world.Bin(), "rancheros-operator-race")
	output, err := exec.CommandContext(t.Context(), program, "netboot", "--config", file, "--check").CombinedOutput()
	require.NoError(t, err, string(output))
	site.command = exec.Command(program, "netboot", "--config", file)
	site.command.Stdout, site.command.Stderr = log, log
	site.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	require.NoError(t, site.command.Start())
	t.Cleanup(func() { _ = site.command.Process.Kill() })
	eventually(t, func() error {
		status, err := netboot.ReadStatus(t.Context(), site.status)
		if err == nil && !status.Registrations[0].Ready {
			err = fmt.Errorf("not ready: %s", status.Registrations[0].Problem)
		}
		return err
	})
	return site
}

// freePorts are ports that are free both for TCP and UDP.
func freePorts(t *testing.T, count int) []int {
	t.Helper()
	var ports []int
	for len(ports) < count {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer listener.Close()
		port := listener.Addr().(*net.TCPAddr).Port
		if conn, err := net.ListenPacket("udp4", fmt.Sprintf(":%d", port)); err == nil {
			defer conn.Close()
			ports = append(ports, port)
		}
	}
	return ports
}

// askProxy sends what OVMF sends to port 4011, and returns the file that it is told to fetch.
func (s *netbootSite) askProxy(t *testing.T) string {
	t.Helper()
	packet, err := os.ReadFile("../../pkg/media/netboot/testdata/uefi-pxe-proxy-request.bin")
	require.NoError(t, err)
	conn, err := net.Dial("udp4", s.proxy)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write(packet)
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	buffer := make([]byte, 2048)
	n, err := conn.Read(buffer)
	require.NoError(t, err)
	reply, err := dhcpv4.FromBytes(buffer[:n])
	require.NoError(t, err)
	return reply.BootFileName
}

// get fetches a file as the machine 52:54:00:00:00:02.
func (s *netbootSite) get(t *testing.T, file string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.http+file, nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(body)
}

// machine is what `netboot status` tells of it.
func (s *netbootSite) machine(t *testing.T) netboot.Machine {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), filepath.Join(world.Bin(), "rancheros-operator-race"), "netboot", "status", "--address", s.status, "-o", "json").Output()
	require.NoError(t, err)
	var status netboot.Status
	require.NoError(t, json.Unmarshal(output, &status))
	require.Len(t, status.Machines, 1)
	require.Equal(t, "52:54:00:00:00:02", status.Machines[0].MAC)
	return status.Machines[0]
}

// stop ends it, which is no failure, and returns its log.
func (s *netbootSite) stop(t *testing.T) string {
	t.Helper()
	require.NoError(t, s.command.Process.Signal(syscall.SIGTERM))
	require.NoError(t, s.command.Wait())
	log, err := os.ReadFile(s.log)
	require.NoError(t, err)
	require.NotContains(t, string(log), "DATA RACE")
	return string(log)
}
