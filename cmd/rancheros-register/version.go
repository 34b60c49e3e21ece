package main

import (
	"github.com/urfave/cli/v2"

	"github.com/rancher/rancheros-operator/pkg/version"
)

func versionCommand(out *console) *cli.Command {
	return &cli.Command{
		Name:   "version",
		Usage:  "print which build this is",
		Before: noArguments,
		Action: func(*cli.Context) error {
			out.result("%s", version.Get())
			return nil
		},
		OnUsageError: usageError,
	}
}
