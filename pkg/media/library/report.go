package library

import (
	"context"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
	media "github.com/rancher/rancheros-operator/pkg/media/cache"
	"github.com/rancher/rancheros-operator/pkg/media/iso"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	"github.com/rancher/rancheros-operator/pkg/status"
)

// facts are what the library knows of a SeedImage.
type facts struct {
	reason, message string
	// The base's checksum, and of the image its identity, size, checksum if it is known, and method.
	base, identity string
	size           int64
	checksum       string
	method         iso.Method
}

// Lead makes this replica the one that reports, until ctx ends.
func (l *Library) Lead(ctx context.Context) {
	l.leading.Store(true)
	context.AfterFunc(ctx, func() { l.leading.Store(false) })
	l.addAll()
}

// reportBase reports on a SeedImage whose base is there.
func (l *Library) reportBase(seed *v1.SeedImage, base *media.Base) error {
	if !l.leading.Load() {
		return nil
	}
	found, err := l.look(seed, base)
	var format *iso.FormatError
	var refused *protocol.Error
	switch {
	case errors.As(err, &format):
		found = facts{reason: v1.ReasonBaseInvalid, message: format.Problem, base: base.Checksum}
	case errors.As(err, &refused):
		// The controller says in its own words what is missing, and its change brings us back.
		found = facts{base: base.Checksum}
	case err != nil:
		return err
	}
	return l.report(seed, found)
}

// look finds out all that is quickly known, and sets off the rest.
func (l *Library) look(seed *v1.SeedImage, base *media.Base) (facts, error) {
	found := facts{base: base.Checksum}
	if makesNetboot(seed) {
		for _, withConfig := range []bool{false, true} {
			netbooted, err := l.file(seed, base, withConfig)
			if err != nil {
				return found, err
			}
			found.method = netbooted.layout.Method
		}
	}
	if !makesISO(seed) {
		return found, nil
	}
	image, err := l.iso(seed, base)
	if err != nil {
		return found, err
	}
	found.identity, found.size, found.method = image.identity(), image.layout.Size(), image.layout.Method
	if known := seed.Status; known.Checksum != "" && known.Base != nil && known.Base.Identity == found.identity {
		found.checksum = known.Checksum
		return found, nil
	}
	l.mutex.Lock()
	found.checksum = l.sums[found.identity]
	l.mutex.Unlock()
	if found.checksum == "" {
		l.hashes.Add(keyOf(seed))
	}
	return found, nil
}

// hash computes the checksum of a SeedImage's image: once, in the background, one image at a time.
func (l *Library) hash(ctx context.Context, key string) error {
	namespace, name := index.SplitKey(key)
	seed, err := l.Indexes.SeedImage(namespace, name)
	if err != nil || seed == nil || !l.leading.Load() {
		return err
	}
	base, found := l.Cache.Lookup(source(seed))
	if !found {
		return nil
	}
	image, err := l.iso(seed, base)
	if err != nil {
		return nil //nolint:nilerr // It is reported by prepare, and there is nothing to hash.
	}
	reading, err := base.Open()
	if err != nil {
		return err
	}
	defer func() { _ = reading.Close() }()
	sum, err := image.layout.Sum(ctx, reading, base.Checkpoints)
	if err != nil {
		return err
	}
	l.mutex.Lock()
	l.sums[image.identity()] = "sha256:" + hex.EncodeToString(sum[:])
	l.mutex.Unlock()
	l.queue.Add(key)
	return nil
}

// report writes what is new. The controller writes first: its write brings the SeedImage back here.
func (l *Library) report(seed *v1.SeedImage, found facts) error {
	if !l.leading.Load() || seed.Status.ObservedGeneration == 0 {
		return nil
	}
	desired := seed.DeepCopy()
	into := &desired.Status
	into.Size, into.Checksum = found.size, found.checksum
	into.Base = &v1.SeedImageBase{
		ObservedGeneration: seed.Generation, Image: seed.Spec.BaseImage, Identity: found.identity, Method: string(found.method),
		Reason: found.reason, Message: found.message,
	}
	switch known := seed.Status.Base; {
	case found.base != "":
		into.Base.Checksum = "sha256:" + found.base
	case known != nil && known.Image == seed.Spec.BaseImage:
		// What it was it shall be again.
		into.Base.Checksum = known.Checksum
	}
	if _, err := status.Write(l.Reports, seed, desired); err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	if found.checksum != "" {
		l.mutex.Lock()
		delete(l.sums, found.identity)
		l.mutex.Unlock()
	}
	return nil
}

// maxTries bounds how often a hand-out is counted anew because somebody else wrote at the same time.
const maxTries = 10

// errUsedUp says that it was handed out as often as it may be.
var errUsedUp = errors.New("used up")

// handOut counts one hand-out. Where the number is limited it is written down before anything is sent; else soon after.
func (l *Library) handOut(seed *v1.SeedImage) error {
	if seed.Spec.MaxDownloads == nil {
		l.mutex.Lock()
		defer l.mutex.Unlock()
		l.handedOut[keyOf(seed)]++
		return nil
	}
	return l.addDownloads(seed.Namespace, seed.Name, 1)
}

// addDownloads adds to the count of hand-outs in the status. One at a time: among ourselves there are no conflicts.
func (l *Library) addDownloads(namespace, name string, more int) error {
	l.counting.Lock()
	defer l.counting.Unlock()
	var err error
	for range maxTries {
		var seed *v1.SeedImage
		if seed, err = l.Seeds.Get(namespace, name, metav1.GetOptions{}); err != nil {
			return err
		}
		if most := seed.Spec.MaxDownloads; most != nil && seed.Status.Downloads >= *most {
			return errUsedUp
		}
		desired := seed.DeepCopy()
		desired.Status.Downloads += more
		if _, err = status.Write(l.Seeds, seed, desired); !apierrors.IsConflict(err) {
			return err
		}
	}
	return err
}

// count writes hand-outs down that were not limited, many at a time.
func (l *Library) count(ctx context.Context) error {
	ticker := time.NewTicker(countEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			l.flush()
		case <-ctx.Done():
			l.flush()
			return nil
		}
	}
}

func (l *Library) flush() {
	l.mutex.Lock()
	counts := l.handedOut
	l.handedOut = map[string]int{}
	l.mutex.Unlock()
	for _, key := range slices.Sorted(maps.Keys(counts)) {
		namespace, name := index.SplitKey(key)
		if err := l.addDownloads(namespace, name, counts[key]); err != nil && !apierrors.IsNotFound(err) && !errors.Is(err, errUsedUp) {
			logrus.WithField("seedimage", key).Warnf("counting downloads: %v", err)
		}
	}
}
