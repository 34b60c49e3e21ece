package clients

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1controllers "github.com/rancher/wrangler/v3/pkg/generated/controllers/core/v1"
	"github.com/rancher/wrangler/v3/pkg/generic"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
)

// NotServedError is that of a write to a Secret in a namespace that is not served. Its text says what to do.
type NotServedError struct {
	// Namespace is that of the Secret, and Served are those that are served, sorted.
	Namespace string
	Served    []string
}

// Error is a sentence for people.
func (e *NotServedError) Error() string {
	return fmt.Sprintf("namespace %s is none of those that the operator may keep Secrets in: %s; add it to secretNamespaces of the operator's chart, or create this in one of them",
		e.Namespace, strings.Join(e.Served, ", "))
}

// served are the Secrets of one type in some namespaces: each has a cache of its own, because a right to list in some
// namespaces is none to list in all. A Secret of another namespace is not found in the caches, and cannot be written.
type served struct {
	// The client of any part reads and patches in every namespace.
	corev1controllers.SecretController
	parts      map[string]corev1controllers.SecretController
	namespaces []string
}

func newServed(parts map[string]corev1controllers.SecretController) *served {
	namespaces := slices.Sorted(maps.Keys(parts))
	return &served{SecretController: parts[namespaces[0]], parts: parts, namespaces: namespaces}
}

// addServed makes the part of one namespace. Its cache fills when there is the right to: a namespace, and with it our Role
// there, may be deleted at any time, which must keep no machine of another one waiting.
func (c *Clients) addServed(selector fields.Selector, namespace string) corev1controllers.SecretController {
	factory := c.newFactory(secretCache(selector, namespace))
	part := corev1controllers.New(factory).Secret()
	c.foreign = append(c.foreign, &foreign{
		what: "the Secrets of namespace " + namespace, factory: factory, missing: apierrors.IsForbidden,
		kinds: []func() error{func() error {
			_, err := part.List(namespace, metav1.ListOptions{Limit: 1, FieldSelector: selector.String()})
			return err
		}},
	})
	return part
}

func (s *served) refuse(namespace string) error {
	if s.parts[namespace] == nil {
		return &NotServedError{Namespace: namespace, Served: s.namespaces}
	}
	return nil
}

// Create creates it in a namespace that is served.
func (s *served) Create(secret *corev1.Secret) (*corev1.Secret, error) {
	if err := s.refuse(secret.Namespace); err != nil {
		return nil, err
	}
	return s.SecretController.Create(secret)
}

// Update updates it in a namespace that is served.
func (s *served) Update(secret *corev1.Secret) (*corev1.Secret, error) {
	if err := s.refuse(secret.Namespace); err != nil {
		return nil, err
	}
	return s.SecretController.Update(secret)
}

// Delete deletes it in a namespace that is served.
func (s *served) Delete(namespace, name string, options *metav1.DeleteOptions) error {
	if err := s.refuse(namespace); err != nil {
		return err
	}
	return s.SecretController.Delete(namespace, name, options)
}

// AddGenericHandler adds the handler to every part.
func (s *served) AddGenericHandler(ctx context.Context, name string, handler generic.Handler) {
	for _, part := range s.parts {
		part.AddGenericHandler(ctx, name, handler)
	}
}

// AddGenericRemoveHandler adds the handler to every part.
func (s *served) AddGenericRemoveHandler(ctx context.Context, name string, handler generic.Handler) {
	for _, part := range s.parts {
		part.AddGenericRemoveHandler(ctx, name, handler)
	}
}

// OnChange adds the handler to every part.
func (s *served) OnChange(ctx context.Context, name string, handler generic.ObjectHandler[*corev1.Secret]) {
	for _, part := range s.parts {
		part.OnChange(ctx, name, handler)
	}
}

// OnRemove adds the handler to every part.
func (s *served) OnRemove(ctx context.Context, name string, handler generic.ObjectHandler[*corev1.Secret]) {
	for _, part := range s.parts {
		part.OnRemove(ctx, name, handler)
	}
}

// Enqueue has an effect in namespaces that are served.
func (s *served) Enqueue(namespace, name string) {
	if part := s.parts[namespace]; part != nil {
		part.Enqueue(namespace, name)
	}
}

// EnqueueAfter has an effect in namespaces that are served.
func (s *served) EnqueueAfter(namespace, name string, after time.Duration) {
	if part := s.parts[namespace]; part != nil {
		part.EnqueueAfter(namespace, name, after)
	}
}

// Cache is the caches of all parts as one.
func (s *served) Cache() generic.CacheInterface[*corev1.Secret] {
	caches := make(servedCache, len(s.parts))
	for namespace, part := range s.parts {
		caches[namespace] = part.Cache()
	}
	return caches
}

// servedCache are the caches of the parts, by their namespace.
type servedCache map[string]generic.CacheInterface[*corev1.Secret]

func (c servedCache) Get(namespace, name string) (*corev1.Secret, error) {
	if part := c[namespace]; part != nil {
		return part.Get(namespace, name)
	}
	return nil, apierrors.NewNotFound(corev1.Resource("secrets"), name)
}

func (c servedCache) List(namespace string, selector labels.Selector) ([]*corev1.Secret, error) {
	if namespace == metav1.NamespaceAll {
		return c.gather(func(own string, part generic.CacheInterface[*corev1.Secret]) ([]*corev1.Secret, error) {
			return part.List(own, selector)
		})
	}
	if part := c[namespace]; part != nil {
		return part.List(namespace, selector)
	}
	return nil, nil
}

func (c servedCache) AddIndexer(name string, indexer generic.Indexer[*corev1.Secret]) {
	for _, part := range c {
		part.AddIndexer(name, indexer)
	}
}

func (c servedCache) GetByIndex(name, key string) ([]*corev1.Secret, error) {
	return c.gather(func(_ string, part generic.CacheInterface[*corev1.Secret]) ([]*corev1.Secret, error) {
		return part.GetByIndex(name, key)
	})
}

// gather asks the parts in the order of their names, so that an answer is the same every time.
func (c servedCache) gather(ask func(string, generic.CacheInterface[*corev1.Secret]) ([]*corev1.Secret, error)) ([]*corev1.Secret, error) {
	var all []*corev1.Secret
	for _, namespace := range slices.Sorted(maps.Keys(c)) {
		secrets, err := ask(namespace, c[namespace])
		if err != nil {
			return nil, err
		}
		all = append(all, secrets...)
	}
	return all, nil
}
