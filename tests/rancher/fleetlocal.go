package rancher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

// How Helm marks what it owns.
const (
	managedByLabel             = "app.kubernetes.io/managed-by"
	releaseNameAnnotation      = "meta.helm.sh/release-name"
	releaseNamespaceAnnotation = "meta.helm.sh/release-namespace"
)

// keepAnnotation makes Helm leave an object behind.
const keepAnnotation = "helm.sh/resource-policy"

// install puts a release on a cluster and takes away what the release before had and this one has not.
func (f *fleetController) install(ctx context.Context, cluster, bundle key, wanted release) error {
	had, before := f.ledger.get(cluster, bundle)
	if cluster != localFleetCluster {
		f.ledger.put(cluster, bundle, wanted)
		return nil
	}
	if before && sameRelease(had, wanted) {
		return nil
	}
	// Helm looks at all objects before it touches one.
	for _, obj := range wanted.objects {
		if err := f.checkLocal(ctx, wanted, obj); err != nil {
			return err
		}
	}
	if err := f.api.ensureNamespace(ctx, wanted.namespace); err != nil {
		return err
	}
	// From here on objects of ours are in the cluster, also if only some of them make it.
	started := wanted
	started.objects = slices.Concat(wanted.objects, left(had.objects, wanted.objects))
	started.copies = slices.Concat(wanted.copies, left(had.copies, wanted.copies))
	f.ledger.put(cluster, bundle, started)
	for _, obj := range slices.Concat(owned(wanted), wanted.copies) {
		if err := f.applyLocal(ctx, obj); err != nil {
			return err
		}
	}
	obsolete := slices.Concat(left(had.objects, wanted.objects), left(had.copies, wanted.copies))
	if err := f.removeLocal(ctx, had, obsolete); err != nil {
		return err
	}
	f.ledger.put(cluster, bundle, wanted)
	return nil
}

func sameRelease(a, b release) bool {
	same := func(x, y unstructured.Unstructured) bool { return equality.Semantic.DeepEqual(x.Object, y.Object) }
	return a.name == b.name && a.namespace == b.namespace &&
		slices.EqualFunc(a.objects, b.objects, same) && slices.EqualFunc(a.copies, b.copies, same)
}

// owned marks the objects of a release as Helm does.
func owned(r release) []unstructured.Unstructured {
	var marked []unstructured.Unstructured
	for _, obj := range r.objects {
		copied := obj.DeepCopy()
		labels, annotations := copied.GetLabels(), copied.GetAnnotations()
		if labels == nil {
			labels = map[string]string{}
		}
		if annotations == nil {
			annotations = map[string]string{}
		}
		labels[managedByLabel] = "Helm"
		annotations[releaseNameAnnotation] = r.name
		annotations[releaseNamespaceAnnotation] = r.namespace
		copied.SetLabels(labels)
		copied.SetAnnotations(annotations)
		marked = append(marked, *copied)
	}
	return marked
}

// checkLocal refuses an object that exists and is not this release's, whoever made it.
func (f *fleetController) checkLocal(ctx context.Context, wanted release, obj unstructured.Unstructured) error {
	live, err := f.liveLocal(ctx, obj)
	if err != nil || live == nil {
		return err
	}
	annotations := live.GetAnnotations()
	found, namespace := annotations[releaseNameAnnotation], annotations[releaseNamespaceAnnotation]
	if found != wanted.name || namespace != wanted.namespace {
		return idOf(obj).refusal(wanted, found, namespace)
	}
	return nil
}

func (f *fleetController) liveLocal(ctx context.Context, obj unstructured.Unstructured) (*unstructured.Unstructured, error) {
	gvr, err := f.mapper.resource(obj)
	if err != nil {
		return nil, err
	}
	return f.api.get(ctx, gvr, keyOf(&obj))
}

// applyLocal is strict where Helm only warns: an unknown field is an error.
func (f *fleetController) applyLocal(ctx context.Context, obj unstructured.Unstructured) error {
	gvr, err := f.mapper.resource(obj)
	if err != nil {
		return err
	}
	body, err := obj.MarshalJSON()
	if err != nil {
		return fmt.Errorf("encoding %s %s: %w", obj.GetKind(), obj.GetName(), err)
	}
	force := true
	_, err = f.api.client.Resource(gvr).Namespace(obj.GetNamespace()).Patch(ctx, obj.GetName(), types.ApplyPatchType, body,
		metav1.PatchOptions{FieldManager: "fleetagent", Force: &force, FieldValidation: metav1.FieldValidationStrict})
	if err != nil {
		return fmt.Errorf("applying %s %s: %w", obj.GetKind(), obj.GetName(), err)
	}
	return nil
}

// removeLocal deletes objects that still belong to the release, last one first.
func (f *fleetController) removeLocal(ctx context.Context, had release, objects []unstructured.Unstructured) error {
	for _, obj := range slices.Backward(objects) {
		live, err := f.liveLocal(ctx, obj)
		if meta.IsNoMatchError(err) {
			continue // its kind is gone, and it with it
		}
		if err != nil {
			return err
		}
		if live == nil || live.GetAnnotations()[keepAnnotation] == "keep" {
			continue
		}
		if owner := live.GetAnnotations()[releaseNameAnnotation]; owner != "" && owner != had.name {
			continue
		}
		gvr, err := f.mapper.resource(obj)
		if err != nil {
			return err
		}
		if err := f.api.remove(ctx, gvr, keyOf(&obj)); err != nil {
			return err
		}
	}
	return nil
}

// mapper says which resource a kind is, and asks the API server again for a kind that it does not know.
type mapper struct {
	meta.RESTMapper
	mutex sync.Mutex
	reset func()
}

func newMapper(cfg *rest.Config) (*mapper, error) {
	client, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("making discovery client: %w", err)
	}
	deferred := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client))
	return &mapper{RESTMapper: deferred, reset: deferred.Reset}, nil
}

// RESTMapping implements meta.RESTMapper.
func (m *mapper) RESTMapping(kind schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	mapping, err := m.RESTMapper.RESTMapping(kind, versions...)
	if meta.IsNoMatchError(err) {
		m.reset()
		mapping, err = m.RESTMapper.RESTMapping(kind, versions...)
	}
	return mapping, err
}

func (m *mapper) resource(obj unstructured.Unstructured) (schema.GroupVersionResource, error) {
	kind := obj.GroupVersionKind()
	mapping, err := m.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return schema.GroupVersionResource{}, errors.Join(fmt.Errorf("finding resource of %s", kind.Kind), err)
	}
	return mapping.Resource, nil
}
