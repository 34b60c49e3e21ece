package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/rancher/rancheros-operator/pkg/diagnosis/check"
	"github.com/rancher/rancheros-operator/pkg/operator"
)

const checkHelp = `Reads the cluster as the operator would, and prints one line for each finding: ok, warning, problem, or skipped for what
cannot be seen with the rights that it is run with. It writes nothing there and reads no Secret's content.

In the operator's pod it has the operator's rights:
    kubectl exec -n cattle-rancheros-operator-system deploy/rancheros-operator -- rancheros-operator check
Elsewhere give --kubeconfig; as an administrator it sees more, and --impersonate shows what the operator sees.

Exit codes: 0 no problem, 1 a problem, 2 called wrongly. Warnings do not count.`

// diagnosis is what check and support-bundle share.
type diagnosis struct {
	options operator.Options
	// impersonate is whose rights to look with; empty for one's own.
	impersonate string
	check       check.Options
}

func (d *diagnosis) flags() []cli.Flag {
	return append(kubeFlags(&d.options),
		&cli.StringFlag{Name: "impersonate", EnvVars: []string{"RANCHEROS_IMPERSONATE"}, Destination: &d.impersonate,
			Usage: "`USER` whose rights to look with, such as system:serviceaccount:cattle-rancheros-operator-system:rancheros-operator"},
		&cli.StringFlag{Name: "tunnel-secret-namespace", EnvVars: []string{"TUNNEL_SECRET_NAMESPACE"}, Destination: &d.check.TunnelSecretNamespace,
			Value: "cattle-rancheros-operator-system", Usage: "`NAMESPACE` of the Secret that Rancher fills for our APIService"},
		&cli.StringFlag{Name: "tunnel-secret-name", EnvVars: []string{"TUNNEL_SECRET_NAME"}, Destination: &d.check.TunnelSecretName,
			Value: "rancheros-operator-tunnel", Usage: "`NAME` of that Secret"},
		&cli.StringFlag{Name: "media-dir", EnvVars: []string{"MEDIA_DIR"}, Destination: &d.check.MediaDir,
			Usage: "`FOLDER` of base media, to be looked at where the operator runs"},
	)
}

// wrong is all that is wrong with the call.
func (d *diagnosis) wrong(c *cli.Context) error {
	d.check.Namespace = d.options.Namespace
	if err := errors.Join(problems(c.App), noArguments(c), d.options.ValidateConnection()); err != nil {
		return usageError{err}
	}
	return nil
}

func outputFlag(format *string) cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, EnvVars: []string{"RANCHEROS_OUTPUT"}, Destination: format, Value: "text",
		Usage: "`FORMAT` of what is printed, text or json"}
}

func knownOutput(format string) error {
	if !slices.Contains([]string{"text", "json"}, format) {
		return usageError{fmt.Errorf("--output must be text or json, not %q", format)}
	}
	return nil
}

// errProblem makes the exit code; what the problem is has been printed.
var errProblem = errors.New("there is a problem")

func checkCommand() *cli.Command {
	var d diagnosis
	var format string
	return &cli.Command{
		Name:         "check",
		Usage:        "says in plain words what the cluster lacks for the operator to work",
		Description:  checkHelp,
		Flags:        append(d.flags(), outputFlag(&format)),
		OnUsageError: onUsageError,
		Action: func(c *cli.Context) error {
			if err := errors.Join(d.wrong(c), knownOutput(format)); err != nil {
				return err
			}
			config, err := d.options.RESTConfig()
			if err != nil {
				return err
			}
			check.Impersonate(config, d.impersonate)
			report, err := check.Run(c.Context, config, d.check)
			if err != nil {
				return err
			}
			write := report.Text
			if format == "json" {
				write = report.JSON
			}
			if err := write(c.App.Writer); err != nil {
				return err
			}
			if report.Failed() {
				return errProblem
			}
			return nil
		},
	}
}
