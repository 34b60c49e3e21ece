package install

import (
	"fmt"
	"strings"
)

// Command is how the OS's installer is called.
type Command struct {
	Path string
	Args []string
	Env  []string
}

// Command is the call of the first installer that this OS has: the one that is named, cos-installer, or elemental. find is exec.LookPath; config is
// the file with the machine's cloud-config. The error is a *Refusal.
//
// An installer that is named is called with the disk and the file, and finds the other settings in that file. It ends with 0 when the machine can
// start from the disk, and leaves the file there where the OS reads it on each start.
func (s Settings) Command(target Target, config string, find func(string) (string, error)) (Command, error) {
	if s.Installer != "" {
		path, err := find(s.Installer)
		if err != nil {
			return Command{}, &Refusal{Reason: NoInstaller, Message: fmt.Sprintf("the installer %q cannot be run: %v", s.Installer, err),
				Hint: "correct rancheros.install.installer, or --installer; it names one program of the medium, without arguments"}
		}
		environment := []string{"RANCHEROS_INSTALL_DEVICE=" + target.Path(), "RANCHEROS_INSTALL_CONFIG=" + config}
		return Command{Path: path, Args: []string{target.Path(), config}, Env: environment}, nil
	}
	if path, err := find("cos-installer"); err == nil {
		return Command{Path: path, Args: s.cosArgs(target, config)}, nil
	}
	if path, err := find("elemental"); err == nil {
		return Command{Path: path, Args: s.elementalArgs(target, config)}, nil
	}
	return Command{}, &Refusal{Reason: NoInstaller, Message: "this medium has no installer that is known: neither cos-installer nor elemental",
		Hint: "name a program of the medium in rancheros.install.installer; it is called with the disk and the file of the machine's cloud-config"}
}

func (s Settings) cosArgs(target Target, config string) []string {
	args := []string{"--config", config}
	args = option(args, "--iso", s.ISOURL)
	args = option(args, "--docker-image", imageOf(s.SystemURI))
	args = option(args, "--tty", s.TTY)
	args = flag(args, "--no-format", s.NoFormat)
	args = flag(args, "--force-efi", s.ForceEFI)
	args = flag(args, "--debug", s.Debug)
	return append(args, target.Path())
}

func (s Settings) elementalArgs(target Target, config string) []string {
	args := append(flag(nil, "--debug", s.Debug), "install", "--cloud-init", config)
	args = option(args, "--iso", s.ISOURL)
	args = option(args, "--system.uri", s.SystemURI)
	args = option(args, "--tty", s.TTY)
	args = flag(args, "--no-format", s.NoFormat)
	if s.ForceEFI {
		args = option(args, "--firmware", "efi")
	}
	// It looks for installations of its own. Where there is one, Target has allowed to erase it.
	args = flag(args, "--force", s.Force || target.unfinished)
	return append(args, target.Path())
}

func option(args []string, name, value string) []string {
	if value == "" {
		return args
	}
	return append(args, name, value)
}

func flag(args []string, name string, set bool) []string {
	if !set {
		return args
	}
	return append(args, name)
}

// imageOf is the image of a source of the newer installer's kind, docker:registry/image.
func imageOf(uri string) string {
	for _, scheme := range []string{"docker:", "oci:"} {
		uri = strings.TrimPrefix(uri, scheme)
	}
	return uri
}
