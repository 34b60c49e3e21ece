package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// why asks the real kubectl, which finds the plugin in the PATH.
func why(t *testing.T, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), filepath.Join(world.Bin(), "kubectl"), append([]string{"rancheros", "why"}, args...)...)
	command.Env = append(os.Environ(), "PATH="+world.Bin()+":"+os.Getenv("PATH"), "KUBECONFIG="+world.Kubeconfig)
	output, err := command.CombinedOutput()
	require.NoError(t, err, "%s", output)
	return string(output)
}

// Test25Why asks of one machine on its way into a cluster, and of the objects around it.
func Test25Why(t *testing.T) {
	ns := namespace(t, "s25-why")
	url := registration(t, ns, "machines", `{admission: {approval: Manual}}`)
	m := newMachine(t, "S25")
	result, err := m.Register(t.Context(), url, caFile(t))
	require.NoError(t, err)
	require.NotZero(t, result.ExitCode, "it waits for approval")
	name := kubectl(t, "get", "machineinventories", "-n", ns, "-o", "jsonpath={.items[0].metadata.name}")

	waitFor(t, ns, "machineinventory/"+name, "Ready", "PendingApproval")
	said := why(t, "machine/"+name, "-n", ns)
	require.Contains(t, said, "MachineInventory "+ns+"/"+name+" is not ready (PendingApproval)")
	require.Contains(t, said, "It came from MachineRegistration machines.")
	require.Contains(t, why(t, "-n", ns, "mreg", "machines"), "Waiting for approval: "+name)

	kubectl(t, "patch", "machineinventory", name, "-n", ns, "--type", "merge", "-p", `{"spec":{"approved":true}}`)
	assign(t, ns, name, "edge", "agent")
	waitFor(t, ns, "machineinventory/"+name, "ClusterAssigned", v1.ReasonWaitingForCluster)
	require.Contains(t, why(t, "machine/"+name, "-n", ns), "There is no Cluster "+ns+"/edge.")
	createCluster(t, ns, "edge")
	waitFor(t, ns, "machineinventory/"+name, "ClusterAssigned", v1.ReasonTokenReady)
	said = why(t, "machine/"+name, "-n", ns)
	require.Contains(t, said, "Cluster "+ns+"/edge is there, as "+managementCluster(t, ns, "edge"))
	require.Contains(t, said, "Its token is there, and the machine gets it when it next asks")

	apply(t, fmt.Sprintf("apiVersion: rancheros.cattle.io/v1\nkind: ManagedOSImage\nmetadata: {name: up, namespace: %s}\nspec: {osImage: \"registry.example.com/os:v1\", clusterTargets: [{clusterName: edge}]}\n", ns))
	waitFor(t, ns, "managedosimage/up", "Delivered", v1.ReasonDelivered)
	said = why(t, "mosimage/up", "-n", ns)
	require.Contains(t, said, "It rolls out registry.example.com/os:v1.")
	require.Contains(t, said, "Fleet has brought Bundle mos-up to 1 of 1 cluster.")
	require.NotContains(t, said+why(t, "mreg/machines", "-n", ns), url)

	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{2, `there is no kind "pod"`, []string{"why", "pod/x"}},
		{2, "give one object to explain", []string{"why"}},
		{2, "there is no flag --colour", []string{"why", "machine/x", "--colour=blue"}},
		{2, `there is no command "wyh"`, []string{"wyh"}},
		{1, `"nobody" not found`, []string{"why", "machine/nobody", "-n", ns}},
		{1, "reading kubeconfig", []string{"why", "machine/nobody", "--context", "nowhere"}},
	} {
		code, stdout, stderr := diagnose(t, "kubectl-rancheros", c.args...)
		require.Equal(t, c.code, code, "%v: %s", c.args, stderr)
		require.Contains(t, stderr, c.want)
		require.Empty(t, stdout)
	}
	code, stdout, _ := diagnose(t, "kubectl-rancheros", "version")
	require.Zero(t, code)
	require.Regexp(t, `^\S+ \(\S+\)\n$`, stdout)
}
