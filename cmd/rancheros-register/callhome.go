package main

import (
	"errors"

	"github.com/urfave/cli/v2"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/pkg/registration/client"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

const callHomeHelp = `Tells Rancher this machine's host name, addresses, and OS image and version, proven by the TPM, and prints whether the
machine still has its place in a cluster. It asks once and changes nothing on the machine; rancheros-call-home.timer runs it
every hour. Server and CA are those of the last registration.

A machine without a TPM, which shares a secret with Rancher, has nothing to report, and a server that is too old takes no reports. Both
are said, and are no failure.`

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
	if settings.Token != "" && settings.Token != client.TPMToken {
		return nothingToReport(out)
	}
	endpoint, err := serverEndpoint(c, settings, store, state)
	if err != nil {
		return err
	}
	prover, err := openTPM(c, out)
	var tpmError *tpm.Error
	if errors.As(err, &tpmError) && tpmError.Cause == tpm.Missing && settings.Token == "" && state.Identity == "" && !state.JoinedAt.IsZero() {
		// It has joined with a secret that was given by --token-file, and is in no cloud-config.
		return nothingToReport(out)
	}
	if err != nil {
		return err
	}
	defer prover.Close()
	out.progress("Reporting to %s.", hostOf(endpoint.URL))
	request := client.InventoryRequest{Endpoint: endpoint, Token: client.TPMToken, Prover: prover}
	assignment, err := client.CallHome(c.Context, request, readFacts(c, out))
	if errors.Is(err, client.ErrServerTooOld) {
		// Every hour of every machine would be a failed unit otherwise, until somebody updates something else.
		out.result("Nothing was reported: %s is too old to be called home. Nothing is wrong with this machine; have the operator updated.", hostOf(endpoint.URL))
		return nil
	}
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

// nothingToReport is no failure: the timer runs on machines without a TPM, too.
func nothingToReport(out *console) error {
	out.result("Nothing to report: this machine shares a secret with Rancher, and only machines with a TPM call home.")
	return nil
}
