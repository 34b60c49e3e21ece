package clients

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/rancher/wrangler/v3/pkg/generic"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
)

// Patcher is the part of a typed client that SetFinalizer needs.
type Patcher[T generic.RuntimeMetaObject] interface {
	Patch(namespace, name string, pt types.PatchType, data []byte, subresources ...string) (T, error)
}

// SetFinalizer puts the finalizer on the object, as it was read, or takes it off, and returns the object as it then is. It
// patches nothing but the finalizers, and only when they change. An object that is gone needs none taken off.
func SetFinalizer[T generic.RuntimeMetaObject](client Patcher[T], object T, finalizer string, held bool) (T, error) {
	at := slices.Index(object.GetFinalizers(), finalizer)
	if held == (at >= 0) {
		return object, nil
	}
	finalizers := slices.Clone(object.GetFinalizers())
	if held {
		finalizers = append(finalizers, finalizer)
	} else {
		finalizers = slices.Delete(finalizers, at, at+1)
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"resourceVersion": object.GetResourceVersion(),
		"finalizers":      finalizers,
	}})
	if err != nil {
		return object, fmt.Errorf("encoding finalizers: %w", err)
	}
	patched, err := client.Patch(object.GetNamespace(), object.GetName(), types.MergePatchType, patch)
	if apierrors.IsNotFound(err) && !held {
		return object, nil
	}
	if err != nil {
		return object, fmt.Errorf("writing finalizers: %w", err)
	}
	return patched, nil
}
