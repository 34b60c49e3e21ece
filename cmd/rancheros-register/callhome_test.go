package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/media/iso"
	"github.com/rancher/rancheros-operator/pkg/registration/client"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	pretend "github.com/rancher/rancheros-operator/tests/machine"
)

// A registered machine reports what it is, and is told what became of its place; no secret is asked for, printed or kept.
func TestCallHome(t *testing.T) {
	server, caFile := newServer(t, pretend.Script{V2: true, Inventory: []byte(assigned)})
	machine := newMachine(t, "")
	result := runHere(t, machine, "call-home")
	require.Equal(t, exitConfig, result.ExitCode, "a machine that has not registered")
	require.Contains(t, result.Stderr, "register first")

	require.Zero(t, runHere(t, machine, "register", "--once", "--url", server.RegistrationURL(), "--ca-file", caFile).ExitCode)
	require.Equal(t, "Pretend RancherOS v0.1.0", server.Asked()[0].Report.Facts.OSImage)
	for state, want := range map[protocol.AssignmentState]string{
		protocol.StateAssigned: "is assigned to a cluster", protocol.StateReleased: "was released", protocol.StateNotAssigned: "not assigned",
	} {
		server.Set(func(s *pretend.Script) { s.State = state })
		result = runHere(t, machine, "call-home")
		require.Zero(t, result.ExitCode, result.Stderr)
		require.Contains(t, result.Stdout, want)
		require.NotContains(t, result.Stdout+result.Stderr, clusterToken)
	}
	asked := server.Asked()[1]
	require.Equal(t, protocol.PathInventory, asked.Path)
	require.True(t, asked.Report.CallHome)
	require.Equal(t, "m-dell-1", asked.Report.Facts.Hostname)
	require.Equal(t, "v0.1.0", asked.Report.Facts.OSVersion)
	require.Empty(t, asked.SMBIOS, "the firmware does not change every hour")

	server.Set(func(s *pretend.Script) {
		s.Refusal = &protocol.Error{Code: protocol.CodePending, Message: "not approved", RetryAfter: time.Minute}
	})
	result = runHere(t, machine, "call-home")
	require.Equal(t, exitNotYet, result.ExitCode, "the unit takes it for no failure")
	server.Set(func(s *pretend.Script) { s.Refusal = &protocol.Error{Code: protocol.CodeRevoked, Message: "replaced"} })
	require.Equal(t, exitRefused, runHere(t, machine, "call-home").ExitCode, "a no is a failure")
	server.Set(func(s *pretend.Script) { s.Refusal, s.V2 = nil, false })
	result = runHere(t, machine, "call-home")
	require.Zero(t, result.ExitCode, "the server's age is no failure of this machine: %s", result.Stderr)
	require.Contains(t, result.Stdout, "too old to be called home")
}

// A machine that shares a secret has nothing to report, and its timer nothing to complain of.
func TestCallHomeWithoutTPM(t *testing.T) {
	machine := newMachine(t, "")
	require.NoError(t, machine.WriteFile("oem/rancherd.yaml", "rancherd:\n  server: https://127.0.0.1:1\n  token: "+sharedToken+"\n"))
	result := runHere(t, machine, "call-home")
	require.Zero(t, result.ExitCode, result.Stderr)
	require.Equal(t, "Nothing to report: this machine shares a secret with Rancher, and only machines with a TPM call home.\n", result.Stdout)
	require.NotContains(t, result.Stderr, sharedToken)

	// --token-file leaves no token behind, but that the machine has joined without an identity.
	joined := client.State{Server: "https://127.0.0.1:1", JoinedAt: time.Now()}
	registered := client.State{Server: joined.Server, Identity: "a TPM's", JoinedAt: joined.JoinedAt}
	for _, c := range []struct {
		why, config string
		state       client.State
		want        int
	}{
		{"joined, and never had a TPM", "", joined, exitOK},
		{"a TPM that is gone", "", registered, exitTPMMissing},
		{"a TPM that is asked for", "rancherd:\n  token: tpm://\n", joined, exitTPMMissing},
	} {
		machine := newMachine(t, "")
		require.NoError(t, machine.WriteFile("oem/rancherd.yaml", c.config))
		require.NoError(t, client.Store{Root: machine.Root}.SaveState(c.state))
		result := runHere(t, nil, "call-home", "--root", machine.Root, "--tpm-device", "/nowhere")
		require.Equal(t, c.want, result.ExitCode, "%s: %s", c.why, result.Stderr)
	}
}

// What a person at the machine reads.
func TestConsole(t *testing.T) {
	server, caFile := newServer(t, pretend.Script{V2: true})
	args := []string{"register", "--once", "--url", server.RegistrationURL(), "--ca-file", caFile}
	for _, c := range []struct {
		why  string
		say  func(*pretend.Script)
		code int
		want []string
	}{
		{"pending approval", func(s *pretend.Script) {
			s.Refusal = &protocol.Error{Code: protocol.CodePending, Message: "machine m-dell-1 is not approved", Hint: "compare its TPM hash"}
		}, exitNotYet, []string{"Waiting for approval by an administrator: machine m-dell-1 is not approved.", "What to do: compare its TPM hash."}},
		{"a final no, with the reason and the hint", func(s *pretend.Script) {
			s.Refusal = &protocol.Error{Code: protocol.CodeForbidden, Message: "this machine is not listed", Hint: "list it"}
		}, exitRefused, []string{"says: this machine is not listed.", "What to do: list it."}},
		{"a final no without a hint: ours", func(s *pretend.Script) {
			s.Refusal = &protocol.Error{Code: protocol.CodeForbidden, Message: "no"}
		}, exitRefused, []string{"rancheros-register tpm-hash"}},
		{"later", func(s *pretend.Script) {
			s.Refusal = &protocol.Error{Code: protocol.CodeUnavailable, Message: "the machine could not be saved"}
		}, exitNotYet, []string{"Waiting: ", "could not be saved"}},
		{"a clock that is slow", func(s *pretend.Script) { s.Refusal, s.Date = nil, time.Now().Add(3*time.Hour) },
			exitOK, []string{"Warning: this machine's clock is 3 hours behind the server's"}},
		{"a clock that is fast, beside a refusal over HTTP", func(s *pretend.Script) {
			s.Refuse = &protocol.Error{Code: protocol.CodeNotFound, Message: "not found"}
			s.Date = time.Now().AddDate(-1, 0, 0)
		}, exitRefused, []string{"not found", "Warning: this machine's clock is 36", "days ahead of the server's"}},
	} {
		server.Set(c.say)
		result := runHere(t, newMachine(t, ""), args...)
		require.Equal(t, c.code, result.ExitCode, "%s: %s", c.why, result.Stderr)
		for _, want := range c.want {
			require.Contains(t, result.Stderr, want, c.why)
		}
	}
}

// The units name what there is: the command, the state file, the exit code.
func TestSystemdUnits(t *testing.T) {
	service, err := os.ReadFile("systemd/rancheros-call-home.service")
	require.NoError(t, err)
	for _, line := range []string{"ExecStart=/usr/bin/rancheros-register call-home", "ConditionPathExists=|/var/lib/rancheros/register.json", "ConditionPathExists=|/oem/99_rancheros.yaml", "SuccessExitStatus=14", "Type=oneshot"} {
		require.Contains(t, strings.Split(string(service), "\n"), line)
	}
	timer, err := os.ReadFile("systemd/rancheros-call-home.timer")
	require.NoError(t, err)
	require.Contains(t, string(timer), "OnUnitActiveSec=1h\nRandomizedDelaySec=")

	live, err := os.ReadFile("systemd/rancheros-install.service")
	require.NoError(t, err)
	for _, line := range []string{"ExecStart=/usr/bin/rancheros-register install", "ConditionPathExists=|/" + seedFile, "ConditionPathExists=|" + iso.SeedPath, "TimeoutStartSec=infinity",
		fmt.Sprintf("RestartPreventExitStatus=%d", exitInstalled)} {
		require.Contains(t, strings.Split(string(live), "\n"), line)
	}
}
