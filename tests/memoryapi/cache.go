package memoryapi

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rancher/wrangler/v3/pkg/generic"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
)

// cachedObject is an object beside its bytes at the time that it came into the cache.
type cachedObject[T any] struct {
	object T
	bytes  string
}

// Lag stops the cache from following, or lets it catch up.
func (s *shared[T]) Lag(lags bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.lags = lags
	s.sync()
}

// sync brings the cache to what is live. Objects that did not change keep their pointers.
func (s *shared[T]) sync() {
	if s.lags {
		return
	}
	for name := range s.cached {
		if _, exists := s.live[name]; !exists {
			delete(s.cached, name)
		}
	}
	for name, object := range s.live {
		if seen, ok := s.cached[name]; !ok || seen.object.GetResourceVersion() != object.GetResourceVersion() {
			s.cached[name] = cachedObject[T]{object: deepCopy(object), bytes: string(marshal(object))}
		}
	}
}

// checkCache fails the test when somebody wrote to an object in the cache.
func (s *shared[T]) checkCache(t testing.TB) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for name, seen := range s.cached {
		if difference := cmp.Diff(seen.bytes, string(marshal(seen.object))); difference != "" {
			t.Errorf("%s %s was changed in the cache (-was +is):\n%s", s.resource.Resource, name, difference)
		}
	}
}

// Cache is what an informer shows.
func (s *Store[T, L]) Cache() generic.CacheInterface[T] {
	return &view[T, L]{store: s, indexers: map[string]generic.Indexer[T]{}}
}

type view[T generic.RuntimeMetaObject, L runtime.Object] struct {
	store    *Store[T, L]
	indexers map[string]generic.Indexer[T]
}

func (v *view[T, L]) Get(namespace, name string) (T, error) {
	v.store.mutex.Lock()
	defer v.store.mutex.Unlock()
	seen, ok := v.store.cached[key(namespace, name)]
	if !ok || !v.store.shows(seen.object) {
		var none T
		return none, apierrors.NewNotFound(v.store.resource, name)
	}
	return seen.object, nil
}

func (v *view[T, L]) List(namespace string, selector labels.Selector) ([]T, error) {
	v.store.mutex.Lock()
	defer v.store.mutex.Unlock()
	var found []T
	for _, name := range slices.Sorted(maps.Keys(v.store.cached)) {
		object := v.store.cached[name].object
		if v.store.shows(object) && (namespace == "" || object.GetNamespace() == namespace) && selector.Matches(labels.Set(object.GetLabels())) {
			found = append(found, object)
		}
	}
	return found, nil
}

func (v *view[T, L]) AddIndexer(name string, indexer generic.Indexer[T]) { v.indexers[name] = indexer }

func (v *view[T, L]) GetByIndex(index, value string) ([]T, error) {
	all, err := v.List("", labels.Everything())
	if err != nil {
		return nil, err
	}
	var found []T
	for _, object := range all {
		values, err := v.indexers[index](object)
		if err != nil {
			return nil, err
		}
		if slices.Contains(values, value) {
			found = append(found, object)
		}
	}
	return found, nil
}
