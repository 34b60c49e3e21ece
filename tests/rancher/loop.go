package rancher

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// loop brings the world in line, one key at a time: whenever an object changes that a key depends on, reconcile runs for
// that key, again and again with growing pauses while it fails.
type loop struct {
	name  string
	delay time.Duration // how long after a change; what arrives meanwhile is one run
	log   func(string)

	// reconcile may ask to be called again after a while, 0 being never.
	reconcile func(context.Context, key) (time.Duration, error)

	queue workqueue.TypedRateLimitingInterface[key]
}

func newLoop(name string, delay time.Duration, log func(string), reconcile func(context.Context, key) (time.Duration, error)) *loop {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[key](50*time.Millisecond, 5*time.Second)
	return &loop{name: name, delay: delay, log: log, reconcile: reconcile, queue: workqueue.NewTypedRateLimitingQueue(limiter)}
}

// watch queues the keys that a changed object concerns. A nil keys means the object's own key.
func (l *loop) watch(informer cache.SharedIndexInformer, keys func(*unstructured.Unstructured) []key) error {
	if keys == nil {
		keys = func(obj *unstructured.Unstructured) []key { return []key{keyOf(obj)} }
	}
	enqueue := func(obj any) {
		if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
			obj = gone.Obj
		}
		if changed, ok := obj.(*unstructured.Unstructured); ok {
			for _, k := range keys(changed) {
				l.queue.AddAfter(k, l.delay)
			}
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: enqueue,
		UpdateFunc: func(before, after any) {
			// Before as well: a label that moved an object away from a key concerns that key too.
			enqueue(before)
			enqueue(after)
		},
		DeleteFunc: enqueue,
	})
	if err != nil {
		return fmt.Errorf("watching for %s: %w", l.name, err)
	}
	return nil
}

// run works until the context ends. Start it once the informers have synced.
func (l *loop) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, l.queue.ShutDown)
	defer stop()
	for {
		k, shutdown := l.queue.Get()
		if shutdown {
			return
		}
		again, err := l.reconcile(ctx, k)
		switch {
		case err != nil:
			if ctx.Err() == nil && !passes(err) {
				l.log(fmt.Sprintf("%s %s: %v", l.name, k, err))
			}
			l.queue.AddRateLimited(k)
		case again > 0:
			l.queue.Forget(k)
			l.queue.AddAfter(k, again)
		default:
			l.queue.Forget(k)
		}
		l.queue.Done(k)
	}
}
