package osimage

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"

	fleetv1 "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/clients"
	"github.com/rancher/rancheros-operator/pkg/index"
)

// applyBundle makes the Bundle, or brings it back to what is desired. Fleet writes defaults of its own into the spec, so
// equality is no measure: the Bundle is left alone as long as it says all that we say, and we still say what we wrote
// last, whose digest it carries.
func (h *handler) applyBundle(existing, desired *fleetv1.Bundle) (*fleetv1.Bundle, error) {
	spec, err := toMap(desired.Spec)
	if err != nil {
		return existing, err
	}
	digest, err := digestOf(spec)
	if err != nil {
		return existing, err
	}
	desired.Annotations = map[string]string{v1.AnnotationApplied: digest}
	if existing == nil {
		created, err := h.bundles.Create(desired)
		switch {
		case err == nil:
			return created, nil
		case !apierrors.IsAlreadyExists(err):
			return nil, fmt.Errorf("making Bundle %s: %w", desired.Name, err)
		}
		// Our own, which the cache has not seen yet, or somebody else's.
		if existing, err = h.bundles.Get(desired.Namespace, desired.Name, metav1.GetOptions{}); err != nil {
			return nil, fmt.Errorf("reading Bundle %s: %w", desired.Name, err)
		}
		if err := checkOurs(existing, desired.Labels[v1.LabelImage]); err != nil {
			return nil, err
		}
	}
	present, err := toMap(existing.Spec)
	if err != nil {
		return existing, err
	}
	if existing.Annotations[v1.AnnotationApplied] == digest && equality.Semantic.DeepEqual(existing.OwnerReferences, desired.OwnerReferences) {
		if contains(present, spec) {
			return existing, nil
		}
		if dropped(present, spec) {
			return existing, refuse(v1.ReasonFleetTooOld, "this Fleet is older than 0.16 and does not carry the cloud-config to the clusters; upgrade it, or remove spec.cloudConfig")
		}
	}
	patch, err := bundlePatch(existing, desired, present, spec)
	if err != nil {
		return existing, err
	}
	patched, err := h.bundles.Patch(existing.Namespace, existing.Name, types.MergePatchType, patch)
	if err != nil {
		return existing, fmt.Errorf("writing Bundle %s: %w", existing.Name, err)
	}
	return patched, nil
}

// dropped tells whether all that is missing is what Fleet before 0.16 does not know: its API server drops the field, and
// would drop it again however often it is written. The cloud-config must not go into the Bundle instead, for all to read.
func dropped(present, spec map[string]any) bool {
	const field = "downstreamResources"
	if _, asked := spec[field]; !asked || present[field] != nil {
		return false
	}
	rest := maps.Clone(spec)
	delete(rest, field)
	return contains(present, rest)
}

// bundlePatch removes from the spec what we do not say, sets what we do, and touches no other metadata.
func bundlePatch(existing, desired *fleetv1.Bundle, present, spec map[string]any) ([]byte, error) {
	before, err := json.Marshal(present)
	if err != nil {
		return nil, fmt.Errorf("encoding Bundle: %w", err)
	}
	after, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("encoding Bundle: %w", err)
	}
	difference, err := jsonpatch.CreateMergePatch(before, after)
	if err != nil {
		return nil, fmt.Errorf("comparing Bundle: %w", err)
	}
	return json.Marshal(map[string]any{
		"metadata": map[string]any{
			"resourceVersion": existing.ResourceVersion,
			"annotations":     desired.Annotations,
			"labels":          desired.Labels,
			"ownerReferences": desired.OwnerReferences,
		},
		"spec": json.RawMessage(difference),
	})
}

// checkOurs refuses a Bundle that was not made for the image.
func checkOurs(bundle *fleetv1.Bundle, image string) error {
	if bundle.Labels[v1.LabelImage] == image {
		return nil
	}
	return refuse(v1.ReasonForeignBundle, "Bundle %s exists and was not made by the operator; delete or rename it", bundle.Name)
}

// applySecret makes the cloud-config's Secret, or brings it back to what is desired.
func (h *handler) applySecret(desired *corev1.Secret) error {
	existing, err := h.secrets.Cache().Get(desired.Namespace, desired.Name)
	if apierrors.IsNotFound(err) {
		_, err = h.secrets.Create(desired)
		var notServed *clients.NotServedError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &notServed):
			return refuse(v1.ReasonNamespaceNotServed, "%v", notServed)
		case !apierrors.IsAlreadyExists(err):
			return fmt.Errorf("making Secret %s: %w", desired.Name, err)
		}
		// Our own, which the cache has not seen yet, or one of another type, which it never sees.
		existing, err = h.secrets.Get(desired.Namespace, desired.Name, metav1.GetOptions{})
	}
	switch {
	case err != nil:
		return fmt.Errorf("reading Secret %s: %w", desired.Name, err)
	case existing.Type != desired.Type:
		return fmt.Errorf("taking Secret %s for the cloud-config: it exists and is not of type %s; delete or rename it", desired.Name, desired.Type)
	case reflect.DeepEqual(existing.Data, desired.Data) && maps.Equal(existing.Labels, desired.Labels) &&
		equality.Semantic.DeepEqual(existing.OwnerReferences, desired.OwnerReferences):
		return nil
	}
	update := existing.DeepCopy()
	update.Data, update.Labels, update.OwnerReferences = desired.Data, desired.Labels, desired.OwnerReferences
	if _, err := h.secrets.Update(update); err != nil {
		return fmt.Errorf("writing Secret %s: %w", desired.Name, err)
	}
	return nil
}

// removeSecret deletes the Secret of a cloud-config that the image has no more.
func (h *handler) removeSecret(image *v1.ManagedOSImage) error {
	name := index.ObjectName(image)
	_, err := h.secrets.Cache().Get(image.Namespace, name)
	if err == nil {
		err = h.secrets.Delete(image.Namespace, name, nil)
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting Secret %s: %w", name, err)
	}
	return nil
}

// contains tells whether all that desired says stands in present, too; lists must be the same length.
func contains(present, desired any) bool {
	switch desired := desired.(type) {
	case map[string]any:
		present, ok := present.(map[string]any)
		if !ok {
			return false
		}
		for key, value := range desired {
			if !contains(present[key], value) {
				return false
			}
		}
		return true
	case []any:
		present, ok := present.([]any)
		if !ok || len(present) != len(desired) {
			return false
		}
		for i, value := range desired {
			if !contains(present[i], value) {
				return false
			}
		}
		return true
	default:
		return reflect.DeepEqual(present, desired)
	}
}

func toMap(spec any) (map[string]any, error) {
	body, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("encoding Bundle: %w", err)
	}
	decoded := map[string]any{}
	if err := json.Unmarshal(body, &decoded); err != nil {
		return nil, fmt.Errorf("decoding Bundle: %w", err)
	}
	return decoded, nil
}

func digestOf(spec map[string]any) (string, error) {
	body, err := json.Marshal(spec)
	if err != nil {
		return "", fmt.Errorf("encoding Bundle: %w", err)
	}
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:]), nil
}
