package index

import (
	"testing"

	rancherv3 "github.com/rancher/rancher/pkg/apis/management.cattle.io/v3"
	provisioningv1 "github.com/rancher/rancher/pkg/apis/provisioning.cattle.io/v1"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	managementv3 "github.com/rancher/rancheros-operator/pkg/apis/management.cattle.io/v3"
	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/tests/memoryapi"
)

func clusterIn(namespace, allowed string) *provisioningv1.Cluster {
	return &provisioningv1.Cluster{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "site", Annotations: map[string]string{v1.AnnotationAllowedNamespaces: allowed}},
		Status:     provisioningv1.ClusterStatus{ClusterName: "c-m-1"},
	}
}

func TestAllows(t *testing.T) {
	for _, c := range []struct {
		why     string
		cluster *provisioningv1.Cluster
		want    bool
	}{
		{"its own namespace, whatever the list says", clusterIn("ns", "other"), true},
		{"named", clusterIn("fleet-default", "ns"), true},
		{"named among others, as people write lists", clusterIn("fleet-default", " a,\tns\n ,b"), true},
		{"nobody is named", clusterIn("fleet-default", ""), false},
		{"no annotation", &provisioningv1.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: "fleet-default"}}, false},
		{"part of a name", clusterIn("fleet-default", "ns-2,my-ns"), false},
		{"another case", clusterIn("fleet-default", "NS"), false},
		{"there is no wildcard", clusterIn("fleet-default", "*"), false},
		{"nor a pattern", clusterIn("fleet-default", "n*,n?,.*"), false},
		{"names are separated by commas alone", clusterIn("fleet-default", "a ns;ns b"), false},
		{"an empty entry names nobody", clusterIn("fleet-default", ",,"), false},
	} {
		require.Equal(t, c.want, Allows(c.cluster, "ns"), c.why)
	}
}

func TestApprovedAndReplacing(t *testing.T) {
	yes, no := true, false
	for _, c := range []struct {
		why                 string
		spec                v1.MachineInventorySpec
		taken               string
		approved, replacing bool
	}{
		{why: "nobody has to say anything", approved: true},
		{why: "approved", spec: v1.MachineInventorySpec{Approved: &yes}, approved: true},
		{why: "not approved", spec: v1.MachineInventorySpec{Approved: &no}},
		{why: "who takes another's place needs a word", spec: v1.MachineInventorySpec{Replaces: "old"}, replacing: true},
		{why: "a clear one", spec: v1.MachineInventorySpec{Replaces: "old", Approved: &no}, replacing: true},
		{why: "like this", spec: v1.MachineInventorySpec{Replaces: "old", Approved: &yes}, approved: true, replacing: true},
		{why: "and then has it", spec: v1.MachineInventorySpec{Replaces: "old", Approved: &yes}, taken: "old", approved: true},
		{why: "for as long as it is approved", spec: v1.MachineInventorySpec{Replaces: "old", Approved: &no}, taken: "old"},
		{why: "another's place is another's", spec: v1.MachineInventorySpec{Replaces: "old", Approved: &yes}, taken: "older", approved: true, replacing: true},
		{why: "who was replaced is out", spec: v1.MachineInventorySpec{ReplacedBy: "new"}},
		{why: "for good", spec: v1.MachineInventorySpec{ReplacedBy: "new", Approved: &yes}},
	} {
		inventory := &v1.MachineInventory{Spec: c.spec}
		if c.taken != "" {
			inventory.Annotations = map[string]string{v1.AnnotationReplaced: c.taken}
		}
		require.Equal(t, c.approved, Approved(inventory), c.why)
		require.Equal(t, c.replacing, Replacing(inventory), c.why)
	}
}

// The server asks here for every machine: a permission that ended a moment ago opens nothing.
func TestClusterTokenOfNeedsPermission(t *testing.T) {
	inventory := &v1.MachineInventory{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "m"},
		Spec: v1.MachineInventorySpec{ClusterName: "site", ClusterNamespace: "fleet-default"}}
	token := &managementv3.ClusterRegistrationToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: "c-m-1", Name: ClusterTokenName(inventory), Labels: map[string]string{v1.LabelMachineNamespace: "ns", v1.LabelMachine: "m"}},
		Spec:       rancherv3.ClusterRegistrationTokenSpec{ClusterName: "c-m-1"},
	}
	api := memoryapi.New(t, inventory, token, clusterIn("fleet-default", "ns"))
	indexes := Add(api.Clients())
	found, err := indexes.ClusterTokenOf(inventory)
	require.NoError(t, err)
	require.NotNil(t, found)

	api.Put(clusterIn("fleet-default", "other"))
	found, err = indexes.ClusterTokenOf(inventory)
	require.NoError(t, err)
	require.Nil(t, found, "the token is still there, and is not found any more")

	elsewhere := inventory.DeepCopy()
	elsewhere.Spec.ClusterNamespace = ""
	api.Put(clusterIn("fleet-default", "ns"))
	found, err = indexes.ClusterTokenOf(elsewhere)
	require.NoError(t, err)
	require.Nil(t, found, "without clusterNamespace it is the Cluster of the machine's own namespace that is meant")
}

func TestClustersByName(t *testing.T) {
	other := clusterIn("a", "")
	other.Name = "other"
	indexes := Add(memoryapi.New(t, clusterIn("b", ""), clusterIn("a", ""), other).Clients())
	found, err := indexes.ClustersByName("site")
	require.NoError(t, err)
	require.Equal(t, []string{"a/site", "b/site"}, keys(found), "in an order that never changes")
}

func TestInventoriesByWhatTheyName(t *testing.T) {
	api := memoryapi.New(t,
		&v1.MachineInventory{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "here"}, Spec: v1.MachineInventorySpec{ClusterName: "site"}},
		&v1.MachineInventory{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "there"}, Spec: v1.MachineInventorySpec{ClusterName: "site", ClusterNamespace: "fleet-default"}},
		&v1.MachineInventory{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "new"}, Spec: v1.MachineInventorySpec{Replaces: "here"}})
	indexes := Add(api.Clients())
	for _, c := range []struct {
		why  string
		find func() ([]*v1.MachineInventory, error)
		want []string
	}{
		{"no cluster is no cluster's", func() ([]*v1.MachineInventory, error) { return indexes.InventoriesByClusterName("") }, nil},
		{"by name, in whatever namespace", func() ([]*v1.MachineInventory, error) { return indexes.InventoriesByClusterName("site") }, []string{"ns/here", "ns/there"}},
		{"by the place that they want", func() ([]*v1.MachineInventory, error) { return indexes.InventoriesReplacing("ns", "here") }, []string{"ns/new"}},
		{"which is in their own namespace", func() ([]*v1.MachineInventory, error) { return indexes.InventoriesReplacing("other", "here") }, nil},
	} {
		found, err := c.find()
		require.NoError(t, err, c.why)
		require.Equal(t, c.want, keys(found), c.why)
	}
}
