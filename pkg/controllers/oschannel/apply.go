package oschannel

import (
	"encoding/json"
	"fmt"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
)

// isOwn tells the channel's versions from those of another, or of an earlier one of its name.
func isOwn(c *v1.ManagedOSVersionChannel, version *v1.ManagedOSVersion) bool {
	name, uid := index.ChannelOf(version)
	return name == c.Name && uid == c.UID
}

// apply makes what was decided so. Nothing is taken away before all that is new is there.
func (h *handler) apply(c *v1.ManagedOSVersionChannel, p *plan) error {
	var refused error
	for _, version := range p.create {
		err := h.create(c, version, p)
		switch {
		case apierrors.IsInvalid(err), apierrors.IsForbidden(err):
			// One that the API server does not take holds up no other.
			if refused == nil {
				refused = err
			}
		case err != nil:
			return err
		}
	}
	for _, changed := range p.patch {
		if err := h.patch(changed); err != nil {
			return err
		}
	}
	for _, version := range p.remove {
		uid, resourceVersion := version.UID, version.ResourceVersion
		err := h.versions.Delete(version.Namespace, version.Name, &metav1.DeleteOptions{
			// What was looked at is what is deleted.
			Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &resourceVersion},
		})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("deleting ManagedOSVersion %s: %w", version.Name, err)
		}
	}
	return refused
}

func (h *handler) create(c *v1.ManagedOSVersionChannel, version *v1.ManagedOSVersion, p *plan) error {
	_, err := h.versions.Create(version)
	if err == nil {
		return nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("making ManagedOSVersion %s: %w", version.Name, err)
	}
	// Our own, which the cache has not seen yet, or somebody else's.
	existing, err := h.versions.Get(version.Namespace, version.Name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading ManagedOSVersion %s: %w", version.Name, err)
	}
	if !isOwn(c, existing) {
		p.taken = append(p.taken, version.Name)
	}
	return nil
}

// patch writes what differs, and only over what was read.
func (h *handler) patch(changed change) error {
	before, err := json.Marshal(changed.current)
	if err != nil {
		return fmt.Errorf("encoding ManagedOSVersion: %w", err)
	}
	after, err := json.Marshal(changed.desired)
	if err != nil {
		return fmt.Errorf("encoding ManagedOSVersion: %w", err)
	}
	difference, err := jsonpatch.CreateMergePatch(before, after)
	if err != nil {
		return fmt.Errorf("comparing ManagedOSVersion: %w", err)
	}
	guarded, err := jsonpatch.MergeMergePatches(difference, fmt.Appendf(nil, `{"metadata":{"resourceVersion":%q}}`, changed.current.ResourceVersion))
	if err != nil {
		return fmt.Errorf("comparing ManagedOSVersion: %w", err)
	}
	if _, err := h.versions.Patch(changed.current.Namespace, changed.current.Name, types.MergePatchType, guarded); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("writing ManagedOSVersion %s: %w", changed.current.Name, err)
	}
	return nil
}
