package inventory

import (
	"fmt"

	rancherv3 "github.com/rancher/rancher/pkg/apis/management.cattle.io/v3"
	provisioningv1 "github.com/rancher/rancher/pkg/apis/provisioning.cattle.io/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	managementv3 "github.com/rancher/rancheros-operator/pkg/apis/management.cattle.io/v3"
	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
)

// gathered is what a decision is made from; its objects lie in the cache and are only read.
type gathered struct {
	inventory *v1.MachineInventory
	// cluster is the Cluster that the inventory names; nil while there is none.
	cluster *provisioningv1.Cluster
	// elsewhere are the Clusters of that name in other namespaces, when the one that is named does not exist.
	elsewhere []*provisioningv1.Cluster
	// tokens are all that were made for this machine, in whatever cluster.
	tokens []*managementv3.ClusterRegistrationToken
}

// assignment is the decision.
type assignment struct {
	gathered
	// token is the machine's token in its cluster; nil while there is none.
	token *managementv3.ClusterRegistrationToken
	// create is the token to make; nil when there is one, or none can be made.
	create *managementv3.ClusterRegistrationToken
	// remove are tokens that nothing asks for any more.
	remove []*managementv3.ClusterRegistrationToken
}

// decide is pure: at most one token stays or is made, in the management cluster of the assigned Cluster.
func decide(g gathered) assignment {
	decided := assignment{gathered: g}
	wanted := wantedToken(g)
	for _, token := range g.tokens {
		if wanted != nil && token.Namespace == wanted.Namespace && token.Name == wanted.Name && ours(token, wanted) {
			decided.token = token
		} else {
			decided.remove = append(decided.remove, token)
		}
	}
	if decided.token == nil {
		decided.create = wanted
	}
	return decided
}

// wantedToken is nil when no cluster is assigned, it does not allow the machine, or it has nowhere to put a token yet.
func wantedToken(g gathered) *managementv3.ClusterRegistrationToken {
	switch {
	case !index.Approved(g.inventory), index.Replacing(g.inventory):
		return nil
	case g.cluster == nil, g.cluster.DeletionTimestamp != nil, g.cluster.Status.ClusterName == "":
		return nil
	case !index.Allows(g.cluster, g.inventory.Namespace):
		return nil
	}
	managementCluster := g.cluster.Status.ClusterName
	return &managementv3.ClusterRegistrationToken{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: managementCluster,
			Name:      index.ClusterTokenName(g.inventory),
			Labels: map[string]string{
				v1.LabelMachineNamespace: g.inventory.Namespace,
				v1.LabelMachine:          g.inventory.Name,
			},
		},
		Spec: rancherv3.ClusterRegistrationTokenSpec{ClusterName: managementCluster},
	}
}

// ours tells whether token is one that we made for the same machine and cluster as wanted.
func ours(token, wanted *managementv3.ClusterRegistrationToken) bool {
	return token.Labels[v1.LabelMachine] == wanted.Labels[v1.LabelMachine] &&
		token.Labels[v1.LabelMachineNamespace] == wanted.Labels[v1.LabelMachineNamespace] &&
		token.Spec.ClusterName == wanted.Spec.ClusterName
}

// foreignTokenError says that the token's name is taken by somebody else's object.
type foreignTokenError struct{ namespace, name string }

func (e *foreignTokenError) Error() string {
	return fmt.Sprintf("ClusterRegistrationToken %s/%s exists and was not made by the operator", e.namespace, e.name)
}
