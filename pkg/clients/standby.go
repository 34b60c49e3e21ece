package clients

import (
	"context"
	"fmt"
	"sync"

	"github.com/rancher/lasso/pkg/cache"
	"github.com/rancher/lasso/pkg/controller"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientcache "k8s.io/client-go/tools/cache"
)

// A replica that does not lead fills its caches and runs no handlers, for weeks. lasso listens to a cache from when anybody asks
// for it, and until the handlers are started, it remembers the key of every change for them, each time anew. In a busy Rancher
// that is hundreds of megabytes a day. So on our caches it listens when handlers are started, and hears of all that is there then. (The
// first resync of such a handler comes after twice the period, since client-go counts that from the start of the watch.)

// standbyFactory is a factory whose controllers listen to their caches from Start on.
type standbyFactory struct {
	controller.SharedControllerFactory
	caches *standbyCaches
}

func newStandbyFactory(caches cache.SharedCacheFactory) standbyFactory {
	standby := &standbyCaches{SharedCacheFactory: caches}
	return standbyFactory{controller.NewSharedControllerFactory(standby, nil), standby}
}

// Start starts the handlers when the caches are filled, which may take long: a group of kinds may be installed in part only.
func (f standbyFactory) Start(ctx context.Context, workers int) error {
	if err := f.caches.Start(ctx); err != nil {
		return fmt.Errorf("starting caches: %w", err)
	}
	f.caches.WaitForCacheSync(ctx)
	if err := f.caches.listen(); err != nil {
		return err
	}
	return f.SharedControllerFactory.Start(ctx, workers)
}

// standbyCaches hands out informers to a factory's controllers.
type standbyCaches struct {
	cache.SharedCacheFactory

	mutex     sync.Mutex
	informers []*standbyInformer
	listening bool
}

// ForResourceKind is called by lasso once for each kind.
func (c *standbyCaches) ForResourceKind(resource schema.GroupVersionResource, kind string, namespaced bool) (clientcache.SharedIndexInformer, error) {
	informer, err := c.SharedCacheFactory.ForResourceKind(resource, kind, namespaced)
	if err != nil {
		return nil, err
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.listening {
		return informer, nil
	}
	standby := &standbyInformer{SharedIndexInformer: informer}
	c.informers = append(c.informers, standby)
	return standby, nil
}

// listen lets the controllers listen, those that are there and those that come.
func (c *standbyCaches) listen() error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.listening = true
	for _, informer := range c.informers {
		if err := informer.listen(); err != nil {
			return err
		}
	}
	c.informers = nil
	return nil
}

// standbyInformer holds back its first handler, which is lasso's: the controller that asks for an informer gives it one at once, before
// anybody else has seen it. Whoever adds handlers of his own wants them to be called on every replica.
type standbyInformer struct {
	clientcache.SharedIndexInformer

	mutex   sync.Mutex
	seen    bool
	handler clientcache.ResourceEventHandler
}

// AddEventHandler is cache.SharedInformer's, but returns no registration for the handler that is held back: lasso does not look at it.
func (i *standbyInformer) AddEventHandler(handler clientcache.ResourceEventHandler) (clientcache.ResourceEventHandlerRegistration, error) {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	if i.seen {
		return i.SharedIndexInformer.AddEventHandler(handler)
	}
	i.seen, i.handler = true, handler
	return nil, nil //nolint:nilnil // See above.
}

func (i *standbyInformer) listen() error {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	i.seen = true // What comes from now on listens at once.
	if i.handler == nil {
		return nil
	}
	if _, err := i.SharedIndexInformer.AddEventHandler(i.handler); err != nil {
		return fmt.Errorf("listening to a cache: %w", err)
	}
	i.handler = nil
	return nil
}
