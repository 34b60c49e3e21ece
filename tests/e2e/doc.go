// Package e2e holds the end-to-end tests: numbered scenarios against a real API server, with the operator's own binary,
// built with the race detector and with client-go's detector of writes to the caches switched on, under exactly the
// rights that the chart grants.
//
// All scenarios share one harness.World and run in the order of their numbers. Each keeps to names of its own, so that
// any of them can be run alone: `go test ./tests/e2e -run Test03`. `make test` builds the programs that they need.
//
// When all have run, the operator must end cleanly, and its log must hold neither a panic nor a secret.
package e2e
