// Command rancheros-operator runs in Rancher's cluster: it registers machines, joins them to clusters, and upgrades the
// OS of their nodes. One file per subcommand, and nothing in them but flags; package operator does the work.
//
// Exit codes: 0 stopped as asked, 1 failed, 2 called wrongly.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/rancher/rancheros-operator/pkg/commandline"
	"github.com/rancher/rancheros-operator/pkg/version"
)

// usageError is a wrong call, as opposed to a failure.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func main() {
	os.Exit(run(os.Args))
}

// run returns the exit code.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	// A terminal that closes and a reader of the log that dies are no reason to end.
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	app := newApp()
	err := examine(app, &args)
	if err == nil {
		err = app.RunContext(ctx, args)
	}
	return report(app, err)
}

// report prints each problem on a line of its own, and returns the exit code.
func report(app *cli.App, err error) int {
	if err == nil {
		return 0
	}
	if errors.Is(err, errProblem) {
		return 1
	}
	for _, problem := range flatten(err) {
		fmt.Fprintln(os.Stderr, app.Name+":", callOf(app).Name(strings.Join(strings.Fields(problem.Error()), " ")))
	}
	var usage usageError
	if errors.As(err, &usage) {
		return 2
	}
	return 1
}

// flatten takes what was joined apart again.
func flatten(err error) []error {
	var usage usageError
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, err := range joined.Unwrap() {
			all = append(all, flatten(err)...)
		}
		return all
	}
	if errors.As(err, &usage) && usage.error != err { //nolint:errorlint // the same error, not one like it
		return flatten(usage.error)
	}
	return []error{err}
}

// Commands that check more than the command line itself report its problems together with theirs.
var checksMore = map[string]bool{"run": true, "netboot": true, "check": true, "support-bundle": true}

// examine reads the command line of whichever command is called, and leaves of it what the app can read.
func examine(app *cli.App, args *[]string) error {
	commands, at := app.Commands, 1
	var command *cli.Command
	for at < len(*args) {
		next := named(commands, (*args)[at])
		if next == nil {
			break
		}
		command, commands = next, next.Subcommands
		at++
	}
	if command == nil {
		return nil
	}
	call := commandline.Examine(command.Flags, (*args)[at:])
	app.Metadata[callKey] = call
	*args = append(append([]string{}, (*args)[:at]...), call.Args...)
	if checksMore[command.Name] {
		return nil
	}
	return problems(app)
}

func named(commands []*cli.Command, name string) *cli.Command {
	for _, command := range commands {
		if command.HasName(name) {
			return command
		}
	}
	return nil
}

// callKey is where the app carries its commandline.Call.
const callKey = "call"

func callOf(app *cli.App) commandline.Call {
	call, _ := app.Metadata[callKey].(commandline.Call)
	return call
}

// problems are those of the command line itself.
func problems(app *cli.App) error {
	var errs []error
	for _, problem := range callOf(app).Problems {
		errs = append(errs, usageError{errors.New(problem)})
	}
	return errors.Join(errs...)
}

// noArguments is for commands that take flags only.
func noArguments(c *cli.Context) error {
	if c.Args().Present() {
		return usageError{fmt.Errorf("there is nothing to do with %q: %s takes flags only", c.Args().First(), c.Command.Name)}
	}
	return nil
}

func onUsageError(_ *cli.Context, err error, _ bool) error {
	return usageError{err}
}

func newApp() *cli.App {
	return &cli.App{
		Name:            "rancheros-operator",
		Usage:           "registers machines, joins them to clusters and upgrades the OS of their nodes",
		Description:     "Exit codes: 0 stopped as asked, 1 failed or found a problem, 2 called wrongly.",
		Version:         version.Get().String(),
		HideHelpCommand: true,
		Commands:        []*cli.Command{runCommand(), netbootCommand(), checkCommand(), supportBundleCommand(), versionCommand()},
		Metadata:        map[string]any{},
		OnUsageError:    onUsageError,
		Action: func(c *cli.Context) error {
			if !c.Args().Present() {
				return cli.ShowAppHelp(c)
			}
			name := c.Args().First()
			message := fmt.Sprintf("there is no command %q; see --help", name)
			if suggestion := cli.SuggestCommand(c.App.Commands, name); suggestion != "" {
				message += ". " + suggestion
			}
			return usageError{errors.New(message)}
		},
		// main decides on the exit code.
		ExitErrHandler: func(*cli.Context, error) {},
	}
}
