package osimage

import (
	"slices"

	"github.com/rancher/rancheros-operator/pkg/osversion"
)

// clusterPlan is what one cluster's plan does, where it differs from that of the others.
type clusterPlan struct {
	// step is the ManagedOSVersion that comes first; empty for the goal.
	step string
	// leftOut are the host names that the plan must name as not its own.
	leftOut []string
	// stopped tells that no node of the cluster starts.
	stopped bool
	// excluded are the nodes that are not upgraded by this plan, by their host names, and why; nil where it is only not their
	// turn yet.
	excluded map[string]*exclusion
}

// differs tells whether the cluster needs a plan of its own.
func (p clusterPlan) differs() bool { return p.step != "" || p.stopped || len(p.leftOut) > 0 }

// planFor finds the step that a cluster's nodes take. A plan has one image: where nodes need releases between, the oldest of
// these comes first, for the nodes that need it, and everyone else waits.
//
// Host names stand in a plan only where nodes of both kinds are in one cluster. Whatever is written into a Bundle makes Fleet
// install it anew in every cluster, be it for one of them only.
func (r rolloutFacts) planFor(cluster clusterFacts) clusterPlan {
	plan := clusterPlan{stopped: cluster.held, excluded: map[string]*exclusion{}}
	needs := map[string]string{}
	for _, node := range cluster.nodes {
		if node.labels[r.label] == r.hash {
			continue
		}
		judged := r.goal.judge(node.osImage)
		if judged.excluded != nil {
			plan.excluded[node.hostname] = judged.excluded
			continue
		}
		needs[node.hostname] = judged.step
	}
	plan.step = r.goal.oldest(needs)
	if plan.step == "" && len(needs) == 0 && len(plan.excluded) > 0 {
		// Nobody is left who may have it: nothing has to be named.
		plan.stopped = true
		return plan
	}
	for host := range plan.excluded {
		plan.leftOut = append(plan.leftOut, host)
	}
	if plan.step != "" {
		plan.waitForStep(cluster, needs, r.label, r.steps[plan.step])
	}
	slices.Sort(plan.leftOut)
	return plan
}

// waitForStep leaves out the nodes that must not take the step. Those that have taken it are marked, and need no naming.
func (p *clusterPlan) waitForStep(cluster clusterFacts, needs map[string]string, label, stepHash string) {
	for _, node := range cluster.nodes {
		if _, already := p.excluded[node.hostname]; already || needs[node.hostname] == p.step {
			continue
		}
		p.excluded[node.hostname] = nil
		if node.labels[label] != stepHash {
			p.leftOut = append(p.leftOut, node.hostname)
		}
	}
}

// oldest of the releases that nodes need on the way; empty when none needs any.
func (g goal) oldest(needs map[string]string) string {
	wanted := map[string]bool{}
	for _, step := range needs {
		wanted[step] = step != ""
	}
	var oldest *osversion.Release
	for i, release := range g.known {
		if wanted[release.Name] && (oldest == nil || osversion.Order(release.Version, oldest.Version) < 0) {
			oldest = &g.known[i]
		}
	}
	if oldest == nil {
		return ""
	}
	return oldest.Name
}
