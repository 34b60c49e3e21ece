package attestation

import (
	_ "embed"
	"sort"
	"strings"
)

// Each line of the list is so many digits of a hash, and a line feed.
const (
	simulatorDigits = 16
	simulatorLine   = simulatorDigits + 1
)

// simulators are the endorsement keys of the reference TPM under small fixed seeds, sorted, one to a line: the first digits
// of their hashes. tests/tpmsimulator/seeds prints them.
//
//go:embed simulators.txt
var simulators string

// KnownSimulator tells whether the endorsement key of that hash is one that everybody can have, by starting the reference
// TPM with a small seed.
func KnownSimulator(hash string) bool {
	if len(hash) <= simulatorDigits {
		return false
	}
	_, found := sort.Find(len(simulators)/simulatorLine, func(line int) int {
		return strings.Compare(hash[:simulatorDigits], simulators[line*simulatorLine:][:simulatorDigits])
	})
	return found
}
