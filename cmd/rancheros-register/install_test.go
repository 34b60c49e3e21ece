package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"

	"github.com/rancher/rancheros-operator/pkg/install"
	"github.com/rancher/rancheros-operator/pkg/media/iso"
	pretend "github.com/rancher/rancheros-operator/tests/machine"
	"github.com/rancher/rancheros-operator/tests/medium"
)

// liveSystem is a machine that was started from a medium: a folder with disks in it, and programs that are pretended.
type liveSystem struct {
	t       *testing.T
	machine *pretend.Machine
	server  *pretend.Server
	// calls are the programs that were run, and fails lets one of them fail.
	calls []string
	fails map[string]error
	// installer is what the OS's does to the disk.
	installer func(disk string)
}

func newLiveSystem(t *testing.T, cloudConfig string) *liveSystem {
	l := &liveSystem{t: t, machine: newMachine(t, ""), fails: map[string]error{}}
	l.server, _ = newServer(t, pretend.Script{V2: true})
	l.answers(cloudConfig)
	l.write("proc/self/mountinfo", "22 1 0:20 / / rw - tmpfs rootfs rw\n")
	l.disk("sda", "8:0", make([]byte, 4<<20))
	l.disk("sdb", "8:16", []byte(strings.Repeat("not yours\n", 1000)))
	base := medium.Bytes(medium.Options{RockRidge: true, Files: map[string][]byte{"boot/kernel": {1}}})
	image, err := iso.Open(strings.NewReader(string(base)), int64(len(base)))
	require.NoError(t, err)
	seed := "rancheros:\n  install:\n    registrationURL: " + l.server.RegistrationURL() + "\n    registrationCaCert: |\n      " + strings.ReplaceAll(strings.TrimSpace(string(l.server.CAPEM())), "\n", "\n      ") + "\n"
	layout, err := image.Plan([]byte(seed))
	require.NoError(t, err)
	whole := make([]byte, layout.Size())
	_, err = layout.Reader(strings.NewReader(string(base))).ReadAt(whole, 0)
	require.NoError(t, err)
	l.disk("sr0", "11:0", whole)
	l.write("sys/devices/sr0/device/type", "5\n")
	return l
}

func (l *liveSystem) answers(cloudConfig string) {
	l.server.Set(func(s *pretend.Script) {
		s.Final = []byte(strings.Replace(cloudConfig, "SERVER", l.server.URL, 1))
	})
}

func (l *liveSystem) write(path, content string) {
	require.NoError(l.t, l.machine.WriteFile(path, content))
}

func (l *liveSystem) read(path string) string {
	content, err := os.ReadFile(filepath.Join(l.machine.Root, path))
	require.NoError(l.t, err)
	return string(content)
}

func (l *liveSystem) disk(name, number string, content []byte) {
	l.write("sys/devices/"+name+"/dev", number+"\n")
	l.write("sys/devices/"+name+"/size", fmt.Sprintln(len(content)/512))
	l.write("sys/devices/"+name+"/device/model", "Lab disk\n")
	require.NoError(l.t, os.MkdirAll(filepath.Join(l.machine.Root, "sys/class/block"), 0o755))
	require.NoError(l.t, os.Symlink("../../devices/"+name, filepath.Join(l.machine.Root, "sys/class/block", name)))
	l.write("dev/"+name, string(content))
}

// install runs the command with everything real but the files of devices, which only root can make, and the programs that it calls.
func (l *liveSystem) install(args ...string) pretend.Result {
	l.t.Helper()
	var stdout, stderr strings.Builder
	out := &console{out: &stdout, err: &stderr}
	command := installCommand(out)
	command.Action = func(c *cli.Context) error {
		i := &installation{cli: c, out: out, root: l.machine.Root, number: l.number, find: l.find, run: l.run}
		return i.do()
	}
	app := &cli.App{Name: "rancheros-register", Commands: []*cli.Command{command}, Writer: &stdout, ErrWriter: &stderr, ExitErrHandler: func(*cli.Context, error) {}}
	ctx, cancel := context.WithTimeout(l.t.Context(), 30*time.Second)
	defer cancel()
	err := app.RunContext(ctx, append([]string{"rancheros-register", "install", "--once", "--root", l.machine.Root, "--emulate-tpm"}, args...))
	if err != nil {
		out.failure(err)
	}
	require.NotContains(l.t, stdout.String()+stderr.String(), pretend.RegistrationToken, "the token is never printed")
	require.NotContains(l.t, stdout.String()+stderr.String(), secretPassword)
	return pretend.Result{ExitCode: exitCode(err), Stdout: stdout.String(), Stderr: stderr.String()}
}

func (l *liveSystem) number(path string) (string, error) {
	if _, err := os.Stat(path); err != nil {
		return "", err
	}
	return strings.TrimSpace(l.read("sys/class/block/" + filepath.Base(path) + "/dev")), nil
}

func (l *liveSystem) find(program string) (string, error) {
	return "/sbin/" + filepath.Base(program), nil
}

func (l *liveSystem) run(_ context.Context, _ *console, command install.Command) error {
	l.calls = append(l.calls, strings.Join(append([]string{filepath.Base(command.Path)}, command.Args...), " "))
	if l.installer != nil && strings.Contains(command.Path, "cos-installer") {
		l.installer(command.Args[len(command.Args)-1])
	}
	return l.fails[filepath.Base(command.Path)]
}

func installs(extra string) string {
	return `{"hostname":"m-dell-1","rancherd":{"server":"SERVER","token":"tpm://"},"users":[{"password":"` + secretPassword + `"}],"rancheros":{"install":{"automatic":true` + extra + `}}}`
}

// The whole way, from a medium that nobody mounted: found, registered, handed over, restarted; and once is enough.
func TestInstall(t *testing.T) {
	l := newLiveSystem(t, installs(`,"device":"/dev/sda"`))
	file := filepath.Join(l.machine.Root, "run/rancheros/oem/99_rancheros.yaml")
	l.installer = func(disk string) {
		require.Equal(t, "/dev/sda", disk)
		require.Contains(t, l.read("dev/sda"), "has begun and not ended", "power may fail now")
		config := l.read("run/rancheros/oem/99_rancheros.yaml")
		require.Contains(t, config, "hostname: m-dell-1\n")
		require.Contains(t, config, secretPassword)
		require.Contains(t, config, "registrationCaCert: |\n")
		require.NotContains(t, config, pretend.RegistrationToken, "who reads the disk shall not register others")
		info, err := os.Stat(file)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode())
	}
	result := l.install()
	require.Zero(t, result.ExitCode, result.Stderr)
	require.Contains(t, result.Stderr, "The registration data comes from the medium in /dev/sr0.")
	require.Contains(t, result.Stdout, "Registered. This machine is m-dell-1.\nInstalled to /dev/sda (4.2 MB, Lab disk).\n")
	require.Equal(t, []string{"cos-installer --config " + file + " /dev/sda", "reboot"}, l.calls)
	require.NotContains(t, l.read("dev/sda"), "has begun")
	require.Equal(t, strings.Repeat("not yours\n", 1000), l.read("dev/sdb"))

	l.calls = nil
	l.write("run/systemd/system/x", "")
	again := l.install("--then", "poweroff")
	require.Zero(t, again.ExitCode, again.Stderr)
	require.Contains(t, again.Stdout, "This machine was installed to /dev/sda on ")
	require.Equal(t, []string{"systemctl poweroff"}, l.calls, "it was about to go, and goes")
}

// An installer that fails leaves the mark, and the next run begins anew over what it has left.
func TestInstallAfterAFailure(t *testing.T) {
	l := newLiveSystem(t, installs(`,"device":"/dev/sda","powerOff":true`))
	l.fails["cos-installer"] = errors.New("exit status 7")
	failed := l.install()
	require.Equal(t, exitInstaller, failed.ExitCode)
	require.Contains(t, failed.Stderr, "the installer /sbin/cos-installer failed (exit status 7)")
	require.Len(t, l.calls, 1, "no restart")

	half := make([]byte, 4096)
	half[1024+0x38], half[1024+0x39] = 0x53, 0xef
	copy(half[1024+0x78:], "COS_STATE")
	l.write("sys/devices/sda/sda1/partition", "1\n")
	l.write("sys/devices/sda/sda1/dev", "8:1\n")
	l.write("sys/devices/sda/sda1/size", "8\n")
	require.NoError(t, os.Symlink("../../devices/sda/sda1", filepath.Join(l.machine.Root, "sys/class/block/sda1")))
	l.write("dev/sda1", string(half))
	l.fails = nil
	result := l.install()
	require.Zero(t, result.ExitCode, result.Stderr)
	require.Contains(t, result.Stderr, "was begun and not finished")
	require.Equal(t, "poweroff", l.calls[2])

	// Another start of the same medium: nothing is in memory any more, the disk is whole.
	require.NoError(t, os.RemoveAll(filepath.Join(l.machine.Root, "run")))
	kept := l.install()
	require.Equal(t, exitInstalled, kept.ExitCode)
	require.Contains(t, kept.Stderr, "/dev/sda (4.2 MB, Lab disk) holds an installation already (/dev/sda1 is labelled COS_STATE)")
	require.Len(t, l.calls, 3)
	l.answers(installs(`,"device":"/dev/sda","force":true,"reboot":false`))
	require.Zero(t, l.install().ExitCode)
	require.Len(t, l.calls, 4, "it stays on")
}

// What is wrong is said to the person at the machine, with a way out; and nothing was run or written.
func TestInstallRefuses(t *testing.T) {
	for _, c := range []struct {
		why, config string
		change      func(*liveSystem)
		args        []string
		code        int
		says        string
	}{
		{"no disk is named", installs(""), nil, nil, exitDevice, "names no disk to install to"},
		{"a disk that is not there", installs(`,"device":"/dev/nvme0n1"`), nil, nil, exitDevice, "this machine has no /dev/nvme0n1"},
		{"a CD", installs(`,"device":"/dev/sr0"`), nil, nil, exitDevice, "/dev/sr0 is the medium that this machine was started from"},
		{"a disk that is mounted", installs(`,"device":"/dev/sdb"`), func(l *liveSystem) {
			l.write("proc/self/mountinfo", "22 1 8:16 / /data rw - ext4 /dev/sdb rw\n")
		}, nil, exitDevice, "/dev/sdb is mounted on /data"},
		{"settings that make no sense", installs(`,"device":7`), nil, nil, exitDevice, "rancheros.install.device must be one line of text"},
		{"no list of what is mounted", installs(`,"device":"/dev/sda"`), func(l *liveSystem) {
			require.NoError(l.t, os.Remove(filepath.Join(l.machine.Root, "proc/self/mountinfo")))
		}, nil, exitUnknown, "disks cannot be listed"},
		{"no medium", installs(`,"device":"/dev/sda"`), func(l *liveSystem) { l.write("dev/sr0", "") }, nil, exitConfig, "no registration URL"},
		{"no word for the end", installs(`,"device":"/dev/sda"`), nil, []string{"--then", "explode"}, exitConfig, "--then"},
	} {
		t.Run(c.why, func(t *testing.T) {
			l := newLiveSystem(t, c.config)
			if c.change != nil {
				c.change(l)
			}
			result := l.install(c.args...)
			require.Equal(t, c.code, result.ExitCode, result.Stderr)
			require.Contains(t, result.Stderr, c.says)
			require.Contains(t, result.Stderr, "What to do: ")
			require.Empty(t, l.calls)
			require.Equal(t, string(make([]byte, 4<<20)), l.read("dev/sda"))
		})
	}
}

// A dry run prints the installer's command and touches nothing; without one, no other root than the machine's own is worked on.
func TestInstallDryRun(t *testing.T) {
	l := newLiveSystem(t, installs(`,"device":"/dev/sda"`))
	result := l.install("--dry-run", "--installer", "/usr/bin/my installer")
	require.Zero(t, result.ExitCode, result.Stderr)
	require.Contains(t, result.Stdout, "'/sbin/my installer' /dev/sda "+filepath.Join(l.machine.Root, "run/rancheros/oem/99_rancheros.yaml"))
	require.Empty(t, l.calls)
	require.Equal(t, string(make([]byte, 4<<20)), l.read("dev/sda"))
	refused := runHere(t, l.machine, "install")
	require.Equal(t, exitConfig, refused.ExitCode)
	require.Contains(t, refused.Stderr, "--dry-run")
}
