package rancher

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	fleet "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func clusterRole(name string) unstructured.Unstructured {
	return *manifest("rbac.authorization.k8s.io/v1", "ClusterRole", key{Name: name}, nil)
}

func names(objects []unstructured.Unstructured) []string {
	var all []string
	for _, obj := range objects {
		all = append(all, obj.GetName())
	}
	return all
}

func TestLedgerRefusesObjectsOfAnotherRelease(t *testing.T) {
	l := newLedger()
	here, there := key{Namespace: "fleet-default", Name: "a"}, key{Namespace: "fleet-default", Name: "b"}
	first, second := key{Namespace: "fleet-default", Name: "first"}, key{Namespace: "fleet-default", Name: "second"}
	r := release{name: "first", namespace: "cattle-system", objects: []unstructured.Unstructured{clusterRole("x"), clusterRole("y")}}
	l.put(here, first, r)

	mine := release{name: "second", namespace: "cattle-system", objects: []unstructured.Unstructured{clusterRole("y")}}
	err := l.check(here, second, mine)
	if err == nil || !strings.Contains(err.Error(), "invalid ownership metadata") ||
		!strings.Contains(err.Error(), `key "meta.helm.sh/release-name" must equal "second": current value is "first"`) {
		t.Errorf("got %v", err)
	}
	if err := l.check(there, second, mine); err != nil {
		t.Errorf("on another cluster: %v", err)
	}
	if err := l.check(here, first, r); err != nil {
		t.Errorf("its own objects: %v", err)
	}
	other := clusterRole("y")
	other.SetKind("Role")
	if err := l.check(here, second, release{objects: []unstructured.Unstructured{other}}); err != nil {
		t.Errorf("another kind of the same name: %v", err)
	}
	l.drop(here, first)
	if err := l.check(here, second, mine); err != nil {
		t.Errorf("after the first is gone: %v", err)
	}
}

func TestLedgerDelivered(t *testing.T) {
	l := newLedger()
	cluster := key{Namespace: "fleet-default", Name: "a"}
	l.put(cluster, key{Name: "2"}, release{objects: []unstructured.Unstructured{clusterRole("z")}})
	l.put(cluster, key{Name: "1"}, release{
		objects: []unstructured.Unstructured{clusterRole("x")}, copies: []unstructured.Unstructured{clusterRole("secret")},
	})
	got := l.delivered(cluster)
	if diff := cmp.Diff([]string{"x", "secret", "z"}, names(got)); diff != "" {
		t.Errorf("delivered (-want +got):\n%s", diff)
	}
	got[0].SetName("changed")
	if l.delivered(cluster)[0].GetName() != "x" {
		t.Error("a caller changed the ledger")
	}
	if got := l.clustersOf(key{Name: "1"}); len(got) != 1 || got[0] != cluster {
		t.Errorf("clusters of a Bundle: %v", got)
	}
}

func TestLeft(t *testing.T) {
	old := []unstructured.Unstructured{clusterRole("x"), clusterRole("y")}
	if diff := cmp.Diff([]string{"x"}, names(left(old, old[1:]))); diff != "" {
		t.Errorf("left over (-want +got):\n%s", diff)
	}
	if len(old) != 2 || old[0].GetName() != "x" {
		t.Error("the old release was changed")
	}
}

func TestBundleStatus(t *testing.T) {
	cluster := func(name string) key { return key{Namespace: "fleet-default", Name: name} }
	bundle := &fleet.Bundle{}
	bundle.Generation = 3
	status := bundleStatus(bundle, map[key]deployment{
		cluster("a"): {state: fleet.Ready},
		cluster("b"): {state: fleet.ErrApplied, message: "no"},
		cluster("c"): {state: fleet.OutOfSync, message: "paused"},
	})
	want := fleet.BundleSummary{DesiredReady: 3, Ready: 1, ErrApplied: 1, OutOfSync: 1, NonReadyResources: []fleet.NonReadyResource{
		{Name: "fleet-default/b", State: fleet.ErrApplied, Message: "no"},
		{Name: "fleet-default/c", State: fleet.OutOfSync, Message: "paused"},
	}}
	if diff := cmp.Diff(want, status.Summary); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
	if got := status.Display; got.ReadyClusters != "1/3" || got.State != "ErrApplied" {
		t.Errorf("display %+v", got)
	}
	ready := status.Conditions[0]
	const message = "ErrApplied(1) [Cluster fleet-default/b: no]; OutOfSync(1) [Cluster fleet-default/c: paused]"
	if ready.Status != "False" || ready.Message != message {
		t.Errorf("condition %+v", ready)
	}
	if status.ObservedGeneration != 3 {
		t.Errorf("observed generation %d", status.ObservedGeneration)
	}

	// Delivered is ready, whatever a Plan among the objects then does.
	status = bundleStatus(bundle, map[key]deployment{cluster("a"): {state: fleet.Ready}})
	if ready := status.Conditions[0]; ready.Status != "True" || ready.Message != "" || status.Summary.Ready != 1 {
		t.Errorf("all ready: %+v %+v", ready, status.Summary)
	}
}
