package osimage

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime"

	managementv3 "github.com/rancher/rancheros-operator/pkg/apis/management.cattle.io/v3"
)

// Ten thousand nodes tell of themselves: what the operator does for each, and what the one reconcile costs that follows.
func BenchmarkTenThousandNodes(b *testing.B) {
	objects := []runtime.Object{newImage()}
	var nodes []*managementv3.Node
	for c := range 500 {
		cluster := fmt.Sprintf("site-%03d", c)
		objects = append(objects, fleetCluster(cluster))
		for n := range 20 {
			nodes = append(nodes, managedNode(cluster, fmt.Sprintf("%s-%02d", cluster, n), "RancherOS v1.0.0"))
		}
	}
	w := newWorld(b, objects...)
	cached, err := w.Images.Cache().Get("fleet-default", "demo")
	require.NoError(b, err)
	_, err = w.onChange("fleet-default/demo", cached)
	require.NoError(b, err)
	b.Run("event", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			node := nodes[i%len(nodes)]
			if _, err := w.onNode(node.Namespace+"/"+node.Name, node); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("states", func(b *testing.B) {
		b.ReportAllocs()
		facts := toward(osVersion("v1.1.0", "v1.1.0", ""))
		var clusters []clusterFacts
		for i := 0; i < len(nodes); i += 20 {
			cluster := clusterFacts{name: nodes[i].Namespace}
			for _, node := range nodes[i : i+20] {
				cluster.nodes = append(cluster.nodes, readNode(node))
			}
			clusters = append(clusters, cluster)
		}
		for b.Loop() {
			plans := map[string]clusterPlan{}
			for _, cluster := range clusters {
				plans[cluster.name] = facts.planFor(cluster)
			}
			if got := facts.count(clusters, plans); got.nodes.Total != len(nodes) {
				b.Fatal(got.nodes)
			}
		}
	})
}
