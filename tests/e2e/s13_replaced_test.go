package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// New hardware for a claimed machine stays the claim's, and no spare one is claimed in between.
func Test13ReplacedHardware(t *testing.T) {
	ns := namespace(t, "s13-replaced")
	url := registration(t, ns, "edge", "{machineName: m, machineInventoryLabels: {rack: a}}")
	spare := registration(t, ns, "spare", "{machineName: m, admission: {approval: Manual}}")
	makeClaim(t, ns, "site", "site", "{name: workers, replicas: 1, role: agent}")
	createCluster(t, ns, "site")
	dead := register(t, newMachine(t, "S13-7"), ns, url).Name
	waitFor(t, ns, "machineclaim/site", "Ready", "Ready")
	writeMachines(t, ns, "unused", 1, "{}")
	fresh := newMachine(t, "S13-8")
	result, err := fresh.Register(t.Context(), spare, caFile(t))
	require.NoError(t, err)
	require.NotZero(t, result.ExitCode, "it waits for approval")
	name := ""
	eventually(t, func() error {
		name, err = world.Kubectl(t.Context(), "get", "machineinventories", "-n", ns, "-l", "rancheros.cattle.io/registration=spare", "-o", "jsonpath={.items[0].metadata.name}")
		return err
	})
	kubectl(t, "patch", "machineinventory", name, "-n", ns, "--type", "merge", "-p", `{"spec":{"replaces":"`+dead+`","approved":true}}`)
	waitFor(t, ns, "machineinventory/"+name, "Replacement", "Replaced")
	eventually(t, func() error { return equal("claimed", claimMachines(t, ns), name) })
	waitFor(t, ns, "machineclaim/site", "Ready", "Ready")
	waitFor(t, ns, "machineinventory/"+name, "ClusterAssigned", "TokenReady")
	require.Empty(t, inventory(t, ns, "unused-000").Spec.ClusterName)
}

func claimMachines(t *testing.T, namespace string) string {
	t.Helper()
	return kubectl(t, "get", "machineclaim", "site", "-n", namespace, "-o", "jsonpath={.status.machines[*]}")
}
