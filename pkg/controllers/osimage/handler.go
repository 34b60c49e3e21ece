package osimage

import (
	"errors"
	"fmt"

	fleetv1 "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/pkg/status"
)

func (h *handler) onChange(_ string, image *v1.ManagedOSImage) (*v1.ManagedOSImage, error) {
	if image == nil || image.DeletionTimestamp != nil {
		return image, nil
	}
	rolledOut, err := h.rollOut(image)
	if apierrors.IsConflict(err) {
		// Somebody wrote in between: not worth a word, the change itself brings us back.
		return image, err
	}
	desired := image.DeepCopy()
	turned := computeStatus(desired, rolledOut, err)
	written, writeErr := status.Write(h.images, image, desired)
	if writeErr == nil {
		h.emit(image, turned)
	}
	var refused *refusal
	if errors.As(err, &refused) {
		// Nothing that a retry would mend: an edit of what is wrong brings us back.
		err = nil
	}
	return written, errors.Join(err, writeErr)
}

// rollout is what came of an image.
type rollout struct {
	// image is the complete reference that nodes are upgraded with; empty while it is not known.
	image string
	// bundle is the Bundle as it is now; nil while there is none.
	bundle *fleetv1.Bundle
}

// rollOut gathers, decides, and brings the Secret and the Bundle to what was decided.
func (h *handler) rollOut(image *v1.ManagedOSImage) (rollout, error) {
	in, err := h.gather(image)
	result := rollout{bundle: in.existing}
	if err != nil {
		return result, err
	}
	out, err := render(in)
	result.image = out.image
	if err != nil {
		return result, err
	}
	// Fleet copies the Secret as soon as it sees the Bundle, and misses it as long as the Bundle names it: the Secret comes
	// first and goes last.
	if out.secret != nil {
		if err := h.applySecret(out.secret); err != nil {
			return result, err
		}
	}
	if result.bundle, err = h.applyBundle(in.existing, out.bundle); err != nil || out.secret != nil {
		return result, err
	}
	return result, h.removeSecret(image)
}

func (h *handler) gather(image *v1.ManagedOSImage) (input, error) {
	in := input{image: image}
	existing, err := h.bundles.Cache().Get(image.Namespace, index.BundleName(image))
	switch {
	case err == nil:
		if err := checkOurs(existing, image.Name); err != nil {
			return in, err
		}
		in.existing = existing
	case !apierrors.IsNotFound(err):
		return in, fmt.Errorf("reading Bundle: %w", err)
	}
	if in.version, err = h.followed(image); err != nil {
		return in, err
	}
	if image.Spec.OSImage == "" && image.Spec.ManagedOSVersionName != "" {
		in.version, err = h.versions.Get(image.Namespace, image.Spec.ManagedOSVersionName)
		if apierrors.IsNotFound(err) {
			return in, refuse(v1.ReasonVersionNotFound, "there is no ManagedOSVersion %s in namespace %s; create it, or correct managedOSVersionName",
				image.Spec.ManagedOSVersionName, image.Namespace)
		}
		if err != nil {
			return in, fmt.Errorf("reading ManagedOSVersion: %w", err)
		}
	}
	in.registry, err = h.settings.SystemDefaultRegistry()
	if err != nil {
		return in, refuse(v1.ReasonInvalidSpec, "%v; correct it in Rancher's global settings", err)
	}
	return in, nil
}
