package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/rancher/rancheros-operator/pkg/version"
)

func versionCommand() *cli.Command {
	var format string
	return &cli.Command{
		Name:         "version",
		Usage:        "prints the version",
		Flags:        []cli.Flag{outputFlag(&format)},
		OnUsageError: onUsageError,
		Action: func(c *cli.Context) error {
			if err := errors.Join(noArguments(c), knownOutput(format)); err != nil {
				return err
			}
			if format == "json" {
				return json.NewEncoder(c.App.Writer).Encode(version.Get())
			}
			_, err := fmt.Fprintln(c.App.Writer, version.Get().String())
			return err
		},
	}
}
