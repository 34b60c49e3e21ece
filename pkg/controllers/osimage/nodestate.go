package osimage

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// startOf is the second that has begun: a status holds no parts of one.
func startOf(now time.Time) metav1.Time { return metav1.NewTime(now.Truncate(time.Second)) }

// state is what a node is at, as far as can be told from here.
type state string

const (
	upToDate state = "UpToDate"
	updating state = "Updating"
	pending  state = "Pending"
	failed   state = "Failed"
	fellBack state = "FellBack"
	blocked  state = "Blocked"
	offline  state = "Offline"
)

// nodeState is a node's state, and why.
type nodeState struct {
	state           state
	reason, message string
	since           time.Time
	// everyone tells that the reason is not the node's own: it holds for the whole cluster, or for all of them.
	everyone bool
}

// clockSlack is how far a cluster's clock may be behind ours.
const clockSlack = time.Minute

// rolloutFacts is what a node's state depends on beside the node and its cluster.
type rolloutFacts struct {
	goal goal
	// label and hash mark a node that is done; the hash is empty while it is not known what to do.
	label, hash string
	// steps are the hashes of the releases on the way, by their names.
	steps     map[string]string
	startedAt time.Time
	timeout   time.Duration
	// paused and halted tell that no node starts anywhere; closed, that the window is.
	paused, halted, closed bool
	now                    time.Time
}

// stateOf decides what a node is at. What the node says of itself comes first; what keeps it from starting comes last.
//
// That an upgrade has begun shows in the node being cordoned, and that it has failed, in the node being cordoned still:
// system-upgrade-controller takes the cordon back when, and only when, its job has succeeded.
func (r rolloutFacts) stateOf(node nodeFacts, cluster clusterFacts, plan clusterPlan) nodeState {
	excluded, out := plan.excluded[node.hostname]
	switch {
	case cluster.offline:
		return nodeState{state: offline, reason: v1.NodeReasonDisconnected, since: cluster.offlineSince, everyone: true,
			message: "Rancher has lost the cluster; what its nodes run now is not known"}
	case r.hash != "" && node.labels[r.label] == r.hash:
		return r.marked(node)
	case !out && plan.step != "" && node.labels[r.label] == r.steps[plan.step]:
		return r.stuck(node, plan.step)
	case node.lost && (out || !r.begun(node)):
		return lostState(node)
	case hasLabel(node, v1.LabelHold) || node.labels[r.label] == disabled:
		return nodeState{state: blocked, reason: v1.NodeReasonHeld, message: "held by a label on the node; remove it to go on"}
	case excluded != nil:
		return nodeState{state: blocked, reason: excluded.reason, message: excluded.message}
	case !out && r.begun(node) && r.now.Sub(r.began(node)) >= r.timeout:
		return nodeState{state: failed, reason: v1.NodeReasonTimeout, since: node.cordonedAt, message: fmt.Sprintf(
			"cordoned for its upgrade, which did not come to its end within %s; see the Plan and its Jobs in cattle-system of the cluster", r.timeout)}
	case !out && r.begun(node):
		return nodeState{state: updating, since: node.cordonedAt}
	}
	return r.waiting(cluster)
}

func hasLabel(node nodeFacts, label string) bool {
	_, found := node.labels[label]
	return found
}

// begun tells whether the node was cordoned in the course of this rollout.
func (r rolloutFacts) begun(node nodeFacts) bool {
	return r.hash != "" && !node.cordonedAt.IsZero() && !node.cordonedAt.Before(r.startedAt.Add(-clockSlack))
}

// began is when the node's time began to run: not before the rollout, whatever the clocks say. A node that the rollout before
// has left behind gets its time anew.
func (r rolloutFacts) began(node nodeFacts) time.Time {
	if node.cordonedAt.Before(r.startedAt) {
		return r.startedAt
	}
	return node.cordonedAt
}

func lostState(node nodeFacts) nodeState {
	return nodeState{state: offline, reason: v1.NodeReasonDisconnected, since: node.changedAt,
		message: "the node is silent; what it runs now is not known"}
}

// marked is about a node whose label says that it is done. Its OS has the last word.
func (r rolloutFacts) marked(node nodeFacts) nodeState {
	judged := r.goal.judge(node.osImage)
	switch {
	case node.lost:
		return lostState(node)
	case !judged.certain || judged.order == 0:
		return nodeState{state: upToDate}
	case judged.order > 0:
		return nodeState{state: blocked, reason: v1.NodeReasonNewer, message: fmt.Sprintf(
			"marked as done, but runs %s, which is newer than %s; somebody else has upgraded it", node.osImage, r.goal.release.Version)}
	case node.unready:
		// It is on its way through a reboot.
		return nodeState{state: updating, since: node.changedAt}
	}
	return nodeState{state: fellBack, reason: v1.NodeReasonOldOS, message: fmt.Sprintf(
		"marked as done, but runs %s, which is older than %s; it has probably not booted the new one", node.osImage, r.goal.release.Version)}
}

// stuck is about a node that is marked as done with a release on the way, and does not run it: else it would not need it.
func (r rolloutFacts) stuck(node nodeFacts, step string) nodeState {
	switch {
	case node.lost:
		return lostState(node)
	case node.unready:
		return nodeState{state: updating, since: node.changedAt}
	}
	return nodeState{state: fellBack, reason: v1.NodeReasonOldOS, message: fmt.Sprintf(
		"marked as done with %s, on the way, but runs %s; it has probably not booted the new one", step, node.osImage)}
}

// waiting is about a node that could be upgraded, and has not begun.
func (r rolloutFacts) waiting(cluster clusterFacts) nodeState {
	wait := func(reason, message string) nodeState {
		return nodeState{state: blocked, reason: reason, message: message, everyone: true}
	}
	switch {
	case r.paused:
		return wait(v1.NodeReasonPaused, "concurrency is 0; set it to 1 or more to go on")
	case r.halted:
		return wait(v1.NodeReasonHalted, "maxFailures has been reached; raise it to go on")
	case cluster.held:
		return wait(v1.NodeReasonHeld, "held by the label "+v1.LabelHold+" on the cluster; remove it to go on")
	case cluster.delivery.reason != "":
		return wait(cluster.delivery.reason, cluster.delivery.message)
	case r.closed:
		return wait(v1.NodeReasonWindow, "the window is closed")
	}
	return nodeState{state: pending}
}
