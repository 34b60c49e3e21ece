package clients

import (
	"context"
	"testing"
	"time"

	corev1controllers "github.com/rancher/wrangler/v3/pkg/generated/controllers/core/v1"
	"github.com/rancher/wrangler/v3/pkg/generic"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// part is the controller of one namespace; what it does not say panics.
type part struct {
	corev1controllers.SecretController
	namespace string
	did       *[]string
}

// partCache is its cache.
type partCache struct{ part }

func (p part) note(what string) { *p.did = append(*p.did, p.namespace+" "+what) }

func (p part) Create(secret *corev1.Secret) (*corev1.Secret, error) {
	p.note("create " + secret.Name)
	return secret, nil
}

func (p part) Update(secret *corev1.Secret) (*corev1.Secret, error) {
	p.note("update " + secret.Name)
	return secret, nil
}

func (p part) Delete(_, name string, _ *metav1.DeleteOptions) error {
	p.note("delete " + name)
	return nil
}

func (p part) OnChange(_ context.Context, name string, _ generic.ObjectHandler[*corev1.Secret]) {
	p.note("handler " + name)
}
func (p part) Enqueue(_, name string)                                  { p.note("enqueue " + name) }
func (p part) EnqueueAfter(_, name string, _ time.Duration)            { p.note("enqueue later " + name) }
func (p part) Cache() generic.CacheInterface[*corev1.Secret]           { return partCache{p} }
func (p partCache) AddIndexer(string, generic.Indexer[*corev1.Secret]) { p.note("indexer") }

func (p partCache) Get(_, name string) (*corev1.Secret, error) {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: p.namespace, Name: name}}, nil
}

func (p partCache) List(string, labels.Selector) ([]*corev1.Secret, error) {
	return p.GetByIndex("", "")
}

func (p partCache) GetByIndex(string, string) ([]*corev1.Secret, error) {
	return []*corev1.Secret{{ObjectMeta: metav1.ObjectMeta{Namespace: p.namespace}}}, nil
}

func secretIn(namespace string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "x"}}
}

func namespacesOf(t *testing.T, secrets []*corev1.Secret, err error) []string {
	t.Helper()
	require.NoError(t, err)
	var all []string
	for _, secret := range secrets {
		all = append(all, secret.Namespace)
	}
	return all
}

// Writes go where they are served, and nowhere else: no request is sent that the API server would refuse.
func TestServedWrites(t *testing.T) {
	var did []string
	s := newServed(map[string]corev1controllers.SecretController{"b": part{namespace: "b", did: &did}, "a": part{namespace: "a", did: &did}})
	for _, namespace := range []string{"a", "b"} {
		_, err := s.Create(secretIn(namespace))
		require.NoError(t, err)
		_, err = s.Update(secretIn(namespace))
		require.NoError(t, err)
		require.NoError(t, s.Delete(namespace, "x", nil))
	}
	// The client of any part reaches every namespace.
	require.Equal(t, []string{"a create x", "a update x", "a delete x", "a create x", "a update x", "a delete x"}, did)

	did = nil
	_, created := s.Create(secretIn("c"))
	_, updated := s.Update(secretIn("c"))
	for _, err := range []error{created, updated, s.Delete("c", "x", nil)} {
		var notServed *NotServedError
		require.ErrorAs(t, err, &notServed)
		require.Equal(t, NotServedError{Namespace: "c", Served: []string{"a", "b"}}, *notServed)
		require.ErrorContains(t, err, "add it to secretNamespaces")
	}
	require.Empty(t, did)
}

func TestServedReads(t *testing.T) {
	var did []string
	s := newServed(map[string]corev1controllers.SecretController{"b": part{namespace: "b", did: &did}, "a": part{namespace: "a", did: &did}})
	cache := s.Cache()
	found, err := cache.Get("b", "x")
	require.NoError(t, err)
	require.Equal(t, "b", found.Namespace)
	_, err = cache.Get("c", "x")
	require.True(t, apierrors.IsNotFound(err), "as if there were none")

	for range 10 {
		all, err := cache.GetByIndex("token", "x")
		require.Equal(t, []string{"a", "b"}, namespacesOf(t, all, err), "always in the same order")
	}
	all, err := cache.List("", labels.Everything())
	require.Equal(t, []string{"a", "b"}, namespacesOf(t, all, err))
	one, err := cache.List("b", labels.Everything())
	require.Equal(t, []string{"b"}, namespacesOf(t, one, err))
	none, err := cache.List("c", labels.Everything())
	require.Empty(t, namespacesOf(t, none, err))
}

// Handlers and indexes are for all parts; what is put into a queue goes into that of its namespace.
func TestServedHandlers(t *testing.T) {
	var did []string
	s := newServed(map[string]corev1controllers.SecretController{"b": part{namespace: "b", did: &did}, "a": part{namespace: "a", did: &did}})
	s.OnChange(t.Context(), "name", nil)
	s.Cache().AddIndexer("token", nil)
	require.ElementsMatch(t, []string{"a handler name", "b handler name", "a indexer", "b indexer"}, did)
	did = nil
	s.Enqueue("b", "x")
	s.Enqueue("c", "x")
	s.EnqueueAfter("a", "x", time.Second)
	s.EnqueueAfter("c", "x", time.Second)
	require.Equal(t, []string{"b enqueue x", "a enqueue later x"}, did)
}
