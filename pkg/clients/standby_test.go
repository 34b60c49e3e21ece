package clients

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/rancher/lasso/pkg/cache"
	"github.com/rancher/lasso/pkg/client"
	"github.com/rancher/lasso/pkg/controller"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientcache "k8s.io/client-go/tools/cache"
	source "k8s.io/client-go/tools/cache/testing"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// oneCache is lasso's factory of caches, of one kind.
type oneCache struct {
	cache.SharedCacheFactory
	clientcache.SharedIndexInformer
}

type oneClient struct{ client.SharedClientFactory }

func (oneClient) ForResourceKind(schema.GroupVersionResource, string, bool) *client.Client {
	return nil
}
func (oneClient) GVKForResource(schema.GroupVersionResource) (schema.GroupVersionKind, error) {
	return inventoryKind, nil
}

func (o oneCache) Start(context.Context) error                             { return nil }
func (o oneCache) StartGVK(context.Context, schema.GroupVersionKind) error { return nil }
func (o oneCache) SharedClientFactory() client.SharedClientFactory         { return oneClient{} }
func (o oneCache) WaitForCacheSync(context.Context) map[schema.GroupVersionKind]bool {
	return nil
}

func (o oneCache) ForResourceKind(schema.GroupVersionResource, string, bool) (clientcache.SharedIndexInformer, error) {
	return o.SharedIndexInformer, nil
}

// listeners counts who listens to an informer.
type listeners struct {
	clientcache.SharedIndexInformer
	n int
}

func (l *listeners) AddEventHandler(handler clientcache.ResourceEventHandler) (clientcache.ResourceEventHandlerRegistration, error) {
	l.n++
	return l.SharedIndexInformer.AddEventHandler(handler)
}

func TestStandbyListensWhenHandlersStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		machines := source.NewFakeControllerSource()
		informer := &listeners{SharedIndexInformer: clientcache.NewSharedIndexInformer(machines, &v1.MachineInventory{}, 0, clientcache.Indexers{})}
		factory := newStandbyFactory(oneCache{SharedIndexInformer: informer})
		shared := factory.ForResourceKind(inventoryResource, inventoryKind.Kind, true)
		var mutex sync.Mutex
		var handled, seen []string
		shared.RegisterHandler(t.Context(), "test", controller.SharedControllerHandlerFunc(func(key string, object runtime.Object) (runtime.Object, error) {
			mutex.Lock()
			defer mutex.Unlock()
			handled = append(handled, key)
			return object, nil
		}))
		require.Zero(t, informer.n, "lasso listens, and remembers all")
		_, err := shared.Informer().AddEventHandler(clientcache.ResourceEventHandlerFuncs{AddFunc: func(object any) {
			mutex.Lock()
			defer mutex.Unlock()
			seen = append(seen, object.(*v1.MachineInventory).Name)
		}})
		require.NoError(t, err)
		require.Equal(t, 1, informer.n)

		ctx, stop := context.WithCancel(t.Context())
		defer func() { stop(); machines.Shutdown(); synctest.Wait() }()
		go informer.RunWithContext(ctx)
		name := func(i int) *v1.MachineInventory {
			return &v1.MachineInventory{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: fmt.Sprintf("m-%d", i)}}
		}
		for i := range 3 {
			machines.Add(name(i))
		}
		synctest.Wait()
		machines.Delete(name(0))
		synctest.Wait()
		require.Equal(t, []string{"m-0", "m-1", "m-2"}, slices.Sorted(slices.Values(seen)), "what somebody else listens to")
		require.Empty(t, handled)

		require.NoError(t, factory.Start(ctx, 1))
		synctest.Wait()
		require.Equal(t, []string{"n/m-1", "n/m-2"}, slices.Sorted(slices.Values(handled)), "what is there when handlers start")
		machines.Add(name(3))
		synctest.Wait()
		require.Contains(t, handled, "n/m-3")
		require.Equal(t, 2, informer.n)
	})
}
