package osimage

import (
	"errors"
	"fmt"
	"strings"

	fleetv1 "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/status"
)

// computeStatus puts what came of the rollout into the status of image, a copy, and returns the conditions that turned.
func computeStatus(image *v1.ManagedOSImage, result rollout, err error) []metav1.Condition {
	into := &image.Status
	into.ObservedGeneration = image.Generation
	into.Image = result.image
	into.Bundle = bundleStatus(result.bundle)
	into.Rollout = result.state
	into.Summary = result.tally.summary()
	into.Nodes, into.Clusters = &result.tally.nodes, &result.tally.clusters
	into.Attention, into.Conflicts, into.Preview = result.tally.attention, result.tally.conflicts, nil
	if result.paused || result.unknown {
		into.Preview = result.tally.preview
	}
	delivered := delivered(result.bundle, err)
	return status.Set(&into.Conditions, image.Generation, delivered, progressing(result, delivered), degraded(result), conflict(result.tally),
		ready(result, delivered))
}

func bundleStatus(bundle *fleetv1.Bundle) *v1.BundleStatus {
	if bundle == nil {
		return nil
	}
	summary := bundle.Status.Summary
	if outdated(bundle) {
		summary.Ready = 0
	}
	return &v1.BundleStatus{
		Name:      bundle.Name,
		Delivered: fmt.Sprintf("%d/%d", summary.Ready, summary.DesiredReady),
		Ready:     summary.Ready,
		Desired:   summary.DesiredReady,
	}
}

// outdated tells whether what Fleet says is still about the plan before this one.
func outdated(bundle *fleetv1.Bundle) bool {
	return bundle.Status.ObservedGeneration < bundle.Generation
}

// delivered speaks of the plan's way to the clusters, which is all that a Bundle knows.
func delivered(bundle *fleetv1.Bundle, err error) metav1.Condition {
	const kind = v1.ConditionDelivered
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		return status.False(kind, refused.reason, refused.message)
	case err != nil:
		return status.False(kind, v1.ReasonAPIError, fmt.Sprintf("%v; it is tried again", err))
	case bundle == nil || outdated(bundle):
		return status.False(kind, v1.ReasonDelivering, "Fleet has not taken up the plan yet; if it stays so, look at the Bundle and at Fleet's logs")
	}
	summary := bundleStatus(bundle)
	switch {
	case summary.Desired == 0:
		return status.False(kind, v1.ReasonNoClusterMatches,
			"Fleet has matched no cluster to the targets; correct clusterTargets, or create the cluster")
	case summary.Ready < summary.Desired:
		return status.False(kind, v1.ReasonDelivering, fmt.Sprintf(
			"the plan has reached %s clusters; those that are offline get it when they return", summary.Delivered))
	}
	return status.True(kind, v1.ReasonDelivered, fmt.Sprintf("the plan has reached %s clusters", summary.Delivered))
}

// conflict says which clusters another image has first. The rest of the rollout goes on.
func conflict(t tally) metav1.Condition {
	const kind = v1.ConditionConflict
	if t.clusters.Conflict == 0 {
		return status.False(kind, v1.ReasonNoConflict, "no other image has a targeted cluster first")
	}
	var named []string
	for _, lost := range t.conflicts[:min(len(t.conflicts), 5)] {
		named = append(named, fmt.Sprintf("%s to ManagedOSImage %s", lost.Cluster, lost.Image))
	}
	if more := t.clusters.Conflict - len(named); more > 0 {
		named = append(named, fmt.Sprintf("and %d more", more))
	}
	return status.True(kind, v1.ReasonOlderImage, fmt.Sprintf(
		"%d of %d clusters are left to an older image that selects nodes of them: %s; delete one of the two, or correct clusterTargets or nodeSelector",
		t.clusters.Conflict, t.clusters.Total, strings.Join(named, ", ")))
}

// degraded says whether somebody should look at a node.
func degraded(result rollout) metav1.Condition {
	const kind = v1.ConditionDegraded
	if result.halted {
		return status.True(kind, v1.ReasonHalted, halted(result))
	}
	if n := result.tally.atFault(); n > 0 {
		return status.True(kind, v1.ReasonNodesFailed, fmt.Sprintf("%s; see status.attention", nodesFailed(result.tally)))
	}
	return status.False(kind, v1.ReasonNodesHealthy, "no node has failed")
}

func halted(result rollout) string {
	return fmt.Sprintf("halted: %d nodes have failed or fallen back at one time; look at status.attention, then raise maxFailures to go on, or give another image",
		result.state.Failures)
}

func nodesFailed(t tally) string {
	return fmt.Sprintf("%d nodes have failed and %d have fallen back", t.nodes.Failed, t.nodes.FellBack)
}

// progressing says whether nodes are on their way, or what they wait for.
func progressing(result rollout, delivered metav1.Condition) metav1.Condition {
	const kind = v1.ConditionProgressing
	t := result.tally
	switch {
	case refused(delivered):
		return status.False(kind, delivered.Reason, delivered.Message)
	case result.halted:
		return status.False(kind, v1.ReasonHalted, halted(result))
	case result.paused:
		return status.False(kind, v1.ReasonPaused, paused(result))
	case t.nodes.Updating > 0 || t.nodes.Pending > 0:
		return status.True(kind, v1.ReasonUpdating, progress(t))
	case delivered.Status != metav1.ConditionTrue:
		return status.True(kind, delivered.Reason, delivered.Message)
	case result.closed:
		return status.False(kind, v1.ReasonNodesBlocked, "the window is closed; "+progress(t))
	case t.atFault() > 0:
		return status.False(kind, v1.ReasonNodesFailed, progress(t))
	case t.nodes.Blocked > 0:
		return status.False(kind, v1.ReasonNodesBlocked, progress(t))
	}
	return status.False(kind, v1.ReasonReady, progress(t))
}

// refused tells whether what is wrong is not Fleet's to mend.
func refused(delivered metav1.Condition) bool {
	return delivered.Status != metav1.ConditionTrue && delivered.Reason != v1.ReasonDelivering && delivered.Reason != v1.ReasonNoClusterMatches
}

func paused(result rollout) string {
	return fmt.Sprintf("paused: concurrency is 0; set it to 1 or more to upgrade %d nodes, see status.preview", result.tally.waiting)
}

// progress is the whole in one line, without what is zero.
func progress(t tally) string {
	said := []string{fmt.Sprintf("%s nodes run the image", t.summary())}
	for _, part := range []struct {
		count int
		what  string
	}{
		{t.nodes.Updating, "are being upgraded"}, {t.nodes.Pending, "wait for their turn"}, {t.nodes.Failed, "have failed"},
		{t.nodes.FellBack, "have fallen back"}, {t.nodes.Blocked, "are blocked"}, {t.nodes.Offline, "are offline"},
	} {
		if part.count > 0 {
			said = append(said, fmt.Sprintf("%d %s", part.count, part.what))
		}
	}
	return strings.Join(said, ", ")
}

// ready never takes delivery for success: a Bundle is called ready as soon as the plan arrived, whatever its jobs do. What
// counts is what the nodes run, as far as they can be reached.
func ready(result rollout, delivered metav1.Condition) metav1.Condition {
	const kind = v1.ConditionReady
	t := result.tally
	switch {
	case refused(delivered):
		return status.False(kind, delivered.Reason, delivered.Message)
	case result.halted:
		return status.False(kind, v1.ReasonHalted, halted(result))
	case result.paused:
		return status.False(kind, v1.ReasonPaused, paused(result))
	case t.atFault() > 0:
		return status.False(kind, v1.ReasonNodesFailed, progress(t)+"; see status.attention")
	case t.clusters.Conflict > 0:
		return status.False(kind, v1.ReasonOlderImage, conflict(t).Message)
	case t.nodes.Updating > 0 || t.nodes.Pending > 0:
		return status.False(kind, v1.ReasonUpdating, progress(t))
	case result.closed:
		return status.False(kind, v1.ReasonNodesBlocked, "the window is closed; "+progress(t))
	case t.nodes.Blocked > 0:
		return status.False(kind, v1.ReasonNodesBlocked, progress(t)+"; see status.attention")
	case delivered.Status != metav1.ConditionTrue && t.clusters.Offline == 0:
		return status.False(kind, delivered.Reason, delivered.Message)
	case t.reachable() == 0:
		return status.Unknown(kind, v1.ReasonNoNodes, delivered.Message+", but no node that nodeSelector selects is known there or can be reached")
	}
	return status.True(kind, v1.ReasonReady, progress(t))
}
