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

	"github.com/rancher/rancheros-operator/pkg/commandline"
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
	app := newApp(out)
	args, wrong := examine(app, args)
	for _, err := range wrong {
		out.failure(err)
	}
	if len(wrong) > 0 {
		return exitCode(wrong[0])
	}
	err := app.RunContext(ctx, args)
	if err != nil {
		out.failure(err)
	}
	return exitCode(err)
}

func newApp(out *console) *cli.App {
	return &cli.App{
		Name:        "rancheros-register",
		Usage:       "register this machine with Rancher, install it, and join its cluster",
		Version:     version.Get().String(),
		HideVersion: true,
		Suggest:     true,
		Description: exitCodeHelp,
		Writer:      out.out,
		ErrWriter:   out.err,
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
}

// examine finds all that is wrong with the command line before the first of it ends the program.
func examine(app *cli.App, args []string) (readable []string, wrong []error) {
	for _, command := range app.Commands {
		if len(args) < 2 || !command.HasName(args[1]) {
			continue
		}
		call := commandline.Examine(command.Flags, args[2:])
		for _, problem := range call.Problems {
			wrong = append(wrong, usage(problem))
		}
		return append([]string{args[0], args[1]}, call.Args...), wrong
	}
	return args, nil
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
