package library

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
	media "github.com/rancher/rancheros-operator/pkg/media/cache"
)

// source is where the SeedImage's base comes from. A base that was found once stays the one.
func source(seed *v1.SeedImage) media.Source {
	from := media.Source{Image: seed.Spec.BaseImage, Checksum: seed.Spec.BaseChecksum}
	if found := seed.Status.Base; from.Checksum == "" && found != nil && found.Image == from.Image {
		from.Checksum = found.Checksum
	}
	return from
}

// fetch is one base on its way, or one that could not be had.
type fetch struct {
	running bool
	waiting map[string]bool // SeedImages, to be looked at when it ends.
	err     error
	delay   time.Duration
	retry   time.Time
}

// prepare sees to it that the SeedImage's base is there, and that its status says so.
func (l *Library) prepare(ctx context.Context, key string) error {
	namespace, name := index.SplitKey(key)
	seed, err := l.Indexes.SeedImage(namespace, name)
	if err != nil || seed == nil || seed.DeletionTimestamp != nil || l.expired(seed) {
		return err
	}
	if l.Cache == nil {
		return l.report(seed, facts{reason: v1.ReasonMediaOff, message: "the operator has no folder for base media; start it with --media-dir"})
	}
	from := source(seed)
	if base, found := l.Cache.Lookup(from); found {
		l.forget(from)
		return l.reportBase(seed, base)
	}
	if failure := l.fetch(ctx, from, key); failure != nil {
		return l.report(seed, factsOf(failure))
	}
	return nil
}

// fetch starts to fetch the base, unless that is under way, or failed a moment ago: that error it returns.
func (l *Library) fetch(ctx context.Context, from media.Source, key string) error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	f := l.fetches[from]
	if f == nil {
		f = &fetch{delay: l.pace.first, waiting: map[string]bool{}}
		l.fetches[from] = f
	}
	if wait := f.retry.Sub(l.now()); !f.running && f.err != nil && wait > 0 {
		l.queue.AddAfter(key, wait)
		return f.err
	}
	f.waiting[key] = true
	if !f.running {
		f.running = true
		go l.run(ctx, from, f)
	}
	return nil
}

// run fetches, and brings back who waits for it.
func (l *Library) run(ctx context.Context, from media.Source, f *fetch) {
	_, err := l.Cache.Fetch(ctx, from)
	if ctx.Err() != nil {
		return
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	f.running, f.err = false, err
	if err != nil {
		// What follows the path of an address may be a key to it.
		base, _, _ := strings.Cut(from.Image, "?")
		logrus.WithField("base", base).Infof("fetching base medium: %v", err)
		f.retry = l.now().Add(f.delay)
		f.delay = min(2*f.delay, l.pace.last)
	}
	for key := range f.waiting {
		l.queue.Add(key)
	}
	clear(f.waiting)
}

func (l *Library) forget(from media.Source) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if f := l.fetches[from]; f != nil && !f.running {
		delete(l.fetches, from)
	}
}

// factsOf are what an error of the cache means to whoever made the SeedImage.
func factsOf(err error) facts {
	var known *media.Error
	if !errors.As(err, &known) {
		return facts{reason: v1.ReasonBaseUnavailable, message: "the base medium cannot be had; the operator's log says why"}
	}
	reason := map[media.Reason]string{
		media.Unavailable: v1.ReasonBaseUnavailable, media.Invalid: v1.ReasonBaseInvalid, media.Full: v1.ReasonCacheFull,
	}[known.Reason]
	return facts{reason: reason, message: known.Message}
}
