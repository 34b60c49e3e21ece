package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/tests/rancher"
)

const osVersionManifest = "apiVersion: rancheros.cattle.io/v1\nkind: ManagedOSVersion\nmetadata: {name: %s, namespace: %s}\nspec: {version: %s, minVersion: %q, metadata: {upgradeImage: \"rancher/os2:%s\"}}\n"

// Every node is counted by what it runs, not by what was delivered.
func Test15WhatNodesRun(t *testing.T) {
	ns := namespace(t, "s15-nodes")
	addNodes(t, ns, "one", "RancherOS v1.0.0", "a", "b", "c")
	addNodes(t, ns, "two", "RancherOS v1.0.0", "d", "e")
	require.NoError(t, world.Rancher.SetOutcome(ns, "two", "d", rancher.Fails))
	require.NoError(t, world.Rancher.SetOutcome(ns, "two", "e", rancher.FallsBack))
	apply(t, fmt.Sprintf(imageManifest, "image", ns, `{osImage: "rancher/os2:v1.2.0", nodeTimeout: 2s, concurrency: 2, cloudConfig: {a: `+canary+`}, clusterTargets: [{clusterSelector: {}}]}`))
	waitFor(t, ns, "managedosimage/image", "Ready", v1.ReasonNodesFailed)
	status := statusOf(t, ns, "image", func(s v1.ManagedOSImageStatus) error {
		return equal("nodes", *s.Nodes, v1.NodeCounts{Total: 5, UpToDate: 3, Failed: 1, FellBack: 1})
	})
	require.Equal(t, "3/5", status.Summary)
	require.Equal(t, v1.ClusterCounts{Total: 2, UpToDate: 1, Failed: 1}, *status.Clusters)
	require.Equal(t, []string{"two d Failed Timeout", "two e FellBack OldOS"}, reports(status))
	require.NotNil(t, status.Attention[0].Since)
	require.Contains(t, kubectl(t, "get", "managedosimage", "image", "-n", ns), "3/5")

	// What is mended is mended.
	require.NoError(t, world.Rancher.SetOutcome(ns, "two", "d", rancher.Succeeds))
	statusOf(t, ns, "image", func(s v1.ManagedOSImageStatus) error {
		return equal("nodes", *s.Nodes, v1.NodeCounts{Total: 5, UpToDate: 4, FellBack: 1})
	})
	// Another release gives every node another chance.
	require.NoError(t, world.Rancher.SetOutcome(ns, "two", "e", rancher.Succeeds))
	patch(t, ns, "image", `{"spec":{"osImage":"rancher/os2:v1.3.0"}}`)
	waitFor(t, ns, "managedosimage/image", "Ready", v1.ReasonReady)
	require.Equal(t, "5/5", statusOf(t, ns, "image", nil).Summary)
	require.Equal(t, "RancherOS v1.3.0", world.Rancher.OSOf(ns, "two", "e"))

	// The same release once more.
	before := statusOf(t, ns, "image", nil).Rollout.Hash
	kubectl(t, "annotate", "managedosimage", "image", "-n", ns, v1.AnnotationRunAgain+"=today")
	status = statusOf(t, ns, "image", func(s v1.ManagedOSImageStatus) error {
		if s.Rollout.Hash == before {
			return fmt.Errorf("the rollout is still the one before")
		}
		return equal("summary", s.Summary, "5/5")
	})
	require.Equal(t, v1.NodeCounts{Total: 5, UpToDate: 5}, *status.Nodes)
}

// An offline cluster is not a failure, and is not waited for; it follows when it returns.
func Test15Offline(t *testing.T) {
	ns := namespace(t, "s15-offline")
	addNodes(t, ns, "here", "RancherOS v1.0.0", "a", "b")
	addNodes(t, ns, "away", "RancherOS v1.0.0", "c", "d")
	require.NoError(t, world.Rancher.SetConnected(t.Context(), ns, "away", false))
	apply(t, fmt.Sprintf(imageManifest, "image", ns, `{osImage: "rancher/os2:v1.2.0", nodeTimeout: 2s, clusterTargets: [{clusterSelector: {}}]}`))
	waitFor(t, ns, "managedosimage/image", "Ready", v1.ReasonReady)
	status := statusOf(t, ns, "image", nil)
	require.Equal(t, v1.NodeCounts{Total: 4, UpToDate: 2, Offline: 2}, *status.Nodes)
	require.Equal(t, v1.ClusterCounts{Total: 2, UpToDate: 1, Offline: 1}, *status.Clusters)
	require.Equal(t, []string{"away  Offline Disconnected"}, reports(status), "once for the whole cluster")
	require.NotNil(t, status.Attention[0].Since)

	require.NoError(t, world.Rancher.SetConnected(t.Context(), ns, "away", true))
	statusOf(t, ns, "image", func(s v1.ManagedOSImageStatus) error { return equal("summary", s.Summary, "4/4") })

	require.NoError(t, world.Rancher.SetSilent(ns, "here", "a", true))
	status = statusOf(t, ns, "image", func(s v1.ManagedOSImageStatus) error { return equal("offline", s.Nodes.Offline, 1) })
	require.Equal(t, []string{"here a Offline Disconnected"}, reports(status))
}

// minVersion holds per node: by way of the version between, and not at all where there is none. Nothing goes down.
func Test15Versions(t *testing.T) {
	ns := namespace(t, "s15-versions")
	apply(t, fmt.Sprintf(osVersionManifest, "v3", ns, "v3.0.0", "v2.0.0", "v3.0.0"))
	addNodes(t, ns, "mixed", "RancherOS v1.0.0", "old")
	require.NoError(t, world.Rancher.AddNodes(t.Context(), ns, "mixed", rancher.Node{Name: "middle", OS: "RancherOS v2.0.0"}, rancher.Node{Name: "newer", OS: "RancherOS v4.0.0"}))
	addNodes(t, ns, "plain", "RancherOS v2.1.0", "plain")
	apply(t, fmt.Sprintf(imageManifest, "image", ns, `{managedOSVersionName: v3, clusterTargets: [{clusterSelector: {}}]}`))
	status := statusOf(t, ns, "image", func(s v1.ManagedOSImageStatus) error {
		return equal("nodes", *s.Nodes, v1.NodeCounts{Total: 4, UpToDate: 2, Blocked: 2})
	})
	require.Equal(t, []string{"mixed newer Blocked Newer", "mixed old Blocked MinVersion"}, reports(status))
	require.Contains(t, status.Attention[1].Message, "v3.0.0 needs at least v2.0.0")
	require.Equal(t, "RancherOS v4.0.0", world.Rancher.OSOf(ns, "mixed", "newer"))
	waitFor(t, ns, "managedosimage/image", "Ready", v1.ReasonNodesBlocked)

	apply(t, fmt.Sprintf(osVersionManifest, "v2", ns, "v2.0.5", "", "v2.0.5"))
	statusOf(t, ns, "image", func(s v1.ManagedOSImageStatus) error {
		return equal("nodes", *s.Nodes, v1.NodeCounts{Total: 4, UpToDate: 3, Blocked: 1})
	})
	require.Equal(t, "RancherOS v3.0.0", world.Rancher.OSOf(ns, "mixed", "old"))
	require.Equal(t, "RancherOS v4.0.0", world.Rancher.OSOf(ns, "mixed", "newer"))

	patch(t, ns, "image", `{"spec":{"allowDowngrade":true}}`)
	waitFor(t, ns, "managedosimage/image", "Ready", v1.ReasonReady)
	require.Equal(t, "RancherOS v3.0.0", world.Rancher.OSOf(ns, "mixed", "newer"))
}

// Two images that reach one node: the older has the cluster, the other says so, and follows when the older goes.
func Test15Conflict(t *testing.T) {
	ns := namespace(t, "s15-conflict")
	addNodes(t, ns, "both", "RancherOS v1.0.0", "a")
	addNodes(t, ns, "other", "RancherOS v1.0.0", "b")
	apply(t, fmt.Sprintf(imageManifest, "older", ns, `{osImage: "rancher/os2:v1.2.0", clusterTargets: [{clusterName: both}]}`))
	waitFor(t, ns, "managedosimage/older", "Ready", v1.ReasonReady)
	// Creation times have whole seconds.
	created := world.Clients.RancherOS.ManagedOSImage()
	older, err := created.Get(ns, "older", metav1.GetOptions{})
	require.NoError(t, err)
	eventually(t, func() error {
		if !time.Now().After(older.CreationTimestamp.Add(time.Second)) {
			return fmt.Errorf("still the same second")
		}
		return nil
	})
	apply(t, fmt.Sprintf(imageManifest, "a-younger", ns, `{osImage: "rancher/os2:v1.3.0", clusterTargets: [{clusterSelector: {}}]}`))
	waitFor(t, ns, "managedosimage/a-younger", "Conflict", v1.ReasonOlderImage)
	status := statusOf(t, ns, "a-younger", func(s v1.ManagedOSImageStatus) error { return equal("summary", s.Summary, "1/1") })
	require.Equal(t, []v1.ImageConflict{{Cluster: "both", Image: "older"}}, status.Conflicts)
	require.Equal(t, "RancherOS v1.2.0", world.Rancher.OSOf(ns, "both", "a"), "no fight")
	require.Equal(t, "RancherOS v1.3.0", world.Rancher.OSOf(ns, "other", "b"))
	waitFor(t, ns, "managedosimage/older", "Conflict", v1.ReasonNoConflict)

	// Images that select different nodes do not meet.
	require.NoError(t, world.Rancher.AddNodes(t.Context(), ns, "both", rancher.Node{Name: "gpu", OS: "RancherOS v1.0.0", Labels: map[string]string{"gpu": "yes"}}))
	patch(t, ns, "older", `{"spec":{"nodeSelector":{"matchExpressions":[{"key":"gpu","operator":"DoesNotExist"}]}}}`)
	patch(t, ns, "a-younger", `{"spec":{"nodeSelector":{"matchLabels":{"gpu":"yes"}}}}`)
	waitFor(t, ns, "managedosimage/a-younger", "Conflict", v1.ReasonNoConflict)
	eventually(t, func() error { return equal("gpu", world.Rancher.OSOf(ns, "both", "gpu"), "RancherOS v1.3.0") })
	require.Equal(t, "RancherOS v1.2.0", world.Rancher.OSOf(ns, "both", "a"))

	patch(t, ns, "a-younger", `{"spec":{"nodeSelector":null}}`)
	waitFor(t, ns, "managedosimage/a-younger", "Conflict", v1.ReasonOlderImage)
	kubectl(t, "delete", "managedosimage", "older", "-n", ns)
	waitFor(t, ns, "managedosimage/a-younger", "Conflict", v1.ReasonNoConflict)
	waitFor(t, ns, "managedosimage/a-younger", "Ready", v1.ReasonReady)
	require.Equal(t, "RancherOS v1.3.0", world.Rancher.OSOf(ns, "both", "a"))
}
