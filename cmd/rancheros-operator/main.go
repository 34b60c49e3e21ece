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

	"github.com/rancher/rancheros-operator/pkg/version"
)

// usageError is a wrong call, as opposed to a failure.
type usageError struct{ error }

func main() {
	os.Exit(run(os.Args))
}

// run returns the exit code.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	app := newApp()
	trimEnvironment(app)
	if err := app.RunContext(ctx, args); err != nil {
		fmt.Fprintln(os.Stderr, "rancheros-operator:", err)
		var usage usageError
		if errors.As(err, &usage) {
			return 2
		}
		return 1
	}
	return 0
}

// trimEnvironment takes off what files and charts leave around a value, such as a newline; what is empty then is as not set.
// None of our variables holds a secret, whose every byte would count.
func trimEnvironment(app *cli.App) {
	for _, command := range app.Commands {
		for _, flag := range command.Flags {
			documented, ok := flag.(cli.DocGenerationFlag)
			if !ok {
				continue
			}
			for _, name := range documented.GetEnvVars() {
				if value := strings.TrimSpace(os.Getenv(name)); value != "" {
					_ = os.Setenv(name, value)
				} else {
					_ = os.Unsetenv(name)
				}
			}
		}
	}
}

func newApp() *cli.App {
	return &cli.App{
		Name:            "rancheros-operator",
		Usage:           "registers machines, joins them to clusters and upgrades the OS of their nodes",
		Version:         version.Get().String(),
		HideHelpCommand: true,
		Commands:        []*cli.Command{runCommand(), netbootCommand(), versionCommand()},
		OnUsageError: func(_ *cli.Context, err error, _ bool) error {
			return usageError{err}
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usageError{fmt.Errorf("there is no command %q; see --help", c.Args().First())}
			}
			return cli.ShowAppHelp(c)
		},
		// main decides on the exit code.
		ExitErrHandler: func(*cli.Context, error) {},
	}
}
