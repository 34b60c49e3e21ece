package memoryapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rancher/wrangler/v3/pkg/generic"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// Store is one kind. It is a typed controller of Wrangler's whose handlers a test calls itself; what is not written out
// below panics.
type Store[T generic.RuntimeMetaObject, L runtime.Object] struct {
	unwritten[T, L]
	*shared[T]
	// shows tells which objects the cache holds.
	shows func(T) bool
}

// unwritten puts the interface one level deeper, so that the methods of shared win over it.
type unwritten[T generic.RuntimeMetaObject, L runtime.Object] struct {
	generic.ControllerInterface[T, L]
}

// shared is what narrowed views of a kind have in common.
type shared[T generic.RuntimeMetaObject] struct {
	api      *API
	resource schema.GroupResource

	mutex sync.Mutex
	live  map[string]T
	// cached is live as the informer has seen it; the same pointers are handed out to everybody.
	cached map[string]cachedObject[T]
	lags   bool
	queue  []string
}

func newStore[T generic.RuntimeMetaObject, L runtime.Object](t testing.TB, api *API, resource string) *Store[T, L] {
	store := &Store[T, L]{
		shared: &shared[T]{api: api, resource: schema.GroupResource{Resource: resource}, live: map[string]T{}, cached: map[string]cachedObject[T]{}},
		shows:  func(T) bool { return true },
	}
	t.Cleanup(func() { store.checkCache(t) })
	return store
}

func (s *Store[T, L]) narrowed(shows func(T) bool) *Store[T, L] {
	return &Store[T, L]{shared: s.shared, shows: shows}
}

func key(namespace, name string) string { return namespace + "/" + name }

// put is what somebody else did.
func (s *shared[T]) put(object T) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	stored := deepCopy(object)
	if stored.GetUID() == "" {
		stored.SetUID(types.UID("uid-" + s.api.nextVersion()))
	}
	if stored.GetGeneration() == 0 {
		stored.SetGeneration(1)
	}
	s.store(stored)
}

// store gives the object a new version and shows it to the cache.
func (s *shared[T]) store(object T) {
	object.SetResourceVersion(s.api.nextVersion())
	s.live[key(object.GetNamespace(), object.GetName())] = object
	s.sync()
}

// All are the objects as they are, by name.
func (s *shared[T]) All() []T {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var all []T
	for _, name := range slices.Sorted(maps.Keys(s.live)) {
		all = append(all, deepCopy(s.live[name]))
	}
	return all
}

// Names are namespace/name of all objects, sorted.
func (s *shared[T]) Names() []string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return slices.Sorted(maps.Keys(s.live))
}

// Remove takes the object away, finalizers or not, as somebody else's doing.
func (s *shared[T]) Remove(namespace, name string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	delete(s.live, key(namespace, name))
	s.sync()
}

// Get is the object as it is.
func (s *shared[T]) Get(namespace, name string, _ metav1.GetOptions) (T, error) {
	return s.do(Request{"get", s.resource.Resource, namespace, name}, func(current T) (T, error) { return current, nil })
}

// List are the objects as they are that the label selector matches, whatever the cache shows.
func (s *Store[T, L]) List(namespace string, options metav1.ListOptions) (L, error) {
	var none L
	if err := s.api.ask(Request{"list", s.resource.Resource, namespace, options.LabelSelector}); err != nil {
		return none, err
	}
	selector, err := labels.Parse(options.LabelSelector)
	if err != nil {
		return none, err
	}
	found := []T{}
	for _, object := range s.All() {
		if (namespace == "" || object.GetNamespace() == namespace) && selector.Matches(labels.Set(object.GetLabels())) {
			found = append(found, object)
		}
	}
	return unmarshal[L](marshal(map[string]any{"items": found}))
}

// Create refuses what is there already.
func (s *shared[T]) Create(object T) (T, error) {
	var none T
	if err := s.api.ask(Request{"create", s.resource.Resource, object.GetNamespace(), object.GetName()}); err != nil {
		return none, err
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if _, exists := s.live[key(object.GetNamespace(), object.GetName())]; exists {
		return none, apierrors.NewAlreadyExists(s.resource, object.GetName())
	}
	stored := throughJSON(object)
	stored.SetUID(types.UID("uid-" + s.api.nextVersion()))
	stored.SetGeneration(1)
	s.store(stored)
	return deepCopy(stored), nil
}

// Update replaces the object, unless another version was read.
func (s *shared[T]) Update(object T) (T, error) {
	return s.do(Request{"update", s.resource.Resource, object.GetNamespace(), object.GetName()}, func(current T) (T, error) {
		if object.GetResourceVersion() != current.GetResourceVersion() {
			return current, apierrors.NewConflict(s.resource, object.GetName(), fmt.Errorf("the object has been modified"))
		}
		changed := throughJSON(object)
		s.store(changed)
		return changed, nil
	})
}

// Patch merges; the status subresource takes the status and nothing else, and the object everything else.
func (s *shared[T]) Patch(namespace, name string, kind types.PatchType, data []byte, subresources ...string) (T, error) {
	request := Request{"patch", s.resource.Resource, namespace, name}
	ofStatus := slices.Equal(subresources, []string{"status"})
	if ofStatus {
		request.Resource += "/status"
	}
	return s.do(request, func(current T) (T, error) {
		if kind != types.MergePatchType {
			return current, fmt.Errorf("memoryapi only merges, and this is a %s", kind)
		}
		patched, err := s.merge(current, data, ofStatus)
		if err != nil || reflect.DeepEqual(asMap(patched), asMap(current)) {
			return current, err
		}
		if !reflect.DeepEqual(asMap(patched)["spec"], asMap(current)["spec"]) {
			patched.SetGeneration(current.GetGeneration() + 1)
		}
		if patched.GetDeletionTimestamp() != nil && len(patched.GetFinalizers()) == 0 {
			delete(s.live, key(namespace, name))
			s.sync()
			return patched, nil
		}
		s.store(patched)
		return patched, nil
	})
}

func (s *shared[T]) merge(current T, data []byte, ofStatus bool) (T, error) {
	var patch map[string]any
	if err := json.Unmarshal(data, &patch); err != nil {
		return current, apierrors.NewBadRequest(err.Error())
	}
	if metadata, ok := patch["metadata"].(map[string]any); ok {
		if version, given := metadata["resourceVersion"]; given && version != current.GetResourceVersion() {
			return current, apierrors.NewConflict(s.resource, current.GetName(), fmt.Errorf("the object has been modified"))
		}
		delete(metadata, "resourceVersion")
	}
	if ofStatus {
		patch = map[string]any{"status": patch["status"]}
	} else {
		delete(patch, "status")
	}
	merged, err := jsonpatch.MergePatch(marshal(current), marshal(patch))
	if err != nil {
		return current, err
	}
	return unmarshal[T](merged)
}

// Delete takes the object away, or marks it when a finalizer holds it.
func (s *shared[T]) Delete(namespace, name string, options *metav1.DeleteOptions) error {
	_, err := s.do(Request{"delete", s.resource.Resource, namespace, name}, func(current T) (T, error) {
		if options != nil && options.Preconditions != nil && *options.Preconditions.UID != current.GetUID() {
			return current, apierrors.NewConflict(s.resource, name, fmt.Errorf("the UID is another"))
		}
		if len(current.GetFinalizers()) == 0 {
			delete(s.live, key(namespace, name))
			s.sync()
			return current, nil
		}
		if current.GetDeletionTimestamp() == nil {
			marked := deepCopy(current)
			now := metav1.Now()
			marked.SetDeletionTimestamp(&now)
			s.store(marked)
		}
		return current, nil
	})
	return err
}

// do runs an operation on an object that must be there.
func (s *shared[T]) do(request Request, operation func(current T) (T, error)) (T, error) {
	var none T
	if err := s.api.ask(request); err != nil {
		return none, err
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	current, exists := s.live[key(request.Namespace, request.Name)]
	if !exists {
		return none, apierrors.NewNotFound(s.resource, request.Name)
	}
	result, err := operation(current)
	if err != nil {
		return none, err
	}
	return deepCopy(result), nil
}

// EnqueueAfter remembers what was asked for.
func (s *shared[T]) EnqueueAfter(namespace, name string, _ time.Duration) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.queue = append(s.queue, key(namespace, name))
}

// Enqueued are the keys that were asked for since the last call.
func (s *shared[T]) Enqueued() []string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	queue := s.queue
	s.queue = nil
	return queue
}

func deepCopy[T generic.RuntimeMetaObject](object T) T {
	copied, _ := object.DeepCopyObject().(T)
	return copied
}

// throughJSON is the object as the API server gives it back.
func throughJSON[T any](object T) T {
	decoded, err := unmarshal[T](marshal(object))
	if err != nil {
		panic(err)
	}
	return decoded
}

func unmarshal[T any](data []byte) (T, error) {
	var object T
	if kind := reflect.TypeFor[T](); kind.Kind() == reflect.Pointer {
		object, _ = reflect.New(kind.Elem()).Interface().(T)
		return object, json.Unmarshal(data, object)
	}
	return object, json.Unmarshal(data, &object)
}

func marshal(value any) []byte {
	data, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return data
}

func asMap(object any) map[string]any {
	decoded, err := unmarshal[map[string]any](marshal(object))
	if err != nil {
		panic(err)
	}
	return decoded
}
