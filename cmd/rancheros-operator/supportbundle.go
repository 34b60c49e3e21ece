package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rancher/rancheros-operator/pkg/diagnosis/check"
	"github.com/rancher/rancheros-operator/pkg/diagnosis/supportbundle"
)

const supportBundleHelp = `Packs what somebody needs who is to help from afar into a tar.gz: objects of our kinds and those around them, events, the
operator's own Deployment, pods and logs, versions, and what check says. Secrets are not read, and of objects only those fields
are shown that were chosen to be. What cannot be read is said in errors.txt of the archive. At most 128 MiB, before compression.

From the operator's pod, which has no folder to write to, take it from standard output:
    kubectl exec -n cattle-rancheros-operator-system deploy/rancheros-operator -- rancheros-operator support-bundle --file - > support.tar.gz`

func supportBundleCommand() *cli.Command {
	var d diagnosis
	var file string
	return &cli.Command{
		Name:        "support-bundle",
		Usage:       "packs what is needed to help from afar, without secrets",
		Description: supportBundleHelp,
		Flags: append(d.flags(), &cli.StringFlag{Name: "file", EnvVars: []string{"RANCHEROS_FILE"}, Destination: &file,
			Usage: "`FILE` to make, which must not exist; - is standard output. Without it, rancheros-support-<time>.tar.gz here"}),
		OnUsageError: onUsageError,
		Action: func(c *cli.Context) error {
			if err := d.wrong(c); err != nil {
				return err
			}
			config, err := d.options.RESTConfig()
			if err != nil {
				return err
			}
			check.Impersonate(config, d.impersonate)
			write := func(to io.Writer) error { return supportbundle.Write(c.Context, config, d.check, to) }
			if file == "-" {
				return write(c.App.Writer)
			}
			if file == "" {
				file = "rancheros-support-" + time.Now().UTC().Format("20060102-150405") + ".tar.gz"
			}
			if err := create(file, write); err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.App.Writer, file)
			return err
		},
	}
}

// create makes the file as a whole or not at all, and leaves one alone that is there.
func create(name string, write func(io.Writer) error) error {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return usageError{fmt.Errorf("--file must be a file that does not exist, in a folder that can be written to: %w", err)}
	}
	if err := errors.Join(write(file), file.Close()); err != nil {
		_ = os.Remove(name)
		return err
	}
	return nil
}
