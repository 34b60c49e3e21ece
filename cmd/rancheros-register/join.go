package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rancher/rancheros-operator/pkg/registration/client"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

const (
	flagServer    = "server"
	flagTokenFile = "token-file"
	flagRole      = "role"
	flagDryRun    = "dry-run"
	flagAgain     = "again"
)

const joinHelp = `Asks Rancher until this machine is assigned to a cluster, then runs Rancher's own install script with the role, labels,
taints and addresses of the machine's inventory. Every other key of the inventory's config is written as a cloud-config that
the OS applies on its next boot. Server and token are those of the configuration that register has written
(rancherd.server, rancherd.token); tpm:// stands for a proof by the TPM.

A machine that has joined does nothing when asked again, unless --again is given.`

func joinCommand(out *console) *cli.Command {
	return &cli.Command{
		Name:        "join",
		Usage:       "wait for a cluster and join it",
		Description: joinHelp,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: flagServer, EnvVars: []string{"RANCHEROS_SERVER"}, Usage: "Rancher's `URL`"},
			&cli.StringFlag{Name: flagTokenFile, EnvVars: []string{"RANCHEROS_TOKEN_FILE"}, TakesFile: true,
				Usage: "`file` with the machine's shared token, for machines without a TPM"},
			&cli.StringFlag{Name: flagRole, EnvVars: []string{"RANCHEROS_ROLE"},
				Usage: "the machine's `role`, in place of its inventory's: server, agent, or words of etcd, control-plane, worker"},
			&cli.BoolFlag{Name: flagDryRun, EnvVars: []string{"RANCHEROS_DRY_RUN"},
				Usage: "print the command, with its secrets, and run nothing"},
			&cli.BoolFlag{Name: flagAgain, EnvVars: []string{"RANCHEROS_AGAIN"}, Usage: "join even if this machine has joined before"},
		}, append(serverFlags(), tpmFlags()...)...),
		Before:       noArguments,
		OnUsageError: usageError,
		Action:       func(c *cli.Context) error { return join(c, out) },
	}
}

// joining is one machine on its way into a cluster.
type joining struct {
	cli      *cli.Context
	out      *console
	store    client.Store
	endpoint client.Endpoint
	token    string
	role     string
}

func join(c *cli.Context, out *console) error {
	if !c.Bool(flagDryRun) && filepath.Clean(c.String(flagRoot)) != "/" {
		return usage("--root needs --dry-run: the install script changes the machine that it runs on")
	}
	return joinAt(c, out)
}

// joinAt joins the machine at whatever root.
func joinAt(c *cli.Context, out *console) error {
	j := &joining{cli: c, out: out, store: client.Store{Root: c.String(flagRoot)}}
	state, err := j.store.LoadState()
	if err == nil && !state.JoinedAt.IsZero() && !c.Bool(flagAgain) && !c.Bool(flagDryRun) {
		out.result("This machine has joined its cluster on %s.", state.JoinedAt.Format(time.DateTime))
		return nil
	}
	if err := j.gather(state); err != nil {
		return err
	}
	var answer *protocol.InventoryAnswer
	if err := j.insist(c.Context, func(ctx context.Context) (err error) {
		answer, err = j.ask(ctx)
		return err
	}); err != nil {
		return err
	}
	if err := j.install(c.Context, answer); err != nil || c.Bool(flagDryRun) {
		return err
	}
	// A machine that shares a secret has not registered, and remembers all the same that it has joined.
	state.Server, state.JoinedAt = serverOf(j.endpoint.URL), time.Now().UTC()
	return j.store.SaveState(state)
}

// insist asks until it is answered, or once.
func (j *joining) insist(ctx context.Context, ask func(context.Context) error) error {
	if j.cli.Bool(flagOnce) {
		return ask(ctx)
	}
	return client.Retry{First: 5 * time.Second, Max: 30 * time.Second, OnFailure: j.out.retrying}.Do(ctx, ask)
}

// gather finds server, token, role and CA: flags win over cloud-configs, those over what registration has left.
func (j *joining) gather(state client.State) error {
	settings, err := readSettings(j.cli, j.out)
	if err != nil {
		return err
	}
	j.token = first(settings.Token, client.TPMToken)
	if path := j.cli.String(flagTokenFile); path != "" {
		token, err := os.ReadFile(path)
		if err != nil || len(strings.TrimSpace(string(token))) == 0 {
			return usage(fmt.Sprintf("--%s: %s cannot be read or is empty", flagTokenFile, path))
		}
		j.token = strings.TrimSpace(string(token))
	}
	j.role = first(j.cli.String(flagRole), settings.Role)
	j.endpoint, err = serverEndpoint(j.cli, settings, j.store, state)
	return err
}

// readSettings says what it skips.
func readSettings(c *cli.Context, out *console) (*client.Settings, error) {
	settings, err := client.ReadSettings(c.String(flagRoot), c.StringSlice(flagConfig))
	if err != nil {
		return nil, err
	}
	for _, warning := range settings.Warnings {
		out.progress("Warning: %s.", warning)
	}
	return settings, nil
}

// serverEndpoint is Rancher's address and how to trust it: flags win over cloud-configs, those over what registration has left.
func serverEndpoint(c *cli.Context, settings *client.Settings, store client.Store, state client.State) (client.Endpoint, error) {
	endpoint := client.Endpoint{AllowHTTP: c.Bool(flagAllowHTTP), URL: first(c.String(flagServer), settings.Server, state.Server)}
	if endpoint.URL == "" {
		return endpoint, &client.Failure{Cause: client.CauseConfig, Message: "no server is given", Hint: "register first, or give --" + flagServer}
	}
	var err error
	if endpoint.CA, err = readCAFile(c); err != nil || endpoint.CA != nil {
		return endpoint, err
	}
	if settings.RegistrationCA != "" {
		endpoint.CA = []byte(settings.RegistrationCA)
		return endpoint, nil
	}
	endpoint.CA, err = store.LoadCA()
	return endpoint, err
}

// ask is one question to the server. A machine that has been told its role and holds a cluster's token has nothing to ask, as with rancherd.
func (j *joining) ask(ctx context.Context) (*protocol.InventoryAnswer, error) {
	endpoint := &j.endpoint
	if len(endpoint.CA) == 0 && j.token != client.TPMToken {
		ca, err := client.CACerts(ctx, *endpoint, j.token)
		if err != nil {
			return nil, err
		}
		endpoint.CA = ca
	}
	if j.role != "" && j.token != client.TPMToken {
		return &protocol.InventoryAnswer{Role: j.role, Token: j.token}, nil
	}
	request := client.InventoryRequest{Endpoint: *endpoint, Token: j.token, Facts: readFacts(j.cli, j.out), Role: j.role}
	if j.token == client.TPMToken {
		prover, err := openTPM(j.cli, j.out)
		if err != nil {
			return nil, err
		}
		defer prover.Close()
		request.Prover = prover
	}
	j.out.progress("Asking %s for this machine's cluster.", hostOf(endpoint.URL))
	return client.Inventory(ctx, request)
}

// install runs Rancher's script, or prints how it would.
func (j *joining) install(ctx context.Context, answer *protocol.InventoryAnswer) error {
	var ca []byte
	if err := j.insist(ctx, func(ctx context.Context) (err error) {
		ca, err = client.TrustedCACerts(ctx, j.endpoint)
		return err
	}); err != nil {
		return err
	}
	arguments, err := client.InstallArguments(j.endpoint, ca, answer)
	if err != nil {
		return err
	}
	environment, err := client.InstallEnvironment(os.Environ(), answer)
	if err != nil {
		return err
	}
	j.out.progress("This machine's cluster is ready for it (role %s).", answer.Role)
	if len(j.endpoint.CA) > 0 && j.cli.String(flagCAFile) == "" {
		// It may have been learnt just now, and the printed command names it.
		if err := j.store.SaveCA(j.endpoint.CA); err != nil {
			return err
		}
	}
	if j.cli.Bool(flagDryRun) {
		if keys := keysOf(answer.Extra); keys != "" {
			j.out.progress("Its cloud-config (%s) would be written to %s.", keys, filepath.Join(j.store.Root, client.InventoryFile))
		}
		j.out.result("%s", j.command(arguments, answer.Token))
		return nil
	}
	var script []byte
	if err := j.insist(ctx, func(ctx context.Context) (err error) {
		script, err = client.InstallScript(ctx, j.endpoint)
		return err
	}); err != nil {
		return err
	}
	config, err := j.store.SaveInventory(answer.Extra)
	if err != nil {
		return err
	}
	j.out.progress("Running Rancher's install script.")
	if err := j.runScript(ctx, script, arguments, environment); err != nil {
		return err
	}
	j.out.result("Joined, with the role %s. The script ended with exit code 0; it was called as", answer.Role)
	j.out.result("    sh system-agent-install.sh %s", client.ShellQuote(arguments))
	j.out.result("with the cluster's token in its environment. What the agent does now: journalctl -u rancher-system-agent")
	if config != "" {
		j.out.result("Its cloud-config (%s) is in %s; the OS applies it on its next boot.", keysOf(answer.Extra), config)
	}
	return nil
}

// keysOf names what a cloud-config is about; its values may be secrets.
func keysOf(config map[string]any) string {
	return protocol.CleanText(strings.Join(slices.Sorted(maps.Keys(config)), ", "))
}

// runScript runs the script from a file of its own, so that its standard input is not itself.
func (j *joining) runScript(ctx context.Context, script []byte, arguments, environment []string) error {
	file, err := os.CreateTemp("", "system-agent-install-*.sh")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(script)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	command := exec.CommandContext(ctx, "sh", append([]string{file.Name()}, arguments...)...)
	command.Stdout, command.Stderr, command.Env = j.out.err, j.out.err, environment
	if err := command.Run(); err != nil {
		return &client.Failure{Cause: client.CauseInstall, Message: fmt.Sprintf("Rancher's install script failed (%v)", err), Err: err,
			Hint: "its own output above says why, and `journalctl -u rancher-system-agent` if it came that far; after that, run join again"}
	}
	return nil
}

// command is what a person would type, the token included.
func (j *joining) command(arguments []string, token string) string {
	fetch := []string{"curl", "-fL"}
	if len(j.endpoint.CA) > 0 {
		fetch = append(fetch, "--cacert", first(j.cli.String(flagCAFile), filepath.Join(j.store.Root, client.CAFile)))
	}
	fetch = append(fetch, serverOf(j.endpoint.URL)+"/system-agent-install.sh")
	return client.ShellQuote(fetch) + " | " + client.ShellQuote(append([]string{"sh", "-s", "-", "--token", token}, arguments...))
}

func first(values ...string) string {
	for _, value := range values {
		if value != "" {
			return value
		}
	}
	return ""
}
