package main

import (
	"errors"

	"github.com/urfave/cli/v2"

	"github.com/rancher/rancheros-operator/pkg/registration/client"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

const callHomeHelp = `Tells Rancher this machine's host name, addresses, and OS image and version, proven by the TPM, and prints whether the
machine still has its place in a cluster. It asks once and changes nothing on the machine; rancheros-call-home.timer runs it
every hour. Server and CA are those of the last registration.`

func callHomeCommand(out *console) *cli.Command {
	return &cli.Command{
		Name:        "call-home",
		Usage:       "report this machine's facts to Rancher, once",
		Description: callHomeHelp,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: flagServer, EnvVars: []string{"RANCHEROS_SERVER"}, Usage: "Rancher's `URL`"},
		}, append(serverFlags(), tpmFlags()...)...),
		Before:       noArguments,
		OnUsageError: usageError,
		Action:       func(c *cli.Context) error { return callHome(c, out) },
	}
}

func callHome(c *cli.Context, out *console) error {
	store := client.Store{Root: c.String(flagRoot)}
	state, err := store.LoadState()
	if err != nil && !errors.Is(err, client.ErrNoState) {
		return err
	}
	settings, err := readSettings(c, out)
	if err != nil {
		return err
	}
	endpoint, err := serverEndpoint(c, settings, store, state)
	if err != nil {
		return err
	}
	request := client.InventoryRequest{Endpoint: endpoint, Token: first(settings.Token, client.TPMToken)}
	if request.Token == client.TPMToken {
		if request.Prover, err = openTPM(c, out); err != nil {
			return err
		}
		defer request.Prover.Close()
	}
	out.progress("Reporting to %s.", hostOf(endpoint.URL))
	assignment, err := client.CallHome(c.Context, request, readFacts(c, out))
	if err != nil {
		return err
	}
	switch assignment.State {
	case protocol.StateAssigned:
		out.result("Reported. This machine is assigned to a cluster.")
	case protocol.StateReleased:
		out.result("Reported. This machine was released from its cluster.")
		out.progress("What to do: nothing, or wipe it. When it is assigned to a cluster again, run `rancheros-register join --again`.")
	default:
		out.result("Reported. This machine is not assigned to a cluster.")
	}
	return nil
}
