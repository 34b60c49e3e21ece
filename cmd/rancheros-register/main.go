package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/rancher/rancheros-operator/pkg/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the program at once.
	context.AfterFunc(ctx, stop)
	code := run(ctx, os.Args, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program but for the process around it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	out := &console{out: stdout, err: stderr}
	app := &cli.App{
		Name:        "rancheros-register",
		Usage:       "register this machine with Rancher, install it, and join its cluster",
		Version:     version.Get().String(),
		HideVersion: true,
		Suggest:     true,
		Description: exitCodeHelp,
		Writer:      stdout,
		ErrWriter:   stderr,
		Commands:    []*cli.Command{registerCommand(out), installCommand(out), joinCommand(out), callHomeCommand(out), tpmHashCommand(out), versionCommand(out)},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return unknownCommand(c)
			}
			return cli.ShowAppHelp(c)
		},
		OnUsageError: usageError,
		// The exit code is this function's to choose.
		ExitErrHandler: func(*cli.Context, error) {},
	}
	err := app.RunContext(ctx, args)
	if err != nil {
		out.failure(err)
	}
	return exitCode(err)
}

func usageError(_ *cli.Context, err error, _ bool) error {
	return usage(err.Error())
}

func unknownCommand(c *cli.Context) error {
	name := c.Args().First()
	message := fmt.Sprintf("there is no command %q", name)
	if suggestion := cli.SuggestCommand(c.App.Commands, name); suggestion != "" {
		message += "; " + strings.ToLower(suggestion[:1]) + suggestion[1:]
	}
	return usage(message)
}

// noArguments is for commands that take flags only.
func noArguments(c *cli.Context) error {
	if c.Args().Present() {
		return usage(fmt.Sprintf("%s takes no argument, but got %q", c.Command.Name, c.Args().First()))
	}
	return nil
}
