package library

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	rancheroscontrollers "github.com/rancher/rancheros-operator/pkg/generated/controllers/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
	media "github.com/rancher/rancheros-operator/pkg/media/cache"
	"github.com/rancher/rancheros-operator/pkg/settings"
)

const (
	// workers prepare SeedImages; they do not wait for fetches.
	workers = 4
	// countEvery is how often hand-outs that nothing depends on are written down.
	countEvery = 2 * time.Second
)

// Options are what a library works with.
type Options struct {
	// Cache keeps the bases; nil where there is no place for them, and then every SeedImage says so.
	Cache    *media.Cache
	Indexes  *index.Indexes
	Settings *settings.Settings
	// Seeds counts hand-outs, which every replica does; Reports writes what only the leader does, and is Seeds unless it is given.
	Seeds, Reports rancheroscontrollers.SeedImageClient
}

// Library hands out boot media.
type Library struct {
	Options
	now func() time.Time
	// queue holds SeedImages, as namespace/name, whose base or facts are to be looked at; hashes those whose image's checksum
	// is not known.
	queue, hashes workqueue.TypedRateLimitingInterface[string]
	leading       atomic.Bool
	// pace is shorter in tests.
	pace pace

	mutex   sync.Mutex
	fetches map[media.Source]*fetch
	// sums are checksums of images, by their identity, until they are in the status.
	sums map[string]string
	// handedOut are hand-outs that are not written down yet, by SeedImage.
	handedOut map[string]int
	counting  sync.Mutex
}

// pace holds the times between two tries to fetch a base: they double from the first to the last.
type pace struct{ first, last time.Duration }

// New makes a library. Nothing runs yet.
func New(options Options) *Library {
	if options.Reports == nil {
		options.Reports = options.Seeds
	}
	limiter := func() workqueue.TypedRateLimiter[string] {
		return workqueue.NewTypedItemExponentialFailureRateLimiter[string](100*time.Millisecond, time.Minute)
	}
	return &Library{
		Options: options, now: time.Now, pace: pace{first: 5 * time.Second, last: 5 * time.Minute},
		queue: workqueue.NewTypedRateLimitingQueue(limiter()), hashes: workqueue.NewTypedRateLimitingQueue(limiter()),
		fetches: map[media.Source]*fetch{}, sums: map[string]string{}, handedOut: map[string]int{},
	}
}

// InUse are the bases that SeedImages are made of: the cache keeps those.
func (l *Library) InUse() map[string]bool {
	inUse := map[string]bool{}
	seeds, err := l.Indexes.SeedImages()
	if err != nil {
		return inUse
	}
	for _, seed := range seeds {
		if sum, found := l.Cache.Checksum(source(seed)); found && !l.expired(seed) {
			inUse[sum] = true
		}
	}
	return inUse
}

// Informers tell of changes; the typed controllers of package clients have them.
type Informers struct {
	Seeds, Registrations, Settings interface {
		Informer() cache.SharedIndexInformer
	}
}

// Run keeps bases ready for all SeedImages, on every replica, until ctx ends. The informers must have been started.
func (l *Library) Run(ctx context.Context, informers Informers) error {
	for _, follow := range []struct {
		informer cache.SharedIndexInformer
		changed  func(object any)
	}{{informers.Seeds.Informer(), l.onSeed}, {informers.Registrations.Informer(), l.onRegistration}, {informers.Settings.Informer(), l.onSetting}} {
		registered, err := follow.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: follow.changed,
			UpdateFunc: func(before, after any) {
				if !same(before, after) {
					follow.changed(after)
				}
			},
		})
		if err != nil {
			return fmt.Errorf("following SeedImages: %w", err)
		}
		defer func() { _ = follow.informer.RemoveEventHandler(registered) }()
	}
	return l.work(ctx)
}

func (l *Library) work(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		l.queue.ShutDown()
		l.hashes.ShutDown()
	})
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	for range workers {
		group.Go(func() error { return drain(ctx, l.queue, l.prepare) })
	}
	group.Go(func() error { return drain(ctx, l.hashes, l.hash) })
	group.Go(func() error { return l.count(ctx) })
	return group.Wait()
}

// drain works until the queue is shut down. What fails is tried again later.
func drain(ctx context.Context, queue workqueue.TypedRateLimitingInterface[string], do func(context.Context, string) error) error {
	for {
		key, down := queue.Get()
		if down {
			return nil
		}
		if err := do(ctx, key); err != nil {
			logrus.WithField("seedimage", key).Debugf("trying again: %v", err)
			queue.AddRateLimited(key)
		} else {
			queue.Forget(key)
		}
		queue.Done(key)
	}
}

// same tells an update that an informer makes up from one that happened.
func same(before, after any) bool {
	old, ok := before.(metav1.Object)
	changed, okToo := after.(metav1.Object)
	return ok && okToo && old.GetResourceVersion() == changed.GetResourceVersion()
}

func keyOf(object metav1.Object) string { return object.GetNamespace() + "/" + object.GetName() }

func (l *Library) onSeed(object any) {
	if seed, ok := object.(*v1.SeedImage); ok {
		l.queue.Add(keyOf(seed))
	}
}

// onRegistration follows a URL that changes: the images are others then.
func (l *Library) onRegistration(object any) {
	registration, ok := object.(metav1.Object)
	if !ok {
		return
	}
	seeds, err := l.Indexes.SeedImagesByRegistration(registration.GetNamespace(), registration.GetName())
	if err == nil {
		l.add(seeds)
	}
}

// onSetting follows Rancher's CA.
func (l *Library) onSetting(object any) {
	setting, ok := object.(metav1.Object)
	if ok && (setting.GetName() == settings.CACerts || setting.GetName() == settings.InternalCACerts) {
		l.addAll()
	}
}

func (l *Library) addAll() {
	if seeds, err := l.Indexes.SeedImages(); err == nil {
		l.add(seeds)
	}
}

func (l *Library) add(seeds []*v1.SeedImage) {
	for _, seed := range seeds {
		l.queue.Add(keyOf(seed))
	}
}

func (l *Library) expired(seed *v1.SeedImage) bool {
	return seed.Spec.ExpiresAt != nil && !l.now().Before(seed.Spec.ExpiresAt.Time)
}
