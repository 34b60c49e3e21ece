package osimage

import (
	"fmt"
	"testing"
	"time"

	fleetv1 "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	upgradev1 "github.com/rancher/system-upgrade-controller/pkg/apis/upgrade.cattle.io/v1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	managementv3 "github.com/rancher/rancheros-operator/pkg/apis/management.cattle.io/v3"
	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
)

// fleetCluster is a cluster, whose nodes are in the namespace c-<name>.
func fleetCluster(name string, labels ...[2]string) *fleetv1.Cluster {
	cluster := &fleetv1.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: "fleet-default", Name: name, Labels: map[string]string{managedLabel: "c-" + name}}}
	for _, label := range labels {
		cluster.Labels[label[0]] = label[1]
	}
	return cluster
}

func managedNode(cluster, name, os string, labels ...[2]string) *managementv3.Node {
	node := &managementv3.Node{ObjectMeta: metav1.ObjectMeta{Namespace: "c-" + cluster, Name: "m-" + name}}
	node.Status.NodeName = name
	node.Status.NodeLabels = map[string]string{corev1.LabelHostname: name}
	node.Status.InternalNodeStatus.NodeInfo.OSImage = os
	node.Status.InternalNodeStatus.Conditions = []managementv3.NodeCondition{{Type: "Ready", Status: corev1.ConditionTrue}}
	for _, label := range labels {
		node.Status.NodeLabels[label[0]] = label[1]
	}
	return node
}

func cordon(node *managementv3.Node, at time.Time) *managementv3.Node {
	node.Spec.InternalNodeSpec.Unschedulable = true
	node.Spec.InternalNodeSpec.Taints = []managementv3.Taint{{Key: corev1.TaintNodeUnschedulable, TimeAdded: &metav1.Time{Time: at}}}
	return node
}

// clock makes the world's time stand still; the result moves it on.
func (w world) clock() func(time.Duration) {
	now := noon
	w.now = func() time.Time { return now }
	return func(by time.Duration) { now = now.Add(by) }
}

// named reconciles the image of that name until it writes nothing more.
func (w world) named(t *testing.T, name string) *v1.ManagedOSImage {
	t.Helper()
	for range 10 {
		cached, err := w.Images.Cache().Get("fleet-default", name)
		require.NoError(t, err)
		w.Requests()
		_, err = w.onChange("fleet-default/"+name, cached)
		require.NoError(t, err)
		if len(w.Requests()) == 0 {
			return cached
		}
	}
	t.Fatal("writes go on and on")
	return nil
}

// planOn is the Plan that Fleet would bring to the cluster; nil for none.
func planOn(t *testing.T, bundle *fleetv1.Bundle, cluster string) *upgradev1.Plan {
	t.Helper()
	file := planFile
	for _, target := range bundle.Spec.Targets {
		if target.ClusterName != cluster {
			continue
		}
		if target.DoNotDeploy {
			return nil
		}
		if target.YAML != nil {
			file = "overlays/" + target.YAML.Overlays[0] + "/" + planFile
		}
		break
	}
	for _, resource := range bundle.Spec.Resources {
		if resource.Name == file {
			plan := &upgradev1.Plan{}
			require.NoError(t, yaml.UnmarshalStrict([]byte(resource.Content), plan))
			return plan
		}
	}
	t.Fatalf("the Bundle has no %s", file)
	return nil
}

func (w world) bundleOf(t *testing.T, image string) *fleetv1.Bundle {
	t.Helper()
	bundle, err := w.Bundles.Cache().Get("fleet-default", "mos-"+image)
	require.NoError(t, err)
	return bundle
}

func another(name string, age time.Duration, change func(*v1.ManagedOSImageSpec)) *v1.ManagedOSImage {
	image := newImage(change)
	image.Name, image.UID = name, ""
	image.CreationTimestamp = metav1.NewTime(noon.Add(-age))
	return image
}

func TestConflict(t *testing.T) {
	only := func(clusters ...string) func(*v1.ManagedOSImageSpec) {
		return func(s *v1.ManagedOSImageSpec) {
			s.ClusterTargets = nil
			for _, cluster := range clusters {
				s.ClusterTargets = append(s.ClusterTargets, v1.ClusterTarget{ClusterName: cluster})
			}
		}
	}
	w := newWorld(t, fleetCluster("x"), fleetCluster("y"), fleetCluster("z"), managedNode("x", "a", ""), managedNode("y", "b", ""),
		another("oldest", 3*time.Hour, only("x")), another("middle", 2*time.Hour, only("x", "y")), another("youngest", time.Hour, only("y", "z")))
	for range 2 {
		require.Empty(t, w.named(t, "oldest").Status.Conflicts)
		require.Equal(t, []v1.ImageConflict{{Cluster: "x", Image: "oldest"}}, w.named(t, "middle").Status.Conflicts)
		require.Equal(t, []v1.ImageConflict{{Cluster: "y", Image: "middle"}}, w.named(t, "youngest").Status.Conflicts)
	}
	require.Nil(t, planOn(t, w.bundleOf(t, "middle"), "x"))
	require.NotNil(t, planOn(t, w.bundleOf(t, "middle"), "y"))
	require.NotNil(t, planOn(t, w.bundleOf(t, "youngest"), "z"))
	w.Images.Enqueued()

	// When the oldest goes, those that it was in the way of are told.
	oldest, err := w.Images.Cache().Get("fleet-default", "oldest")
	require.NoError(t, err)
	now := metav1.Now()
	leaving := oldest.DeepCopy()
	leaving.DeletionTimestamp, leaving.Finalizers = &now, []string{"x"}
	w.Put(leaving)
	_, err = w.onChange("fleet-default/oldest", leaving)
	require.NoError(t, err)
	require.Equal(t, []string{"fleet-default/middle"}, w.Images.Enqueued())
	require.Empty(t, w.named(t, "middle").Status.Conflicts)
	require.NotNil(t, planOn(t, w.bundleOf(t, "middle"), "x"))
}

// A restart must not begin with a fight: the image that is looked at first knows of the others.
func TestConflictIsKnownFromTheStart(t *testing.T) {
	w := newWorld(t, fleetCluster("x"), another("older", 2*time.Hour, func(*v1.ManagedOSImageSpec) {}), another("younger", time.Hour, func(*v1.ManagedOSImageSpec) {}))
	cached, err := w.Images.Cache().Get("fleet-default", "younger")
	require.NoError(t, err)
	_, err = w.onChange("fleet-default/younger", cached)
	require.NoError(t, err)
	require.Nil(t, planOn(t, w.bundleOf(t, "younger"), "x"), "not even in the first Bundle")
}

// Images of one second are told apart by their names, and one that does nothing is in nobody's way.
func TestConflictIsDecidedAlike(t *testing.T) {
	w := newWorld(t, fleetCluster("x"), another("a", time.Hour, func(*v1.ManagedOSImageSpec) {}), another("b", time.Hour, func(*v1.ManagedOSImageSpec) {}),
		another("idle", 9*time.Hour, func(s *v1.ManagedOSImageSpec) { s.OSImage = "" }))
	require.Empty(t, w.named(t, "a").Status.Conflicts)
	require.Equal(t, []v1.ImageConflict{{Cluster: "x", Image: "a"}}, w.named(t, "b").Status.Conflicts)
}

func TestHeldAndMixedClustersGetPlansOfTheirOwn(t *testing.T) {
	image := another("demo", time.Hour, func(s *v1.ManagedOSImageSpec) { s.OSImage, s.ManagedOSVersionName = "", "v1.2.0" })
	w := newWorld(t, image, osVersion("v1.2.0", "v1.2.0", "v1.1.0"), osVersion("v1.1.0", "v1.1.0", ""),
		fleetCluster("plain"), managedNode("plain", "p", "RancherOS v1.1.0"),
		fleetCluster("held", [2]string{v1.LabelHold, ""}), managedNode("held", "h", "RancherOS v1.1.0"),
		fleetCluster("hop"), managedNode("hop", "old", "RancherOS v1.0.0"), managedNode("hop", "middle", "RancherOS v1.1.0"))
	status := w.named(t, "demo").Status
	require.Equal(t, v1.NodeCounts{Total: 4, Pending: 3, Blocked: 1}, *status.Nodes)
	bundle := w.bundleOf(t, "demo")
	require.Equal(t, "rancher/os2:v1.2.0", planOn(t, bundle, "plain").Spec.Upgrade.Image)
	require.Equal(t, int64(1), planOn(t, bundle, "plain").Spec.Concurrency)
	require.Zero(t, planOn(t, bundle, "held").Spec.Concurrency)
	hop := planOn(t, bundle, "hop").Spec
	require.Equal(t, "rancher/os2:v1.1.0", hop.Upgrade.Image)
	require.Equal(t, metav1.LabelSelectorRequirement{Key: corev1.LabelHostname, Operator: metav1.LabelSelectorOpNotIn, Values: []string{"middle"}},
		hop.NodeSelector.MatchExpressions[1])

	// The node has made the step: the whole cluster goes on, and what was in the Bundle for it goes.
	w.Put(managedNode("hop", "old", "RancherOS v1.1.0"))
	w.named(t, "demo")
	require.Equal(t, "rancher/os2:v1.2.0", planOn(t, w.bundleOf(t, "demo"), "hop").Spec.Upgrade.Image)
	require.Len(t, w.bundleOf(t, "demo").Spec.Resources, 5)
}

func TestHalt(t *testing.T) {
	w := newWorld(t, newImage(func(s *v1.ManagedOSImageSpec) {
		s.MaxFailures, s.NodeTimeout = pointer(int32(2)), pointer(intstr.FromString("10m"))
	}), fleetCluster("x"), managedNode("x", "a", ""), managedNode("x", "b", ""), managedNode("x", "c", ""))
	pass := w.clock()
	require.Equal(t, int64(1), planOn(t, w.bundleOfAfter(t), "x").Spec.Concurrency)
	w.Put(cordon(managedNode("x", "a", ""), noon.Add(time.Minute)), cordon(managedNode("x", "b", ""), noon.Add(time.Minute)))
	require.Equal(t, 2, w.named(t, "demo").Status.Nodes.Updating)
	pass(time.Minute + 10*time.Minute)
	status := w.named(t, "demo").Status
	require.Equal(t, v1.NodeCounts{Total: 3, Failed: 2, Blocked: 1}, *status.Nodes)
	require.Equal(t, v1.ReasonHalted, w.reason())
	require.Zero(t, planOn(t, w.bundleOf(t, "demo"), "x").Spec.Concurrency)

	// One that succeeds after all does not undo the halt.
	w.Put(managedNode("x", "a", "", [2]string{planLabelPrefix + index.ObjectName(newImage()), status.Rollout.Hash}))
	require.Equal(t, 1, w.named(t, "demo").Status.Nodes.UpToDate)
	require.Equal(t, v1.ReasonHalted, w.reason())

	w.edit(func(s *v1.ManagedOSImageSpec) { s.MaxFailures = pointer(int32(3)) })
	w.named(t, "demo")
	require.Equal(t, v1.ReasonNodesFailed, w.reason())
	require.Equal(t, int64(1), planOn(t, w.bundleOf(t, "demo"), "x").Spec.Concurrency)

	w.edit(func(s *v1.ManagedOSImageSpec) { s.OSImage, s.MaxFailures = "rancher/os2:v2", pointer(int32(1)) })
	status = w.named(t, "demo").Status
	require.Equal(t, v1.NodeCounts{Total: 3, Pending: 3}, *status.Nodes, "what was cordoned before was not cordoned by this")
	require.Zero(t, status.Rollout.Failures)
}

func (w world) bundleOfAfter(t *testing.T) *fleetv1.Bundle {
	t.Helper()
	w.named(t, "demo")
	return w.bundleOf(t, "demo")
}

// What is asked for is wrong, and the rollout that is under way is counted all the same.
func TestCountsGoOnBesideARefusal(t *testing.T) {
	w := newWorld(t, newImage(), fleetCluster("x"), managedNode("x", "a", ""))
	hash := w.named(t, "demo").Status.Rollout.Hash
	w.edit(func(s *v1.ManagedOSImageSpec) { s.OSImage = "" })
	w.named(t, "demo")
	w.Put(managedNode("x", "a", "", [2]string{planLabelPrefix + index.ObjectName(newImage()), hash}))
	status := w.named(t, "demo").Status
	require.Equal(t, v1.ReasonNothingToDo, w.reason())
	require.Equal(t, "1/1", status.Summary)
	require.Empty(t, status.Preview)
}

// Targets that somebody takes out by accident leave the rollout, its counts, and its clusters to the image.
func TestClearedTargetsStillHold(t *testing.T) {
	older := another("demo", 2*time.Hour, func(*v1.ManagedOSImageSpec) {})
	w := newWorld(t, older, another("younger", time.Hour, func(*v1.ManagedOSImageSpec) {}), fleetCluster("x"), managedNode("x", "a", ""))
	w.named(t, "demo")
	image, err := w.Images.Cache().Get("fleet-default", "demo")
	require.NoError(t, err)
	cleared := image.DeepCopy()
	cleared.Spec.ClusterTargets = nil
	cleared.Generation++
	w.Put(cleared)
	status := w.named(t, "demo").Status
	require.Equal(t, "0/1", status.Summary)
	require.Len(t, w.named(t, "younger").Status.Conflicts, 1)
}

// A storm of events is one reconcile, and one write at most in the time in which things settle.
func TestStatusIsPaced(t *testing.T) {
	w := newWorld(t, newImage(), fleetCluster("x"), managedNode("x", "a", ""))
	w.handler.settle = settle
	pass := w.clock()
	reconcile := func() []string {
		w.Requests()
		require.NoError(t, w.reconcile(t))
		return w.Requests()
	}
	require.Len(t, reconcile(), 2, "the Bundle and the status")
	w.Put(cordon(managedNode("x", "a", ""), noon))
	w.Images.Enqueued()
	require.Empty(t, reconcile(), "too soon")
	require.Equal(t, []string{"fleet-default/demo"}, w.Images.Enqueued(), "but not forgotten")
	pass(settle)
	require.Equal(t, []string{"patch managedosimages/status fleet-default/demo"}, reconcile())
	w.edit(func(s *v1.ManagedOSImageSpec) { s.Concurrency = pointer(int64(0)) })
	require.Len(t, reconcile(), 2, "what its user changes does not wait")
}

func TestNodeTriggers(t *testing.T) {
	other := another("other", time.Hour, func(s *v1.ManagedOSImageSpec) { s.ClusterTargets = []v1.ClusterTarget{{ClusterName: "y"}} })
	w := newWorld(t, newImage(func(s *v1.ManagedOSImageSpec) { s.ClusterTargets = []v1.ClusterTarget{{ClusterName: "x"}} }), other,
		fleetCluster("x"), fleetCluster("y"))
	w.named(t, "demo")
	w.named(t, "other")
	w.Images.Enqueued()
	demo, both := []string{"fleet-default/demo"}, []string{"fleet-default/demo", "fleet-default/other"}
	node := func(change func(*managementv3.Node)) func() error {
		return func() error {
			changed := managedNode("x", "a", "RancherOS v1")
			change(changed)
			_, err := w.onNode("c-x/m-a", changed)
			return err
		}
	}
	connected := func(status corev1.ConditionStatus) func() error {
		return func() error {
			cluster := &managementv3.Cluster{ObjectMeta: metav1.ObjectMeta{Name: "c-x"}}
			cluster.Status.Conditions = []managementv3.ClusterCondition{{Type: "Connected", Status: status, LastUpdateTime: "2026-11-20T11:00:00Z"}}
			_, err := w.onManaged("c-x", cluster)
			return err
		}
	}
	for _, c := range []struct {
		why  string
		do   func() error
		want []string
	}{
		{"a node came", node(func(*managementv3.Node) {}), demo},
		{"it was written, and is as it was", node(func(n *managementv3.Node) { n.ResourceVersion = "2" }), nil},
		{"it runs another OS", node(func(n *managementv3.Node) { n.Status.InternalNodeStatus.NodeInfo.OSImage = "RancherOS v2" }), demo},
		{"it has another label", node(func(n *managementv3.Node) { n.Status.NodeLabels["a"] = "b" }), demo},
		{"it is cordoned", node(func(n *managementv3.Node) { cordon(n, noon) }), demo},
		{"it went", func() error { _, err := w.onNode("c-x/m-a", nil); return err }, demo},
		{"a node of a cluster that nobody targets", func() error { _, err := w.onNode("c-z/m-a", managedNode("z", "a", "")); return err }, nil},
		{"a cluster is lost", connected(corev1.ConditionFalse), demo},
		{"it is lost still", connected(corev1.ConditionFalse), nil},
		{"it is back", connected(corev1.ConditionTrue), demo},
		{"Fleet's cluster came", func() error { _, err := w.onFleetCluster("fleet-default/x", fleetCluster("x")); return err }, demo},
		{"Fleet wrote its status", func() error { _, err := w.onFleetCluster("fleet-default/x", fleetCluster("x")); return err }, nil},
		{"it has another label", func() error {
			_, err := w.onFleetCluster("fleet-default/x", fleetCluster("x", [2]string{v1.LabelHold, ""}))
			return err
		}, demo},
		{"it went", func() error { _, err := w.onFleetCluster("fleet-default/x", nil); return err }, demo},
		{"a group concerns all", func() error { _, err := w.onClusterGroup("fleet-default/g", nil); return err }, both},
		{"Fleet has come further", func() error {
			_, err := w.onRollout("cluster-x/mos-demo", &fleetv1.BundleDeployment{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{
				v1.LabelRollout: "demo", fleetv1.BundleNamespaceLabel: "fleet-default"}}})
			return err
		}, demo},
	} {
		require.NoError(t, c.do(), c.why)
		got := map[string]bool{}
		for _, key := range w.Images.Enqueued() {
			got[key] = true
		}
		require.Len(t, got, len(c.want), c.why)
		for _, key := range c.want {
			require.True(t, got[key], c.why)
		}
	}
}

func TestReadDelivery(t *testing.T) {
	for _, c := range []struct {
		why                       string
		staged, assigned, applied string
		message                   string
		reason                    string
	}{
		{"there", "a", "a", "a", "", ""},
		{"held back", "b", "a", "a", "", v1.NodeReasonPartition},
		{"on its way", "b", "b", "a", "", ""},
		{"refused", "b", "b", "a", `no matches for kind "Plan"`, v1.NodeReasonNotApplied},
	} {
		deployment := &fleetv1.BundleDeployment{}
		deployment.Spec.StagedDeploymentID, deployment.Spec.DeploymentID = c.staged, c.assigned
		deployment.Status.AppliedDeploymentID = c.applied
		require.NoError(t, yaml.Unmarshal(fmt.Appendf(nil, "conditions: [{type: Deployed, status: %q, message: %q}]", map[bool]string{true: "True", false: "False"}[c.message == ""], c.message),
			&deployment.Status))
		got := readDelivery(deployment)
		require.Equal(t, c.reason, got.reason, c.why)
		require.Contains(t, got.message, c.message, c.why)
	}
}
