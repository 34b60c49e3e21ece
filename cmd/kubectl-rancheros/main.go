// Command kubectl-rancheros is a plugin of kubectl, found by it when it is in the PATH: `kubectl rancheros why machine/<name>`
// explains in a paragraph what an object is at, why, and what to do. It reads with the rights of whoever calls it, and writes
// nothing.
//
// Exit codes: 0 done, 1 failed, 2 called wrongly.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rancher/rancheros-operator/pkg/commandline"
	"github.com/rancher/rancheros-operator/pkg/diagnosis/why"
	"github.com/rancher/rancheros-operator/pkg/version"
)

// errUsage is a wrong call, as opposed to a failure.
var errUsage = errors.New("called wrongly")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program but for the process around it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	app := newApp(stdout, stderr)
	args, err := examine(app, args)
	if err == nil {
		err = app.RunContext(ctx, args)
	}
	if err == nil {
		return 0
	}
	for _, line := range strings.Split(err.Error(), "\n") {
		if line != errUsage.Error() {
			fmt.Fprintln(stderr, "kubectl rancheros:", line)
		}
	}
	if errors.Is(err, errUsage) {
		return 2
	}
	return 1
}

// examine finds all that is wrong with the flags at once, and lets them stand behind what is to be explained.
func examine(app *cli.App, args []string) ([]string, error) {
	for _, command := range app.Commands {
		if len(args) < 2 || !command.HasName(args[1]) {
			continue
		}
		call := commandline.Examine(command.Flags, args[2:])
		var errs []error
		for _, problem := range call.Problems {
			errs = append(errs, wrong("%s", problem))
		}
		return append([]string{args[0], args[1]}, call.Args...), errors.Join(errs...)
	}
	return args, nil
}

func wrong(format string, args ...any) error {
	return errors.Join(errUsage, fmt.Errorf(format, args...))
}

func newApp(stdout, stderr io.Writer) *cli.App {
	return &cli.App{
		Name: "kubectl rancheros", Usage: "explains machines and rollouts", HideVersion: true, HideHelpCommand: true,
		Writer: stdout, ErrWriter: stderr,
		Commands: []*cli.Command{whyCommand(), {
			Name: "version", Usage: "prints the version",
			Action: func(c *cli.Context) error {
				_, err := fmt.Fprintln(c.App.Writer, version.Get().String())
				return err
			},
		}},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return wrong("there is no command %q; see --help", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
		OnUsageError:   func(_ *cli.Context, err error, _ bool) error { return errors.Join(errUsage, err) },
		ExitErrHandler: func(*cli.Context, error) {},
	}
}

const whyHelp = `Explains in a paragraph what the object is at and why, from its conditions and events and from those around it: a machine's
registration, cluster and token; a rollout's Bundle, clusters and nodes. Kinds may be called by their short names:

    kubectl rancheros why machine/m-dell-1 -n fleet-default
    kubectl rancheros why mosimage/upgrade`

// target are the flags that kubectl itself has.
type target struct{ kubeconfig, context, namespace string }

func whyCommand() *cli.Command {
	var to target
	return &cli.Command{
		Name: "why", Usage: "explains one object: why KIND/NAME", ArgsUsage: "KIND/NAME", Description: whyHelp,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "namespace", Aliases: []string{"n"}, EnvVars: []string{"KUBECTL_RANCHEROS_NAMESPACE"}, Destination: &to.namespace,
				Usage: "the object's `NAMESPACE`; without it, that of the context"},
			&cli.StringFlag{Name: "kubeconfig", EnvVars: []string{"KUBECTL_RANCHEROS_KUBECONFIG"}, Destination: &to.kubeconfig,
				Usage: "`FILE` to reach the API server with; without it, what kubectl would take: KUBECONFIG, or ~/.kube/config"},
			&cli.StringFlag{Name: "context", EnvVars: []string{"KUBECTL_RANCHEROS_CONTEXT"}, Destination: &to.context,
				Usage: "`NAME` of the context to use of that file"},
		},
		Action: func(c *cli.Context) error { return explain(c, to) },
	}
}

func explain(c *cli.Context, to target) error {
	kind, name, err := object(c.Args().Slice())
	if err != nil {
		return err
	}
	if _, _, err := why.Resource(kind); err != nil {
		return wrong("%w", err)
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = to.kubeconfig
	loaded := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: to.context})
	config, err := loaded.ClientConfig()
	if err != nil {
		return fmt.Errorf("reading kubeconfig: %w", err)
	}
	if to.namespace == "" {
		if to.namespace, _, err = loaded.Namespace(); err != nil {
			return fmt.Errorf("reading kubeconfig: %w", err)
		}
	}
	facts, err := why.Gather(c.Context, config, kind, to.namespace, name)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.App.Writer, why.Explain(facts))
	return err
}

// object takes KIND/NAME, and KIND NAME as kubectl does.
func object(args []string) (kind, name string, err error) {
	switch len(args) {
	case 1:
		kind, name, _ = strings.Cut(args[0], "/")
	case 2:
		kind, name = args[0], args[1]
	}
	if kind == "" || name == "" || strings.Contains(name, "/") {
		return "", "", wrong("give one object to explain, such as machine/m-dell-1, not %q", strings.Join(args, " "))
	}
	return kind, name, nil
}
