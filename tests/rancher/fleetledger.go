package rancher

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// release is what one Bundle put on one cluster.
type release struct {
	name, namespace string // Helm's
	objects         []unstructured.Unstructured
	copies          []unstructured.Unstructured // of downstreamResources; not Helm's
}

// ledger records which release owns which object on which cluster. It holds Helm's rule, and for a downstream cluster it
// is all there is of it.
type ledger struct {
	mutex    sync.Mutex
	clusters map[key]map[key]release // cluster -> Bundle -> what it put there
	changes  map[key]int             // how often that changed
}

func newLedger() *ledger {
	return &ledger{clusters: map[key]map[key]release{}, changes: map[key]int{}}
}

// objectID tells one object from another across versions of its kind.
type objectID struct{ group, kind, namespace, name string }

func idOf(obj unstructured.Unstructured) objectID {
	kind := obj.GroupVersionKind()
	return objectID{kind.Group, kind.Kind, obj.GetNamespace(), obj.GetName()}
}

// refusal is Helm's message when an object belongs to another release, whose name is empty if it belongs to none.
func (id objectID) refusal(wanted release, foundName, foundNamespace string) error {
	problem := func(annotation, want, found string) string {
		if found == "" {
			return fmt.Sprintf("missing key %q: must be set to %q", annotation, want)
		}
		return fmt.Sprintf("key %q must equal %q: current value is %q", annotation, want, found)
	}
	reason := problem(releaseNamespaceAnnotation, wanted.namespace, foundNamespace)
	if foundName != wanted.name {
		reason = problem(releaseNameAnnotation, wanted.name, foundName)
	}
	return fmt.Errorf("unable to continue with install: %s %q in namespace %q exists and cannot be imported into the current release: "+
		"invalid ownership metadata; annotation validation error: %s", id.kind, id.name, id.namespace, reason)
}

// check says whether a Bundle may put these objects on the cluster: none of them may be another Bundle's there.
func (l *ledger) check(cluster, bundle key, wanted release) error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	taken := map[objectID]release{}
	for other, has := range l.clusters[cluster] {
		if other != bundle {
			for _, obj := range has.objects {
				taken[idOf(obj)] = has
			}
		}
	}
	for _, obj := range wanted.objects {
		if owner, found := taken[idOf(obj)]; found {
			return idOf(obj).refusal(wanted, owner.name, owner.namespace)
		}
	}
	return nil
}

// put records a release.
func (l *ledger) put(cluster, bundle key, r release) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.clusters[cluster] == nil {
		l.clusters[cluster] = map[key]release{}
	}
	if had, found := l.clusters[cluster][bundle]; !found || !sameRelease(had, r) {
		l.changes[cluster]++
	}
	l.clusters[cluster][bundle] = r
}

// changed counts the changes to a cluster.
func (l *ledger) changed(cluster key) int {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.changes[cluster]
}

func (l *ledger) get(cluster, bundle key) (release, bool) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	r, found := l.clusters[cluster][bundle]
	return r, found
}

func (l *ledger) drop(cluster, bundle key) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	delete(l.clusters[cluster], bundle)
	l.changes[cluster]++
}

// clustersOf lists the clusters that a Bundle has a release on.
func (l *ledger) clustersOf(bundle key) []key {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	var found []key
	for cluster, releases := range l.clusters {
		if _, has := releases[bundle]; has {
			found = append(found, cluster)
		}
	}
	slices.SortFunc(found, compareKeys)
	return found
}

// delivered is all that a cluster has, copied.
func (l *ledger) delivered(cluster key) []unstructured.Unstructured {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	var all []unstructured.Unstructured
	for _, bundle := range slices.SortedFunc(maps.Keys(l.clusters[cluster]), compareKeys) {
		has := l.clusters[cluster][bundle]
		for _, obj := range slices.Concat(has.objects, has.copies) {
			all = append(all, *obj.DeepCopy())
		}
	}
	return all
}

// left lists what the old release has and the new one has not.
func left(old, wanted []unstructured.Unstructured) []unstructured.Unstructured {
	return slices.DeleteFunc(slices.Clone(old), func(obj unstructured.Unstructured) bool {
		return slices.ContainsFunc(wanted, func(other unstructured.Unstructured) bool { return idOf(other) == idOf(obj) })
	})
}

func compareKeys(a, b key) int { return strings.Compare(a.String(), b.String()) }
