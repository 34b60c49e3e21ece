package rancher

import (
	"fmt"
	"slices"
	"strings"

	fleet "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// match is a cluster that a Bundle goes to, with the target that chose it.
type match struct {
	cluster fleet.Cluster
	target  fleet.BundleTarget
}

// matchTargets says which clusters of its workspace a Bundle goes to. The first target that fits a cluster counts; one
// with doNotDeploy keeps the cluster out; targetRestrictions, if any, must fit as well. All clusters and groups given are
// of the Bundle's namespace. The result is sorted by cluster.
func matchTargets(bundle *fleet.Bundle, clusters []fleet.Cluster, groups []fleet.ClusterGroup) ([]match, error) {
	var matches []match
	for _, cluster := range clusters {
		memberOf, err := groupsOf(cluster, groups)
		if err != nil {
			return nil, err
		}
		target, err := firstTarget(bundle.Spec.Targets, cluster, memberOf)
		if err != nil {
			return nil, err
		}
		if target == nil || target.DoNotDeploy {
			continue
		}
		allowed, err := unrestricted(bundle.Spec.TargetRestrictions, cluster, memberOf)
		if err != nil {
			return nil, err
		}
		if allowed {
			matches = append(matches, match{cluster: cluster, target: *target})
		}
	}
	slices.SortFunc(matches, func(a, b match) int { return strings.Compare(a.cluster.Name, b.cluster.Name) })
	return matches, nil
}

func groupsOf(cluster fleet.Cluster, groups []fleet.ClusterGroup) ([]fleet.ClusterGroup, error) {
	var memberOf []fleet.ClusterGroup
	for _, group := range groups {
		if group.Spec.Selector == nil {
			continue
		}
		fits, err := selects(group.Spec.Selector, cluster.Labels)
		if err != nil {
			return nil, fmt.Errorf("cluster group %s: %w", group.Name, err)
		}
		if fits {
			memberOf = append(memberOf, group)
		}
	}
	return memberOf, nil
}

func firstTarget(targets []fleet.BundleTarget, cluster fleet.Cluster, groups []fleet.ClusterGroup) (*fleet.BundleTarget, error) {
	for i, target := range targets {
		wanted := criteria{target.ClusterName, target.ClusterGroup, target.ClusterSelector, target.ClusterGroupSelector}
		fits, err := wanted.fit(cluster, groups)
		if err != nil {
			return nil, fmt.Errorf("target %d: %w", i, err)
		}
		if fits {
			return &targets[i], nil
		}
	}
	return nil, nil
}

func unrestricted(restrictions []fleet.BundleTargetRestriction, cluster fleet.Cluster, groups []fleet.ClusterGroup) (bool, error) {
	for i, restriction := range restrictions {
		wanted := criteria{restriction.ClusterName, restriction.ClusterGroup, restriction.ClusterSelector, restriction.ClusterGroupSelector}
		fits, err := wanted.fit(cluster, groups)
		if err != nil {
			return false, fmt.Errorf("target restriction %d: %w", i, err)
		}
		if fits {
			return true, nil
		}
	}
	return len(restrictions) == 0, nil
}

// criteria are what a target may ask for. All that are there must hold, those about groups for one and the same group;
// without any, nothing fits. An empty selector is there, and fits everything.
type criteria struct {
	clusterName, clusterGroup             string
	clusterSelector, clusterGroupSelector *metav1.LabelSelector
}

func (c criteria) fit(cluster fleet.Cluster, groups []fleet.ClusterGroup) (bool, error) {
	if c == (criteria{}) {
		return false, nil
	}
	if c.clusterName != "" && c.clusterName != cluster.Name {
		return false, nil
	}
	if c.clusterSelector != nil {
		if fits, err := selects(c.clusterSelector, cluster.Labels); err != nil || !fits {
			return false, err
		}
	}
	if c.clusterGroup == "" && c.clusterGroupSelector == nil {
		return true, nil
	}
	for _, group := range groups {
		if c.clusterGroup != "" && c.clusterGroup != group.Name {
			continue
		}
		if c.clusterGroupSelector == nil {
			return true, nil
		}
		if fits, err := selects(c.clusterGroupSelector, group.Labels); err != nil || fits {
			return fits, err
		}
	}
	return false, nil
}

func selects(selector *metav1.LabelSelector, set map[string]string) (bool, error) {
	compiled, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return false, fmt.Errorf("reading selector: %w", err)
	}
	return compiled.Matches(labels.Set(set)), nil
}
