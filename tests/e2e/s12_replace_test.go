package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rancher/rancheros-operator/tests/machine"
)

// A machine dies, and a spare one takes its place: its labels, its name, its config, its cluster. The dead one is refused
// should it ever turn up again.
func Test12Replace(t *testing.T) {
	since := time.Now()
	inBothForms(t, func(t *testing.T, form string) {
		ns := namespace(t, "s12-replace-"+form)
		dead := newMachine(t, "S12-DEAD")
		edge := registration(t, ns, "edge", `{machineInventoryLabels: {site: berlin, rack: "7"}, cloudConfig: {users: [{name: root, passwd: `+canary+`}]}}`)
		old := register(t, dead, ns, edge).Name
		createCluster(t, ns, "site")
		kubectl(t, "patch", "machineinventory", old, "-n", ns, "--type", "merge", "-p",
			`{"spec":{"clusterName":"site","config":{"role":"agent","address":"192.0.2.7","labels":{"zone":"b"}}}}`)
		waitFor(t, ns, "machineinventory/"+old, "ClusterAssigned", "TokenReady")
		deadCommand := joinCommand(t, dead)

		// The spare waits for a person, who says whose place it takes.
		spare := newMachine(t, "S12-SPARE")
		spares := registration(t, ns, "spares", `{admission: {approval: Manual}, machineInventoryLabels: {stock: spare}}`)
		pendingApproval(t, spare, spares)
		name := spareOf(t, ns)
		object := "machineinventory/" + name
		kubectl(t, "patch", object, "-n", ns, "--type", "merge", "-p", fmt.Sprintf(`{"spec":{"replaces":%q}}`, old))
		waitFor(t, ns, object, "Replacement", "PendingApproval")
		pendingApproval(t, spare, spares)
		require.Len(t, clusterTokens(t, ns, old), 1, "nothing has moved yet")
		require.Contains(t, joinCommand(t, dead), "--node-name "+old)

		kubectl(t, "patch", object, "-n", ns, "--type", "merge", "-p", `{"spec":{"approved":true}}`)
		kubectl(t, "wait", "--for=condition=Replacement", object, "-n", ns, "--timeout=30s")
		waitFor(t, ns, object, "Ready", "TokenReady")
		kubectl(t, "wait", "--for=condition=Revoked", "machineinventory/"+old, "-n", ns, "--timeout=30s")

		taken, left := inventory(t, ns, name), inventory(t, ns, old)
		require.Equal(t, []string{"berlin", "7", "spare"}, []string{taken.Labels["site"], taken.Labels["rack"], taken.Labels["stock"]})
		require.Equal(t, "spares", taken.Labels["rancheros.cattle.io/registration"], "how it came is its own")
		require.Empty(t, left.Labels["site"])
		require.Empty(t, left.Spec.ClusterName)
		require.Equal(t, old, taken.Status.Replaced.Name)
		require.Equal(t, left.Spec.TPM, taken.Status.Replaced.TPMHash)
		require.Equal(t, name, left.Status.ReplacedBy.Name)
		require.Equal(t, taken.Spec.TPM, left.Status.ReplacedBy.TPMHash)
		eventually(t, func() error { return noTokens(t, ns, old) })
		require.Len(t, clusterTokens(t, ns, name), 1)
		hasEvent(t, ns, name, "Replaced")
		hasEvent(t, ns, old, "Revoked")

		// The spare has the old name from its first boot on, and joins under it.
		result, err := spare.Register(t.Context(), spares, caFile(t))
		require.NoError(t, err)
		require.Zero(t, result.ExitCode, result.Stderr)
		hostname, err := spare.Hostname()
		require.NoError(t, err)
		require.Equal(t, old, hostname)
		command := joinCommand(t, spare)
		for _, part := range []string{"--node-name " + old, "--worker", "--address 192.0.2.7", "--label zone=b"} {
			require.Contains(t, command, part)
		}
		output, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput()
		require.NoError(t, err, string(output))
		require.Contains(t, kubectl(t, "get", "nodes.management.cattle.io", "-n", managementCluster(t, ns, "site"), "-o", "yaml"), "requestedHostname: "+old)

		// The dead one, and whoever has its disk, is refused in words of its own.
		_, err = exec.CommandContext(t.Context(), "sh", "-c", deadCommand).CombinedOutput()
		require.Error(t, err, "its token opens nothing")
		for _, ask := range [][]string{{"register", "--once", "--url", edge, "--ca-file", caFile(t)}, {"join", "--once", "--dry-run"}, {"call-home"}} {
			result, err := dead.Run(t.Context(), ask[0], ask[1:]...)
			require.NoError(t, err)
			require.Equal(t, 13, result.ExitCode, "%s: %s", ask[0], result.Stderr)
			require.Contains(t, result.Stderr, "this machine has been replaced, and its identity is revoked")
			require.Contains(t, result.Stderr, "must delete MachineInventory "+old)
			require.NotContains(t, result.Stdout+result.Stderr, canary)
		}
		refusedEdits(t, ns, name, old)

		// Its record deleted, it is new hardware; what the spare has, it keeps.
		kubectl(t, "delete", "machineinventory", old, "-n", ns, "--timeout=20s")
		require.Equal(t, old, register(t, dead, ns, edge).Name, "the name follows from the hardware")
		require.Empty(t, inventory(t, ns, old).Spec.ReplacedBy)
		require.Equal(t, "site", inventory(t, ns, name).Spec.ClusterName)
		settled(t, ns, name)
		require.Empty(t, inventory(t, ns, old).Spec.ReplacedBy, "a place is taken once")
	})
	requireRights(t, since)
}

func pendingApproval(t *testing.T, m *machine.Machine, url string) {
	t.Helper()
	result, err := m.Register(t.Context(), url, caFile(t))
	require.NoError(t, err)
	require.Equal(t, 14, result.ExitCode, result.Stderr)
	require.Contains(t, result.Stderr, "waits for approval")
}

func spareOf(t *testing.T, namespace string) string {
	t.Helper()
	list, err := world.Clients.RancherOS.MachineInventory().List(namespace, metav1.ListOptions{LabelSelector: "stock=spare"})
	require.NoError(t, err)
	require.Len(t, list.Items, 1)
	return list.Items[0].Name
}

func hasEvent(t *testing.T, namespace, name, reason string) {
	t.Helper()
	eventually(t, func() error {
		list, err := world.Kube.CoreV1().Events(namespace).List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.name=" + name + ",reason=" + reason})
		if err == nil && len(list.Items) != 1 {
			err = fmt.Errorf("%d events %s tell of %s", len(list.Items), reason, name)
		}
		return err
	})
}

// refusedEdits are what cannot be taken back once it is done, each with a sentence.
func refusedEdits(t *testing.T, namespace, name, old string) {
	t.Helper()
	for _, c := range []struct{ object, patch, words string }{
		{name, `{"spec":{"replaces":"another"}}`, "spec.replaces cannot be changed"},
		{name, `{"spec":{"replaces":null}}`, "spec.replaces cannot be changed"},
		{name, fmt.Sprintf(`{"spec":{"approved":false,"replaces":%q}}`, "third"), "spec.replaces cannot be changed"},
		{old, `{"spec":{"replacedBy":null}}`, "replacedBy cannot be changed or removed"},
		{old, `{"spec":{"replacedBy":""}}`, "replacedBy cannot be changed or removed"},
		{old, `{"spec":{"replacedBy":"another"}}`, "replacedBy cannot be changed or removed"},
		{old, fmt.Sprintf(`{"spec":{"replaces":%q}}`, old), "must name another MachineInventory"},
		{old, `{"spec":{"replaces":"../../etc"}}`, "must be the name of a MachineInventory"},
	} {
		_, err := world.Kubectl(t.Context(), "patch", "machineinventory", c.object, "-n", namespace, "--type", "merge", "-p", c.patch)
		require.ErrorContains(t, err, c.words, c.patch)
	}
	kubectl(t, "patch", "machineinventory", old, "-n", namespace, "--type", "merge", "-p", `{"spec":{"approved":true}}`)
	waitFor(t, namespace, "machineinventory/"+old, "Approved", "Revoked")
	require.Empty(t, clusterTokens(t, namespace, old), "an approval does not bring it back")
}

// What makes no sense moves nothing, and says what to correct.
func Test12ReplaceNonsense(t *testing.T) {
	ns := namespace(t, "s12-nonsense")
	createCluster(t, ns, "site")
	inventories := strings.Builder{}
	for i, m := range []struct{ name, spec string }{
		{"a", "clusterName: site, config: {role: agent}"},
		{"one", "approved: true, replaces: a"},
		{"two", "approved: true, replaces: a"},
		{"missing", "approved: true, replaces: nobody"},
		{"ring-1", "approved: true, replaces: ring-2"},
		{"ring-2", "approved: true, replaces: ring-1"},
		{"b", "clusterName: site, config: {role: agent}"},
		{"busy", "approved: true, replaces: b, clusterName: other"},
	} {
		fmt.Fprintf(&inventories, "---\napiVersion: rancheros.cattle.io/v1\nkind: MachineInventory\nmetadata: {name: %s, namespace: %s}\nspec: {tpm: \"%064x\", %s}\n", m.name, ns, 0xc0de00+i, m.spec)
	}
	apply(t, inventories.String())
	waitFor(t, ns, "machineinventory/a", "ClusterAssigned", "Revoked")
	winner, loser := inventory(t, ns, "a").Spec.ReplacedBy, "one"
	if winner == "one" {
		loser = "two"
	}
	waitFor(t, ns, "machineinventory/"+winner, "Ready", "TokenReady")
	waitFor(t, ns, "machineinventory/"+loser, "Replacement", "ReplacementRefused")
	require.Empty(t, inventory(t, ns, loser).Spec.ClusterName, "one place, one machine")
	waitFor(t, ns, "machineinventory/missing", "Ready", "ReplacedMissing")
	waitFor(t, ns, "machineinventory/ring-1", "Ready", "ReplacementRefused")
	waitFor(t, ns, "machineinventory/ring-2", "Ready", "ReplacementRefused")
	waitFor(t, ns, "machineinventory/busy", "Ready", "ReplacementRefused")
	waitFor(t, ns, "machineinventory/b", "Ready", "TokenReady")

	// And what is corrected goes on by itself.
	apply(t, fmt.Sprintf("apiVersion: rancheros.cattle.io/v1\nkind: MachineInventory\nmetadata: {name: nobody, namespace: %s}\nspec: {tpm: \"%064x\"}\n", ns, 0xc0deff))
	waitFor(t, ns, "machineinventory/missing", "Replacement", "Replaced")
	kubectl(t, "patch", "machineinventory", "busy", "-n", ns, "--type", "merge", "-p", `{"spec":{"clusterName":null}}`)
	waitFor(t, ns, "machineinventory/busy", "Ready", "TokenReady")
	kubectl(t, "patch", "machineinventory", loser, "-n", ns, "--type", "merge", "-p", fmt.Sprintf(`{"spec":{"replaces":%q}}`, winner))
	waitFor(t, ns, "machineinventory/"+loser, "Ready", "TokenReady")
	require.Len(t, clusterTokens(t, ns, loser), 1)
	require.Empty(t, clusterTokens(t, ns, winner), "a chain, link by link")
	require.Equal(t, "a", inventory(t, ns, loser).Spec.Config.NodeName)
}
