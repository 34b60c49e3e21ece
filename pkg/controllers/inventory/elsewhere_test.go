package inventory

import (
	"testing"

	provisioningv1 "github.com/rancher/rancher/pkg/apis/provisioning.cattle.io/v1"
	"github.com/stretchr/testify/require"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// clusterIn is the Cluster site of another namespace. Its annotation is there unless allowed is "-".
func clusterIn(namespace, allowed string) *provisioningv1.Cluster {
	return changed(cluster("site", "c-m-"+namespace), func(c *provisioningv1.Cluster) {
		c.Namespace = namespace
		if allowed != "-" {
			c.Annotations = map[string]string{v1.AnnotationAllowedNamespaces: allowed}
		}
	})
}

// Seed issue 29: clusters that are made in the UI are in another namespace.
func TestWaitingForClusterSaysWhereItIs(t *testing.T) {
	const nowhere = "there is no Cluster site in namespace ns yet; the machine joins when it appears"
	for _, c := range []struct {
		why       string
		namespace string
		clusters  []*provisioningv1.Cluster
		want      string
	}{
		{why: "nowhere", want: nowhere},
		{why: "in Rancher's workspace: both namespaces, and both ways out", clusters: []*provisioningv1.Cluster{clusterIn("fleet-default", "-")},
			want: "there is no Cluster site in namespace ns yet, but there is one in namespace fleet-default; either make it in ns: the machine joins when it appears, or set " +
				"spec.clusterNamespace to fleet-default and have the owner of that Cluster add ns to its annotation rancheros.cattle.io/allowed-namespaces"},
		{why: "it allows us already: only the inventory is to be edited", clusters: []*provisioningv1.Cluster{clusterIn("team", "a, ns")},
			want: "there is no Cluster site in namespace ns yet, but there is one in namespace team, which the machine may join; either make it in ns: the machine " +
				"joins when it appears, or set spec.clusterNamespace to team"},
		{why: "one other namespace, undecided", clusters: []*provisioningv1.Cluster{clusterIn("team", "-")},
			want: "there is no Cluster site in namespace ns yet, but there is one in namespace team; either make it in ns: the machine joins when it appears, or set " +
				"spec.clusterNamespace to team and have the owner of that Cluster add ns to its annotation rancheros.cattle.io/allowed-namespaces"},
		{why: "its owner has said who may know of it", clusters: []*provisioningv1.Cluster{clusterIn("team", "other")}, want: nowhere},
		{why: "or that nobody may", clusters: []*provisioningv1.Cluster{clusterIn("fleet-default", "")}, want: nowhere},
		{why: "several tenants' are not listed", clusters: []*provisioningv1.Cluster{clusterIn("a", "-"), clusterIn("b", "-")},
			want: "there is no Cluster site in namespace ns yet, but there are some in other namespaces; either make it in ns: the machine joins when it appears, " +
				"or set spec.clusterNamespace to the namespace of the one that is meant"},
		{why: "of several, Rancher's workspace is meant", clusters: []*provisioningv1.Cluster{clusterIn("a", "-"), clusterIn("fleet-default", "-")},
			want: "there is one in namespace fleet-default; either"},
		{why: "or the one that allows us", clusters: []*provisioningv1.Cluster{clusterIn("a", "-"), clusterIn("fleet-default", "-"), clusterIn("team", "ns")},
			want: "there is one in namespace team, which the machine may join"},
		{why: "one that is going is none", clusters: []*provisioningv1.Cluster{changed(clusterIn("a", "ns"), func(c *provisioningv1.Cluster) { c.DeletionTimestamp = &deleted })},
			want: nowhere},
		{why: "clusterNamespace names the wrong one, and the own one has it", namespace: "fleet-default", clusters: []*provisioningv1.Cluster{clusterIn("ns", "-")},
			want: "there is no Cluster site in namespace fleet-default yet, but there is one in namespace ns, which the machine may join; either make it in fleet-default: " +
				"the machine joins when it appears, or set spec.clusterNamespace to ns"},
	} {
		t.Run(c.why, func(t *testing.T) {
			m := machine("site")
			m.Spec.ClusterNamespace = c.namespace
			got := clusterAssigned(m, assignment{gathered: gathered{inventory: m, elsewhere: c.clusters}}, false, nil)
			require.Equal(t, v1.ReasonWaitingForCluster, got.Reason)
			if c.want == nowhere {
				require.Equal(t, c.want, got.Message)
			}
			require.Contains(t, got.Message, c.want)
			require.Less(t, len(got.Message), 1024, "names may be longer than these, and the message must not be cut")
		})
	}
}

// A machine whose Cluster does not allow it learns nothing else of it: not that it is going, nor what Rancher calls it.
func TestNotAllowedSaysNothingElse(t *testing.T) {
	m := changed(machine("site"), func(m *v1.MachineInventory) { m.Spec.ClusterNamespace = "team" })
	for _, c := range []*provisioningv1.Cluster{clusterIn("team", "-"), clusterIn("team", "other"),
		changed(clusterIn("team", "-"), func(c *provisioningv1.Cluster) { c.DeletionTimestamp = &deleted }),
		changed(clusterIn("team", "-"), func(c *provisioningv1.Cluster) { c.Status.ClusterName = "" })} {
		g := gathered{inventory: m, cluster: c}
		require.Nil(t, decide(g).create)
		got := clusterAssigned(m, decide(g), false, nil)
		require.Equal(t, v1.ReasonClusterNotAllowed, got.Reason)
		require.Equal(t, "Cluster site of namespace team does not allow machines of namespace ns; either have its owner add ns to its annotation "+
			"rancheros.cattle.io/allowed-namespaces, or clear spec.clusterNamespace and assign a Cluster of namespace ns", got.Message)
	}
}

// What is withdrawn is taken back, and what comes back is given back.
func TestPermissionComesAndGoes(t *testing.T) {
	w := newWorld(t, changed(machine("site"), func(m *v1.MachineInventory) { m.Spec.ClusterNamespace = "team" }))
	w.settle(t)
	require.Equal(t, v1.ReasonWaitingForCluster, w.reason())
	for range 3 {
		w.Put(clusterIn("team", "other"))
		w.settle(t)
		require.Equal(t, v1.ReasonClusterNotAllowed, w.reason())
		require.Empty(t, w.ClusterTokens.Names())
		require.Empty(t, w.Inventories.All()[0].Finalizers)

		w.Put(clusterIn("team", "other, ns"))
		w.settle(t)
		w.fill()
		w.settle(t)
		require.Equal(t, v1.ReasonTokenReady, w.reason())
		require.Equal(t, []string{"c-m-team/" + tokenName}, w.ClusterTokens.Names())
	}
	require.Contains(t, w.emitted(), "Warning ClusterNotAllowed")

	w.Put(clusterIn("ns", "-"))
	m := w.Inventories.All()[0]
	m.Spec.ClusterNamespace = ""
	w.Put(m)
	w.settle(t)
	require.Equal(t, []string{"c-m-ns/" + tokenName}, w.ClusterTokens.Names(), "the same name in another namespace is another Cluster")
}
