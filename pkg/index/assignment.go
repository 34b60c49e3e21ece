package index

import (
	"slices"
	"strings"

	provisioningv1 "github.com/rancher/rancher/pkg/apis/provisioning.cattle.io/v1"

	managementv3 "github.com/rancher/rancheros-operator/pkg/apis/management.cattle.io/v3"
	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// What an inventory is assigned to, and whether it may have it. The controllers, which make tokens, and the registration
// server, which hands them out, both ask here: neither may be milder than the other.

// Approved tells whether the machine may have its configuration and a cluster. Nobody has to approve a machine unless its
// inventory says so; but one that takes another's place needs a person's word, and one that was replaced is out for good.
func Approved(inventory *v1.MachineInventory) bool {
	approved := inventory.Spec.Approved
	switch {
	case inventory.Spec.ReplacedBy != "":
		return false
	case inventory.Spec.Replaces != "":
		return approved != nil && *approved
	}
	return approved == nil || *approved
}

// Replacing tells whether the machine has yet to take the place of the one that it names: it gets nothing before.
func Replacing(inventory *v1.MachineInventory) bool {
	return inventory.Spec.Replaces != "" && inventory.Annotations[v1.AnnotationReplaced] != inventory.Spec.Replaces
}

// ClusterNamespace is where the Cluster is that the inventory names.
func ClusterNamespace(inventory *v1.MachineInventory) string {
	if inventory.Spec.ClusterNamespace != "" {
		return inventory.Spec.ClusterNamespace
	}
	return inventory.Namespace
}

// Allows tells whether machines of the namespace may join the Cluster: those of its own always, others by its annotation.
func Allows(cluster *provisioningv1.Cluster, namespace string) bool {
	if cluster.Namespace == namespace {
		return true
	}
	for allowed := range strings.SplitSeq(cluster.Annotations[v1.AnnotationAllowedNamespaces], ",") {
		if strings.TrimSpace(allowed) == namespace {
			return true
		}
	}
	return false
}

// AssignedCluster is the Cluster that the inventory names; nil when there is none. Whether the machine may join it is for
// Allows to say.
func (i *Indexes) AssignedCluster(inventory *v1.MachineInventory) (*provisioningv1.Cluster, error) {
	if inventory.Spec.ClusterName == "" {
		return nil, nil
	}
	return i.Cluster(ClusterNamespace(inventory), inventory.Spec.ClusterName)
}

// ClusterTokenOf is the ClusterRegistrationToken made for the machine in the cluster that it is assigned to now, and that
// allows it now; nil while there is none. It is found by what the spec says, never by what a status remembers.
func (i *Indexes) ClusterTokenOf(inventory *v1.MachineInventory) (*managementv3.ClusterRegistrationToken, error) {
	cluster, err := i.AssignedCluster(inventory)
	if err != nil || cluster == nil || cluster.DeletionTimestamp != nil || cluster.Status.ClusterName == "" {
		return nil, err
	}
	if !Allows(cluster, inventory.Namespace) {
		return nil, nil
	}
	tokens, err := i.ClusterTokensByMachine(inventory.Namespace, inventory.Name)
	if err != nil {
		return nil, err
	}
	name, managementCluster := ClusterTokenName(inventory), cluster.Status.ClusterName
	for _, token := range tokens {
		if token.Name == name && token.Namespace == managementCluster && token.Spec.ClusterName == managementCluster &&
			token.DeletionTimestamp == nil {
			return token, nil
		}
	}
	return nil, nil
}

// ClustersByName are the provisioning Clusters of that name, in every namespace, in the order of these.
func (i *Indexes) ClustersByName(name string) ([]*provisioningv1.Cluster, error) {
	clusters, err := lookup(i.clusters, byName, name)
	slices.SortFunc(clusters, func(a, b *provisioningv1.Cluster) int { return strings.Compare(a.Namespace, b.Namespace) })
	return clusters, err
}

// InventoriesByClusterName are the machines assigned to a Cluster of that name, in whatever namespace.
func (i *Indexes) InventoriesByClusterName(cluster string) ([]*v1.MachineInventory, error) {
	return lookup(i.inventories, byClusterName, cluster)
}

// InventoriesReplacing are the machines that want, or have, the place of the one of that name.
func (i *Indexes) InventoriesReplacing(namespace, name string) ([]*v1.MachineInventory, error) {
	return lookup(i.inventories, byReplaced, key(namespace, name))
}

// Inventory is the machine of that name; nil when there is none.
func (i *Indexes) Inventory(namespace, name string) (*v1.MachineInventory, error) {
	return getOrNil(i.inventories, namespace, name)
}

func inventoryByClusterName(inventory *v1.MachineInventory) ([]string, error) {
	if inventory.Spec.ClusterName == "" {
		return nil, nil
	}
	return []string{inventory.Spec.ClusterName}, nil
}

func inventoryByReplaced(inventory *v1.MachineInventory) ([]string, error) {
	if inventory.Spec.Replaces == "" {
		return nil, nil
	}
	return []string{key(inventory.Namespace, inventory.Spec.Replaces)}, nil
}

func clusterByName(cluster *provisioningv1.Cluster) ([]string, error) {
	return []string{cluster.Name}, nil
}
