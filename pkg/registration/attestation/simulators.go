package attestation

import (
	_ "embed"
	"strings"
)

// simulatorDigits of each hash are listed.
const simulatorDigits = 16

// simulators are the endorsement keys of the reference TPM under small fixed seeds, sorted, one to a line: the first digits
// of their hashes. tests/tpmsimulator/seeds prints them.
//
//go:embed simulators.txt
var simulators string

// KnownSimulator tells whether the endorsement key of that hash is one that everybody can have, by starting the reference
// TPM with a small seed.
func KnownSimulator(hash string) bool {
	return len(hash) > simulatorDigits && strings.Contains(simulators, hash[:simulatorDigits]+"\n")
}
