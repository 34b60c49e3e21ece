package osimage

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// The lists in a status are bounded, and its counts are not.
const (
	maxListed    = 50
	maxNodeNames = 10
)

// tally is what a rollout has come to, over all nodes.
type tally struct {
	nodes     v1.NodeCounts
	clusters  v1.ClusterCounts
	attention []v1.NodeReport
	preview   []v1.ClusterPreview
	conflicts []v1.ImageConflict
	// wakeAt is when a node's state changes although nothing happens: its time runs out. Zero for never.
	wakeAt time.Time
	// waiting counts the nodes that would start if they were let.
	waiting int
}

// count decides every node's state and adds up. Clusters come in the order of their names, so that the lists are the same on
// every run.
func (r rolloutFacts) count(clusters []clusterFacts, plans map[string]clusterPlan) tally {
	t := tally{attention: []v1.NodeReport{}}
	for _, cluster := range clusters {
		t.clusters.Total++
		if cluster.winner != "" {
			t.clusters.Conflict++
			t.conflicts = bounded(t.conflicts, v1.ImageConflict{Cluster: cluster.name, Image: cluster.winner})
			t.preview = bounded(t.preview, v1.ClusterPreview{Cluster: cluster.name, Message: "left to ManagedOSImage " + cluster.winner})
			continue
		}
		r.countCluster(&t, cluster, plans[cluster.name])
	}
	rank := map[string]int{string(failed): 0, string(fellBack): 1, string(blocked): 2, string(offline): 3}
	slices.SortStableFunc(t.attention, func(a, b v1.NodeReport) int { return cmp.Compare(rank[a.State], rank[b.State]) })
	t.attention = t.attention[:min(len(t.attention), maxListed)]
	return t
}

func (r rolloutFacts) countCluster(t *tally, cluster clusterFacts, plan clusterPlan) {
	before := t.nodes
	preview := v1.ClusterPreview{Cluster: cluster.name}
	told := map[string]bool{}
	for _, node := range cluster.nodes {
		s := r.stateOf(node, cluster, plan)
		t.nodes.Total++
		*nodeCount(&t.nodes, s.state)++
		if s.state == updating && !node.cordonedAt.IsZero() {
			t.wake(r.began(node).Add(r.timeout))
		}
		if s.state == pending || s.everyone && s.state == blocked {
			t.waiting++
			preview.Upgrade++
			if len(preview.Nodes) < maxNodeNames {
				preview.Nodes = append(preview.Nodes, node.name)
			}
		} else if s.state == blocked {
			preview.Blocked++
		}
		t.report(cluster.name, node.name, s, told)
	}
	if cluster.offline {
		preview.Message = "Rancher has lost the cluster; it would follow when it returns"
	} else if cluster.held {
		preview.Message = "held by the label " + v1.LabelHold
	}
	t.preview = bounded(t.preview, preview)
	*clusterCount(&t.clusters, cluster, before, t.nodes)++
}

// report lists what somebody should look at: a node with its own trouble, or once a cluster that is in trouble as a whole.
// What holds for all of them, such as a pause, the conditions say.
func (t *tally) report(cluster, node string, s nodeState, told map[string]bool) {
	switch {
	case s.state != failed && s.state != fellBack && s.state != blocked && s.state != offline:
		return
	case s.everyone && (s.reason == v1.NodeReasonPaused || s.reason == v1.NodeReasonHalted || s.reason == v1.NodeReasonWindow):
		return
	case s.everyone && told[s.reason]:
		return
	case s.everyone:
		told[s.reason], node = true, ""
	}
	report := v1.NodeReport{Cluster: cluster, Node: node, State: string(s.state), Reason: s.reason, Message: s.message}
	if !s.since.IsZero() {
		since := metav1.NewTime(s.since.Truncate(time.Second))
		report.Since = &since
	}
	t.attention = append(t.attention, report)
}

func (t *tally) wake(at time.Time) {
	if t.wakeAt.IsZero() || at.Before(t.wakeAt) {
		t.wakeAt = at
	}
}

// summary is 7/10.
func (t tally) summary() string { return fmt.Sprintf("%d/%d", t.nodes.UpToDate, t.nodes.Total) }

// atFault are the nodes that count against maxFailures.
func (t tally) atFault() int { return t.nodes.Failed + t.nodes.FellBack }

// reachable are the nodes that can be expected to run the image.
func (t tally) reachable() int { return t.nodes.Total - t.nodes.Offline }

// clusterCount is the count that the cluster belongs to, by what its nodes have added to the nodes' counts.
func clusterCount(counts *v1.ClusterCounts, cluster clusterFacts, before, after v1.NodeCounts) *int {
	switch {
	case cluster.offline:
		return &counts.Offline
	case after.Failed > before.Failed || after.FellBack > before.FellBack:
		return &counts.Failed
	case after.Updating > before.Updating:
		return &counts.Updating
	case after.Pending > before.Pending:
		return &counts.Pending
	case after.Blocked > before.Blocked:
		return &counts.Blocked
	}
	return &counts.UpToDate
}

func bounded[T any](list []T, item T) []T {
	if len(list) >= maxListed {
		return list
	}
	return append(list, item)
}

// nodeCount is the count of a state.
func nodeCount(counts *v1.NodeCounts, s state) *int {
	switch s {
	case upToDate:
		return &counts.UpToDate
	case updating:
		return &counts.Updating
	case failed:
		return &counts.Failed
	case fellBack:
		return &counts.FellBack
	case blocked:
		return &counts.Blocked
	case offline:
		return &counts.Offline
	}
	return &counts.Pending
}
