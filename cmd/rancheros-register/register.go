package main

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rancher/rancheros-operator/pkg/machine"
	"github.com/rancher/rancheros-operator/pkg/registration/client"
)

const flagURL = "url"

const registerHelp = `The registration URL and the server's CA come, the later ones winning, from cloud-config files, from the kernel command
line (rancheros.install.registration_url=, rancheros.install.registration_ca_cert=) and from flags. A file looks like what
the registration URL itself prints:

    #cloud-config
    rancheros:
      install:
        registrationURL: https://rancher.example.com/v1-rancheros/registration/<token>
        registrationCaCert: |
          -----BEGIN CERTIFICATE-----
          ...

The server's answer is written to ROOT/` + client.ConfigFile + `, the machine's name to ROOT/` + client.HostnameFile + `.
Without --once, it asks until it is answered. A final no is asked again eight times, over some minutes, before it is believed.`

func registerCommand(out *console) *cli.Command {
	return &cli.Command{
		Name:        "register",
		Usage:       "prove this machine to Rancher and write the cloud-config that it answers with",
		Description: registerHelp,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: flagURL, EnvVars: []string{"RANCHEROS_REGISTRATION_URL"},
				Usage: "the registration `URL`, as in status.registrationURL of a MachineRegistration"},
		}, append(serverFlags(), tpmFlags()...)...),
		Before:       noArguments,
		OnUsageError: usageError,
		Action:       func(c *cli.Context) error { return register(c, out) },
	}
}

func register(c *cli.Context, out *console) error {
	endpoint, err := registrationEndpoint(c, out)
	if err != nil {
		return err
	}
	store := client.Store{Root: c.String(flagRoot)}
	return registerWith(c, out, endpoint, registering{store: store, save: func(answer *client.Answer) error {
		path, err := store.SaveAnswer(answer)
		if err != nil {
			return err
		}
		out.result("Registered. This machine is %s.", nameOr(answer.Hostname))
		out.result("Its configuration is in %s.", path)
		return nil
	}})
}

// registerWith asks until it is answered, or once.
func registerWith(c *cli.Context, out *console, endpoint client.Endpoint, r registering) error {
	var err error
	if r.smbios, err = machine.ReadSMBIOS(c.String(flagRoot)); err != nil {
		out.progress("This machine's firmware tables cannot be read (%v); registering without them.", err)
	}
	attempt := func(ctx context.Context) error { return registerOnce(ctx, c, out, endpoint, r) }
	if c.Bool(flagOnce) {
		return attempt(c.Context)
	}
	return client.Retry{OnFailure: out.retrying}.Do(c.Context, attempt)
}

// registering is what stays the same over all attempts.
type registering struct {
	// store remembers with whom the machine has registered.
	store  client.Store
	smbios map[string]any
	// save gets the answer, before anything is remembered of it.
	save func(*client.Answer) error
}

func registerOnce(ctx context.Context, c *cli.Context, out *console, endpoint client.Endpoint, r registering) error {
	prover, err := openTPM(c, out)
	if err != nil {
		return err
	}
	defer prover.Close()
	state, err := r.store.LoadState()
	switch {
	case err == nil && state.Identity == "":
		// It has joined with a shared secret, and never registered.
	case err == nil && state.Identity != prover.EndorsementHash():
		out.once("This disk was set up on another machine (TPM hash %s); registering this one anew.", state.Identity)
	case err == nil:
		out.once("This machine has registered before, as %s; asking for its current configuration.", nameOr(state.Hostname))
	}
	out.progress("Proving this machine (TPM hash %s) to %s.", prover.EndorsementHash(), hostOf(endpoint.URL))
	answer, err := client.Register(ctx, client.Registration{Endpoint: endpoint, Prover: prover, SMBIOS: r.smbios, Facts: readFacts(c, out)})
	if err != nil {
		return err
	}
	out.clock(answer.Clock)
	if err := r.save(answer); err != nil {
		return err
	}
	if err := r.store.SaveCA(endpoint.CA); err != nil {
		return err
	}
	registered := client.State{
		Identity: prover.EndorsementHash(), Hostname: answer.Hostname, Server: serverOf(endpoint.URL), RegisteredAt: time.Now().UTC(),
	}
	if state.Identity == registered.Identity && (state.Server == registered.Server || state.Server == serverToJoin(answer)) {
		// A machine that asks for its configuration anew is still in its cluster.
		registered.JoinedAt = state.JoinedAt
	}
	return r.store.SaveState(registered)
}

// serverToJoin is where the machine is sent for its cluster, which may have another name than where it registers.
func serverToJoin(answer *client.Answer) string {
	rancherd, _ := answer.Config["rancherd"].(map[string]any)
	server, _ := rancherd["server"].(string)
	return serverOf(server)
}

// readFacts says what it could not find out; a machine without a network is still a machine.
func readFacts(c *cli.Context, out *console) machine.Facts {
	facts, err := machine.ReadFacts(c.String(flagRoot))
	if err != nil {
		out.once("This machine's facts cannot be read in full (%v).", err)
	}
	return facts
}

// registrationEndpoint gathers where to register, and says where it found that.
func registrationEndpoint(c *cli.Context, out *console) (client.Endpoint, error) {
	endpoint := client.Endpoint{AllowHTTP: c.Bool(flagAllowHTTP)}
	settings, err := client.ReadSettings(c.String(flagRoot), c.StringSlice(flagConfig))
	if err != nil {
		return endpoint, err
	}
	for _, warning := range settings.Warnings {
		out.progress("Warning: %s.", warning)
	}
	endpoint.URL, endpoint.CA = settings.RegistrationURL, []byte(settings.RegistrationCA)
	origin := settings.Origins["registrationurl"]
	if given := strings.TrimSpace(c.String(flagURL)); given != "" {
		endpoint.URL, origin = given, "--"+flagURL
	}
	ca, err := readCAFile(c)
	if err != nil {
		return endpoint, err
	}
	if ca != nil {
		endpoint.CA = ca
	}
	if endpoint.URL == "" {
		return endpoint, &client.Failure{Cause: client.CauseConfig, Message: "no registration URL is given",
			Hint: "give --" + flagURL + ", a cloud-config with rancheros.install.registrationURL, or rancheros.install.registration_url= on the kernel command line"}
	}
	if _, err := endpoint.ParseRegistrationURL(); err != nil {
		return endpoint, err
	}
	out.progress("The registration URL comes from %s; its server is %s, trusted by %s.", origin, hostOf(endpoint.URL), trustOf(endpoint))
	return endpoint, nil
}

func trustOf(endpoint client.Endpoint) string {
	if len(endpoint.CA) > 0 {
		return "the given CA"
	}
	return "the system's CAs"
}

// hostOf is how a URL is shown: its path may be a token.
func hostOf(address string) string {
	parsed, err := url.Parse(address)
	if err != nil {
		return "the server"
	}
	return parsed.Host
}

func serverOf(address string) string {
	parsed, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return parsed.Scheme + "://" + parsed.Host
}

func nameOr(hostname string) string {
	if hostname == "" {
		return "a machine without a name"
	}
	return hostname
}
