package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/tests/machine"
	"github.com/rancher/rancheros-operator/tests/rancher"
)

// Rancher's UI makes Clusters in fleet-default, machines are where their registration is. The two meet when both sides
// say so, and part when one of them thinks better of it.
func Test10ClusterOfAnotherNamespace(t *testing.T) {
	since := time.Now()
	t.Cleanup(func() { world.Rancher.SetTokenForm(rancher.TokenSecret) })
	for _, form := range []rancher.TokenForm{rancher.TokenLegacy, rancher.TokenSecret} {
		t.Run(string(form), func(t *testing.T) {
			world.Rancher.SetTokenForm(form)
			suffix := strings.ToLower(string(form))
			ours, theirs := namespace(t, "s10-machines-"+suffix), namespace(t, "s10-clusters-"+suffix)
			m := newMachine(t, "S10-1")
			name := register(t, m, ours, registration(t, ours, "edge", "{}")).Name
			object, site := "machineinventory/"+name, "s10-site-"+suffix
			createCluster(t, theirs, site)
			managed := managementCluster(t, theirs, site)

			// The machine names no namespace: its own is meant, and the condition says where there is one.
			assign(t, ours, name, site, "agent")
			waitFor(t, ours, object, "ClusterAssigned", "WaitingForCluster")
			message := kubectl(t, "get", object, "-n", ours, "-o", `jsonpath={.status.conditions[?(@.type=="ClusterAssigned")].message}`)
			for _, part := range []string{ours, theirs, "either make it in " + ours, "spec.clusterNamespace to " + theirs, "rancheros.cattle.io/allowed-namespaces"} {
				require.Contains(t, message, part)
			}
			require.NotContains(t, message, managed)

			// It names the namespace: not enough.
			kubectl(t, "patch", object, "-n", ours, "--type", "merge", "-p", fmt.Sprintf(`{"spec":{"clusterNamespace":%q}}`, theirs))
			waitFor(t, ours, object, "ClusterAssigned", "ClusterNotAllowed")
			waitFor(t, ours, object, "Ready", "ClusterNotAllowed")
			require.Empty(t, clusterTokens(t, ours, name))
			notYet(t, m)

			allow := func(list string) {
				kubectl(t, "annotate", "clusters.provisioning.cattle.io", site, "-n", theirs, "--overwrite", "rancheros.cattle.io/allowed-namespaces="+list)
			}
			for _, others := range []string{"*", "s10-*", ours + "-2," + ours[:len(ours)-1], strings.ToUpper(ours)} {
				allow(others)
				settled(t, ours, name)
				require.Empty(t, clusterTokens(t, ours, name), others)
			}
			waitFor(t, ours, object, "ClusterAssigned", "ClusterNotAllowed")

			// Both sides say so.
			allow("somebody, " + ours + " ,other")
			waitFor(t, ours, object, "ClusterAssigned", "TokenReady")
			output, err := exec.CommandContext(t.Context(), "sh", "-c", joinCommand(t, m)).CombinedOutput()
			require.NoError(t, err, string(output))
			require.Contains(t, kubectl(t, "get", "nodes.management.cattle.io", "-n", managed, "-o", "yaml"), "requestedHostname: "+name)

			// And the other side thinks better of it.
			kubectl(t, "annotate", "clusters.provisioning.cattle.io", site, "-n", theirs, "rancheros.cattle.io/allowed-namespaces-")
			eventually(t, func() error { return noTokens(t, ours, name) })
			waitFor(t, ours, object, "ClusterAssigned", "ClusterNotAllowed")
			notYet(t, m)

			// A Cluster of its own namespace needs nobody's permission.
			createCluster(t, ours, site)
			kubectl(t, "patch", object, "-n", ours, "--type", "merge", "-p", `{"spec":{"clusterNamespace":null}}`)
			waitFor(t, ours, object, "ClusterAssigned", "TokenReady")
			require.True(t, strings.HasPrefix(clusterTokens(t, ours, name)[0], managementCluster(t, ours, site)+"/"))
		})
	}
	requireRights(t, since)
}

// notYet is a machine that asks and is sent away without a token.
func notYet(t *testing.T, m *machine.Machine) {
	t.Helper()
	result := askForCluster(t, m)
	require.Equal(t, 14, result.ExitCode, result.Stderr)
	require.Empty(t, result.Stdout)
}

func noTokens(t *testing.T, namespace, name string) error {
	if tokens := clusterTokens(t, namespace, name); len(tokens) != 0 {
		return fmt.Errorf("tokens are left: %v", tokens)
	}
	return nil
}

// settled returns when the operator has looked at the inventory as it is now: what it would write, it has written. A new
// generation, which only a look at it can catch up with, is how the operator is asked.
func settled(t *testing.T, namespace, name string) {
	t.Helper()
	kubectl(t, "patch", "machineinventory", name, "-n", namespace, "--type", "merge", "-p",
		fmt.Sprintf(`{"spec":{"config":{"settled":%q}}}`, time.Now().Format(time.RFC3339Nano)))
	eventually(t, func() error {
		got := inventory(t, namespace, name)
		if got.Status.ObservedGeneration != got.Generation {
			return fmt.Errorf("generation %d is not looked at yet", got.Generation)
		}
		return nil
	})
}
