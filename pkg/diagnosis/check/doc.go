// Package check reads a cluster as the operator would, with whatever rights it is called with, and says in plain words what is
// missing. It writes nothing, and never reads the content of a Secret.
//
//	check.go    the list of checks, and what they work with
//	finding.go  what they find, for people and as JSON
//	kinds.go    our kinds, of this version, and the policies that guard them
//	rancher.go  Rancher's settings and its tunnel
//	fleet.go    Fleet, and system-upgrade-controller as far as it can be seen from here
//	rights.go   our own rights, against those that the chart grants
//	operator.go who leads, and where media are kept
package check
