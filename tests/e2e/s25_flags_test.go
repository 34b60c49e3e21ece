package e2e

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/tests/harness"
)

// Those of the 44 bad flags that take an API server to be bad: the others are in cmd/rancheros-operator.

// F13: a replica that does not elect is no second one beside a leader.
func Test25NoSecondLeader(t *testing.T) {
	code, stdout, stderr := diagnose(t, "rancheros-operator", "run", "--listen-addr=127.0.0.1:0", "--health-addr=127.0.0.1:0",
		"--leader-elect=false", "--namespace", harness.Namespace)
	require.Equal(t, 1, code, stderr)
	require.Empty(t, stdout)
	require.Regexp(t, `(?m)^rancheros-operator: --leader-elect=false is for a single replica, and \S+ holds the lease `+harness.Namespace+
		`/rancheros-operator: stop it first, or give --ignore-lease$`, stderr)
}

// F5: a namespace that does not exist yet is waited for, with a word about it.
func Test25ANamespaceThatComesLater(t *testing.T) {
	command := exec.CommandContext(t.Context(), filepath.Join(world.Bin(), "rancheros-operator"), "run", "--listen-addr=127.0.0.1:0",
		"--health-addr=127.0.0.1:0", "--namespace=s25-later", "--retry-period=1s")
	command.Env = append(os.Environ(), "KUBECONFIG="+world.Kubeconfig)
	stderr, err := command.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	said := bufio.NewScanner(stderr)
	wait := func(words string) {
		for said.Scan() {
			if strings.Contains(said.Text(), words) {
				return
			}
		}
		t.Fatalf("it ended, and never said %q", words)
	}
	wait(`namespaces \"s25-later\" not found`)
	namespace(t, "s25-later")
	wait("leading: starting controllers")
	require.NoError(t, command.Process.Signal(syscall.SIGTERM))
	for said.Scan() {
		continue // Until it has ended.
	}
	require.NoError(t, command.Wait())
}
