package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rancher/rancheros-operator/pkg/install"
	"github.com/rancher/rancheros-operator/pkg/registration/client"
)

const (
	flagInstaller = "installer"
	flagAfter     = "then"
)

const (
	// installFolder is where the files of the machine that is being made are, below the root of the live system: that one lives in memory.
	installFolder = "run/rancheros"
	// installedFile says that the installation is done.
	installedFile = installFolder + "/installed.json"
	// seedFile is registration data that was found on the medium, for whoever asks later.
	seedFile = installFolder + "/seed.yaml"
)

const installHelp = `For the live system of a boot medium. Registers this machine, as register does, and hands it to the installer of the OS: the disk
that rancheros.install.device of the answered cloud-config names, and that cloud-config as a file. Then the machine restarts, or is
switched off with rancheros.install.powerOff: true.

The registration URL comes from where register takes it, and else from the boot medium: its reserved file, or livecd-cloud-config.yaml
in its root. The installer is --installer, else rancheros.install.installer of the cloud-config, else cos-installer, else
elemental. One that is named is called as INSTALLER DISK CLOUD-CONFIG.

No disk is touched but the one that is named, and that one only if nothing uses it, it is not the boot medium, and no installation is
on it: rancheros.install.force: true erases an installation. One that was interrupted is made anew.`

func installCommand(out *console) *cli.Command {
	return &cli.Command{
		Name:        "install",
		Usage:       "register this machine, and install it to its disk",
		Description: installHelp,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: flagURL, EnvVars: []string{"RANCHEROS_REGISTRATION_URL"},
				Usage: "the registration `URL`, as in status.registrationURL of a MachineRegistration"},
			&cli.StringFlag{Name: flagInstaller, EnvVars: []string{"RANCHEROS_INSTALLER"}, Usage: "the `program` that installs the OS"},
			&cli.StringFlag{Name: flagAfter, EnvVars: []string{"RANCHEROS_INSTALL_THEN"},
				Usage: "what to do in the end, in place of what the cloud-config says: `reboot`, poweroff or nothing"},
			&cli.BoolFlag{Name: flagDryRun, EnvVars: []string{"RANCHEROS_DRY_RUN"}, Usage: "register, check the disk, print the installer's command, and touch nothing"},
		}, append(serverFlags(), tpmFlags()...)...),
		Before:       noArguments,
		OnUsageError: usageError,
		Action: func(c *cli.Context) error {
			if !c.Bool(flagDryRun) && filepath.Clean(c.String(flagRoot)) != "/" {
				return usage("--root needs --dry-run: an installer works on the machine that it runs on")
			}
			return (&installation{cli: c, out: out, root: c.String(flagRoot), number: install.DeviceNumber, find: exec.LookPath, run: runVisibly}).do()
		},
	}
}

// installation is one machine on its way onto its disk.
type installation struct {
	cli  *cli.Context
	out  *console
	root string
	// What touches the machine; tests put their own here.
	number func(path string) (string, error)
	find   func(program string) (string, error)
	run    func(ctx context.Context, out *console, command install.Command) error

	machine *install.Machine
	seeds   []install.Seed
	config  map[string]any
	// file is the cloud-config for the installer.
	file string
}

// done is what installedFile holds.
type done struct {
	Device     string    `json:"device"`
	FinishedAt time.Time `json:"finishedAt"`
}

func (i *installation) do() error {
	after := install.After(i.cli.String(flagAfter))
	switch after {
	case "", install.Reboot, install.PowerOff, install.Nothing:
	default:
		return usage(fmt.Sprintf("--%s is %q, and must be reboot, poweroff or nothing", flagAfter, after))
	}
	if err := i.scan(); err != nil {
		return err
	}
	if err := i.seed(); err != nil {
		return err
	}
	if err := i.register(); err != nil {
		return err
	}
	settings, err := install.ReadSettings(i.config)
	if err != nil {
		return refused(err)
	}
	for _, key := range settings.Ignored {
		i.out.progress("Warning: rancheros.install.%s means nothing to this version.", key)
	}
	settings.Installer = first(i.cli.String(flagInstaller), settings.Installer)
	if after != "" {
		settings.After = after
	}
	// It may have waited for hours to be let in: what the kernel said before is old.
	if err := i.scan(); err != nil {
		return err
	}
	if err := i.toDisk(settings); err != nil || i.cli.Bool(flagDryRun) {
		return err
	}
	return i.leave(settings.After)
}

// scan looks at the disks, and for the boot medium among them.
func (i *installation) scan() (err error) {
	if i.machine, err = install.ScanMachine(i.root); err != nil {
		return &client.Failure{Cause: client.CauseUnknown, Message: fmt.Sprintf("this machine's disks cannot be listed: %v", err), Hint: "run as root, with /proc and /sys mounted", Err: err}
	}
	i.seeds = i.machine.FindMedium(i.root)
	return nil
}

// seed keeps what the medium says, where register and its like look for it. What was told otherwise wins: it may have come by the boot loader.
func (i *installation) seed() error {
	seeds := i.seeds
	settings, err := client.ReadSettings(i.root, i.cli.StringSlice(flagConfig))
	if err != nil || settings.RegistrationURL != "" || i.cli.String(flagURL) != "" || len(seeds) == 0 {
		return err
	}
	if len(seeds) > 1 {
		i.out.progress("Warning: %s and %s hold different registration data; using the former's.", seeds[0].Device, seeds[1].Device)
	}
	i.out.progress("The registration data comes from the medium in %s.", seeds[0].Device)
	return writeFile(filepath.Join(i.root, seedFile), seeds[0].Config)
}

// register proves the machine, and writes the cloud-config for its disk.
func (i *installation) register() error {
	endpoint, err := registrationEndpoint(i.cli, i.out)
	if err != nil {
		return err
	}
	store := client.Store{Root: filepath.Join(i.root, installFolder)}
	return registerWith(i.cli, i.out, endpoint, registering{store: store, save: func(answer *client.Answer) (err error) {
		if i.config, err = withCA(answer.Config, endpoint.CA); err != nil {
			return err
		}
		i.file, err = store.SaveAnswer(&client.Answer{Config: i.config, Hostname: answer.Hostname})
		if err == nil {
			i.out.result("Registered. This machine is %s.", nameOr(answer.Hostname))
		}
		return err
	}})
}

// withCA adds the CA, by which the server was trusted, to the cloud-config: the installed machine asks the same server for its cluster. The
// registration URL stays on the medium: whoever reads the disk later shall not register others.
func withCA(config map[string]any, ca []byte) (map[string]any, error) {
	config = maps.Clone(config)
	if config == nil {
		config = map[string]any{}
	}
	if len(ca) == 0 {
		return config, nil
	}
	at := config
	for _, name := range []string{"rancheros", "install"} {
		inner, ok := at[name].(map[string]any)
		if !ok && at[name] != nil {
			return nil, &client.Failure{Cause: client.CauseBadAnswer, Message: "the server's cloud-config holds something else than a map at " + name, Hint: "correct spec.cloudConfig of the machineregistration"}
		}
		if inner = maps.Clone(inner); inner == nil {
			inner = map[string]any{}
		}
		at[name], at = inner, inner
	}
	at["registrationCaCert"] = string(ca)
	return config, nil
}

// toDisk checks the disk and lets the installer have it.
func (i *installation) toDisk(settings install.Settings) error {
	number, err := i.machine.Resolve(i.root, settings.Device, i.number)
	if err != nil {
		return refused(err)
	}
	if finished := i.finished(); finished != nil && finished.Device == number && !i.cli.Bool(flagDryRun) {
		i.out.result("This machine was installed to %s on %s.", settings.Device, finished.FinishedAt.Format(time.DateTime))
		return nil
	}
	unfinished := i.machine.Unfinished(i.root, number)
	if unfinished {
		i.out.progress("An installation to %s was begun and not finished; beginning anew.", settings.Device)
	}
	target, err := i.machine.Target(number, settings, unfinished)
	if err != nil {
		return refused(err)
	}
	command, err := settings.Command(target, i.file, i.find)
	if err != nil {
		return refused(err)
	}
	if i.cli.Bool(flagDryRun) {
		i.out.result("%s", client.ShellQuote(append([]string{command.Path}, command.Args...)))
		return nil
	}
	if !settings.NoFormat {
		if err := target.Begin(i.root); err != nil {
			return refused(err)
		}
	}
	i.out.progress("Installing to %s, by %s.", target, command.Path)
	if err := i.run(i.cli.Context, i.out, command); err != nil {
		return &client.Failure{Cause: client.CauseInstall, Message: fmt.Sprintf("the installer %s failed (%v)", command.Path, err), Err: errInstaller,
			Hint: "its own output above says why; after that, run install again, which begins anew"}
	}
	if !settings.NoFormat {
		if err := target.End(i.root); err != nil {
			return refused(err)
		}
	}
	i.out.result("Installed to %s.", target)
	data, err := json.Marshal(done{Device: number, FinishedAt: time.Now().UTC()})
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(i.root, installedFile), data)
}

// finished is what an earlier run of this boot has left; nil when there was none.
func (i *installation) finished() *done {
	data, err := os.ReadFile(filepath.Join(i.root, installedFile))
	if err != nil {
		return nil
	}
	var finished done
	if json.Unmarshal(data, &finished) != nil {
		return nil
	}
	return &finished
}

// leave restarts the machine or switches it off: by systemd where that runs, else by the program of that name.
func (i *installation) leave(after install.After) error {
	if after == install.Nothing {
		return nil
	}
	program, args := string(after), []string(nil)
	if _, err := os.Stat(filepath.Join(i.root, "run/systemd/system")); err == nil {
		program, args = "systemctl", []string{string(after)}
	}
	path, err := i.find(program)
	if err == nil {
		i.out.progress("Next: %s.", after)
		err = i.run(i.cli.Context, i.out, install.Command{Path: path, Args: args})
	}
	if err != nil {
		return &client.Failure{Cause: client.CauseUnknown, Message: fmt.Sprintf("this machine is installed, and %s failed: %v", after, err), Hint: "remove the medium and restart the machine by hand", Err: err}
	}
	return nil
}

// errInstaller tells the OS's installer from Rancher's.
var errInstaller = errors.New("the installer failed")

// refused is a refusal as the rest of this program speaks of failures.
func refused(err error) error {
	var refusal *install.Refusal
	if errors.As(err, &refusal) {
		return &client.Failure{Cause: client.CauseInstall, Message: refusal.Message, Hint: refusal.Hint, Err: err}
	}
	return &client.Failure{Cause: client.CauseInstall, Message: fmt.Sprintf("the disk cannot be used: %v", err), Err: &install.Refusal{Reason: install.NotWritable},
		Hint: "check the disk: its cable, its health, its write protection"}
}

// runVisibly shows what the program prints, as it prints it.
func runVisibly(ctx context.Context, out *console, command install.Command) error {
	process := exec.CommandContext(ctx, command.Path, command.Args...)
	process.Stdout, process.Stderr = out.err, out.err
	process.Env = append(os.Environ(), command.Env...)
	return process.Run()
}

func writeFile(path string, data []byte) error {
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		return &client.Failure{Cause: client.CauseDisk, Message: strings.TrimSpace(err.Error()), Hint: "check that the folder can be written, and that this runs as root", Err: err}
	}
	return nil
}
