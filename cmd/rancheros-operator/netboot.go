package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"github.com/rancher/rancheros-operator/pkg/media/netboot"
)

func netbootCommand() *cli.Command {
	var file, logLevel, logFormat string
	var check bool
	return &cli.Command{
		Name:  "netboot",
		Usage: "boots machines of a site over its network, beside the site's own DHCP server",
		Description: "Runs on the machines' network, in the cluster or not, and needs CAP_NET_BIND_SERVICE only (ports 67, 69, 4011; 68 to notice\n" +
			"other servers). SIGTERM ends it once transfers have ended, at most ten seconds later. The config's fields are in\n" +
			".github/guide/netboot.md of the repository.",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "config", EnvVars: []string{"NETBOOT_CONFIG"}, Destination: &file, TakesFile: true,
				Usage: "YAML `FILE` that says which machines boot into which registration"},
			&cli.BoolFlag{Name: "check", EnvVars: []string{"NETBOOT_CHECK"}, Destination: &check,
				Usage: "say what is wrong with the config, and end"},
		}, logFlags(&logLevel, &logFormat)...),
		Subcommands:  []*cli.Command{netbootStatusCommand()},
		OnUsageError: onUsageError,
		Action: func(c *cli.Context) error {
			wrong := errors.Join(problems(c.App), noArguments(c), setLog(logLevel, logFormat))
			if file == "" {
				wrong = errors.Join(wrong, errors.New("--config must be given: the file that says which machines boot into which registration"))
			}
			if wrong != nil {
				return usageError{wrong}
			}
			config, err := netboot.Load(file)
			if err != nil {
				return usageError{err}
			}
			if check {
				_, err := fmt.Fprintf(c.App.Writer, "%s: nothing is wrong with it\n", file)
				return err
			}
			warnOfReaders(file)
			return netboot.Run(c.Context, config, logrus.StandardLogger())
		},
	}
}

// warnOfReaders tells of a config that others can read: with its addresses, media can be downloaded until they are used up.
func warnOfReaders(file string) {
	if info, err := os.Stat(file); err == nil && info.Mode().Perm()&0o007 != 0 {
		logrus.Warnf("everybody on this host can read %s, whose addresses are secrets: chmod o= %s", file, file)
	}
}

func netbootStatusCommand() *cli.Command {
	var address, output string
	return &cli.Command{
		Name:  "status",
		Usage: "shows how far each machine has come that the netboot server on this host has met",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "address", EnvVars: []string{"NETBOOT_ADDRESS"}, Destination: &address, Value: netboot.DefaultStatusAddress,
				Usage: "`HOST:PORT` of the running server's status: the statusAddress of its config"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, EnvVars: []string{"NETBOOT_OUTPUT"}, Destination: &output, Value: "table",
				Usage: "table or json"},
		},
		OnUsageError: onUsageError,
		Action: func(c *cli.Context) error {
			wrong := noArguments(c)
			if output != "table" && output != "json" {
				wrong = errors.Join(wrong, fmt.Errorf("--output must be table or json, not %q", output))
			}
			if wrong != nil {
				return usageError{wrong}
			}
			status, err := netboot.ReadStatus(c.Context, address)
			if err != nil {
				return err
			}
			if output == "json" {
				encoder := json.NewEncoder(c.App.Writer)
				encoder.SetIndent("", "  ")
				return encoder.Encode(status)
			}
			return status.Table(c.App.Writer, time.Now())
		},
	}
}
