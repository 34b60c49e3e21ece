package e2e

import "testing"

// What was released, replaced, revoked, refused or left waiting above costs nothing either.
func Test12UnchangedWorldIsNotWritten(t *testing.T) { requireUnchangedByRestart(t) }
