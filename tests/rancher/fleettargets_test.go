package rancher

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	fleet "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func labelled(name string, labels map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "fleet-default", Name: name, Labels: labels}
}

func selector(key, value string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
}

func TestMatchTargets(t *testing.T) {
	clusters := []fleet.Cluster{
		{ObjectMeta: labelled("c", map[string]string{"env": "lab"})},
		{ObjectMeta: labelled("a", map[string]string{"env": "edge", "size": "big"})},
		{ObjectMeta: labelled("b", map[string]string{"env": "edge"})},
	}
	groups := []fleet.ClusterGroup{
		{ObjectMeta: labelled("edges", map[string]string{"tier": "1"}), Spec: fleet.ClusterGroupSpec{Selector: selector("env", "edge")}},
		{ObjectMeta: labelled("bigs", map[string]string{"tier": "2"}), Spec: fleet.ClusterGroupSpec{Selector: selector("size", "big")}},
		{ObjectMeta: labelled("nobody", nil)},
	}
	type targets = []fleet.BundleTarget
	tests := []struct {
		reason       string
		targets      targets
		restrictions []fleet.BundleTargetRestriction
		want         []string
	}{
		{reason: "no targets reach nobody", want: nil},
		{reason: "a target that asks for nothing fits nobody", targets: targets{{}}, want: nil},
		{reason: "an empty selector fits everybody", targets: targets{{ClusterSelector: &metav1.LabelSelector{}}}, want: []string{"a", "b", "c"}},
		{reason: "by name", targets: targets{{ClusterName: "b"}}, want: []string{"b"}},
		{reason: "by a name that is not there", targets: targets{{ClusterName: "z"}}, want: nil},
		{reason: "by label", targets: targets{{ClusterSelector: selector("env", "edge")}}, want: []string{"a", "b"}},
		{reason: "name and label must both hold", targets: targets{{ClusterName: "c", ClusterSelector: selector("env", "edge")}}, want: nil},
		{reason: "by group", targets: targets{{ClusterGroup: "edges"}}, want: []string{"a", "b"}},
		{reason: "by a label of the group", targets: targets{{ClusterGroupSelector: selector("tier", "2")}}, want: []string{"a"}},
		{
			reason:  "group name and group label are of one group",
			targets: targets{{ClusterGroup: "edges", ClusterGroupSelector: selector("tier", "2")}}, want: nil,
		},
		{
			reason:  "a cluster selector refines a group",
			targets: targets{{ClusterGroup: "edges", ClusterSelector: selector("size", "big")}}, want: []string{"a"},
		},
		{reason: "a group without a selector is empty", targets: targets{{ClusterGroup: "nobody"}}, want: nil},
		{
			reason:  "the first target that fits decides, here to stay away",
			targets: targets{{ClusterName: "a", DoNotDeploy: true}, {ClusterSelector: &metav1.LabelSelector{}}}, want: []string{"b", "c"},
		},
		{
			reason:  "restrictions narrow the targets",
			targets: targets{{ClusterSelector: &metav1.LabelSelector{}}}, want: []string{"c"},
			restrictions: []fleet.BundleTargetRestriction{{ClusterName: "c"}},
		},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			bundle := &fleet.Bundle{Spec: fleet.BundleSpec{Targets: test.targets, TargetRestrictions: test.restrictions}}
			matches, err := matchTargets(bundle, clusters, groups)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, m := range matches {
				got = append(got, m.cluster.Name)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("clusters (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMatchTargetsRefusesBrokenSelector(t *testing.T) {
	broken := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}}}
	bundle := &fleet.Bundle{Spec: fleet.BundleSpec{Targets: []fleet.BundleTarget{{ClusterSelector: broken}}}}
	if _, err := matchTargets(bundle, []fleet.Cluster{{}}, nil); err == nil {
		t.Error("a selector that nobody can read passed")
	}
}
