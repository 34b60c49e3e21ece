package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/tests/harness"
	"github.com/rancher/rancheros-operator/tests/machine"
)

// Steps that several scenarios take. Each fails the test with what it saw.

func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	// Clean-ups run when the test's own context has ended.
	output, err := world.Kubectl(context.WithoutCancel(t.Context()), args...)
	require.NoError(t, err)
	return output
}

func apply(t *testing.T, manifests string, args ...string) {
	t.Helper()
	_, err := world.Apply(t.Context(), manifests, args...)
	require.NoError(t, err)
}

func namespace(t *testing.T, name string) string {
	t.Helper()
	kubectl(t, "create", "namespace", name)
	return name
}

func eventually(t *testing.T, check func() error) {
	t.Helper()
	ctx, stop := context.WithCancelCause(t.Context())
	defer stop(nil)
	err := harness.Eventually(ctx, patience, func() error {
		// Without the operator nothing will come true: no need to wait for it.
		if died := world.Died(); died != nil {
			stop(died)
			return died
		}
		return check()
	})
	require.NoError(t, err)
}

func seed(t *testing.T, name string) string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", "seeds", name))
	require.NoError(t, err)
	return string(body)
}

// waitFor returns once the object's condition has the reason.
func waitFor(t *testing.T, namespace, object, condition, reason string) {
	t.Helper()
	eventually(t, func() error {
		got, err := world.Kubectl(t.Context(), "get", object, "-n", namespace, "-o",
			fmt.Sprintf(`jsonpath={.status.conditions[?(@.type==%q)].reason}: {.status.conditions[?(@.type==%q)].message}`, condition, condition))
		if err == nil && !strings.HasPrefix(got, reason+":") {
			err = fmt.Errorf("%s is at %s=%s, not at %s", object, condition, got, reason)
		}
		return err
	})
}

// registration makes a MachineRegistration and returns its URL.
func registration(t *testing.T, namespace, name, spec string) string {
	t.Helper()
	return registrationAt(t, namespace, name, spec, "Ready")
}

// registrationAt is registration for one whose Ready condition gets another reason.
func registrationAt(t *testing.T, namespace, name, spec, reason string) string {
	t.Helper()
	apply(t, fmt.Sprintf("apiVersion: rancheros.cattle.io/v1\nkind: MachineRegistration\nmetadata: {name: %s, namespace: %s}\nspec: %s\n", name, namespace, spec))
	waitFor(t, namespace, "machineregistration/"+name, "Ready", reason)
	return kubectl(t, "get", "machineregistration", name, "-n", namespace, "-o", "jsonpath={.status.registrationURL}")
}

// newMachine is a machine of its own folder and TPM, with the given serial number.
func newMachine(t *testing.T, serial string) *machine.Machine {
	t.Helper()
	m, err := machine.New(t.TempDir(), filepath.Join(world.Bin(), "rancheros-register"), machine.Hardware{
		Manufacturer: "Edge Systems", Product: "NUC 12", Serial: serial, UUID: "3d3e8a40-1111-4000-8000-0000000000aa",
	})
	require.NoError(t, err)
	return m
}

func caFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, world.Rancher.CACert(), 0o600))
	return file
}

// register registers the machine through Rancher's tunnel and returns its inventory.
func register(t *testing.T, m *machine.Machine, namespace, url string) *v1.MachineInventory {
	t.Helper()
	result, err := m.Register(t.Context(), url, caFile(t))
	require.NoError(t, err)
	require.Zero(t, result.ExitCode, result.Stderr)
	name, err := m.Hostname()
	require.NoError(t, err)
	return inventory(t, namespace, name)
}

func inventory(t *testing.T, namespace, name string) *v1.MachineInventory {
	t.Helper()
	got, err := world.Clients.RancherOS.MachineInventory().Get(namespace, name, metav1.GetOptions{})
	require.NoError(t, err)
	return got
}

func assign(t *testing.T, namespace, name, cluster, role string) {
	t.Helper()
	kubectl(t, "patch", "machineinventory", name, "-n", namespace, "--type", "merge", "-p",
		fmt.Sprintf(`{"spec":{"clusterName":%q,"config":{"role":%q}}}`, cluster, role))
}

func createCluster(t *testing.T, namespace, name string) {
	t.Helper()
	apply(t, fmt.Sprintf("apiVersion: provisioning.cattle.io/v1\nkind: Cluster\nmetadata: {name: %s, namespace: %s}\nspec: {rkeConfig: {}}\n", name, namespace))
}

// joinCommand is what the machine would run to join its cluster.
func joinCommand(t *testing.T, m *machine.Machine) string {
	t.Helper()
	result := askForCluster(t, m)
	require.Zero(t, result.ExitCode, result.Stderr)
	return result.Stdout
}

// askForCluster asks once, and again as often as it is told that it asks too often: scenarios are in more of a hurry than machines.
func askForCluster(t *testing.T, m *machine.Machine) machine.Result {
	t.Helper()
	var result machine.Result
	eventually(t, func() (err error) {
		if result, err = m.JoinCommand(t.Context()); err != nil {
			return err
		}
		if strings.Contains(result.Stderr, "too many requests") {
			return errors.New("the machine asks too often")
		}
		return nil
	})
	return result
}

// clusterTokens are the cluster tokens made for the machine, as namespace/name.
func clusterTokens(t *testing.T, namespace, name string) []string {
	t.Helper()
	output := kubectl(t, "get", "clusterregistrationtokens", "--all-namespaces",
		"-l", v1.LabelMachineNamespace+"="+namespace+","+v1.LabelMachine+"="+name,
		"-o", `jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name}{"\n"}{end}`)
	return strings.Fields(output)
}

func managementCluster(t *testing.T, namespace, name string) string {
	t.Helper()
	var got string
	eventually(t, func() (err error) {
		got, err = world.Kubectl(t.Context(), "get", "clusters.provisioning.cattle.io", name, "-n", namespace, "-o", "jsonpath={.status.clusterName}")
		if err == nil && got == "" {
			err = fmt.Errorf("cluster %s has no management cluster", name)
		}
		return err
	})
	return got
}

// plan is the Plan that reached the cluster for the image, once it is as check wants it.
func plan(t *testing.T, namespace, cluster, image string, check func(spec map[string]any) error) map[string]any {
	t.Helper()
	var spec map[string]any
	eventually(t, func() error {
		for _, object := range world.Rancher.Delivered(namespace, cluster) {
			if object.GetKind() == "Plan" && object.GetLabels()[v1.LabelImage] == image {
				spec, _ = object.Object["spec"].(map[string]any)
				return check(spec)
			}
		}
		return fmt.Errorf("no plan of image %s has reached cluster %s", image, cluster)
	})
	return spec
}

func anyPlan(map[string]any) error { return nil }

func gone(ctx context.Context, args ...string) error {
	output, err := world.Kubectl(ctx, append([]string{"get", "--ignore-not-found", "-o", "name"}, args...)...)
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	if output != "" {
		return fmt.Errorf("still there: %s", output)
	}
	return nil
}

func decode(t *testing.T, body string) map[string]any {
	t.Helper()
	decoded := map[string]any{}
	require.NoError(t, json.Unmarshal([]byte(body), &decoded), body)
	return decoded
}

// otherToken changes the last letter of a registration's URL: a token that is well-formed and nobody's.
func otherToken(url string) string {
	other := "b"
	if strings.HasSuffix(url, other) {
		other = "c"
	}
	return url[:len(url)-1] + other
}
