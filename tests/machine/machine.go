package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Where rancheros-register keeps what a machine has learnt. Spelled out here, because machines in the field depend on it.
const (
	tpmFile      = "var/lib/rancheros/emulated-tpm.pem"
	configFile   = "oem/99_rancheros.yaml"
	hostnameFile = "etc/hostname"
)

// Machine is a folder that looks like a machine's root, and the binary that runs on it.
type Machine struct {
	// Root is the machine's disk.
	Root string
	// Binary is the path of rancheros-register.
	Binary string
	// Environment is given to the binary, beside PATH. The test's own environment is not.
	Environment []string
}

// Result is what one run of the binary came to.
type Result struct {
	Stdout, Stderr string
	ExitCode       int
}

// New makes a machine of this hardware in a folder, which may exist: a machine can be switched off and on.
func New(root, binary string, hardware Hardware) (*Machine, error) {
	entryPoint, tables := Tables(hardware)
	for path, data := range map[string][]byte{
		"sys/firmware/dmi/tables/smbios_entry_point": entryPoint,
		"sys/firmware/dmi/tables/DMI":                tables,
		"proc/cmdline":                               []byte("BOOT_IMAGE=/boot/vmlinuz console=ttyS0 quiet\n"),
		"etc/os-release":                             []byte("NAME=RancherOS\nID=rancheros\nVERSION_ID=v0.1.0\nPRETTY_NAME=\"Pretend RancherOS v0.1.0\"\n"),
	} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, fmt.Errorf("making pretend machine: %w", err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return nil, fmt.Errorf("making pretend machine: %w", err)
		}
	}
	return &Machine{Root: root, Binary: binary}, nil
}

// Run runs a command of the binary on this machine, with its software TPM. An error is a binary that could not be run at all.
func (m *Machine) Run(ctx context.Context, command string, args ...string) (Result, error) {
	args = append([]string{command, "--root", m.Root, "--emulate-tpm"}, args...)
	process := exec.CommandContext(ctx, m.Binary, args...)
	process.Env = append([]string{"PATH=" + os.Getenv("PATH")}, m.Environment...)
	var stdout, stderr bytes.Buffer
	process.Stdout, process.Stderr = &stdout, &stderr
	err := process.Run()
	result := Result{Stdout: stdout.String(), Stderr: stderr.String(), ExitCode: process.ProcessState.ExitCode()}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return result, fmt.Errorf("running %s: %w", m.Binary, err)
	}
	return result, nil
}

// Register registers once. caFile may be empty.
func (m *Machine) Register(ctx context.Context, url, caFile string, args ...string) (Result, error) {
	return m.Run(ctx, "register", append(trust(caFile), append([]string{"--once", "--url", url}, args...)...)...)
}

// RegisterFromConfig registers once with whatever the machine's own files say; write a cloud-config with WriteFile first.
func (m *Machine) RegisterFromConfig(ctx context.Context, args ...string) (Result, error) {
	return m.Run(ctx, "register", append([]string{"--once"}, args...)...)
}

// JoinCommand asks once for the machine's cluster; on success Stdout is the command that would join it.
func (m *Machine) JoinCommand(ctx context.Context, args ...string) (Result, error) {
	return m.Run(ctx, "join", append([]string{"--once", "--dry-run"}, args...)...)
}

// TPMHash is the machine's identity.
func (m *Machine) TPMHash(ctx context.Context) (string, error) {
	result, err := m.Run(ctx, "tpm-hash")
	if err == nil && result.ExitCode != 0 {
		err = fmt.Errorf("tpm-hash: exit code %d: %s", result.ExitCode, result.Stderr)
	}
	return string(bytes.TrimSpace([]byte(result.Stdout))), err
}

// TPMFile is the software TPM's key, for tests that copy it.
func (m *Machine) TPMFile() string { return filepath.Join(m.Root, tpmFile) }

// WriteFile puts a file on the machine's disk.
func (m *Machine) WriteFile(path, content string) error {
	path = filepath.Join(m.Root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o600)
}

// Config is the cloud-config that registration has written.
func (m *Machine) Config() (string, error) {
	data, err := os.ReadFile(filepath.Join(m.Root, configFile))
	return string(data), err
}

// Hostname is the name that registration has given to the machine.
func (m *Machine) Hostname() (string, error) {
	data, err := os.ReadFile(filepath.Join(m.Root, hostnameFile))
	return string(bytes.TrimSpace(data)), err
}

func trust(caFile string) []string {
	if caFile == "" {
		return nil
	}
	return []string{"--ca-file", caFile}
}
