package restore

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/crds"
	"github.com/rancher/rancheros-operator/tests/harness"
)

// What is in a backup: our CRDs, our kinds, the Secrets that the guide's ResourceSet names, and the Bundles, which Rancher's
// own set takes along.
var (
	crdResource    = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	secretResource = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	bundleResource = schema.GroupVersionResource{Group: "fleet.cattle.io", Version: "v1alpha1", Resource: "bundles"}

	secretTypes = []corev1.SecretType{v1.SecretTypeRegistration, v1.SecretTypeSeedImage, v1.SecretTypeCloudConfig, v1.SecretTypeMachineToken}
)

// saved is one object of a backup.
type saved struct {
	resource schema.GroupVersionResource
	object   *unstructured.Unstructured
}

func (s saved) String() string {
	return fmt.Sprintf("%s %s/%s", s.resource.Resource, s.object.GetNamespace(), s.object.GetName())
}

// backup is what a backup file holds, in the order in which it was taken.
type backup []saved

// store takes backups and puts them back, with the administrator's rights, as rancher-backup has them.
type store struct {
	*harness.World
	client dynamic.Interface
}

func newStore(t *testing.T, world *harness.World) store {
	t.Helper()
	client, err := dynamic.NewForConfig(world.Config)
	require.NoError(t, err)
	return store{world, client}
}

// kinds are the resources of ours.
func (s store) kinds(t *testing.T) []schema.GroupVersionResource {
	t.Helper()
	objects, err := crds.Objects()
	require.NoError(t, err)
	kinds := make([]schema.GroupVersionResource, len(objects))
	for i, crd := range objects {
		kinds[i] = schema.GroupVersionResource{Group: crd.Spec.Group, Version: crd.Spec.Versions[0].Name, Resource: crd.Spec.Names.Plural}
	}
	return kinds
}

// take is what rancher-backup writes: objects without what belongs to this API server alone, and here without status too.
// Owner references are kept as they are: their UIDs are those of the cluster that is lost.
func (s store) take(t *testing.T) backup {
	t.Helper()
	var all backup
	add := func(resource schema.GroupVersionResource, options metav1.ListOptions, keep func(*unstructured.Unstructured) bool) {
		list, err := s.client.Resource(resource).List(t.Context(), options)
		require.NoError(t, err)
		for i := range list.Items {
			object := &list.Items[i]
			if keep != nil && !keep(object) {
				continue
			}
			for _, field := range []string{"uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink"} {
				unstructured.RemoveNestedField(object.Object, "metadata", field)
			}
			delete(object.Object, "status")
			all = append(all, saved{resource, object})
		}
	}
	add(crdResource, metav1.ListOptions{}, func(crd *unstructured.Unstructured) bool {
		group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
		return group == v1.SchemeGroupVersion.Group
	})
	for _, kind := range s.kinds(t) {
		add(kind, metav1.ListOptions{}, nil)
	}
	for _, kind := range secretTypes {
		add(secretResource, metav1.ListOptions{FieldSelector: "type=" + string(kind)}, nil)
	}
	add(bundleResource, metav1.ListOptions{}, nil)
	return all
}

// lose takes everything of the backup from the cluster, CRDs included. Nobody looks after finalizers any more.
func (s store) lose(t *testing.T, all backup) {
	t.Helper()
	for _, lost := range slices.Backward(all) {
		resource := s.client.Resource(lost.resource).Namespace(lost.object.GetNamespace())
		if len(lost.object.GetFinalizers()) > 0 && lost.resource != crdResource {
			_, err := resource.Patch(t.Context(), lost.object.GetName(), "application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
			require.NoError(t, client(err), lost)
		}
		require.NoError(t, client(resource.Delete(t.Context(), lost.object.GetName(), metav1.DeleteOptions{})), lost)
	}
	require.NoError(t, harness.Eventually(t.Context(), patience, func() error {
		for _, lost := range all {
			_, err := s.client.Resource(lost.resource).Namespace(lost.object.GetNamespace()).Get(t.Context(), lost.object.GetName(), metav1.GetOptions{})
			if !apierrors.IsNotFound(err) {
				return fmt.Errorf("%s is still there: %w", lost, err)
			}
		}
		return nil
	}))
}

// client leaves out that an object is not there: the garbage collector was faster.
func client(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// putCRDs is the first step of any restore: the kinds, established.
func (s store) putCRDs(t *testing.T, all backup) {
	t.Helper()
	for _, one := range all {
		if one.resource == crdResource {
			_, err := s.client.Resource(crdResource).Create(t.Context(), one.object.DeepCopy(), metav1.CreateOptions{})
			require.NoError(t, err, one)
		}
	}
	for _, kind := range s.kinds(t) {
		require.NoError(t, harness.Eventually(t.Context(), patience, func() error {
			_, err := s.client.Resource(kind).List(t.Context(), metav1.ListOptions{Limit: 1})
			return err
		}))
	}
}

// putOwnersFirst is rancher-backup: an object waits for its owners and then gets their new UIDs; one that is there already,
// because the operator was faster, is overwritten.
func (s store) putOwnersFirst(t *testing.T, all backup) {
	t.Helper()
	waiting := slices.DeleteFunc(slices.Clone(all), func(one saved) bool { return one.resource == crdResource })
	for len(waiting) > 0 {
		var later backup
		for _, one := range waiting {
			object := one.object.DeepCopy()
			if !s.adopt(t, object) {
				later = append(later, one)
				continue
			}
			s.put(t, saved{one.resource, object})
		}
		require.Less(t, len(later), len(waiting), "owners that are not in the backup: %v", later)
		waiting = later
	}
}

// putBare is what tools do that drop owner references, and put Secrets before what they belong to.
func (s store) putBare(t *testing.T, all backup) {
	t.Helper()
	ordered := slices.DeleteFunc(slices.Clone(all), func(one saved) bool { return one.resource == crdResource })
	slices.SortStableFunc(ordered, func(a, b saved) int { return rank(a) - rank(b) })
	for _, one := range ordered {
		object := one.object.DeepCopy()
		object.SetOwnerReferences(nil)
		s.put(t, saved{one.resource, object})
	}
}

func rank(one saved) int {
	if one.resource == secretResource {
		return 0
	}
	return 1
}

// adopt gives the object's owner references the UIDs that their owners have now; false while one of them is missing.
func (s store) adopt(t *testing.T, object *unstructured.Unstructured) bool {
	t.Helper()
	owners := object.GetOwnerReferences()
	for i, owner := range owners {
		resource, found := s.resourceOf(t, owner.Kind)
		require.True(t, found, "%s is owned by a %s", object.GetName(), owner.Kind)
		existing, err := s.client.Resource(resource).Namespace(object.GetNamespace()).Get(t.Context(), owner.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false
		}
		require.NoError(t, err)
		owners[i].UID = existing.GetUID()
	}
	object.SetOwnerReferences(owners)
	return true
}

func (s store) resourceOf(t *testing.T, kind string) (schema.GroupVersionResource, bool) {
	t.Helper()
	objects, err := crds.Objects()
	require.NoError(t, err)
	for i, crd := range objects {
		if crd.Spec.Names.Kind == kind {
			return s.kinds(t)[i], true
		}
	}
	return schema.GroupVersionResource{}, false
}

// put creates the object, or overwrites the one that is there, whatever somebody else writes to it meanwhile.
func (s store) put(t *testing.T, one saved) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	resource := s.client.Resource(one.resource).Namespace(one.object.GetNamespace())
	require.NoError(t, harness.Eventually(ctx, 10*time.Second, func() error {
		_, err := resource.Create(ctx, one.object, metav1.CreateOptions{})
		if !apierrors.IsAlreadyExists(err) {
			return err
		}
		existing, err := resource.Get(ctx, one.object.GetName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		one.object.SetResourceVersion(existing.GetResourceVersion())
		_, err = resource.Update(ctx, one.object, metav1.UpdateOptions{})
		one.object.SetResourceVersion("")
		return err
	}), one)
}
