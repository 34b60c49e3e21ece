package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"

	"github.com/rancher/rancheros-operator/pkg/registration/client"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	pretend "github.com/rancher/rancheros-operator/tests/machine"
)

// recorder is an install script that writes down how it was called, and ends as it is told.
const recorder = `#!/bin/sh
{ printf '<%s>' "$@"; echo; env | grep '^CATTLE_' | sort; } > "$RECORD"
echo "the script speaks"
exit "$SCRIPT_ENDS"
`

// joinHere joins for real, but for the root: the script is a pretend one and changes nothing.
func joinHere(t *testing.T, machine *pretend.Machine, args ...string) pretend.Result {
	t.Helper()
	var stdout, stderr strings.Builder
	out := &console{out: &stdout, err: &stderr}
	command := joinCommand(out)
	command.Action = func(c *cli.Context) error { return joinAt(c, out) }
	app := &cli.App{Commands: []*cli.Command{command}, Writer: &stdout, ErrWriter: &stderr, ExitErrHandler: func(*cli.Context, error) {}}
	err := app.RunContext(t.Context(), append([]string{"rancheros-register", "join", "--once", "--root", machine.Root, "--emulate-tpm"}, args...))
	if err != nil {
		out.failure(err)
	}
	return pretend.Result{Stdout: stdout.String(), Stderr: stderr.String(), ExitCode: exitCode(err)}
}

// The whole join: what the script is told, what is said of it, and that no secret is.
func TestJoin(t *testing.T) {
	record := filepath.Join(t.TempDir(), "record")
	t.Setenv("RECORD", record)
	t.Setenv("SCRIPT_ENDS", "0")
	t.Setenv("CATTLE_ROLE_ETCD", "true")
	t.Setenv("CATTLE_AGENT_VAR_DIR", "/somewhere")
	server, caFile := newServer(t, pretend.Script{CACerts: "ca", InstallScript: recorder})
	machine := newMachine(t, "")
	require.Zero(t, runHere(t, machine, "register", "--once", "--url", server.RegistrationURL(), "--ca-file", caFile).ExitCode)
	server.Set(func(s *pretend.Script) {
		s.Inventory = []byte(`{"role":"control-plane,worker","nodeName":"n1","address":"192.0.2.7","internalAddress":"2001:db8::7","labels":["a=b","z="],
			"taints":["k=v:NoSchedule","l=:NoExecute"],"token":"` + clusterToken + `","users":[{"name":"root","passwd":"` + secretPassword + `"}],"motd":"hi"}`)
	})

	told := joinHere(t, machine, "--dry-run")
	require.Zero(t, told.ExitCode, told.Stderr)
	require.Contains(t, told.Stderr, "Its cloud-config (motd, users) would be written to")
	require.NoFileExists(t, record)
	require.NoFileExists(t, filepath.Join(machine.Root, client.InventoryFile))

	const arguments = "--ca-checksum 314a01b67979d4ecc6667666046246e726d9848903e33d0e63fab1165aea9d94 --controlplane --worker --label a=b --label z= " +
		"--taints k=v:NoSchedule --taints l=:NoExecute --address 192.0.2.7 --internal-address 2001:db8::7 --node-name n1"
	joined := joinHere(t, machine)
	require.Zero(t, joined.ExitCode, joined.Stderr)
	recorded, err := os.ReadFile(record)
	require.NoError(t, err)
	want := strings.Fields("--server " + server.URL + " " + arguments)
	require.Equal(t, "<"+strings.Join(want, "><")+">\nCATTLE_AGENT_VAR_DIR=/somewhere\nCATTLE_TOKEN="+clusterToken+"\n", string(recorded),
		"and a role that is left over in the environment is not the machine's")
	require.Equal(t, "Joined, with the role control-plane,worker. The script ended with exit code 0; it was called as\n"+
		"    sh system-agent-install.sh --server "+server.URL+" "+arguments+"\n"+
		"with the cluster's token in its environment. What the agent does now: journalctl -u rancher-system-agent\n"+
		"Its cloud-config (motd, users) is in "+filepath.Join(machine.Root, client.InventoryFile)+"; the OS applies it on its next boot.\n", joined.Stdout)
	require.Contains(t, joined.Stderr, "the script speaks")
	for _, secret := range []string{clusterToken, secretPassword} {
		require.NotContains(t, joined.Stdout+joined.Stderr+told.Stderr, secret)
	}
	config, err := os.ReadFile(filepath.Join(machine.Root, client.InventoryFile))
	require.NoError(t, err)
	require.Equal(t, "#cloud-config\nmotd: hi\nusers:\n    - name: root\n      passwd: "+secretPassword+"\n", string(config))

	require.NoError(t, os.Remove(record))
	require.Contains(t, joinHere(t, machine).Stdout, "has joined its cluster on")
	require.NoFileExists(t, record, "joined is joined")

	// Asked to join again, with a config that says less by now, and a script that fails.
	t.Setenv("SCRIPT_ENDS", "3")
	server.Set(func(s *pretend.Script) { s.Inventory = []byte(`{"role":"agent","token":"` + clusterToken + `"}`) })
	failed := joinHere(t, machine, "--again")
	require.Equal(t, exitInstall, failed.ExitCode)
	require.Contains(t, failed.Stderr, "Failed: Rancher's install script failed (exit status 3).")
	require.Contains(t, failed.Stderr, "journalctl -u rancher-system-agent")
	require.Empty(t, failed.Stdout)
	require.NoFileExists(t, filepath.Join(machine.Root, client.InventoryFile), "what the inventory does not say any more is gone")
}

// A role that is missing is said, and nothing is run.
func TestJoinWithoutARole(t *testing.T) {
	record := filepath.Join(t.TempDir(), "record")
	t.Setenv("RECORD", record)
	t.Setenv("SCRIPT_ENDS", "0")
	server, caFile := newServer(t, pretend.Script{CACerts: "ca", InstallScript: recorder, Inventory: []byte(`{"token":"` + clusterToken + `"}`)})
	machine := newMachine(t, "")
	result := joinHere(t, machine, "--server", server.URL, "--ca-file", caFile)
	require.Equal(t, exitNotYet, result.ExitCode)
	require.Contains(t, result.Stderr, "this machine has no role in its cluster")
	require.Contains(t, result.Stderr, "set spec.config.role")
	require.NoFileExists(t, record)
	result = joinHere(t, machine, "--server", server.URL, "--ca-file", caFile, "--role", "etcd")
	require.Zero(t, result.ExitCode, result.Stderr)
	recorded, err := os.ReadFile(record)
	require.NoError(t, err)
	require.Contains(t, string(recorded), "<--etcd>")
}

// A machine that shares a secret has never registered, and remembers that it has joined.
func TestJoinedWithSharedToken(t *testing.T) {
	record := filepath.Join(t.TempDir(), "record")
	t.Setenv("RECORD", record)
	t.Setenv("SCRIPT_ENDS", "0")
	server, caFile := newServer(t, pretend.Script{CACerts: "ca", InstallScript: recorder, Inventory: []byte(assigned), SharedToken: sharedToken})
	machine := newMachine(t, "")
	require.NoError(t, machine.WriteFile("oem/rancherd.yaml", "rancherd:\n  server: "+server.URL+"\n  token: "+sharedToken+"\n"))
	result := joinHere(t, machine, "--ca-file", caFile)
	require.Zero(t, result.ExitCode, result.Stderr)
	require.NotContains(t, result.Stdout+result.Stderr, sharedToken)
	require.NoError(t, os.Remove(record))
	require.Contains(t, joinHere(t, machine, "--ca-file", caFile).Stdout, "has joined")
	require.NoFileExists(t, record)

	registered := runHere(t, machine, "register", "--once", "--url", server.RegistrationURL(), "--ca-file", caFile)
	require.Zero(t, registered.ExitCode)
	require.NotContains(t, registered.Stderr, "another machine", "it is the same disk")
}

// Registering again changes nothing about having joined, as long as it is the same machine and the same server.
func TestJoinedStaysJoined(t *testing.T) {
	t.Setenv("RECORD", filepath.Join(t.TempDir(), "record"))
	t.Setenv("SCRIPT_ENDS", "0")
	server, caFile := newServer(t, pretend.Script{CACerts: "ca", InstallScript: recorder, Inventory: []byte(assigned)})
	other, _ := newServer(t, pretend.Script{})
	for _, c := range []struct {
		why    string
		change func(*testing.T, *pretend.Machine)
		url    string
		joined bool
	}{
		{"the same machine and server", nil, server.RegistrationURL(), true},
		{"a server that registers under another name than it is joined by", func(*testing.T, *pretend.Machine) {
			other.Set(func(s *pretend.Script) { s.Final = []byte(strings.Replace(answer, "SERVER", server.URL, 1)) })
		}, other.RegistrationURL(), true},
		{"another server", func(*testing.T, *pretend.Machine) {
			other.Set(func(s *pretend.Script) { s.Final = []byte(strings.Replace(answer, "SERVER", other.URL, 1)) })
		}, other.RegistrationURL(), false},
		{"another machine", func(t *testing.T, machine *pretend.Machine) { require.NoError(t, os.Remove(machine.TPMFile())) }, server.RegistrationURL(), false},
	} {
		machine := newMachine(t, "")
		store := client.Store{Root: machine.Root}
		require.Zero(t, runHere(t, machine, "register", "--once", "--url", server.RegistrationURL(), "--ca-file", caFile).ExitCode, c.why)
		result := joinHere(t, machine)
		require.Zero(t, result.ExitCode, "%s: %s", c.why, result.Stderr)
		before, err := store.LoadState()
		require.NoError(t, err, c.why)
		require.False(t, before.JoinedAt.IsZero(), c.why)

		if c.change != nil {
			c.change(t, machine)
		}
		result = runHere(t, machine, "register", "--once", "--url", c.url, "--ca-file", caFile)
		require.Zero(t, result.ExitCode, "%s: %s", c.why, result.Stderr)
		after, err := store.LoadState()
		require.NoError(t, err, c.why)
		require.Equal(t, c.joined, after.JoinedAt.Equal(before.JoinedAt), c.why)
		if c.joined {
			require.Contains(t, joinHere(t, machine).Stdout, "has joined its cluster on", c.why)
		}
	}
}

// A server, or a proxy before it, that is busy when the machine's turn has come is asked again for the script, too.
func TestJoinInsists(t *testing.T) {
	t.Setenv("RECORD", filepath.Join(t.TempDir(), "record"))
	t.Setenv("SCRIPT_ENDS", "0")
	var refused sync.Map
	server, caFile := newServer(t, pretend.Script{Raw: func(w http.ResponseWriter, r *http.Request) {
		if _, before := refused.LoadOrStore(r.URL.Path, true); before {
			_, _ = w.Write([]byte(recorder))
			return
		}
		protocol.WriteHTTPError(w, &protocol.Error{Code: protocol.CodeUnavailable, Message: "busy", RetryAfter: time.Second})
	}})
	machine := newMachine(t, "")
	// Told its role, a machine that shares a secret asks for nothing but what it installs.
	require.NoError(t, machine.WriteFile("oem/rancherd.yaml", "rancherd:\n  server: "+server.URL+"\n  token: "+sharedToken+"\n  role: agent\n"))
	result := joinHere(t, machine, "--ca-file", caFile)
	require.Equal(t, exitNotYet, result.ExitCode, "--once is once: %s", result.Stderr)
	refused.Clear()
	result = joinHere(t, machine, "--ca-file", caFile, "--once=false")
	require.Zero(t, result.ExitCode, result.Stderr)
	require.Equal(t, 2, strings.Count(result.Stderr, "Asking again in "), result.Stderr)
	require.Contains(t, result.Stderr, "the script speaks")
}
