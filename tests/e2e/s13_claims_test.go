package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/tests/harness"
)

// Machines are claimed for a cluster by number, role and labels.

func makeClaim(t *testing.T, namespace, name, cluster string, pools ...string) {
	t.Helper()
	apply(t, fmt.Sprintf("apiVersion: rancheros.cattle.io/v1\nkind: MachineClaim\nmetadata: {name: %s, namespace: %s}\nspec: {clusterName: %s, pools: [%s]}\n",
		name, namespace, cluster, strings.Join(pools, ", ")))
}

// written makes free machines without hardware behind them.
func writeMachines(t *testing.T, namespace, prefix string, count int, labels string) {
	t.Helper()
	var manifests strings.Builder
	for i := range count {
		fmt.Fprintf(&manifests, "---\napiVersion: rancheros.cattle.io/v1\nkind: MachineInventory\nmetadata: {name: %s-%03d, namespace: %s, labels: %s}\nspec: {tpm: \"%064x\"}\n",
			prefix, i, namespace, labels, i+1)
	}
	apply(t, manifests.String())
}

// owners are the machines by the claim that has them, and by cluster and role: "name claim cluster role".
func claimOwners(t *testing.T, namespace string) []string {
	t.Helper()
	output := kubectl(t, "get", "machineinventories", "-n", namespace, "-o",
		`jsonpath={range .items[*]}{.metadata.name} {.metadata.labels.rancheros\.cattle\.io/claim} {.spec.clusterName} {.spec.config.role}{"\n"}{end}`)
	var lines []string
	for line := range strings.Lines(output) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return lines
}

func waitForOwners(t *testing.T, namespace string, want ...string) {
	t.Helper()
	eventually(t, func() error {
		if got := claimOwners(t, namespace); strings.Join(got, "; ") != strings.Join(want, "; ") {
			return fmt.Errorf("machines are %q, not %q", got, want)
		}
		return nil
	})
}

// claimMessage is what the claim's Ready condition says.
func claimMessage(t *testing.T, namespace, claim string) string {
	t.Helper()
	return kubectl(t, "get", claim, "-n", namespace, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].message}`)
}

// From machines that register to a cluster of them: the cluster may come last, and a machine that is claimed joins as one
// that was assigned by hand.
func Test13ClaimedMachinesJoin(t *testing.T) {
	ns := namespace(t, "s13-join")
	url := registration(t, ns, "edge", "{machineName: m, machineInventoryLabels: {rack: a}}")
	makeClaim(t, ns, "site", "site", "{name: servers, replicas: 1, role: server}",
		"{name: workers, replicas: 1, role: agent, selector: {matchLabels: {rack: a}}, config: {labels: {pool: workers}, taints: [{key: edge, effect: NoExecute}], motd: hi}}")
	waitFor(t, ns, "machineclaim/site", "Ready", "TooFewMachines")
	require.Equal(t, "servers: 0 of 1 claimed; no machine matches. workers: 0 of 1 claimed; no machine matches. "+
		"Register, approve, release or label machines, or lower replicas", claimMessage(t, ns, "machineclaim/site"))

	first, second := newMachine(t, "S13-1"), newMachine(t, "S13-2")
	server := register(t, first, ns, url).Name
	eventually(t, func() error { return equal("owner", inventory(t, ns, server).Labels[v1.LabelClaim], "site") })
	worker := register(t, second, ns, url).Name
	waitFor(t, ns, "machineclaim/site", "Ready", "Ready")
	require.Equal(t, "all 2 machines are claimed for Cluster site", claimMessage(t, ns, "machineclaim/site"))
	table := kubectl(t, "get", "mclaim", "-n", ns)
	require.Regexp(t, `(?m)^NAME +READY +CLUSTER +CLAIMED +STATUS +AGE\nsite +True +site +2/2 +all 2 machines`, table)

	waitFor(t, ns, "machineinventory/"+worker, "ClusterAssigned", "WaitingForCluster")
	createCluster(t, ns, "site")
	waitFor(t, ns, "machineinventory/"+worker, "ClusterAssigned", "TokenReady")
	waitFor(t, ns, "machineinventory/"+server, "ClusterAssigned", "TokenReady")
	require.Contains(t, joinCommand(t, first), "--etcd --controlplane --worker --node-name "+server)
	require.Contains(t, joinCommand(t, second), "--worker --label pool=workers --taints edge=:NoExecute --node-name "+worker)
	told, err := second.JoinCommand(t.Context())
	require.NoError(t, err)
	require.Contains(t, told.Stderr, "Its cloud-config (motd) would be written to")
	events := kubectl(t, "get", "events", "-n", ns, "--field-selector", "involvedObject.name="+worker, "-o", "jsonpath={.items[*].message}")
	require.Contains(t, events, "claimed by MachineClaim site (pool workers): it joins Cluster site as agent")
}

// Two claims want the same machines: each says who has what it lacks, and gets what the other gives back.
func Test13Shortage(t *testing.T) {
	ns := namespace(t, "s13-short")
	writeMachines(t, ns, "m", 3, "{rack: a}")
	makeClaim(t, ns, "one", "c1", "{name: workers, replicas: 2, role: agent, selector: {matchLabels: {rack: a}}}")
	waitFor(t, ns, "machineclaim/one", "Ready", "Ready")
	makeClaim(t, ns, "two", "c2", "{name: workers, replicas: 3, role: server, selector: {matchLabels: {rack: a}}}")
	waitFor(t, ns, "machineclaim/two", "Ready", "TooFewMachines")
	require.Equal(t, "workers: 1 of 3 claimed; 3 machines match, 2 are claimed by MachineClaim s13-short/one. "+
		"Register, approve, release or label machines, or lower replicas", claimMessage(t, ns, "machineclaim/two"))
	waitForOwners(t, ns, "m-000 one c1 agent", "m-001 one c1 agent", "m-002 two c2 server")

	makeClaim(t, ns, "one", "c1", "{name: workers, replicas: 1, role: agent, selector: {matchLabels: {rack: a}}}")
	waitForOwners(t, ns, "m-000 one c1 agent", "m-001 two c2 server", "m-002 two c2 server")
	kubectl(t, "delete", "machineclaim", "one", "-n", ns, "--timeout=20s")
	waitForOwners(t, ns, "m-000 two c2 server", "m-001 two c2 server", "m-002 two c2 server")
	waitFor(t, ns, "machineclaim/two", "Ready", "Ready")

	// Another cluster: released, and claimed for that one. A machine that is deleted is missed.
	makeClaim(t, ns, "two", "c3", "{name: workers, replicas: 3, role: server, selector: {matchLabels: {rack: a}}}")
	waitForOwners(t, ns, "m-000 two c3 server", "m-001 two c3 server", "m-002 two c3 server")
	kubectl(t, "delete", "machineinventory", "m-001", "-n", ns, "--timeout=20s")
	waitFor(t, ns, "machineclaim/two", "Ready", "TooFewMachines")
}

// What a person does to a machine stands.
func Test13ByHand(t *testing.T) {
	ns := namespace(t, "s13-by-hand")
	writeMachines(t, ns, "m", 3, "{}")
	makeClaim(t, ns, "site", "c1", "{name: workers, replicas: 2, role: agent, config: {labels: {pool: workers}}}")
	waitFor(t, ns, "machineclaim/site", "Ready", "Ready")
	kubectl(t, "patch", "machineinventory", "m-000", "-n", ns, "--type", "merge", "-p", `{"spec":{"clusterName":"mine"}}`)
	waitForOwners(t, ns, "m-000 mine agent", "m-001 site c1 agent", "m-002 site c1 agent")
	kubectl(t, "label", "machineinventory", "m-001", "-n", ns, "rancheros.cattle.io/claim-")
	eventually(t, func() error {
		return equal("record", inventory(t, ns, "m-001").Annotations[v1.AnnotationClaimed], "")
	})
	waitFor(t, ns, "machineclaim/site", "Ready", "TooFewMachines")
	require.Contains(t, claimMessage(t, ns, "machineclaim/site"), "3 machines match, 1 is assigned to Cluster c1, 1 is assigned to Cluster mine")
	require.Equal(t, v1.NodeLabelValue("workers"), inventory(t, ns, "m-001").Spec.Config.Labels["pool"], "it stays as it is")
}

// A claim that is deleted while nobody is there to release its machines leaves none behind.
func Test13DeletedWhileTheOperatorIsDown(t *testing.T) {
	ns := namespace(t, "s13-down")
	writeMachines(t, ns, "m", 2, "{}")
	makeClaim(t, ns, "site", "c1", "{name: workers, replicas: 1, role: agent}")
	makeClaim(t, ns, "forced", "c1", "{name: workers, replicas: 1, role: agent}")
	waitFor(t, ns, "machineclaim/site", "Ready", "Ready")
	waitFor(t, ns, "machineclaim/forced", "Ready", "Ready")
	require.NoError(t, world.StopOperator())
	kubectl(t, "delete", "machineclaim", "site", "-n", ns, "--wait=false")
	kubectl(t, "patch", "machineclaim", "forced", "-n", ns, "--type", "merge", "-p", `{"metadata":{"finalizers":null}}`)
	kubectl(t, "delete", "machineclaim", "forced", "-n", ns, "--timeout=20s")
	require.NoError(t, world.StartOperator(t.Context()))
	require.NoError(t, world.WaitForTunnel(t.Context()))
	waitForOwners(t, ns, "m-000", "m-001")
	eventually(t, func() error { return gone(t.Context(), "machineclaims", "-n", ns) })
	for _, name := range []string{"m-000", "m-001"} {
		m := inventory(t, ns, name)
		require.Nil(t, m.Spec.Config)
		require.NotContains(t, m.Annotations, v1.AnnotationClaimed)
	}
}

// The leader goes while two claims are at sixty machines, and another takes over: no machine has two owners, and no pool
// too many.
func Test13LeaderGoesAway(t *testing.T) {
	ns := namespace(t, "s13-leader")
	writeMachines(t, ns, "m", 60, "{}")
	second, err := world.StartReplica(t.Context(), harness.ReplicaOptions{Name: "s13-second"})
	require.NoError(t, err)
	makeClaim(t, ns, "one", "c1", "{name: workers, replicas: 40, role: agent}")
	makeClaim(t, ns, "two", "c2", "{name: workers, replicas: 40, role: server}")
	eventually(t, func() error {
		if claimed := len(claimedBy(t, ns, "one")) + len(claimedBy(t, ns, "two")); claimed == 0 {
			return fmt.Errorf("nothing is claimed yet")
		}
		return nil
	})
	require.NoError(t, world.StopOperator())
	eventually(t, func() error {
		one, two := claimedBy(t, ns, "one"), claimedBy(t, ns, "two")
		require.LessOrEqual(t, len(one), 40)
		require.LessOrEqual(t, len(two), 40)
		return equal("claimed", fmt.Sprint(len(one)+len(two)), "60")
	})
	for claim, cluster := range map[string]string{"one": "c1", "two": "c2"} {
		for _, m := range claimedBy(t, ns, claim) {
			require.Equal(t, cluster, m.Spec.ClusterName, m.Name)
		}
	}
	require.NoError(t, world.StartOperator(t.Context()))
	require.NoError(t, world.WaitForTunnel(t.Context()))
	require.NoError(t, second.Stop())
}

func claimedBy(t *testing.T, namespace, claim string) []v1.MachineInventory {
	t.Helper()
	list, err := world.Clients.RancherOS.MachineInventory().List(namespace, metav1.ListOptions{LabelSelector: v1.LabelClaim + "=" + claim})
	require.NoError(t, err)
	return list.Items
}

// Somebody who may write claims in one namespace reaches no machine and no cluster of another.
func Test13Tenants(t *testing.T) {
	mine, foreign := namespace(t, "s13-tenant-a"), namespace(t, "s13-tenant-b")
	writeMachines(t, foreign, "m", 1, "{}")
	createCluster(t, foreign, "site")
	kubectl(t, "create", "role", "claims", "-n", mine, "--verb=create,get", "--resource=machineclaims.rancheros.cattle.io")
	kubectl(t, "create", "rolebinding", "claims", "-n", mine, "--role=claims", "--user=tenant")
	manifest := "apiVersion: rancheros.cattle.io/v1\nkind: MachineClaim\nmetadata: {name: grab, namespace: %s}\nspec: {clusterName: site, pools: [{name: all, replicas: 1, role: server}]}\n"
	_, err := world.Apply(t.Context(), fmt.Sprintf(manifest, foreign), "--as=tenant")
	require.ErrorContains(t, err, "forbidden")
	_, err = world.Apply(t.Context(), fmt.Sprintf(manifest, mine), "--as=tenant")
	require.NoError(t, err)
	waitFor(t, mine, "machineclaim/grab", "Ready", "TooFewMachines")
	require.Contains(t, claimMessage(t, mine, "machineclaim/grab"), "no machine matches")

	// A machine of its own, claimed for a name that only exists elsewhere: it gets no token of that cluster.
	writeMachines(t, mine, "own", 1, "{}")
	waitFor(t, mine, "machineclaim/grab", "Ready", "Ready")
	waitFor(t, mine, "machineinventory/own-000", "ClusterAssigned", "WaitingForCluster")
	require.Empty(t, clusterTokens(t, mine, "own-000"))
	waitForOwners(t, foreign, "m-000")
}

// Claims that are as they should be, and claims that lack machines, cost nothing.
func Test13UnchangedWorldIsNotWritten(t *testing.T) {
	require.Contains(t, strings.Join(resourceVersions(t), "\n"), "MachineClaim")
	requireUnchangedByRestart(t)
	requireRights(t, time.Time{})
}
