package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/pkg/registration/client"
)

// Names of the flags that several commands have.
const (
	flagConfig          = "config"
	flagRoot            = "root"
	flagCAFile          = "ca-file"
	flagAllowHTTP       = "allow-http"
	flagTPMDevice       = "tpm-device"
	flagEmulateTPM      = "emulate-tpm"
	flagEmulatedTPMFile = "emulated-tpm-file"
	flagOnce            = "once"
)

// maxCAFile bounds the CA that is read from a file.
const maxCAFile = 1 << 20

// emulatedTPMFile is where a software TPM keeps its key, below the root.
const emulatedTPMFile = "var/lib/rancheros/emulated-tpm.pem"

func tpmFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: flagTPMDevice, EnvVars: []string{"RANCHEROS_TPM_DEVICE"}, TakesFile: true,
			Usage: "the TPM's `device` (default: /dev/tpmrm0, else /dev/tpm0)"},
		&cli.BoolFlag{Name: flagEmulateTPM, EnvVars: []string{"RANCHEROS_EMULATE_TPM"},
			Usage: "use a software TPM, whose key is in a file: whoever copies that file is this machine"},
		&cli.StringFlag{Name: flagEmulatedTPMFile, EnvVars: []string{"RANCHEROS_EMULATED_TPM_FILE"}, TakesFile: true,
			Usage: "the software TPM's key `file`, made when missing (default: ROOT/" + emulatedTPMFile + ")"},
		&cli.StringFlag{Name: flagRoot, EnvVars: []string{"RANCHEROS_ROOT"}, Value: "/", TakesFile: true,
			Usage: "the machine's root `folder`: where files are read from and written to"},
	}
}

func serverFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: flagConfig, EnvVars: []string{"RANCHEROS_CONFIG"}, TakesFile: true,
			Usage: "a cloud-config `file` to read instead of those found below the root (" + strings.Join(client.DefaultFiles(), ", ") +
				"); may be given several times, later ones win"},
		&cli.StringFlag{Name: flagCAFile, EnvVars: []string{"RANCHEROS_CA_FILE"}, TakesFile: true,
			Usage: "PEM `file` with the server's CA; replaces the system's CAs"},
		&cli.BoolFlag{Name: flagAllowHTTP, EnvVars: []string{"RANCHEROS_ALLOW_HTTP"},
			Usage: "accept http URLs: nothing then proves who answers"},
		&cli.BoolFlag{Name: flagOnce, EnvVars: []string{"RANCHEROS_ONCE"}, Usage: "try a single time"},
	}
}

// openTPM opens the TPM that the flags name.
func openTPM(c *cli.Context, out *console) (attestation.Prover, error) {
	if !c.Bool(flagEmulateTPM) {
		if c.IsSet(flagEmulatedTPMFile) && c.String(flagEmulatedTPMFile) != "" {
			return nil, usage("--emulated-tpm-file needs --emulate-tpm")
		}
		device, err := tpm.Open(c.String(flagTPMDevice))
		if err != nil {
			return nil, client.Explain(err, "")
		}
		return device, nil
	}
	if c.String(flagTPMDevice) != "" {
		return nil, usage("--tpm-device and --emulate-tpm exclude each other")
	}
	path := c.String(flagEmulatedTPMFile)
	if path == "" {
		path = filepath.Join(c.String(flagRoot), emulatedTPMFile)
	}
	software, err := tpm.OpenSoftware(path, tpm.RSA2048)
	if err != nil {
		return nil, &client.Failure{Cause: client.CauseDisk, Message: err.Error(), Hint: "check the file and its folder", Err: err}
	}
	out.once("Using a software TPM: whoever copies %s is this machine.", path)
	return software, nil
}

// readCAFile reads the CA that the flag names; nil when it names none.
func readCAFile(c *cli.Context) ([]byte, error) {
	path := c.String(flagCAFile)
	if path == "" {
		return nil, nil
	}
	info, err := os.Stat(path)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxCAFile) {
		err = &fs.PathError{Op: "read", Path: path, Err: fs.ErrInvalid}
	}
	var ca []byte
	if err == nil {
		ca, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, usage(fmt.Sprintf("--%s: %v", flagCAFile, err))
	}
	if len(strings.TrimSpace(string(ca))) == 0 {
		return nil, usage(fmt.Sprintf("--%s: %s is empty", flagCAFile, path))
	}
	return ca, nil
}
