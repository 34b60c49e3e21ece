package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	// inNamespace is set in the process that has a network of its own.
	inNamespace = "RANCHEROS_LAB_NAMESPACE"
	// serverAddress is where Rancher is for the machines, and dhcpAddress where their DHCP server is.
	serverAddress = "10.99.0.1"
	dhcpAddress   = "10.99.0.2"
	netSwitch     = "lab0"
)

// programs are what the lab is made of, with their Debian packages.
var programs = map[string]string{
	"qemu-system-x86_64": "qemu-system-x86", "swtpm": "swtpm", "swtpm_setup": "swtpm-tools", "grub-mkrescue": "grub-common", "xorriso": "xorriso",
	"mformat": "mtools", "busybox": "busybox-static", "dnsmasq": "dnsmasq-base", "ip": "iproute2", "apt-get": "apt", "dpkg-deb": "dpkg",
	"/usr/lib/grub/i386-pc/boot.img": "grub-pc-bin", "/usr/lib/grub/x86_64-efi/linux.mod": "grub-efi-amd64-bin",
	firmwareCode: "ovmf", "/usr/lib/ipxe/undionly.kpxe": "ipxe", "/dev/net/tun": "the kernel's tun driver",
}

// missing says what the lab lacks; nil when it can run.
func missing() error {
	var errs []error
	for program, from := range programs {
		_, err := exec.LookPath(program)
		if filepath.IsAbs(program) {
			_, err = os.Stat(program)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s is missing (from %s)", program, from))
		}
	}
	// The kernel of the machines is fetched as this system's own would be.
	if system, err := os.ReadFile("/etc/os-release"); err != nil || !strings.Contains("\n"+string(system), "\nID=debian\n") {
		errs = append(errs, errors.New("this system is not Debian, whose kernel package is fetched"))
	}
	return errors.Join(errs...)
}

// enter runs this test again in a network of its own, and returns how that ended.
func enter() (int, error) {
	command := exec.Command("/proc/self/exe", os.Args[1:]...)
	command.Args[0] = os.Args[0]
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	command.Env = append(os.Environ(), inNamespace+"=1")
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		command.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		command.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		command.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	if err := command.Start(); err != nil {
		return 1, fmt.Errorf("making a network namespace: %w", err)
	}
	err := command.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// ip runs iproute2's program.
func ip(line string) error {
	output, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", line, err, output)
	}
	return nil
}

// makeNetwork makes the switch, and puts Rancher's address on it.
func makeNetwork() error {
	for _, line := range []string{
		"link set lo up", "link add " + netSwitch + " type bridge", "link set " + netSwitch + " up", "addr add " + serverAddress + "/24 dev " + netSwitch,
	} {
		if err := ip(line); err != nil {
			return err
		}
	}
	return nil
}

// plug makes a network card for a guest, on the switch.
func plug(tap string) error {
	return errors.Join(ip("tuntap add dev "+tap+" mode tap"), ip("link set "+tap+" master "+netSwitch+" up"))
}

func unplug(tap string) error { return ip("link del " + tap) }

// dhcpScript waits for its network card and becomes the site's DHCP server. It gives addresses and a gateway, and knows nothing of booting.
const dhcpScript = `
until ip link show dhcp1 >/dev/null 2>&1; do sleep 0.1; done
ip link set lo up && ip link set dhcp1 up && ip addr add ` + dhcpAddress + `/24 dev dhcp1 && ip -6 addr add fd00:1ab::2/64 dev dhcp1 nodad || exit 1
exec dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --group= --port=0 --interface=dhcp1 --bind-interfaces --log-facility=- --log-dhcp \
    --pid-file= --dhcp-leasefile="$1/leases" --no-ping --dhcp-authoritative --enable-ra \
    --dhcp-range=10.99.0.100,10.99.0.200,255.255.255.0,1h --dhcp-range=fd00:1ab::,ra-stateless --dhcp-option=option:router,` + serverAddress

// startDHCP starts an ordinary DHCP server on a host of its own, which is a network namespace behind a cable.
func startDHCP(dir string, log io.Writer) (stop func(), err error) {
	command := exec.Command("sh", "-c", dhcpScript, "sh", dir)
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("starting DHCP server: %w", err)
	}
	stop = func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	}
	err = errors.Join(
		ip("link add dhcp0 type veth peer name dhcp1"),
		ip("link set dhcp0 master "+netSwitch+" up"),
		ip("link set dhcp1 netns "+strconv.Itoa(command.Process.Pid)),
	)
	if err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}
