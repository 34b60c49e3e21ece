package rancher

import (
	"testing"
	"time"

	upgrade "github.com/rancher/system-upgrade-controller/pkg/apis/upgrade.cattle.io/v1"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
)

// The hashes are those of system-upgrade-controller v0.20.0's own code.
func TestHashOf(t *testing.T) {
	secret := *manifest("v1", "Secret", key{Namespace: "cattle-system", Name: "os-upgrader-demo"}, map[string]any{
		"type": "rancheros.cattle.io/cloud-config", "data": map[string]any{"cloud-config": "I2Nsb3VkLWNvbmZpZwp1c2VyczogW10K"},
	})
	plan := func(version, image string, secrets ...upgrade.SecretSpec) *upgrade.Plan {
		p := &upgrade.Plan{ObjectMeta: metav1.ObjectMeta{Namespace: "cattle-system", Annotations: map[string]string{"upgrade.cattle.io/digest": "spec.upgrade.image"}}}
		p.Spec = upgrade.PlanSpec{Version: version, ServiceAccountName: "os-upgrader-demo", Upgrade: &upgrade.ContainerSpec{Image: image}, Secrets: secrets}
		return p
	}
	named := upgrade.SecretSpec{Name: "os-upgrader-demo", Path: "/run/data"}
	for _, c := range []struct {
		why  string
		plan *upgrade.Plan
		want string
	}{
		{"a tag", plan("v1.2.3", "rancher/os2:v1.2.3"), "2f92ab648dcb70bab5a537492805d0da6c8f9ce17cc7dc1e578c5de0"},
		{"a plus", plan("v1.2.3+k3s1", "rancher/os2:v1.2.3"), "a2a707038521d336b46515d4d3704243b9de3de1054e9aa425ae863b"},
		{"a Secret", plan("v1.2.3", "registry.example.com:5000/os2@sha256:00", named), "78192c17b25c9a663780e30d15bb8c9f11b4126cf1528667050d2fd0"},
	} {
		hash, valid := hashOf(c.plan, []unstructured.Unstructured{secret})
		require.True(t, valid, c.why)
		require.Equal(t, c.want, hash, c.why)
	}
	_, valid := hashOf(plan("v1", "a", named), nil)
	require.False(t, valid, "a Plan whose Secret is missing does nothing")
}

func TestUpgrade(t *testing.T) {
	cluster := &downstreamCluster{nodes: map[string]*downstreamNode{}}
	for _, name := range []string{"a", "b", "c"} {
		cluster.nodes[name] = &downstreamNode{Node: Node{Name: name, OS: "RancherOS v1"}, labels: map[string]string{"kubernetes.io/hostname": name}}
	}
	p := &planState{plan: &upgrade.Plan{ObjectMeta: metav1.ObjectMeta{Name: "os"}}, selector: labels.Everything(), hash: "h", applying: map[string]time.Time{}}
	p.plan.Spec.Version, p.plan.Spec.Concurrency, p.plan.Spec.Cordon = "v2", 1, true
	cluster.nodes["a"].outcome = Fails
	cluster.nodes["c"].labels[p.label()] = "disabled"
	now := time.Now()
	step := func() {
		now = now.Add(time.Minute)
		cluster.upgrade(p, now, time.Second)
	}
	step()
	step()
	require.False(t, cluster.nodes["a"].cordonedAt.IsZero(), "a failed job leaves its node cordoned")
	require.Equal(t, "RancherOS v1", cluster.nodes["b"].OS, "and keeps its place")
	p.plan.Spec.Concurrency = 2
	step()
	step()
	require.Equal(t, "RancherOS v2", cluster.nodes["b"].OS)
	require.Equal(t, "h", cluster.nodes["b"].labels[p.label()])
	require.True(t, cluster.nodes["b"].cordonedAt.IsZero())

	p.plan.Spec.Concurrency = 0
	delete(cluster.nodes["c"].labels, p.label())
	cluster.nodes["a"].outcome = FallsBack
	step()
	require.Equal(t, "RancherOS v1", cluster.nodes["a"].OS)
	require.Equal(t, "h", cluster.nodes["a"].labels[p.label()], "what runs goes on without concurrency")
	step()
	require.True(t, cluster.nodes["c"].cordonedAt.IsZero(), "and nothing starts")
}
