package inventory

import (
	"fmt"

	provisioningv1 "github.com/rancher/rancher/pkg/apis/provisioning.cattle.io/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
)

// defaultWorkspace is the namespace in which Rancher's UI makes its Clusters.
const defaultWorkspace = "fleet-default"

// waitingForCluster says that the named Cluster does not exist, and where there is one of its name.
func waitingForCluster(inventory *v1.MachineInventory, clusters []*provisioningv1.Cluster) string {
	name, namespace := inventory.Spec.ClusterName, index.ClusterNamespace(inventory)
	other, several := elsewhere(inventory, clusters)
	switch {
	case several:
		return fmt.Sprintf("there is no Cluster %s in namespace %s yet, but there are some in other namespaces; either make it in %s: the machine "+
			"joins when it appears, or set spec.clusterNamespace to the namespace of the one that is meant", name, namespace, namespace)
	case other == nil:
		return fmt.Sprintf("there is no Cluster %s in namespace %s yet; the machine joins when it appears", name, namespace)
	case index.Allows(other, inventory.Namespace):
		return fmt.Sprintf("there is no Cluster %s in namespace %s yet, but there is one in namespace %s, which the machine may join; either make it in %s: "+
			"the machine joins when it appears, or set spec.clusterNamespace to %s", name, namespace, other.Namespace, namespace, other.Namespace)
	}
	return fmt.Sprintf("there is no Cluster %s in namespace %s yet, but there is one in namespace %s; either make it in %s: the machine joins when it "+
		"appears, or set spec.clusterNamespace to %s and have the owner of that Cluster add %s to its annotation %s",
		name, namespace, other.Namespace, namespace, other.Namespace, inventory.Namespace, v1.AnnotationAllowedNamespaces)
}

// notAllowed says no more of the Cluster than the inventory does itself.
func notAllowed(inventory *v1.MachineInventory) string {
	name, namespace := inventory.Spec.ClusterName, index.ClusterNamespace(inventory)
	return fmt.Sprintf("Cluster %s of namespace %s does not allow machines of namespace %s; either have its owner add %s to its annotation %s, "+
		"or clear spec.clusterNamespace and assign a Cluster of namespace %s",
		name, namespace, inventory.Namespace, inventory.Namespace, v1.AnnotationAllowedNamespaces, inventory.Namespace)
}

// elsewhere is the one Cluster of the assigned name that whoever reads the inventory may be told of: one that the machine
// may join, else the one of Rancher's own workspace, else the only one. Several are none: which is meant cannot be known,
// and a list would be one of tenants. A Cluster whose owner has said who may join it, and has not named this namespace, is
// not told of at all (decision 13).
func elsewhere(inventory *v1.MachineInventory, clusters []*provisioningv1.Cluster) (one *provisioningv1.Cluster, several bool) {
	var open []*provisioningv1.Cluster
	for _, cluster := range clusters {
		_, decided := cluster.Annotations[v1.AnnotationAllowedNamespaces]
		switch {
		case cluster.DeletionTimestamp != nil || cluster.Namespace == index.ClusterNamespace(inventory):
		case index.Allows(cluster, inventory.Namespace):
			return cluster, false
		case !decided:
			open = append(open, cluster)
		}
	}
	for _, cluster := range open {
		if cluster.Namespace == defaultWorkspace {
			return cluster, false
		}
	}
	if len(open) == 1 {
		return open[0], false
	}
	return nil, len(open) > 1
}
