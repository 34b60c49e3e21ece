package lab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	firmwareCode = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	firmwareVars = "/usr/share/OVMF/OVMF_VARS_4M.fd"
	diskSize     = 384 << 20
	// bystander is a second disk, which no config names.
	bystanderSize = 8 << 20
)

// Hardware is what a guest is made of. What it is made of last longer than it runs: disk and TPM are files in Dir.
type Hardware struct {
	// Name is the serial number, and tells guests apart.
	Name string
	Dir  string
	UEFI bool
	// CD is a file in the drive; empty without.
	CD string
	// CDFirst lets it start from the CD although its disk could be started from.
	CDFirst bool
	// Network lets it try its network card after its disk; HTTP, with UEFI, that it asks for HTTP and not for PXE.
	Network, HTTP bool
	MAC           string
}

// Prepare makes what the guest keeps: an empty disk, a full one that nobody shall touch, a TPM with its certificate, and the firmware's settings.
func (h *Hardware) Prepare(ctx context.Context) error {
	if err := os.MkdirAll(h.path("tpm"), 0o700); err != nil {
		return err
	}
	disk, err := os.Create(h.path("disk"))
	if err != nil {
		return err
	}
	if err := errors.Join(disk.Truncate(diskSize), disk.Close()); err != nil {
		return err
	}
	if err := os.WriteFile(h.path("bystander"), h.bystander(), 0o600); err != nil {
		return err
	}
	vars, err := os.ReadFile(firmwareVars)
	if err != nil {
		return err
	}
	if err := os.WriteFile(h.path("vars"), vars, 0o600); err != nil {
		return err
	}
	// Keys that may sign make credentials that cannot be activated: so the default, without --allow-signing.
	output, err := exec.CommandContext(ctx, "swtpm_setup", "--tpm2", "--tpmstate", h.path("tpm"), "--config", h.path("../swtpm_setup.conf"),
		"--create-ek-cert", "--lock-nvram", "--overwrite").CombinedOutput()
	if err != nil {
		return fmt.Errorf("making a TPM: %w: %s", err, output)
	}
	return nil
}

func (h *Hardware) path(name string) string { return filepath.Join(h.Dir, name) }

// bystander is what the second disk holds: no file system, and not a zero in it.
func (h *Hardware) bystander() []byte {
	return bytes.Repeat([]byte("not yours "+h.Name+"\n"), bystanderSize)[:bystanderSize]
}

// Bystander is an error when somebody has written to the disk that no config names.
func (h *Hardware) Bystander() error {
	now, err := os.ReadFile(h.path("bystander"))
	if err != nil {
		return err
	}
	if !bytes.Equal(now, h.bystander()) {
		return errors.New("the disk that no config names was written to")
	}
	return nil
}

// arguments are QEMU's. The disk comes first, as in machines that have been set up: an empty one is passed over.
func (h *Hardware) arguments(tap string) []string {
	order := map[string]int{"disk": 1, "cd": 2, "net": 3}
	if h.CDFirst {
		order["cd"] = 0
	}
	args := []string{
		"-accel", "tcg", "-machine", "pc", "-cpu", "max", "-m", "512", "-nodefaults", "-display", "none", "-serial", "stdio", "-monitor", "none",
		"-smbios", "type=1,manufacturer=Lab,product=Emulated,serial=" + h.Name,
		"-drive", "if=none,id=disk,format=raw,cache=unsafe,file=" + h.path("disk"), "-device", fmt.Sprintf("virtio-blk-pci,drive=disk,bootindex=%d", order["disk"]),
		"-drive", "if=none,id=other,format=raw,file=" + h.path("bystander"), "-device", "virtio-blk-pci,drive=other",
		"-chardev", "socket,id=tpm,path=" + h.socket(), "-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-tis,tpmdev=tpm0",
		"-netdev", "tap,id=net,script=no,downscript=no,ifname=" + tap,
	}
	card := "virtio-net-pci,netdev=net,mac=" + h.MAC
	if h.Network {
		card += fmt.Sprintf(",bootindex=%d", order["net"])
	}
	if h.UEFI || !h.Network {
		card += ",romfile=" // UEFI has a driver and PXE of its own; BIOS starts the card's.
	}
	args = append(args, "-device", card)
	if h.CD != "" {
		args = append(args, "-drive", "if=none,id=cd,media=cdrom,readonly=on,format=raw,file="+h.CD, "-device", fmt.Sprintf("ide-cd,drive=cd,bootindex=%d", order["cd"]))
	}
	if h.UEFI {
		if h.HTTP {
			args = append(args, "-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n", "-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n")
		}
		args = append(args, "-drive", "if=pflash,format=raw,unit=0,readonly=on,file="+firmwareCode, "-drive", "if=pflash,format=raw,unit=1,file="+h.path("vars"))
	}
	return args
}

// socket is short: the kernel allows for about a hundred characters.
func (h *Hardware) socket() string { return h.path("tpm.sock") }

// Guest is hardware that is switched on.
type Guest struct {
	started   time.Time
	qemu, tpm *exec.Cmd
	done      chan struct{}
	tap       string

	mutex   sync.Mutex
	lines   []line
	arrived chan struct{} // Closed and made anew with each line.
	log     *os.File
}

// line is one of the serial console's.
type line struct {
	at   time.Duration
	text string
}

// Start switches the machine on. Stop it, also when it has switched itself off.
func (h *Hardware) Start(ctx context.Context) (*Guest, error) {
	g := &Guest{started: time.Now(), done: make(chan struct{}), arrived: make(chan struct{}), tap: "tap" + h.MAC[len(h.MAC)-2:]}
	if err := plug(g.tap); err != nil {
		return nil, err
	}
	if err := g.start(ctx, h); err != nil {
		return nil, errors.Join(err, g.Stop())
	}
	return g, nil
}

func (g *Guest) start(ctx context.Context, h *Hardware) error {
	var err error
	if g.log, err = os.OpenFile(h.path("console.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	os.Remove(h.socket())
	g.tpm = exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+h.path("tpm"), "--ctrl", "type=unixio,path="+h.socket())
	g.tpm.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := g.tpm.Start(); err != nil {
		return fmt.Errorf("starting swtpm: %w", err)
	}
	if err := waitForFile(ctx, h.socket()); err != nil {
		return err
	}
	g.qemu = exec.Command("qemu-system-x86_64", h.arguments(g.tap)...)
	g.qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	console, err := g.qemu.StdoutPipe()
	if err != nil {
		return err
	}
	g.qemu.Stderr = g.log
	if err := g.qemu.Start(); err != nil {
		return fmt.Errorf("starting QEMU: %w", err)
	}
	go g.listen(console)
	return nil
}

func waitForFile(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", path, ctx.Err())
		}
	}
}

// listen keeps what the machine says, until it is switched off.
func (g *Guest) listen(console io.Reader) {
	defer close(g.done)
	reader := bufio.NewReader(console)
	for {
		text, err := reader.ReadString('\n')
		if text = strings.Trim(text, "\r\n"); text != "" {
			g.mutex.Lock()
			g.lines = append(g.lines, line{time.Since(g.started), text})
			close(g.arrived)
			g.arrived = make(chan struct{})
			fmt.Fprintf(g.log, "%6.1f %s\n", time.Since(g.started).Seconds(), text)
			g.mutex.Unlock()
		}
		if err != nil {
			_ = g.qemu.Wait()
			return
		}
	}
}

// Expect waits until the machine says something that matches, and returns the match and when that was.
func (g *Guest) Expect(ctx context.Context, pattern string) ([]string, time.Duration, error) {
	wanted := regexp.MustCompile(pattern)
	for seen := 0; ; {
		g.mutex.Lock()
		lines, arrived := g.lines, g.arrived
		g.mutex.Unlock()
		for ; seen < len(lines); seen++ {
			if match := wanted.FindStringSubmatch(lines[seen].text); match != nil {
				return match, lines[seen].at, nil
			}
		}
		select {
		case <-arrived:
		case <-g.done:
			g.mutex.Lock()
			said := len(g.lines)
			g.mutex.Unlock()
			if said == len(lines) {
				return nil, 0, fmt.Errorf("the machine went off without saying %q; its last words:\n%s", pattern, g.last(15))
			}
		case <-ctx.Done():
			return nil, 0, fmt.Errorf("%w: waiting for %q; the machine's last words:\n%s", ctx.Err(), pattern, g.last(15))
		}
	}
}

// Off waits until the machine has switched itself off.
func (g *Guest) Off(ctx context.Context) error {
	select {
	case <-g.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: waiting for the machine to go off; its last words:\n%s", ctx.Err(), g.last(15))
	}
}

func (g *Guest) last(count int) string {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	var out strings.Builder
	for _, l := range g.lines[max(0, len(g.lines)-count):] {
		fmt.Fprintf(&out, "    %6.1f %s\n", l.at.Seconds(), l.text)
	}
	return out.String()
}

// Stop pulls the plug.
func (g *Guest) Stop() error {
	if g.qemu != nil && g.qemu.Process != nil {
		_ = g.qemu.Process.Kill()
		<-g.done
	}
	if g.tpm != nil && g.tpm.Process != nil {
		_ = g.tpm.Process.Signal(syscall.SIGTERM)
		_ = g.tpm.Wait()
	}
	if g.log != nil {
		g.log.Close()
	}
	return unplug(g.tap)
}
