package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Who may write what runs as root on nodes: only those who may make Bundles in the namespace, and so could do it without us.
func Test21WhoMay(t *testing.T) {
	ns := namespace(t, "s21-whomay")
	tenant := account(t, ns, "tenant")
	admin := account(t, ns, "admin", [2]string{"create", "bundles.fleet.cattle.io"}, [2]string{"get", "secrets"})
	object := func(kind, name, spec string) string {
		return fmt.Sprintf("apiVersion: rancheros.cattle.io/v1\nkind: %s\nmetadata: {name: %s, namespace: %s}\nspec: %s\n", kind, name, ns, spec)
	}
	const upgrade = "upgradeContainer: {image: registry.example.com/tools/upgrade}"
	for _, c := range []struct{ why, kind, spec, want string }{
		{"C56 an image", "ManagedOSImage", "{osImage: rancher/os2, clusterTargets: [{clusterSelector: {}}]}", "a ManagedOSImage runs as root on the nodes"},
		{"C62 a custom channel", "ManagedOSVersionChannel", "{type: custom, suspend: true, options: {image: registry.example.com/tools/x}}", "runs a container of its own"},
		{"a channel with an upgradeContainer", "ManagedOSVersionChannel", "{type: json, suspend: true, options: {uri: \"https://example.com\"}, " + upgrade + "}", "runs a container of its own"},
		{"a channel that reads a Secret", "ManagedOSVersionChannel", "{type: json, suspend: true, options: {uri: \"https://example.com\"}, secretName: x}", "it takes the right to get Secret x in namespace " + ns},
		{"a version with an upgradeContainer", "ManagedOSVersion", "{version: v1.0.0, " + upgrade + "}", "a version with an upgradeContainer runs as root"},
	} {
		manifest := object(c.kind, "one", c.spec)
		requireRefused(t, c.why, tenant, manifest, c.want)
		_, err := world.Apply(t.Context(), manifest, "--as", admin)
		require.NoError(t, err, c.why)
		// Who may not make it may not change it, but for what says nothing of what runs.
		resource := map[string]string{"ManagedOSImage": "mosimage", "ManagedOSVersionChannel": "moschannel", "ManagedOSVersion": "mosversion"}[c.kind]
		change := map[string]string{"ManagedOSImage": `{"spec":{"osImage":"evil"}}`, "ManagedOSVersionChannel": `{"spec":{"pollInterval":"5m"}}`, "ManagedOSVersion": `{"spec":{"minVersion":"v0.0.1"}}`}[c.kind]
		_, err = world.Kubectl(t.Context(), "patch", resource, "one", "-n", ns, "--type", "merge", "-p", change, "--as", tenant)
		require.ErrorContains(t, err, c.want, c.why)
		kubectl(t, "label", resource, "one", "-n", ns, "team=a", "--as", tenant)
		kubectl(t, "delete", resource, "one", "-n", ns, "--as", tenant)
	}
	for _, c := range []struct{ why, kind, spec string }{
		{"a channel that is only asked", "ManagedOSVersionChannel", "{type: json, suspend: true, options: {uri: \"https://example.com\"}}"},
		{"a version that brings nothing of its own", "ManagedOSVersion", "{version: v1.0.0, metadata: {upgradeImage: rancher/os2}}"},
	} {
		_, err := world.Apply(t.Context(), object(c.kind, "two", c.spec), "--as", tenant)
		require.NoError(t, err, c.why)
	}
	requireOperatorsOwn(t, ns, tenant)
}

// requireOperatorsOwn holds that versions of a channel are the operator's to make and to change, also for tenants who have been
// given all rights on our kinds: statuses are among these.
func requireOperatorsOwn(t *testing.T, ns, tenant string) {
	t.Helper()
	const want = "is made by the operator, when the channel lists it"
	team := account(t, ns, "team", [2]string{"*", "managedosversionchannels.rancheros.cattle.io/status"})
	manifest := fmt.Sprintf(`apiVersion: rancheros.cattle.io/v1
kind: ManagedOSVersion
metadata:
  name: v9.0.0
  namespace: %s
  ownerReferences: [{apiVersion: rancheros.cattle.io/v1, kind: ManagedOSVersionChannel, name: two, uid: %s, controller: true}]
spec: {version: v9.0.0, metadata: {upgradeImage: rancher/os2}}
`, ns, kubectl(t, "get", "moschannel", "two", "-n", ns, "-o", "jsonpath={.metadata.uid}"))
	for _, user := range []string{tenant, team} {
		requireRefused(t, "a version that says that it is a channel's", user, manifest, want)
	}
	apply(t, manifest)
	for _, user := range []string{tenant, team} {
		_, err := world.Kubectl(t.Context(), "patch", "mosversion", "v9.0.0", "-n", ns, "--type", "merge", "-p", `{"spec":{"metadata":{"upgradeImage":"evil"}}}`, "--as", user)
		require.ErrorContains(t, err, want, "another image under a channel's name")
		kubectl(t, "label", "--overwrite", "mosversion", "v9.0.0", "-n", ns, "team=a", "--as", user)
	}
}

// What the operator does with its own account goes through: statuses, and the versions of a channel with an
// upgradeContainer.
func Test21TheOperatorMay(t *testing.T) {
	ns := namespace(t, "s21-operator")
	server := newReleases(t)
	server.publish("v1.0.0")
	apply(t, server.channel(ns, "stable", ", upgradeContainer: {image: registry.example.com/tools/upgrade}"))
	waitFor(t, ns, "moschannel/stable", "Ready", "Synced")
	image := func() string {
		return kubectl(t, "get", "mosversion", "v1.0.0", "-n", ns, "-o", "jsonpath={.spec.upgradeContainer.image}")
	}
	require.Equal(t, "registry.example.com/tools/upgrade", image())
	kubectl(t, "patch", "moschannel", "stable", "-n", ns, "--type", "merge", "-p", `{"spec":{"upgradeContainer":{"image":"registry.example.com/tools/other"}}}`)
	eventually(t, func() error { return equal("upgradeContainer", image(), "registry.example.com/tools/other") })
	apply(t, fmt.Sprintf(imageManifest, "os", ns, "{managedOSVersionName: v1.0.0, clusterTargets: [{clusterSelector: {}}]}"))
	waitFor(t, ns, "mosimage/os", "Delivered", "NoClusterMatches")
	kubectl(t, "delete", "mosimage", "os", "-n", ns, "--cascade=foreground")
	kubectl(t, "delete", "moschannel", "stable", "-n", ns)
}

// After all of that, the rights of the chart have been enough.
func Test21RightsAreEnough(t *testing.T) {
	requireRights(t, time.Time{})
}
