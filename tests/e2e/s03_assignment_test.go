package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/tests/rancher"
)

// Both forms in which Rancher hands out a cluster's token: in the status until 2.14, in a Secret from 2.15 on.
func Test03JoinUnderBothRanchers(t *testing.T) {
	t.Cleanup(func() { world.Rancher.SetTokenForm(rancher.TokenSecret) })
	for _, form := range []rancher.TokenForm{rancher.TokenLegacy, rancher.TokenSecret} {
		t.Run(string(form), func(t *testing.T) {
			world.Rancher.SetTokenForm(form)
			ns := namespace(t, "s03-"+strings.ToLower(string(form)))
			m := newMachine(t, "S03-1")
			name := register(t, m, ns, registration(t, ns, "edge", "{}")).Name
			assign(t, ns, name, "site", "server")
			waitFor(t, ns, "machineinventory/"+name, "ClusterAssigned", "WaitingForCluster")
			createCluster(t, ns, "site")
			waitFor(t, ns, "machineinventory/"+name, "Ready", "TokenReady")

			// What the machine would run is run: Rancher then knows it as a node of the right cluster.
			output, err := exec.CommandContext(t.Context(), "sh", "-c", joinCommand(t, m)).CombinedOutput()
			require.NoError(t, err, string(output))
			nodes := kubectl(t, "get", "nodes.management.cattle.io", "-n", managementCluster(t, ns, "site"), "-o", "yaml")
			require.Contains(t, nodes, "requestedHostname: "+name)
		})
	}
}

// The machine's answer says all that its inventory says, in the words of Rancher's install script.
func Test03Answer(t *testing.T) {
	ns := namespace(t, "s03-answer")
	m := newMachine(t, "S03-2")
	name := register(t, m, ns, registration(t, ns, "edge", "{}")).Name
	createCluster(t, ns, "site")
	kubectl(t, "patch", "machineinventory", name, "-n", ns, "--type", "merge", "-p", `{"spec":{"clusterName":"site","config":{
		"role":"etcd,control-plane","nodeName":"node-1","address":"192.0.2.7","internalAddress":"2001:db8::7",
		"labels":{"zone":"b","area":"a"},"taints":[{"key":"dedicated","value":"db","effect":"NoSchedule"}]}}}`)
	waitFor(t, ns, "machineinventory/"+name, "ClusterAssigned", "TokenReady")
	command := joinCommand(t, m)
	for _, part := range []string{"--etcd --controlplane", "--node-name node-1", "--address 192.0.2.7", "--internal-address 2001:db8::7",
		"--label area=a", "--label zone=b", "--taints dedicated=db:NoSchedule"} {
		require.Contains(t, command, part)
	}
	require.NotContains(t, command, "--worker")
}

// A machine asks before it is told: the reason and what to do, and no success.
func Test03NotAssigned(t *testing.T) {
	ns := namespace(t, "s03-waiting")
	m := newMachine(t, "S03-3")
	name := register(t, m, ns, registration(t, ns, "edge", "{}")).Name
	result, err := m.Run(t.Context(), "join", "--once", "--dry-run")
	require.NoError(t, err)
	require.Equal(t, 14, result.ExitCode, result.Stderr)
	require.Contains(t, result.Stderr, "not assigned to a cluster")

	kubectl(t, "patch", "machineinventory", name, "-n", ns, "--type", "merge", "-p", `{"spec":{"clusterName":"site"}}`)
	createCluster(t, ns, "site")
	waitFor(t, ns, "machineinventory/"+name, "Ready", "RoleMissing")
	result, err = m.Run(t.Context(), "join", "--once", "--dry-run")
	require.NoError(t, err)
	require.Equal(t, 14, result.ExitCode, result.Stderr)
	require.Contains(t, result.Stderr, "no role")
}

// Whatever the order, a machine has one token, in the cluster it is assigned to now, and none is left behind.
func Test03ReassignReleaseDelete(t *testing.T) {
	ns := namespace(t, "s03-moves")
	m := newMachine(t, "S03-4")
	name := register(t, m, ns, registration(t, ns, "edge", "{}")).Name
	createCluster(t, ns, "a")
	createCluster(t, ns, "b")
	a, b := managementCluster(t, ns, "a"), managementCluster(t, ns, "b")
	inOnly := func(cluster string) func() error {
		return func() error {
			tokens := clusterTokens(t, ns, name)
			if len(tokens) != 1 || !strings.HasPrefix(tokens[0], cluster+"/") {
				return fmt.Errorf("tokens are %v, not one in %s", tokens, cluster)
			}
			return nil
		}
	}
	none := func() error {
		if tokens := clusterTokens(t, ns, name); len(tokens) != 0 {
			return fmt.Errorf("tokens are left: %v", tokens)
		}
		return nil
	}
	for range 5 {
		assign(t, ns, name, "a", "server")
		assign(t, ns, name, "b", "server")
	}
	eventually(t, inOnly(b))
	assign(t, ns, name, "a", "server")
	eventually(t, inOnly(a))
	waitFor(t, ns, "machineinventory/"+name, "ClusterAssigned", "TokenReady")

	kubectl(t, "patch", "machineinventory", name, "-n", ns, "--type", "merge", "-p", `{"spec":{"clusterName":""}}`)
	eventually(t, none)
	waitFor(t, ns, "machineinventory/"+name, "Ready", "Released")
	require.Empty(t, inventory(t, ns, name).Finalizers, "nothing holds a machine that has no token")

	assign(t, ns, name, "b", "server")
	eventually(t, inOnly(b))
	kubectl(t, "delete", "machineinventory", name, "-n", ns, "--timeout=20s")
	eventually(t, none)
}

// A Cluster that goes and comes back takes its machines with it and gets them back.
func Test03ClusterReturns(t *testing.T) {
	ns := namespace(t, "s03-returns")
	m := newMachine(t, "S03-5")
	name := register(t, m, ns, registration(t, ns, "edge", "{}")).Name
	createCluster(t, ns, "site")
	assign(t, ns, name, "site", "agent")
	waitFor(t, ns, "machineinventory/"+name, "ClusterAssigned", "TokenReady")
	kubectl(t, "delete", "clusters.provisioning.cattle.io", "site", "-n", ns, "--timeout=20s")
	waitFor(t, ns, "machineinventory/"+name, "ClusterAssigned", "WaitingForCluster")
	createCluster(t, ns, "site")
	waitFor(t, ns, "machineinventory/"+name, "ClusterAssigned", "TokenReady")
	joinCommand(t, m)
}

// A token that somebody deletes by hand is made again.
func Test03TokenDeletedByHand(t *testing.T) {
	ns := namespace(t, "s03-by-hand")
	m := newMachine(t, "S03-6")
	name := register(t, m, ns, registration(t, ns, "edge", "{}")).Name
	createCluster(t, ns, "site")
	assign(t, ns, name, "site", "agent")
	waitFor(t, ns, "machineinventory/"+name, "ClusterAssigned", "TokenReady")
	tokens := clusterTokens(t, ns, name)
	require.Len(t, tokens, 1)
	cluster, token, _ := strings.Cut(tokens[0], "/")
	uid := kubectl(t, "get", "clusterregistrationtokens", "-n", cluster, token, "-o", "jsonpath={.metadata.uid}")
	kubectl(t, "delete", "clusterregistrationtokens", "-n", cluster, token)
	eventually(t, func() error {
		got, err := world.Kubectl(t.Context(), "get", "clusterregistrationtokens", "-n", cluster, token, "-o", "jsonpath={.metadata.uid}")
		if err == nil && got == uid {
			err = fmt.Errorf("the old token is still there")
		}
		return err
	})
}
