package osimage

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	fleetv1 "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// bundleWith is a Bundle of generation 2 that Fleet has looked at, at the given generation.
func bundleWith(observed int64, ready, desired int) *fleetv1.Bundle {
	bundle := &fleetv1.Bundle{ObjectMeta: metav1.ObjectMeta{Name: "mos-demo", Generation: 2}}
	bundle.Status.ObservedGeneration = observed
	bundle.Status.Summary.Ready, bundle.Status.Summary.DesiredReady = ready, desired
	return bundle
}

func TestDelivered(t *testing.T) {
	for _, c := range []struct {
		why     string
		bundle  *fleetv1.Bundle
		err     error
		status  metav1.ConditionStatus
		reason  string
		message string
	}{
		{"every cluster has it", bundleWith(2, 3, 3), nil, metav1.ConditionTrue, v1.ReasonDelivered, "reached 3/3 clusters"},
		{"some have it", bundleWith(2, 1, 3), nil, metav1.ConditionFalse, v1.ReasonDelivering, "reached 1/3 clusters"},
		{"there is no cluster", bundleWith(2, 0, 0), nil, metav1.ConditionFalse, v1.ReasonNoClusterMatches, "correct clusterTargets, or create the cluster"},
		{"Fleet has not looked yet", bundleWith(0, 0, 0), nil, metav1.ConditionFalse, v1.ReasonDelivering, "Fleet has not taken up the plan yet"},
		{"what Fleet says is about the plan before", bundleWith(1, 3, 3), nil, metav1.ConditionFalse, v1.ReasonDelivering, "Fleet has not taken up the plan yet"},
		{"a refusal under its own reason", bundleWith(2, 3, 3), refuse(v1.ReasonNoTargets, "no cluster is targeted"), metav1.ConditionFalse, v1.ReasonNoTargets, "no cluster is targeted"},
		{"a failure", nil, errors.New("no etcd"), metav1.ConditionFalse, v1.ReasonAPIError, "no etcd; it is tried again"},
	} {
		t.Run(c.why, func(t *testing.T) {
			got := delivered(c.bundle, c.err)
			require.Equal(t, []any{v1.ConditionDelivered, c.status, c.reason}, []any{got.Type, got.Status, got.Reason})
			require.Contains(t, got.Message, c.message)
		})
	}
}

// tallied is a rollout over so many nodes, of which the rest is up to date.
func tallied(total int, change func(*v1.NodeCounts)) rollout {
	r := rollout{state: &v1.RolloutStatus{Hash: "h", Failures: 3}}
	r.tally.clusters.Total = 1
	r.tally.nodes.Total, r.tally.nodes.UpToDate = total, total
	if change != nil {
		change(&r.tally.nodes)
		n := r.tally.nodes
		r.tally.nodes.UpToDate -= n.Updating + n.Pending + n.Failed + n.FellBack + n.Blocked + n.Offline
	}
	return r
}

func TestConditionsOfNodes(t *testing.T) {
	yes, partly := delivered(bundleWith(2, 3, 3), nil), delivered(bundleWith(2, 2, 3), nil)
	no := delivered(nil, refuse(v1.ReasonNoTargets, "no cluster is targeted"))
	with := func(r rollout, change func(*rollout)) rollout { change(&r); return r }
	for _, c := range []struct {
		why                          string
		of                           rollout
		delivered                    metav1.Condition
		ready, progressing, degraded string
		message                      string
	}{
		{"all run it", tallied(10, nil), yes, "True Ready", "False Ready", "False NodesHealthy", "10/10 nodes run the image"},
		{"some are on their way", tallied(10, func(n *v1.NodeCounts) { n.Updating, n.Pending = 1, 2 }), yes,
			"False Updating", "True Updating", "False NodesHealthy", "7/10 nodes run the image, 1 are being upgraded, 2 wait for their turn"},
		{"what cannot be reached is not waited for", tallied(10, func(n *v1.NodeCounts) { n.Offline = 3 }), yes,
			"True Ready", "False Ready", "False NodesHealthy", "7/10 nodes run the image, 3 are offline"},
		{"an offline cluster does not have the plan, and is not waited for", with(tallied(10, func(n *v1.NodeCounts) { n.Offline = 3 }),
			func(r *rollout) { r.tally.clusters.Offline = 1 }), partly, "True Ready", "True Delivering", "False NodesHealthy", ""},
		{"but nobody left is no success", tallied(3, func(n *v1.NodeCounts) { n.Offline = 3 }), yes,
			"Unknown NoNodes", "False Ready", "False NodesHealthy", "can be reached"},
		{"no node is no success: delivered is not done", tallied(0, nil), yes, "Unknown NoNodes", "False Ready", "False NodesHealthy", "no node"},
		{"one has failed", tallied(10, func(n *v1.NodeCounts) { n.Failed, n.Pending = 1, 2 }), yes,
			"False NodesFailed", "True Updating", "True NodesFailed", "see status.attention"},
		{"one has fallen back", tallied(10, func(n *v1.NodeCounts) { n.FellBack = 1 }), yes,
			"False NodesFailed", "False NodesFailed", "True NodesFailed", "1 have fallen back"},
		{"only blocked ones are left", tallied(10, func(n *v1.NodeCounts) { n.Blocked = 1 }), yes,
			"False NodesBlocked", "False NodesBlocked", "False NodesHealthy", "1 are blocked; see status.attention"},
		{"paused is not done", with(tallied(10, func(n *v1.NodeCounts) { n.Blocked = 10 }), func(r *rollout) { r.paused, r.tally.waiting = true, 10 }), yes,
			"False Paused", "False Paused", "False NodesHealthy", "set it to 1 or more to upgrade 10 nodes"},
		{"paused is not done, also when nothing is left", with(tallied(10, nil), func(r *rollout) { r.paused = true }), yes,
			"False Paused", "False Paused", "False NodesHealthy", "paused"},
		{"halted", with(tallied(10, func(n *v1.NodeCounts) { n.Failed, n.Blocked = 3, 7 }), func(r *rollout) { r.halted = true }), yes,
			"False Halted", "False Halted", "True Halted", "raise maxFailures to go on, or give another image"},
		{"a refusal comes first", tallied(10, nil), no, "False NoTargets", "False NoTargets", "False NodesHealthy", "no cluster is targeted"},
		{"a cluster is lost to another image", with(tallied(10, nil), func(r *rollout) {
			r.tally.clusters.Total, r.tally.clusters.Conflict, r.tally.conflicts = 7, 6, slices.Repeat([]v1.ImageConflict{{Cluster: "a", Image: "older"}}, 6)
		}), yes, "False OlderImage", "False Ready", "False NodesHealthy",
			"6 of 7 clusters are left to an older image that selects nodes of them: a to ManagedOSImage older, "},
	} {
		t.Run(c.why, func(t *testing.T) {
			got := ready(c.of, c.delivered)
			require.Equal(t, c.ready, fmt.Sprintf("%s %s", got.Status, got.Reason))
			require.Contains(t, got.Message, c.message)
			got = progressing(c.of, c.delivered)
			require.Equal(t, c.progressing, fmt.Sprintf("%s %s", got.Status, got.Reason))
			got = degraded(c.of)
			require.Equal(t, c.degraded, fmt.Sprintf("%s %s", got.Status, got.Reason))
		})
	}
}

func TestComputeStatus(t *testing.T) {
	image := newImage()
	turned := computeStatus(image, rollout{image: "rancher/os2:v1", bundle: bundleWith(2, 1, 3)}, nil)
	require.Len(t, turned, 5)
	require.Equal(t, int64(2), image.Status.ObservedGeneration)
	require.Equal(t, "rancher/os2:v1", image.Status.Image)
	require.Equal(t, &v1.BundleStatus{Name: "mos-demo", Delivered: "1/3", Ready: 1, Desired: 3}, image.Status.Bundle)

	computeStatus(image, rollout{image: "rancher/os2:v2", bundle: bundleWith(1, 3, 3)}, nil)
	require.Equal(t, "0/3", image.Status.Bundle.Delivered, "no cluster has the new plan yet")
	computeStatus(image, rollout{}, refuse(v1.ReasonNothingToDo, "nothing"))
	require.Nil(t, image.Status.Bundle)
	require.Empty(t, image.Status.Image)
}

func TestSeverity(t *testing.T) {
	require.Equal(t, corev1.EventTypeNormal, severity(v1.ReasonDelivering))
	require.Equal(t, corev1.EventTypeNormal, severity(v1.ReasonPaused))
	require.Equal(t, corev1.EventTypeWarning, severity(v1.ReasonForeignBundle))
	require.Equal(t, corev1.EventTypeWarning, severity(v1.ReasonInvalidSpec))
}
