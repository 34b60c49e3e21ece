package oschannel

import (
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/status"
)

func (h *handler) onChange(key string, c *v1.ManagedOSVersionChannel) (*v1.ManagedOSVersionChannel, error) {
	if c == nil || c.DeletionTimestamp != nil {
		h.poller.forget(key)
		return c, nil
	}
	seen := h.poller.follow(h.taskOf(c))
	result, err := h.bring(c, seen)
	if apierrors.IsConflict(err) {
		// Somebody wrote in between: not worth a word, the change itself brings us back.
		return c, err
	}
	desired := c.DeepCopy()
	turned := computeStatus(desired, seen, result, err)
	written, writeErr := status.Write(h.channels, c, desired)
	if writeErr == nil {
		h.emit(c, turned, desired.Status.LatestVersion)
	}
	return written, errors.Join(err, writeErr)
}

// bring makes the versions what the last good answer says; nil while there is none.
func (h *handler) bring(c *v1.ManagedOSVersionChannel, seen state) (*plan, error) {
	if seen.answer == nil || c.Spec.Suspend {
		return nil, nil
	}
	in, err := h.gather(c, seen)
	if err != nil {
		return nil, err
	}
	decided := decide(in)
	return &decided, h.apply(c, &decided)
}

func (h *handler) gather(c *v1.ManagedOSVersionChannel, seen state) (input, error) {
	in := input{channel: c, answer: seen.answer, owned: map[string]*v1.ManagedOSVersion{}, taken: map[string]bool{}, named: map[string]bool{}}
	versions, err := h.indexes.VersionsByChannel(c.Namespace, c.Name)
	if err != nil {
		return in, err
	}
	for _, version := range versions {
		if isOwn(c, version) {
			in.owned[version.Name] = version
			images, err := h.indexes.ImagesByVersion(version.Namespace, version.Name)
			if err != nil {
				return in, err
			}
			in.named[version.Name] = len(images) > 0
		}
	}
	cache := h.versions.Cache()
	for _, release := range seen.answer.Releases {
		if in.owned[release.Name] != nil {
			continue
		}
		version, err := cache.Get(c.Namespace, release.Name)
		switch {
		case err == nil && restored(c, version, release):
			in.owned[version.Name] = version
		case err == nil:
			in.taken[release.Name] = true
		case !apierrors.IsNotFound(err):
			return in, fmt.Errorf("reading ManagedOSVersion: %w", err)
		}
	}
	return in, nil
}
