package lab

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/tests/harness"
)

// From the network, beside a DHCP server that gives addresses, knows nothing of booting, and is not ours. The machines find their disk empty, and
// after the installation not.
func TestNetboot(t *testing.T) {
	t.Parallel()
	const ns = "lab-net"
	machines := []*journey{
		// iPXE of the card, which speaks to a screen only.
		{hardware: &Hardware{Name: "NET-BIOS", Network: true, MAC: "52:54:00:1a:b0:03"}},
		// The firmware's PXE, TFTP, the netboot server's iPXE.
		{hardware: &Hardware{Name: "NET-UEFI", Network: true, UEFI: true, MAC: "52:54:00:1a:b0:04"}, loader: []string{`Start PXE over IPv4`, `iPXE 1\.`}},
		// The firmware fetches the whole image of the SeedImage, and starts it as a disc.
		{hardware: &Hardware{Name: "NET-HTTP", Network: true, UEFI: true, HTTP: true, MAC: "52:54:00:1a:b0:05"}, loader: []string{`Start HTTP Boot over IPv4`, `LAB 0 GRUB on efi`}},
	}
	url := namespace(t, ns)
	image := seedImage(t, ns, "base.iso")
	script := kubectl(t, "get", "seedimage", "usb", "-n", ns, "-o", "jsonpath={.status.ipxeURL}")
	startNetboot(t, script, image)
	t.Run("machines", func(t *testing.T) { // Returns when all have ended.
		for _, j := range machines {
			t.Run(j.hardware.Name, func(t *testing.T) {
				t.Parallel()
				j.namespace, j.registrationURL = ns, url
				j.hardware.Dir = filepath.Join(folder, j.hardware.Name)
				require.NoError(t, j.hardware.Prepare(t.Context()))
				j.travel(t)
				served := netbootStatus(t, j.hardware.MAC)
				require.Equal(t, j.starts, served.Boots, "once from the network, then from its disk")
				require.Empty(t, served.Failure)
			})
		}
	})
	log, err := os.ReadFile(filepath.Join(folder, "dhcp.log"))
	require.NoError(t, err)
	require.Contains(t, string(log), "DHCPACK", "the addresses came from the site's own server")
}

// startNetboot runs the netboot server as one would on a site: the program that ships, one file.
func startNetboot(t *testing.T, script, image string) {
	t.Helper()
	ca, config := filepath.Join(folder, "rancher-ca.pem"), filepath.Join(folder, "netboot.yaml")
	require.NoError(t, os.WriteFile(ca, world.Rancher.CACert(), 0o600))
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, "interfaces: [%s]\nregistrations:\n- name: edge\n  ipxeURL: %s\n  downloadURL: %s\ncaFile: %s\n", netSwitch, script, image, ca), 0o600))
	log, err := os.Create(filepath.Join(folder, "netboot.log"))
	require.NoError(t, err)
	command := exec.Command(filepath.Join(world.Bin(), "rancheros-operator"), "netboot", "--config", config)
	command.Stdout, command.Stderr = log, log
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Signal(os.Interrupt)
		_ = command.Wait()
		log.Close()
	})
	require.NoError(t, harness.Eventually(t.Context(), 30*time.Second, func() error {
		return exec.CommandContext(t.Context(), filepath.Join(world.Bin(), "rancheros-operator"), "netboot", "status").Run()
	}))
}

// served is what the netboot server says of a machine.
type served struct {
	MAC, Firmware, Stage, Failure string
	Boots                         int
}

func netbootStatus(t *testing.T, mac string) served {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), filepath.Join(world.Bin(), "rancheros-operator"), "netboot", "status", "-o", "json").Output()
	require.NoError(t, err)
	var status struct{ Machines []served }
	require.NoError(t, json.Unmarshal(output, &status), "%s", output)
	for _, machine := range status.Machines {
		if machine.MAC == mac {
			return machine
		}
	}
	t.Fatalf("the netboot server has not seen %s: %s", mac, output)
	return served{}
}
