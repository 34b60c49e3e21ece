package e2e

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/tests/rancher"
)

// Paused is not done: status says what would happen, and nothing does.
func Test16PreviewAndPause(t *testing.T) {
	ns := namespace(t, "s16-pause")
	addNodes(t, ns, "one", "RancherOS v1.0.0", "a", "b")
	addNodes(t, ns, "two", "RancherOS v1.4.0", "c")
	apply(t, fmt.Sprintf(imageManifest, "image", ns, `{managedOSVersionName: v2, clusterTargets: [{clusterSelector: {}}]}`))
	waitFor(t, ns, "managedosimage/image", "Ready", v1.ReasonVersionNotFound)
	status := statusOf(t, ns, "image", nil)
	require.Equal(t, []v1.ClusterPreview{{Cluster: "one", Upgrade: 2, Nodes: []string{"a", "b"}}, {Cluster: "two", Upgrade: 1, Nodes: []string{"c"}}},
		status.Preview, "before the first release")

	patch(t, ns, "image", `{"spec":{"concurrency":0}}`)
	apply(t, fmt.Sprintf(osVersionManifest, "v2", ns, "v1.2.0", "", "v1.2.0"))
	waitFor(t, ns, "managedosimage/image", "Ready", v1.ReasonPaused)
	waitFor(t, ns, "managedosimage/image", "Delivered", v1.ReasonDelivered)
	status = statusOf(t, ns, "image", nil)
	require.Equal(t, []v1.ClusterPreview{{Cluster: "one", Upgrade: 2, Nodes: []string{"a", "b"}}, {Cluster: "two", Blocked: 1}}, status.Preview)
	require.Equal(t, []string{"two c Blocked Newer"}, reports(status))
	require.Equal(t, "0/3", status.Summary)
	require.Equal(t, "RancherOS v1.0.0", world.Rancher.OSOf(ns, "one", "a"))

	patch(t, ns, "image", `{"spec":{"concurrency":1}}`)
	waitFor(t, ns, "managedosimage/image", "Ready", v1.ReasonNodesBlocked)
	status = statusOf(t, ns, "image", nil)
	require.Equal(t, "2/3", status.Summary)
	require.Empty(t, status.Preview)

	patch(t, ns, "image", `{"spec":{"concurrency":0}}`)
	waitFor(t, ns, "managedosimage/image", "Ready", v1.ReasonPaused)
}

// stopped is a plan by which no node starts: to system-upgrade-controller no concurrency is none.
func stopped(spec map[string]any) error { return equal("concurrency", spec["concurrency"], nil) }

// Three failed nodes in two clusters halt all of them; it stays so until somebody says otherwise.
func Test16MaxFailures(t *testing.T) {
	ns := namespace(t, "s16-halt")
	bad := []string{"bad-1", "bad-2"}
	addNodes(t, ns, "one", "RancherOS v1.0.0", append(bad, "good-1", "good-2")...)
	addNodes(t, ns, "two", "RancherOS v1.0.0", "bad-3", "good-3")
	addNodes(t, ns, "three", "RancherOS v1.0.0", "good-4", "good-5")
	for cluster, nodes := range map[string][]string{"one": bad, "two": {"bad-3"}} {
		for _, node := range nodes {
			require.NoError(t, world.Rancher.SetOutcome(ns, cluster, node, rancher.Fails))
		}
	}
	world.Rancher.HoldBack(ns, "three", true)
	apply(t, fmt.Sprintf(imageManifest, "image", ns,
		`{osImage: "rancher/os2:v1.2.0", concurrency: 2, nodeTimeout: 2s, maxFailures: 3, cordon: null, drain: null, clusterTargets: [{clusterSelector: {}}]}`))
	waitFor(t, ns, "managedosimage/image", "Ready", v1.ReasonHalted)
	plan(t, ns, "one", "image", stopped)
	status := statusOf(t, ns, "image", nil)
	require.Equal(t, 3, status.Nodes.Failed)
	require.Equal(t, 3, status.Rollout.Failures)
	require.Zero(t, status.Nodes.Pending, "none starts")

	// The cluster that comes late does not start, either.
	world.Rancher.HoldBack(ns, "three", false)
	plan(t, ns, "three", "image", stopped)
	waitFor(t, ns, "managedosimage/image", "Delivered", v1.ReasonDelivered)
	require.Equal(t, "RancherOS v1.0.0", world.Rancher.OSOf(ns, "three", "good-4"))

	// What has begun may still succeed; the halt stays.
	require.NoError(t, world.Rancher.SetOutcome(ns, "one", "bad-1", rancher.Succeeds))
	statusOf(t, ns, "image", func(s v1.ManagedOSImageStatus) error { return equal("failed", s.Nodes.Failed, 2) })
	waitFor(t, ns, "managedosimage/image", "Ready", v1.ReasonHalted)

	patch(t, ns, "image", `{"spec":{"maxFailures":4}}`)
	eventually(t, func() error { return equal("good-4", world.Rancher.OSOf(ns, "three", "good-4"), "RancherOS v1.2.0") })
	waitFor(t, ns, "managedosimage/image", "Degraded", v1.ReasonNodesFailed)

	// Another image begins anew.
	for cluster, nodes := range map[string][]string{"one": bad, "two": {"bad-3"}} {
		for _, node := range nodes {
			require.NoError(t, world.Rancher.SetOutcome(ns, cluster, node, rancher.Succeeds))
		}
	}
	patch(t, ns, "image", `{"spec":{"osImage":"rancher/os2:v1.2.1","nodeTimeout":"5m","maxFailures":1}}`)
	waitFor(t, ns, "managedosimage/image", "Ready", v1.ReasonReady)
	require.Zero(t, statusOf(t, ns, "image", nil).Rollout.Failures)
}

// A label on a node, or on a cluster, holds it; without it, it goes on.
func Test16Hold(t *testing.T) {
	ns := namespace(t, "s16-hold")
	addNodes(t, ns, "one", "RancherOS v1.0.0", "a", "b")
	addNodes(t, ns, "two", "RancherOS v1.0.0", "c")
	require.NoError(t, world.Rancher.LabelNode(ns, "one", "a", v1.LabelHold, "mine"))
	kubectl(t, "label", "clusters.provisioning.cattle.io", "two", "-n", ns, v1.LabelHold+"=christmas")
	eventually(t, func() error {
		return equal("label", kubectl(t, "get", "clusters.fleet.cattle.io", "two", "-n", ns, "-o", `jsonpath={.metadata.labels.rancheros\.cattle\.io/hold-upgrades}`), "christmas")
	})
	apply(t, fmt.Sprintf(imageManifest, "image", ns, `{osImage: "rancher/os2:v1.2.0", clusterTargets: [{clusterSelector: {}}]}`))
	status := statusOf(t, ns, "image", func(s v1.ManagedOSImageStatus) error {
		return equal("nodes", *s.Nodes, v1.NodeCounts{Total: 3, UpToDate: 1, Blocked: 2})
	})
	require.Equal(t, []string{"one a Blocked Held", "two  Blocked Held"}, reports(status))
	plan(t, ns, "two", "image", stopped)

	require.NoError(t, world.Rancher.LabelNode(ns, "one", "a", v1.LabelHold, ""))
	kubectl(t, "label", "clusters.provisioning.cattle.io", "two", "-n", ns, v1.LabelHold+"-")
	waitFor(t, ns, "managedosimage/image", "Ready", v1.ReasonReady)
}

// A cluster that Fleet keeps waiting is said to wait for that.
func Test16Partition(t *testing.T) {
	ns := namespace(t, "s16-partition")
	addNodes(t, ns, "late", "RancherOS v1.0.0", "a")
	world.Rancher.HoldBack(ns, "late", true)
	apply(t, fmt.Sprintf(imageManifest, "image", ns, `{osImage: "rancher/os2:v1.2.0", clusterTargets: [{clusterSelector: {}}]}`))
	status := statusOf(t, ns, "image", func(s v1.ManagedOSImageStatus) error { return equal("blocked", s.Nodes.Blocked, 1) })
	require.Equal(t, []string{"late  Blocked Partition"}, reports(status))
	world.Rancher.HoldBack(ns, "late", false)
	waitFor(t, ns, "managedosimage/image", "Ready", v1.ReasonReady)
}

// Nodes that failed, fell back, are held or offline: an operator that starts anew finds all of that as it left it.
func Test16RestartWritesNothing(t *testing.T) {
	ns := namespace(t, "s16-restart")
	addNodes(t, ns, "one", "RancherOS v1.0.0", "bad", "good", "held", "mute")
	addNodes(t, ns, "two", "RancherOS v1.0.0", "back")
	require.NoError(t, world.Rancher.SetOutcome(ns, "one", "bad", rancher.Fails))
	require.NoError(t, world.Rancher.SetOutcome(ns, "two", "back", rancher.FallsBack))
	require.NoError(t, world.Rancher.LabelNode(ns, "one", "held", v1.LabelHold, "x"))
	require.NoError(t, world.Rancher.SetSilent(ns, "one", "mute", true))
	apply(t, fmt.Sprintf(imageManifest, "image", ns, `{osImage: "rancher/os2:v1.2.0", nodeTimeout: 2s, concurrency: 3, maxFailures: 2, clusterTargets: [{clusterSelector: {}}]}`))
	apply(t, fmt.Sprintf(imageManifest, "second", ns, `{osImage: "rancher/os2:v1.3.0", clusterTargets: [{clusterSelector: {}}]}`))
	waitFor(t, ns, "managedosimage/image", "Ready", v1.ReasonHalted)
	waitFor(t, ns, "managedosimage/second", "Conflict", v1.ReasonOlderImage)
	requireUnchangedByRestart(t)
}
