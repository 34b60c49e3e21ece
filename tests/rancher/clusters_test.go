package rancher

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

func provisioningCluster(namespace, name, uid string) *unstructured.Unstructured {
	cluster := manifest("provisioning.cattle.io/v1", "Cluster", key{Namespace: namespace, Name: name}, nil)
	cluster.SetUID(types.UID(uid))
	return cluster
}

func TestManagementName(t *testing.T) {
	first := managementName(provisioningCluster("fleet-default", "demo", "1"))
	if !regexp.MustCompile(`^c-m-[a-z2-7]{8}$`).MatchString(first) {
		t.Errorf("name %q", first)
	}
	if again := managementName(provisioningCluster("fleet-default", "demo", "1")); again != first {
		t.Errorf("%q became %q", first, again)
	}
	for _, other := range []*unstructured.Unstructured{
		provisioningCluster("fleet-default", "demo", "2"), // made anew
		provisioningCluster("fleet-default", "other", "1"),
		provisioningCluster("elsewhere", "demo", "1"),
		provisioningCluster("fleet-default", "local", "1"), // local only in name
	} {
		if name := managementName(other); name == first || name == "local" {
			t.Errorf("%s/%s %s is called %q", other.GetNamespace(), other.GetName(), other.GetUID(), name)
		}
	}
	if name := managementName(provisioningCluster("fleet-local", "local", "1")); name != "local" {
		t.Errorf("the local cluster is called %q", name)
	}
}

func TestManagementClusterKnowsItsOwner(t *testing.T) {
	owner := key{Namespace: "fleet-default", Name: "demo"}
	if got := ownerOf(managementCluster(owner, "c-m-1")); got != owner {
		t.Errorf("owner %v", got)
	}
	if got := ownerOf(provisioningCluster("a", "b", "c")); got != (key{}) {
		t.Errorf("an object of somebody else has the owner %v", got)
	}
}

func TestCustomResourceDefinitions(t *testing.T) {
	definitions, err := customResourceDefinitions()
	if err != nil {
		t.Fatal(err)
	}
	statuses := map[string]bool{} // CRD -> does it have the status subresource
	for _, definition := range definitions {
		versions, _, _ := unstructured.NestedSlice(definition.Object, "spec", "versions")
		_, statuses[definition.GetName()], _ = unstructured.NestedMap(versions[0].(map[string]any), "subresources", "status")
	}
	want := map[string]bool{
		"apiservices.management.cattle.io":               true,
		"bundledeployments.fleet.cattle.io":              true,
		"bundles.fleet.cattle.io":                        true,
		"clustergroups.fleet.cattle.io":                  true,
		"clusterregistrationtokens.management.cattle.io": false,
		"clusters.fleet.cattle.io":                       true,
		"clusters.management.cattle.io":                  false,
		"clusters.provisioning.cattle.io":                true,
		"nodes.management.cattle.io":                     false,
		"plans.upgrade.cattle.io":                        true,
		"settings.management.cattle.io":                  false,
	}
	if diff := cmp.Diff(want, statuses); diff != "" {
		t.Errorf("CRDs and their status subresource (-want +got):\n%s", diff)
	}
}

func TestLoopTriesAgain(t *testing.T) {
	var mutex sync.Mutex
	var calls []string
	count := func(name string) int {
		mutex.Lock()
		defer mutex.Unlock()
		return len(slices.DeleteFunc(slices.Clone(calls), func(c string) bool { return c != name }))
	}
	var logged []string
	l := newLoop("thing", 0, func(line string) { logged = append(logged, line) }, func(_ context.Context, k key) (time.Duration, error) {
		before := count(k.Name)
		mutex.Lock()
		calls = append(calls, k.Name)
		mutex.Unlock()
		switch {
		case k.Name == "fails-once" && before == 0:
			return 0, errors.New("not yet")
		case k.Name == "waits-once" && before == 0:
			return 0, errBeingDeleted
		case k.Name == "comes-back" && before == 0:
			return time.Millisecond, nil
		}
		return 0, nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.run(ctx)
	}()
	for _, name := range []string{"fails-once", "waits-once", "comes-back", "fine"} {
		l.queue.Add(key{Name: name})
	}
	waitFor(t, "three keys to come twice", func() bool {
		return count("fails-once") == 2 && count("waits-once") == 2 && count("comes-back") == 2 && count("fine") == 1
	})
	cancel()
	<-done
	if diff := cmp.Diff([]string{"thing /fails-once: not yet"}, logged); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}
