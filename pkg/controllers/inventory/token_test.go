package inventory

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	rancherv3 "github.com/rancher/rancher/pkg/apis/management.cattle.io/v3"
	provisioningv1 "github.com/rancher/rancher/pkg/apis/provisioning.cattle.io/v1"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	managementv3 "github.com/rancher/rancheros-operator/pkg/apis/management.cattle.io/v3"
	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
)

var deleted = metav1.NewTime(time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC))

// machine is assigned to the Cluster; to none when that is empty.
func machine(cluster string) *v1.MachineInventory {
	return &v1.MachineInventory{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "m", UID: "uid-m", Generation: 2},
		Spec:       v1.MachineInventorySpec{ClusterName: cluster, Config: &v1.MachineConfig{Role: "server"}},
	}
}

func cluster(name, managementCluster string) *provisioningv1.Cluster {
	return &provisioningv1.Cluster{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name},
		Status:     provisioningv1.ClusterStatus{ClusterName: managementCluster},
	}
}

// tokenIn is the machine's token in the management cluster, as we make it and Rancher fills it in.
func tokenIn(managementCluster string) *managementv3.ClusterRegistrationToken {
	token := &managementv3.ClusterRegistrationToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: managementCluster, Name: index.ClusterTokenName(machine("")),
			Labels: map[string]string{v1.LabelMachineNamespace: "ns", v1.LabelMachine: "m"}},
		Spec: rancherv3.ClusterRegistrationTokenSpec{ClusterName: managementCluster},
	}
	token.Status.TokenSecretName = "crt-token-" + token.Name
	return token
}

func changed[T any](object *T, change func(*T)) *T {
	change(object)
	return object
}

func TestWantedToken(t *testing.T) {
	for _, c := range []struct {
		why     string
		cluster *provisioningv1.Cluster
		wanted  bool
	}{
		{"in the management cluster of the assigned Cluster", cluster("a", "c-m-a"), true},
		{"no Cluster, or none yet", nil, false},
		{"no management cluster yet", cluster("a", ""), false},
		{"the Cluster is being deleted", changed(cluster("a", "c-m-a"), func(c *provisioningv1.Cluster) { c.DeletionTimestamp = &deleted }), false},
	} {
		got := wantedToken(gathered{inventory: machine("a"), cluster: c.cluster})
		if !c.wanted {
			require.Nil(t, got, c.why)
			continue
		}
		want := tokenIn("c-m-a")
		want.Status = managementv3.ClusterRegistrationTokenStatus{}
		require.Empty(t, cmp.Diff(want, got), c.why)
	}
}

func TestDecide(t *testing.T) {
	inA, inB := tokenIn("c-m-a"), tokenIn("c-m-b")
	mine := changed(tokenIn("c-m-a"), func(t *managementv3.ClusterRegistrationToken) { t.Name = "made-by-hand" })
	elsewhere := changed(tokenIn("c-m-a"), func(t *managementv3.ClusterRegistrationToken) { t.Spec.ClusterName = "c-m-z" })
	for _, c := range []struct {
		why     string
		cluster *provisioningv1.Cluster
		tokens  []*managementv3.ClusterRegistrationToken
		keep    *managementv3.ClusterRegistrationToken
		create  string
		remove  []*managementv3.ClusterRegistrationToken
	}{
		{why: "never assigned: nothing to do"},
		{why: "assigned to a Cluster that does not exist yet: nothing to do"},
		{why: "assigned", cluster: cluster("a", "c-m-a"), create: "c-m-a"},
		{why: "assigned, and all is done", cluster: cluster("a", "c-m-a"), tokens: []*managementv3.ClusterRegistrationToken{inA}, keep: inA},
		{why: "from A to B: B's is made, A's goes", cluster: cluster("b", "c-m-b"), tokens: []*managementv3.ClusterRegistrationToken{inA},
			create: "c-m-b", remove: []*managementv3.ClusterRegistrationToken{inA}},
		{why: "a crash between making B's and deleting A's", cluster: cluster("b", "c-m-b"), tokens: []*managementv3.ClusterRegistrationToken{inA, inB},
			keep: inB, remove: []*managementv3.ClusterRegistrationToken{inA}},
		{why: "and back to A before that was seen", cluster: cluster("a", "c-m-a"), tokens: []*managementv3.ClusterRegistrationToken{inA, inB},
			keep: inA, remove: []*managementv3.ClusterRegistrationToken{inB}},
		{why: "released", tokens: []*managementv3.ClusterRegistrationToken{inA, inB}, remove: []*managementv3.ClusterRegistrationToken{inA, inB}},
		{why: "the Cluster was deleted and made again under another management cluster", cluster: cluster("a", "c-m-a2"),
			tokens: []*managementv3.ClusterRegistrationToken{inA}, create: "c-m-a2", remove: []*managementv3.ClusterRegistrationToken{inA}},
		{why: "the Cluster lost its management cluster: the token opens nothing any more", cluster: cluster("a", ""),
			tokens: []*managementv3.ClusterRegistrationToken{inA}, remove: []*managementv3.ClusterRegistrationToken{inA}},
		{why: "a copy of ours under another name", cluster: cluster("a", "c-m-a"), tokens: []*managementv3.ClusterRegistrationToken{mine, inA},
			keep: inA, remove: []*managementv3.ClusterRegistrationToken{mine}},
		{why: "ours, but changed to let into another cluster", cluster: cluster("a", "c-m-a"), tokens: []*managementv3.ClusterRegistrationToken{elsewhere},
			create: "c-m-a", remove: []*managementv3.ClusterRegistrationToken{elsewhere}},
	} {
		t.Run(c.why, func(t *testing.T) {
			decided := decide(gathered{inventory: machine("x"), cluster: c.cluster, tokens: c.tokens})
			require.Same(t, c.keep, decided.token)
			require.Equal(t, c.remove, decided.remove)
			if c.create == "" {
				require.Nil(t, decided.create)
				return
			}
			require.Equal(t, c.create, decided.create.Namespace)
			require.Nil(t, decided.token, "never two")
		})
	}
}

func TestOurs(t *testing.T) {
	wanted := tokenIn("c-m-a")
	for _, c := range []struct {
		why    string
		change func(*managementv3.ClusterRegistrationToken)
		want   bool
	}{
		{"as it is made", func(*managementv3.ClusterRegistrationToken) {}, true},
		{"with labels of Rancher's beside ours", func(t *managementv3.ClusterRegistrationToken) { t.Labels["cattle.io/creator"] = "norman" }, true},
		{"no labels", func(t *managementv3.ClusterRegistrationToken) { t.Labels = nil }, false},
		{"another machine's", func(t *managementv3.ClusterRegistrationToken) { t.Labels[v1.LabelMachine] = "n" }, false},
		{"that of a machine of this name elsewhere", func(t *managementv3.ClusterRegistrationToken) { t.Labels[v1.LabelMachineNamespace] = "n" }, false},
		{"for another cluster", func(t *managementv3.ClusterRegistrationToken) { t.Spec.ClusterName = "c-m-b" }, false},
	} {
		require.Equal(t, c.want, ours(changed(tokenIn("c-m-a"), c.change), wanted), c.why)
	}
}
