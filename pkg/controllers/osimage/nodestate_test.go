package osimage

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

const planLabel = "plan.upgrade.cattle.io/os"

// epoch is when the rollout of these tests began, and noon an hour later.
var (
	epoch = time.Date(2026, 11, 20, 11, 0, 0, 0, time.UTC)
	noon  = epoch.Add(time.Hour)
)

func osVersion(name, version, min string) *v1.ManagedOSVersion {
	return &v1.ManagedOSVersion{ObjectMeta: metav1.ObjectMeta{Namespace: "fleet-default", Name: name}, Spec: v1.ManagedOSVersionSpec{
		Version: version, MinVersion: min, Metadata: raw(`{"upgradeImage":"rancher/os2:` + version + `"}`)}}
}

// toward are the facts of a rollout of version v1.2.0, which needs v1.1.0.
func toward(versions ...*v1.ManagedOSVersion) rolloutFacts {
	in := input{image: newImage(func(s *v1.ManagedOSImageSpec) { s.OSImage, s.ManagedOSVersionName = "", "v1.2.0" })}
	in.version, in.versions = osVersion("v1.2.0", "v1.2.0", "v1.1.0"), versions
	return rolloutFacts{
		goal: newGoal(in, ""), label: planLabel, hash: "wanted", steps: map[string]string{"v1.1.0": "step"},
		startedAt: epoch, timeout: 30 * time.Minute, now: noon,
	}
}

// running is a node that runs an OS and has the labels, key=value.
func running(osImage string, labels ...[2]string) nodeFacts {
	node := nodeFacts{name: "n", hostname: "n", osImage: osImage, labels: map[string]string{"kubernetes.io/hostname": "n"}}
	for _, label := range labels {
		node.labels[label[0]] = label[1]
	}
	return node
}

func cordoned(node nodeFacts, ago time.Duration) nodeFacts {
	node.cordonedAt = noon.Add(-ago)
	return node
}

func silent(node nodeFacts) nodeFacts {
	node.lost, node.unready, node.changedAt = true, true, noon.Add(-time.Minute)
	return node
}

func unready(node nodeFacts) nodeFacts {
	node.unready = true
	return node
}

var done = [2]string{planLabel, "wanted"}

func TestStateOf(t *testing.T) {
	const v10, v11, v12, v13 = "RancherOS v1.0.0", "RancherOS v1.1.0", "RancherOS v1.2.0", "RancherOS v1.3.0"
	hop := osVersion("v1.1.0", "v1.1.0", "")
	set := func(change func(*rolloutFacts)) rolloutFacts {
		facts := toward(hop)
		change(&facts)
		return facts
	}
	for _, c := range []struct {
		why     string
		node    nodeFacts
		cluster clusterFacts
		facts   rolloutFacts
		want    state
		reason  string
	}{
		{"done", running(v12, done), clusterFacts{}, toward(), upToDate, ""},
		{"done, and its OS tells no version", running("Arch Linux", done), clusterFacts{}, toward(), upToDate, ""},
		{"done with the plan before", running(v11, [2]string{planLabel, "another"}), clusterFacts{}, toward(), pending, ""},
		{"runs it, but nobody has marked it", running(v12), clusterFacts{}, toward(), pending, ""},
		{"marked, but runs what it ran", running(v11, done), clusterFacts{}, toward(), fellBack, v1.NodeReasonOldOS},
		{"marked, and on its way through the reboot", unready(running(v11, done)), clusterFacts{}, toward(), updating, ""},
		{"marked, and upgraded further by somebody", running(v13, done), clusterFacts{}, toward(), blocked, v1.NodeReasonNewer},
		{"done, and silent", silent(running(v12, done)), clusterFacts{}, toward(), offline, v1.NodeReasonDisconnected},
		{"waits for its turn", running(v11), clusterFacts{}, toward(), pending, ""},
		{"has begun", cordoned(running(v11), 10*time.Minute), clusterFacts{}, toward(), updating, ""},
		{"has begun, and reboots", silent(cordoned(running(v11), 10*time.Minute)), clusterFacts{}, toward(), updating, ""},
		{"did not come to its end in time", cordoned(running(v11), 30*time.Minute), clusterFacts{}, toward(), failed, v1.NodeReasonTimeout},
		{"did not come back", silent(cordoned(running(v11), 31*time.Minute)), clusterFacts{}, toward(), failed, v1.NodeReasonTimeout},
		{"failed, and its retry succeeded", running(v12, done), clusterFacts{}, toward(), upToDate, ""},
		{"cordoned by somebody before the rollout", cordoned(running(v11), 2*time.Hour), clusterFacts{}, toward(), pending, ""},
		{"cordoned just before, and not out of time yet", cordoned(running(v11), 20*time.Minute+30*time.Second), clusterFacts{},
			set(func(f *rolloutFacts) { f.startedAt, f.timeout = noon.Add(-20*time.Minute), 20*time.Minute+time.Second }), updating, ""},
		{"cordoned by a clock that is a little behind", cordoned(running(v11), time.Hour+30*time.Second), clusterFacts{}, toward(), failed, v1.NodeReasonTimeout},
		{"silent", silent(running(v11)), clusterFacts{}, toward(), offline, v1.NodeReasonDisconnected},
		{"its cluster is lost", running(v12, done), clusterFacts{offline: true}, toward(), offline, v1.NodeReasonDisconnected},
		{"an offline cluster is not a failure", cordoned(running(v11), 40*time.Minute), clusterFacts{offline: true}, toward(), offline, v1.NodeReasonDisconnected},
		{"too old, and nothing leads there", running(v10), clusterFacts{}, toward(), blocked, v1.NodeReasonMinVersion},
		{"too old, and silent", silent(running(v10)), clusterFacts{}, toward(), offline, v1.NodeReasonDisconnected},
		{"too old, and cordoned by somebody", cordoned(running(v10), 31*time.Minute), clusterFacts{}, toward(), blocked, v1.NodeReasonMinVersion},
		{"too old, and another version leads there", running(v10), clusterFacts{}, toward(hop), pending, ""},
		{"on the way there", cordoned(running(v10), time.Minute), clusterFacts{}, toward(hop), updating, ""},
		{"failed on the way there", cordoned(running(v10), 31*time.Minute), clusterFacts{}, toward(hop), failed, v1.NodeReasonTimeout},
		{"fell back on the way there", running(v10, [2]string{planLabel, "step"}), clusterFacts{}, toward(hop), fellBack, v1.NodeReasonOldOS},
		{"half-way", running(v11, [2]string{planLabel, "step"}), clusterFacts{}, toward(hop), pending, ""},
		{"newer", running(v13), clusterFacts{}, toward(), blocked, v1.NodeReasonNewer},
		{"held by hand", running(v11, [2]string{v1.LabelHold, ""}), clusterFacts{}, toward(), blocked, v1.NodeReasonHeld},
		{"held in the words of system-upgrade-controller", running(v11, [2]string{planLabel, "disabled"}), clusterFacts{}, toward(), blocked, v1.NodeReasonHeld},
		{"its cluster is held", running(v11), clusterFacts{held: true}, toward(), blocked, v1.NodeReasonHeld},
		{"its cluster is held, and it had begun", cordoned(running(v11), time.Minute), clusterFacts{held: true}, toward(), updating, ""},
		{"paused", running(v11), clusterFacts{}, set(func(f *rolloutFacts) { f.paused = true }), blocked, v1.NodeReasonPaused},
		{"paused, and had begun", cordoned(running(v11), time.Minute), clusterFacts{}, set(func(f *rolloutFacts) { f.paused = true }), updating, ""},
		{"paused, and done", running(v12, done), clusterFacts{}, set(func(f *rolloutFacts) { f.paused = true }), upToDate, ""},
		{"halted", running(v11), clusterFacts{}, set(func(f *rolloutFacts) { f.halted = true }), blocked, v1.NodeReasonHalted},
		{"the window is closed", running(v11), clusterFacts{}, set(func(f *rolloutFacts) { f.closed = true }), blocked, v1.NodeReasonWindow},
		{"Fleet holds the cluster back", running(v11), clusterFacts{delivery: delivery{v1.NodeReasonPartition, "Fleet holds it back"}}, toward(), blocked, v1.NodeReasonPartition},
		{"nothing to roll out yet", cordoned(running(v11), time.Minute), clusterFacts{}, rolloutFacts{goal: newGoal(input{image: newImage()}, ""), now: noon}, pending, ""},
	} {
		c.cluster.nodes = []nodeFacts{c.node}
		plan := clusterPlan{}
		if c.facts.hash != "" {
			plan = c.facts.planFor(c.cluster)
		}
		got := c.facts.stateOf(c.node, c.cluster, plan)
		require.Equal(t, c.want, got.state, c.why)
		require.Equal(t, c.reason, got.reason, c.why)
		require.Equal(t, got.reason != "", got.message != "", c.why)
	}
}

// A tag is taken for a version only where both are whole: what an OS calls itself may have nothing to do with it.
func TestGuessedVersions(t *testing.T) {
	for _, c := range []struct {
		why, tag, os string
		excluded     bool
	}{
		{"newer", "v1.2.0", "RancherOS v1.3.0", true},
		{"older", "v1.2.0", "RancherOS v1.1.0", false},
		{"the OS counts otherwise", "v1.2.0", "SLE Micro 5.4", false},
		{"the tag is a name", "latest", "RancherOS v1.3.0", false},
		{"the tag names a series", "v1", "RancherOS v2.0.0", false},
	} {
		g := newGoal(input{image: newImage()}, "rancher/os2:"+c.tag)
		require.Equal(t, c.excluded, g.judge(c.os).excluded != nil, c.why)
	}
	image := newImage(func(s *v1.ManagedOSImageSpec) { s.AllowDowngrade = true })
	require.Nil(t, newGoal(input{image: image}, "rancher/os2:v1.2.0").judge("RancherOS v1.3.0").excluded, "allowed")
}

func TestPlanFor(t *testing.T) {
	hop := osVersion("v1.1.0", "v1.1.0", "")
	node := func(name, os string, labels ...[2]string) nodeFacts {
		n := running(os, labels...)
		n.name, n.hostname = name, name
		return n
	}
	old, middle, newer := node("old", "RancherOS v1.0.0"), node("middle", "RancherOS v1.1.0"), node("newer", "RancherOS v1.3.0")
	for _, c := range []struct {
		why   string
		facts rolloutFacts
		nodes []nodeFacts
		want  clusterPlan
	}{
		{"nothing special", toward(), []nodeFacts{middle}, clusterPlan{}},
		{"one must not", toward(), []nodeFacts{middle, old, newer}, clusterPlan{leftOut: []string{"newer", "old"}}},
		{"none may, so none is named", toward(), []nodeFacts{old, newer, node("d", "RancherOS v1.2.0", done)}, clusterPlan{stopped: true}},
		{"all by way of another", toward(hop), []nodeFacts{old}, clusterPlan{step: "v1.1.0"}},
		{"one by way of another; the other waits", toward(hop), []nodeFacts{middle, old}, clusterPlan{step: "v1.1.0", leftOut: []string{"middle"}}},
		{"what is half-way needs no naming", toward(hop), []nodeFacts{node("half", "RancherOS v1.1.0", [2]string{planLabel, "step"}), old},
			clusterPlan{step: "v1.1.0"}},
		{"what is done is not taken back", toward(hop), []nodeFacts{node("d", "RancherOS v1.2.0", done), old}, clusterPlan{step: "v1.1.0", leftOut: []string{"d"}}},
		{"all are half-way", toward(hop), []nodeFacts{middle}, clusterPlan{}},
	} {
		got := c.facts.planFor(clusterFacts{nodes: c.nodes})
		got.excluded = nil
		require.Equal(t, c.want, got, c.why)
	}
	require.True(t, toward().planFor(clusterFacts{held: true, nodes: []nodeFacts{middle}}).stopped)
}

// Whatever the nodes: each counts once, no node that must not get a plan is selected by it, and no plan goes down.
func TestCountsAddUp(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	versions := []string{"RancherOS v1.0.0", "RancherOS v1.1.0", "RancherOS v1.2.0", "RancherOS v1.3.0", "Arch Linux", ""}
	labels := [][2]string{{}, {}, done, {planLabel, "step"}, {planLabel, "other"}, {planLabel, "disabled"}, {v1.LabelHold, "x"}}
	seen := map[state]int{}
	for range 3000 {
		facts := toward()
		if random.IntN(2) == 0 {
			facts = toward(osVersion("v1.1.0", "v1.1.0", ""))
		}
		facts.paused, facts.halted, facts.closed = random.IntN(9) == 0, random.IntN(9) == 0, random.IntN(9) == 0
		var clusters []clusterFacts
		plans := map[string]clusterPlan{}
		total := 0
		for c := range random.IntN(5) {
			cluster := clusterFacts{name: fmt.Sprint("c", c), offline: random.IntN(7) == 0, held: random.IntN(7) == 0}
			for n := range random.IntN(6) {
				node := running(versions[random.IntN(len(versions))], labels[random.IntN(len(labels))])
				node.name, node.hostname = fmt.Sprint("n", n), fmt.Sprint("n", n)
				node.lost, node.unready = random.IntN(7) == 0, random.IntN(5) == 0
				if random.IntN(2) == 0 {
					node = cordoned(node, time.Duration(random.IntN(120))*time.Minute)
				}
				cluster.nodes = append(cluster.nodes, node)
			}
			plan := facts.planFor(cluster)
			plans[cluster.name] = plan
			clusters = append(clusters, cluster)
			total += len(cluster.nodes)
			for _, node := range cluster.nodes {
				seen[facts.stateOf(node, cluster, plan).state]++
				requireNoDowngrade(t, facts, node, plan)
			}
		}
		got := facts.count(clusters, plans)
		n, k := got.nodes, got.clusters
		require.Equal(t, total, n.Total)
		require.Equal(t, total, n.UpToDate+n.Updating+n.Pending+n.Failed+n.FellBack+n.Blocked+n.Offline)
		require.Equal(t, len(clusters), k.Total)
		require.Equal(t, len(clusters), k.UpToDate+k.Updating+k.Pending+k.Failed+k.Blocked+k.Offline+k.Conflict)
		require.LessOrEqual(t, len(got.attention), maxListed)
		require.Equal(t, got, facts.count(clusters, plans), "the same on every run")
	}
	for _, s := range []state{upToDate, updating, pending, failed, fellBack, blocked, offline} {
		require.Greater(t, seen[s], 100, s)
	}
}

// requireNoDowngrade asks whether system-upgrade-controller would run the plan on the node, and whether that goes down.
func requireNoDowngrade(t *testing.T, facts rolloutFacts, node nodeFacts, plan clusterPlan) {
	t.Helper()
	leftOut := map[string]bool{}
	for _, host := range plan.leftOut {
		leftOut[host] = true
	}
	hash := facts.hash
	if plan.step != "" {
		hash = facts.steps[plan.step]
	}
	if plan.stopped || leftOut[node.hostname] || node.labels[planLabel] == hash || node.labels[planLabel] == disabled {
		return
	}
	allowed := map[string]map[string]bool{
		"":       {"RancherOS v1.1.0": true, "RancherOS v1.2.0": true},
		"v1.1.0": {"RancherOS v1.0.0": true},
	}
	require.True(t, allowed[plan.step][node.osImage], "%q gets %q, with %v", node.osImage, plan.step, maps.Clone(node.labels))
}
