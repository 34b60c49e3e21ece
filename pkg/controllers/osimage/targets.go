package osimage

import (
	"fmt"

	fleetv1 "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// target is a cluster target that has been read, to be asked which clusters it selects. Fleet decides by the same rules; we
// have to know before it does, to say what would happen, and to keep two images apart.
type target struct {
	clusterName, clusterGroup string
	// clusters and groups are nil where the target has no such selector.
	clusters, groups labels.Selector
}

// readTargets is what an image selects: Rancher's own cluster in fleet-local, and its targets elsewhere.
func readTargets(image *v1.ManagedOSImage) ([]target, error) {
	if image.Namespace == localNamespace {
		return []target{{clusterName: localCluster}}, nil
	}
	selected := targetsOf(image)
	targets := make([]target, 0, len(selected))
	for i, wanted := range selected {
		read := target{clusterName: wanted.ClusterName, clusterGroup: wanted.ClusterGroup}
		var err error
		field := fmt.Sprintf("clusterTargets[%d]", i)
		if read.clusters, err = readSelector(field, wanted.ClusterSelector); err != nil {
			return nil, err
		}
		if read.groups, err = readSelector(field, wanted.ClusterGroupSelector); err != nil {
			return nil, err
		}
		targets = append(targets, read)
	}
	return targets, nil
}

// bundleSelects are the targets that the Bundle was written with. Selectors that cannot be read were not written by us.
func bundleSelects(bundle *fleetv1.Bundle) []target {
	var targets []target
	for _, wanted := range bundle.Spec.Targets {
		clusters, clustersErr := readSelector("", wanted.ClusterSelector)
		groups, groupsErr := readSelector("", wanted.ClusterGroupSelector)
		if clustersErr == nil && groupsErr == nil {
			targets = append(targets, target{clusterName: wanted.ClusterName, clusterGroup: wanted.ClusterGroup, clusters: clusters, groups: groups})
		}
	}
	return targets
}

func targetsOf(image *v1.ManagedOSImage) []v1.ClusterTarget {
	if len(image.Spec.ClusterTargets) > 0 {
		return image.Spec.ClusterTargets
	}
	return image.Spec.Targets
}

// readSelector is nil for nil, which selects everything or nothing, as its place has it.
func readSelector(field string, selector *metav1.LabelSelector) (labels.Selector, error) {
	if selector == nil {
		return nil, nil
	}
	read, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return nil, refuse(v1.ReasonInvalidSpec, "%s is not a label selector: %v; correct it", field, err)
	}
	return read, nil
}

// selects tells whether all that the target has fits the cluster. What it says of groups must fit one and the same group.
func (t target) selects(cluster *fleetv1.Cluster, groups []*fleetv1.ClusterGroup) bool {
	if t.clusterName == "" && t.clusterGroup == "" && t.clusters == nil && t.groups == nil {
		return false
	}
	if t.clusterName != "" && t.clusterName != cluster.Name {
		return false
	}
	if t.clusters != nil && !t.clusters.Matches(labels.Set(cluster.Labels)) {
		return false
	}
	if t.clusterGroup == "" && t.groups == nil {
		return true
	}
	for _, group := range groups {
		named := t.clusterGroup == "" || t.clusterGroup == group.Name
		if named && (t.groups == nil || t.groups.Matches(labels.Set(group.Labels))) && inGroup(cluster, group) {
			return true
		}
	}
	return false
}

func inGroup(cluster *fleetv1.Cluster, group *fleetv1.ClusterGroup) bool {
	if group.Spec.Selector == nil {
		return false
	}
	selector, err := metav1.LabelSelectorAsSelector(group.Spec.Selector)
	// A selector that cannot be read is the group's fault, and selects nothing.
	return err == nil && selector.Matches(labels.Set(cluster.Labels))
}

func anySelects(targets []target, cluster *fleetv1.Cluster, groups []*fleetv1.ClusterGroup) bool {
	for _, target := range targets {
		if target.selects(cluster, groups) {
			return true
		}
	}
	return false
}
