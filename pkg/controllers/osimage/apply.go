package osimage

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"

	fleetv1 "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
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
		if err != nil {
			return nil, fmt.Errorf("making Bundle %s: %w", desired.Name, err)
		}
		return created, nil
	}
	present, err := toMap(existing.Spec)
	if err != nil {
		return existing, err
	}
	if existing.Annotations[v1.AnnotationApplied] == digest && contains(present, spec) &&
		equality.Semantic.DeepEqual(existing.OwnerReferences, desired.OwnerReferences) {
		return existing, nil
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

// applySecret makes the cloud-config's Secret, or brings it back to what is desired, or deletes it when nil is desired.
func (h *handler) applySecret(image *v1.ManagedOSImage, desired *corev1.Secret) error {
	name := index.ObjectName(image)
	existing, err := h.secrets.Cache().Get(image.Namespace, name)
	if apierrors.IsNotFound(err) {
		existing, err = nil, nil
	}
	switch {
	case err != nil:
		return fmt.Errorf("reading Secret %s: %w", name, err)
	case existing == nil && desired == nil:
		return nil
	case existing == nil:
		_, err = h.secrets.Create(desired)
	case desired == nil:
		err = h.secrets.Delete(existing.Namespace, existing.Name, nil)
	case reflect.DeepEqual(existing.Data, desired.Data) && maps.Equal(existing.Labels, desired.Labels):
		return nil
	default:
		update := existing.DeepCopy()
		update.Data, update.Labels, update.OwnerReferences = desired.Data, desired.Labels, desired.OwnerReferences
		_, err = h.secrets.Update(update)
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("writing Secret %s: %w", name, err)
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
