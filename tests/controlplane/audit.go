package main

import "fmt"

// auditPolicy records who did what to which object, for every request by every
// user, so that a test can count the writes of one ServiceAccount.
//
// A request is recorded once, when it is complete (ResponseComplete); a watch
// also when it begins (ResponseStarted).
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages:
- RequestReceived
rules:
- level: Metadata
`

// auditArguments turn on the audit log. Each entry is written before the
// handler of its request returns, not in batches, and the file is not rotated
// (a size of 0), so that a reader finds all of it in one place.
func (p *plane) auditArguments() ([]string, error) {
	if p.options.auditLog == "" {
		return nil, nil
	}
	if err := writeFile(p.layout.auditPolicy, []byte(auditPolicy)); err != nil {
		return nil, fmt.Errorf("writing audit policy: %w", err)
	}
	return []string{
		"--audit-policy-file=" + p.layout.auditPolicy,
		"--audit-log-path=" + p.options.auditLog,
		"--audit-log-format=json",
		"--audit-log-mode=blocking-strict",
		"--audit-log-maxsize=0",
	}, nil
}
