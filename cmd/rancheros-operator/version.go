package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/rancher/rancheros-operator/pkg/version"
)

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "prints the version",
		Action: func(c *cli.Context) error {
			_, err := fmt.Fprintln(c.App.Writer, version.Get().String())
			return err
		},
	}
}
