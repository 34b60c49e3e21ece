package main

import (
	"github.com/urfave/cli/v2"
)

func tpmHashCommand(out *console) *cli.Command {
	return &cli.Command{
		Name:  "tpm-hash",
		Usage: "print this machine's identity",
		Description: "The SHA-256 of the TPM's endorsement key, as in spec.tpm of a MachineInventory and in the list of keys that a\n" +
			"MachineRegistration admits. It is no secret.",
		Flags:        tpmFlags(),
		Before:       noArguments,
		OnUsageError: usageError,
		Action: func(c *cli.Context) error {
			prover, err := openTPM(c, out)
			if err != nil {
				return err
			}
			defer prover.Close()
			out.result("%s", prover.EndorsementHash())
			return nil
		},
	}
}
