package e2e

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The manifests of the source documents, applied as they are printed there, do what the text around them says. Four
// edits cannot be avoided: apiVersion where a snippet has none, a real image for "<your new image tag>", 64 hex digits for
// an elided TPM hash, and a namespace that exists.

func Test01SeedRegistration(t *testing.T) {
	apply(t, seed(t, "000-machineregistration.yaml"))
	waitFor(t, "default", "machineregistration/default", "Ready", "Ready")
	described := kubectl(t, "describe", "machineregistration", "default")
	require.Regexp(t, `Registration Token: +[b-z2-9]{54}\n`, described)
	require.Regexp(t, `Registration URL: +https://\S+/v1-rancheros/registration/[b-z2-9]{54}\n`, described)
}

// "For a control plane node, the new spec should look like: ... This will trigger system-agent to install k3s."
func Test01SeedInventories(t *testing.T) {
	ns := namespace(t, "s01-inventories")
	url := registration(t, ns, "default", "{}")
	server, agent := newMachine(t, "S01-1"), newMachine(t, "S01-2")
	serverName, agentName := register(t, server, ns, url).Name, register(t, agent, ns, url).Name
	kubectl(t, "patch", "machineinventory", serverName, "-n", ns, "--type", "merge", "--patch", seed(t, "000-inventory-server.yaml"))
	kubectl(t, "patch", "machineinventory", agentName, "-n", ns, "--type", "merge", "--patch", seed(t, "000-inventory-agent.yaml"))
	// The cluster comes last: the order that the text forbids.
	apply(t, seed(t, "000-cluster.yaml"), "-n", ns)
	waitFor(t, ns, "machineinventory/"+serverName, "ClusterAssigned", "TokenReady")
	waitFor(t, ns, "machineinventory/"+agentName, "ClusterAssigned", "TokenReady")
	require.Contains(t, joinCommand(t, server), "--etcd --controlplane --worker")
	require.NotContains(t, joinCommand(t, agent), "--etcd")
	require.Contains(t, joinCommand(t, agent), "--worker")
}

// "To tie a cluster to a specific OS version, we can use the ManagedOSImage CRD."
func Test01SeedDemoUpdate(t *testing.T) {
	ns := namespace(t, "s01-update")
	image := strings.ReplaceAll(seed(t, "000-managedosimage.yaml"), "<your new image tag>", "registry.example.com:5000/os2:v0.1.0")
	// "if creating this before the cluster itself triggers the same issue": it does not.
	apply(t, image, "-n", ns)
	waitFor(t, ns, "managedosimage/demo-update", "Ready", "NoClusterMatches")
	apply(t, seed(t, "000-cluster.yaml"), "-n", ns)
	waitFor(t, ns, "managedosimage/demo-update", "Delivered", "Delivered")
	spec := plan(t, ns, "elemental-demo-cluster", "demo-update", anyPlan)
	require.Equal(t, "registry.example.com:5000/os2:v0.1.0", spec["upgrade"].(map[string]any)["image"])
	require.Equal(t, "v0.1.0", spec["version"])
}

// "The simplest example of this type would be to change the version of the local nodes."
func Test01SeedDefaultOSImage(t *testing.T) {
	apply(t, seed(t, "001-default-os-image.yaml"))
	plan(t, "fleet-local", "local", "default-os-image", func(spec map[string]any) error {
		return equal("version", spec["version"], "v0.0.0")
	})
	kubectl(t, "patch", "managedosimage", "-n", "fleet-local", "default-os-image", "--type", "merge", "-p", `{"spec":{"osImage":"rancher/os2:v0.0.1"}}`)
	plan(t, "fleet-local", "local", "default-os-image", func(spec map[string]any) error {
		return equal("version", spec["version"], "v0.0.1")
	})
	// The local cluster is this API server: the Plan is there for real, as its CRD takes it.
	require.Contains(t, kubectl(t, "get", "plans", "-n", "cattle-system", "-o", "jsonpath={.items[*].spec.upgrade.image}"), "rancher/os2:v0.0.1")
	kubectl(t, "delete", "managedosimage", "-n", "fleet-local", "default-os-image")
	eventually(t, func() error { return gone(t.Context(), "bundle", "-n", "fleet-local", "mos-default-os-image") })
}

// "Below is reference of the full type."
func Test01SeedImageReference(t *testing.T) {
	apply(t, seed(t, "001-managedosimage-reference.yaml"))
	spec := plan(t, "fleet-local", "local", "arbitrary", anyPlan)

	require.EqualValues(t, 2, spec["concurrency"], "How many nodes in parallel to update")
	require.Equal(t, map[string]any{
		"matchExpressions": []any{map[string]any{"key": "rancheros.cattle.io/hold-upgrades", "operator": "DoesNotExist"}},
	}, spec["nodeSelector"], "null or empty: all nodes, but those that somebody holds")
	prepare := spec["prepare"].(map[string]any)
	require.Equal(t, "ubuntu:latest", prepare["image"], "an image without a tag is the latest, not the OS image's tag")
	require.Equal(t, []any{"/bin/sh"}, prepare["command"])
	require.Equal(t, []any{"-c", "true"}, prepare["args"])
	require.Equal(t, []any{map[string]any{"name": "TEST_ENV", "value": "testValue"}}, prepare["envs"], "env is called envs in a Plan")
	upgrade := spec["upgrade"].(map[string]any)
	require.Equal(t, "ubuntu:latest", upgrade["image"], "the image used here overrides osImage")
	require.Equal(t, []any{map[string]any{"name": "TEST_ENV", "value": "testValue"}}, upgrade["envs"])
	drain := spec["drain"].(map[string]any)
	require.Equal(t, "5m0s", drain["timeout"], "a string: a number would be nanoseconds")
	require.EqualValues(t, 300, drain["gracePeriod"], "seconds")
	require.Equal(t, true, drain["ignoreDaemonSets"])
	require.Equal(t, false, drain["deleteLocalData"])
	require.EqualValues(t, 5, drain["skipWaitForDeleteTimeout"])

	kubectl(t, "patch", "managedosimage", "-n", "fleet-local", "arbitrary", "--type", "merge", "-p", `{"spec":{"concurrency":0,"drain":null}}`)
	spec = plan(t, "fleet-local", "local", "arbitrary", func(spec map[string]any) error { return equal("drain", spec["drain"], nil) })
	require.Nil(t, spec["concurrency"], "if set to 0 the rollout will be paused")
	waitFor(t, "fleet-local", "managedosimage/arbitrary", "Ready", "Paused")
	kubectl(t, "patch", "managedosimage", "-n", "fleet-local", "arbitrary", "--type", "merge", "-p", `{"spec":{"concurrency":null}}`)
	plan(t, "fleet-local", "local", "arbitrary", func(spec map[string]any) error {
		return equal("concurrency", fmt.Sprint(spec["concurrency"]), "1") // If empty the default is 1.
	})
	kubectl(t, "delete", "managedosimage", "-n", "fleet-local", "arbitrary")
}

// "targets: which clusters to target", under either of the two names that the documents use.
func Test01SeedTargets(t *testing.T) {
	ns := namespace(t, "s01-targets")
	createCluster(t, ns, "one")
	createCluster(t, ns, "two")
	for _, field := range []string{"targets", "clusterTargets"} {
		image := strings.ReplaceAll(seed(t, "001-managedosimage-reference.yaml"), "namespace: fleet-local", "namespace: "+ns)
		image = strings.ReplaceAll(image, "name: arbitrary", "name: "+strings.ToLower(field))
		image = strings.ReplaceAll(image, "targets: []", field+": [{clusterName: two}]")
		apply(t, image)
		plan(t, ns, "two", strings.ToLower(field), anyPlan)
		// Two images do not share a cluster.
		kubectl(t, "delete", "managedosimage", "-n", ns, strings.ToLower(field))
	}
	for _, object := range world.Rancher.Delivered(ns, "one") {
		require.Fail(t, "a cluster that is not targeted got something", "%s %s", object.GetKind(), object.GetName())
	}
}

// The inventory's reference: a TPM hash, a shared secret and arbitrary config at once.
func Test01SeedInventoryReference(t *testing.T) {
	manifest := strings.ReplaceAll(seed(t, "001-machineinventory-reference.yaml"), "d68795c6192af9922692f050b...", strings.Repeat("d68795c6", 8))
	apply(t, manifest)
	waitFor(t, "fleet-default", "machineinventory/machine-a", "ClusterAssigned", "WaitingForCluster")
	require.Equal(t, strings.Repeat("d68795c6", 8), inventory(t, "fleet-default", "machine-a").Status.TPMHash)

	// "a shared secret value to identify a node", of the type and key that the text names.
	token := canary + "-shared-token-of-machine-a"
	apply(t, fmt.Sprintf("apiVersion: v1\nkind: Secret\ntype: rancheros.cattle.io/token\nmetadata: {name: some-secret-name, namespace: fleet-default}\nstringData: {token: %s}\n", token))
	createCluster(t, "fleet-default", "some-cluster")
	// "Arbitrary cloud config that will be added to the machines cloud config".
	kubectl(t, "patch", "machineinventory", "machine-a", "-n", "fleet-default", "--type", "merge", "-p", `{"spec":{"config":{"write_files":[{"path":"/etc/motd"}]}}}`)
	waitFor(t, "fleet-default", "machineinventory/machine-a", "ClusterAssigned", "TokenReady")
	eventually(t, func() error {
		answer, err := get(t, "/v1-rancheros/inventory", "Bearer "+base64.StdEncoding.EncodeToString([]byte(token)))
		if err != nil {
			return err
		}
		decoded := decode(t, answer)
		require.Equal(t, "server", decoded["role"])
		require.Equal(t, "machine-a", decoded["nodeName"])
		require.Equal(t, []any{map[string]any{"path": "/etc/motd"}}, decoded["write_files"])
		require.True(t, world.Rancher.TokenIsGood(decoded["token"].(string)))
		return nil
	})
}

func Test01SeedRegistrationReference(t *testing.T) {
	apply(t, "apiVersion: rancheros.cattle.io/v1\n"+seed(t, "001-machineregistration-reference.yaml"))
	waitFor(t, "fleet-default", "machineregistration/machine-registration", "Ready", "Ready")
}

func equal(what string, got, want any) error {
	if fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("%s is %v, not %v", what, got, want)
	}
	return nil
}

// get asks through Rancher, as a machine does.
func get(t *testing.T, path, authorization string) (string, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, world.Rancher.URL()+path, nil)
	require.NoError(t, err)
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: world.TLS(), DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status + ": " + string(body))
	}
	return string(body), err
}
