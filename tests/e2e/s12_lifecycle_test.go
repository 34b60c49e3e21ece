package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/tests/harness"
	"github.com/rancher/rancheros-operator/tests/machine"
	"github.com/rancher/rancheros-operator/tests/rancher"
)

// joinedWithin is the promise for a Cluster that appears after the assignment, however long after: nobody polls for it,
// with a pause that grows.
const joinedWithin = 5 * time.Second

func inBothForms(t *testing.T, test func(t *testing.T, form string)) {
	t.Helper()
	t.Cleanup(func() { world.Rancher.SetTokenForm(rancher.TokenSecret) })
	for _, form := range []rancher.TokenForm{rancher.TokenLegacy, rancher.TokenSecret} {
		t.Run(string(form), func(t *testing.T) {
			world.Rancher.SetTokenForm(form)
			test(t, strings.ToLower(string(form)))
		})
	}
}

// P25: the machine is there first, and its Cluster comes when it comes.
func Test12ClusterComesLater(t *testing.T) {
	inBothForms(t, func(t *testing.T, form string) {
		ns := namespace(t, "s12-later-"+form)
		name := register(t, newMachine(t, "S12-1"), ns, registration(t, ns, "edge", "{}")).Name
		assign(t, ns, name, "site", "agent")
		waitFor(t, ns, "machineinventory/"+name, "ClusterAssigned", "WaitingForCluster")

		// While it waits, nothing is asked for it and nothing written.
		quiet := time.Now()
		eventuallyQuiet(t, 2*time.Second)
		requests, err := world.OperatorRequests(quiet)
		require.NoError(t, err)
		for _, request := range requests {
			if request.ObjectRef.Namespace == ns && request.Verb != "watch" && request.ObjectRef.Resource == "clusters" {
				t.Error("the operator asks for a Cluster that it will be told of:", request)
			}
		}

		createCluster(t, ns, "site")
		managementCluster(t, ns, "site")
		appeared := time.Now()
		require.NoError(t, harness.Eventually(t.Context(), joinedWithin, func() error {
			for _, condition := range inventory(t, ns, name).Status.Conditions {
				if condition.Type == v1.ConditionClusterAssigned && condition.Status == metav1.ConditionTrue {
					return nil
				}
			}
			return fmt.Errorf("not assigned %s after the Cluster got its management cluster", time.Since(appeared).Round(time.Millisecond))
		}))
		kubectl(t, "wait", "--for=condition=ClusterAssigned", "machineinventory/"+name, "-n", ns, "--timeout=5s")
		kubectl(t, "wait", "--for=condition=Ready", "machineinventory/"+name, "-n", ns, "--timeout=5s")
		require.LessOrEqual(t, events(t, ns, name), 3, "of the whole wait")
	})
}

// A machine that waits is looked at again and again: when it calls home, when the operator starts, when Clusters of that name
// come and go elsewhere. All that is no news.
func Test12WaitingIsNoNews(t *testing.T) {
	ns, other := namespace(t, "s12-waiting"), namespace(t, "s12-waiting-elsewhere")
	name := register(t, newMachine(t, "S12-2"), ns, registration(t, ns, "edge", "{}")).Name
	assign(t, ns, name, "s12-nowhere", "agent")
	waitFor(t, ns, "machineinventory/"+name, "ClusterAssigned", "WaitingForCluster")
	since := inventory(t, ns, name).Status.Conditions
	for range 3 {
		createCluster(t, other, "s12-nowhere")
		eventually(t, func() error { return messageHas(t, ns, name, "but there is one in namespace "+other) })
		kubectl(t, "delete", "clusters.provisioning.cattle.io", "s12-nowhere", "-n", other)
		eventually(t, func() error {
			return messageHas(t, ns, name, "there is no Cluster s12-nowhere in namespace "+ns+" yet; the machine joins")
		})
		settled(t, ns, name)
	}
	require.NoError(t, world.StopOperator())
	started := time.Now()
	require.NoError(t, world.StartOperator(t.Context()))
	require.NoError(t, world.WaitForTunnel(t.Context()))
	waitForLease(t, started)
	settled(t, ns, name)
	require.LessOrEqual(t, events(t, ns, name), 3)
	for i, condition := range inventory(t, ns, name).Status.Conditions {
		require.Equal(t, since[i].LastTransitionTime, condition.LastTransitionTime, condition.Type)
	}
	columns := strings.Fields(strings.SplitN(kubectl(t, "get", "machineinventory", name, "-n", ns), "\n", 3)[1])
	require.Equal(t, []string{name, "False", "s12-nowhere", "agent", "FirstUse"}, columns[:5])
}

func messageHas(t *testing.T, namespace, name, part string) error {
	t.Helper()
	for _, condition := range inventory(t, namespace, name).Status.Conditions {
		if condition.Type == v1.ConditionClusterAssigned && strings.Contains(condition.Message, part) {
			return nil
		}
	}
	return fmt.Errorf("the condition does not say %q", part)
}

// events are how often something was told of the machine.
func events(t *testing.T, namespace, name string) int {
	t.Helper()
	list, err := world.Kube.CoreV1().Events(namespace).List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.kind=MachineInventory,involvedObject.name=" + name})
	require.NoError(t, err)
	count := 0
	for _, event := range list.Items {
		count += int(event.Count)
	}
	return count
}

// Cleared is released: the token goes, the machine stays, and hears of it when it next calls home.
func Test12Release(t *testing.T) {
	inBothForms(t, func(t *testing.T, form string) {
		ns := namespace(t, "s12-release-"+form)
		m := newMachine(t, "S12-3")
		name := register(t, m, ns, registration(t, ns, "edge", "{}")).Name
		object := "machineinventory/" + name
		callsHome(t, m, "not assigned to a cluster")
		createCluster(t, ns, "site")
		assign(t, ns, name, "site", "agent")
		waitFor(t, ns, object, "ClusterAssigned", "TokenReady")
		command := joinCommand(t, m)
		callsHome(t, m, "assigned to a cluster")
		uid := inventory(t, ns, name).UID

		kubectl(t, "patch", object, "-n", ns, "--type", "merge", "-p", `{"spec":{"clusterName":""}}`)
		waitFor(t, ns, object, "ClusterAssigned", "Released")
		waitFor(t, ns, object, "Ready", "Released")
		require.Empty(t, clusterTokens(t, ns, name))
		require.Equal(t, uid, inventory(t, ns, name).UID, "it is the same machine")
		callsHome(t, m, "released from its cluster")
		notYet(t, m)
		output, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput()
		require.Error(t, err, "what it was told before opens nothing any more: %s", output)

		assign(t, ns, name, "site", "agent")
		waitFor(t, ns, object, "ClusterAssigned", "TokenReady")
		callsHome(t, m, "is assigned to a cluster")
		require.NotEqual(t, command, joinCommand(t, m), "with a token of its own again")
	})
}

func callsHome(t *testing.T, m *machine.Machine, want string) {
	t.Helper()
	eventually(t, func() error {
		result, err := m.Run(t.Context(), "call-home")
		if err == nil && strings.Contains(result.Stderr, "too many requests") {
			return errors.New("the machine calls too often")
		}
		require.NoError(t, err)
		require.Zero(t, result.ExitCode, result.Stderr)
		require.Contains(t, result.Stdout, want)
		return nil
	})
}

// A Cluster that is made again under its name is another one: the old token goes, and a new one is made.
func Test12ClusterMadeAgain(t *testing.T) {
	inBothForms(t, func(t *testing.T, form string) {
		ns := namespace(t, "s12-again-"+form)
		m := newMachine(t, "S12-4")
		name := register(t, m, ns, registration(t, ns, "edge", "{}")).Name
		createCluster(t, ns, "site")
		assign(t, ns, name, "site", "agent")
		waitFor(t, ns, "machineinventory/"+name, "ClusterAssigned", "TokenReady")
		first := managementCluster(t, ns, "site")
		before := joinCommand(t, m)
		kubectl(t, "delete", "clusters.provisioning.cattle.io", "site", "-n", ns)
		createCluster(t, ns, "site")
		eventually(t, func() error {
			second, tokens := managementCluster(t, ns, "site"), clusterTokens(t, ns, name)
			if second == first || len(tokens) != 1 || !strings.HasPrefix(tokens[0], second+"/") {
				return fmt.Errorf("the Cluster was %s and is %s, and the machine's tokens are %v", first, second, tokens)
			}
			return nil
		})
		waitFor(t, ns, "machineinventory/"+name, "ClusterAssigned", "TokenReady")
		require.NotEqual(t, before, joinCommand(t, m))
	})
}

// Rancher rotates a token, and the machine gets the new one when it next asks; nothing of ours has to happen in between.
func Test12Rotation(t *testing.T) {
	inBothForms(t, func(t *testing.T, form string) {
		ns := namespace(t, "s12-rotation-"+form)
		m := newMachine(t, "S12-6")
		name := register(t, m, ns, registration(t, ns, "edge", "{}")).Name
		createCluster(t, ns, "site")
		assign(t, ns, name, "site", "agent")
		waitFor(t, ns, "machineinventory/"+name, "ClusterAssigned", "TokenReady")
		before := inventory(t, ns, name)
		given := map[string]bool{joinCommand(t, m): true}
		for range 3 {
			require.NoError(t, world.Rancher.RotateTokens(t.Context()))
			eventually(t, func() error { // Until 2.14 the token is in a status, which travels by a watch.
				command := joinCommand(t, m)
				if given[command] {
					return errors.New("the machine is given a token that was rotated away")
				}
				given[command] = true
				return nil
			})
		}
		require.Equal(t, before.Status.Conditions, inventory(t, ns, name).Status.Conditions, "and nothing is written for it but that it was seen")
	})
}

// A machine that comes back after a wipe, with the TPM that it had, meets its own inventory: the same name, and no second one.
func Test12Reset(t *testing.T) {
	inBothForms(t, func(t *testing.T, form string) {
		ns := namespace(t, "s12-reset-"+form)
		url := registration(t, ns, "edge", "{}")
		m := newMachine(t, "S12-5")
		before := register(t, m, ns, url)
		createCluster(t, ns, "site")
		assign(t, ns, before.Name, "site", "server")
		waitFor(t, ns, "machineinventory/"+before.Name, "ClusterAssigned", "TokenReady")
		command := joinCommand(t, m)

		for range 2 {
			wiped := newMachine(t, "S12-5")
			copyTPM(t, m, wiped)
			after := register(t, wiped, ns, url)
			require.Equal(t, before.Name, after.Name)
			require.Equal(t, before.UID, after.UID)
			require.Equal(t, 1, machines(t, ns))
			require.Equal(t, "site", after.Spec.ClusterName, "its place has waited for it")
			caPath := func(m *machine.Machine, command string) string { return strings.ReplaceAll(command, m.Root, "") }
			require.Equal(t, caPath(m, command), caPath(wiped, joinCommand(t, wiped)), "and it joins as it did")
		}
	})
}

func copyTPM(t *testing.T, from, to *machine.Machine) {
	t.Helper()
	key, err := os.ReadFile(from.TPMFile())
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Dir(to.TPMFile()), 0o755))
	require.NoError(t, os.WriteFile(to.TPMFile(), key, 0o600))
}
