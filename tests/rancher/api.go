package rancher

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// Who the API server says wrote what Rancher writes. A status has its own manager: an apply takes back the fields that the
// same manager applied before and leaves out now.
const (
	fieldManager  = "rancher"
	statusManager = "rancher-status"
)

// The resources that are watched or written.
var (
	namespacesGVR      = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	secretsGVR         = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	serviceAccountsGVR = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}

	settingsGVR           = managementResource("settings")
	managementClustersGVR = managementResource("clusters")
	registrationTokensGVR = managementResource("clusterregistrationtokens")
	nodesGVR              = managementResource("nodes")
	apiServicesGVR        = managementResource("apiservices")

	provisioningClustersGVR = schema.GroupVersionResource{Group: "provisioning.cattle.io", Version: "v1", Resource: "clusters"}

	bundlesGVR           = fleetResource("bundles")
	bundleDeploymentsGVR = fleetResource("bundledeployments")
	fleetClustersGVR     = fleetResource("clusters")
	clusterGroupsGVR     = fleetResource("clustergroups")
)

func managementResource(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "management.cattle.io", Version: "v3", Resource: resource}
}

func fleetResource(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "fleet.cattle.io", Version: "v1alpha1", Resource: resource}
}

// key names one object of a kind that is clear from the context; the namespace of a cluster-scoped one is empty.
type key = types.NamespacedName

func keyOf(obj *unstructured.Unstructured) key {
	return key{Namespace: obj.GetNamespace(), Name: obj.GetName()}
}

// api is how this package talks to the API server: it reads from informer caches and writes by server-side apply, which
// costs nothing when nothing changed and never touches a field of somebody else.
type api struct {
	client    dynamic.Interface
	informers dynamicinformer.DynamicSharedInformerFactory
}

func newAPI(cfg *rest.Config) (*api, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1 // five hundred clusters at once are a test of the operator, not of this client's patience
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("making API client: %w", err)
	}
	return &api{client: client, informers: dynamicinformer.NewDynamicSharedInformerFactory(client, 0)}, nil
}

func (a *api) informer(gvr schema.GroupVersionResource) cache.SharedIndexInformer {
	return a.informers.ForResource(gvr).Informer()
}

// cached returns the object as the informer last saw it. It belongs to the cache: never modify it.
func (a *api) cached(gvr schema.GroupVersionResource, k key) (*unstructured.Unstructured, bool) {
	id := k.Name
	if k.Namespace != "" {
		id = k.String()
	}
	obj, found, err := a.informer(gvr).GetStore().GetByKey(id)
	if err != nil || !found {
		return nil, false
	}
	return obj.(*unstructured.Unstructured), true
}

// cachedIn returns all objects of a namespace ("": all there are), as the informer last saw them.
func (a *api) cachedIn(gvr schema.GroupVersionResource, namespace string) []*unstructured.Unstructured {
	var found []*unstructured.Unstructured
	for _, obj := range a.informer(gvr).GetStore().List() {
		if u := obj.(*unstructured.Unstructured); namespace == "" || u.GetNamespace() == namespace {
			found = append(found, u)
		}
	}
	return found
}

// get reads from the API server itself, for decisions that must not rest on a cache that lags. An object that does not
// exist is nil without an error.
func (a *api) get(ctx context.Context, gvr schema.GroupVersionResource, k key) (*unstructured.Unstructured, error) {
	obj, err := a.client.Resource(gvr).Namespace(k.Namespace).Get(ctx, k.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s %s: %w", gvr.Resource, k, err)
	}
	return obj, nil
}

// list reads all objects of a kind from the API server itself.
func (a *api) list(ctx context.Context, gvr schema.GroupVersionResource) ([]unstructured.Unstructured, error) {
	list, err := a.client.Resource(gvr).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", gvr.Resource, err)
	}
	return list.Items, nil
}

// apply makes the object's fields so, and the object if it is not there. It is for what belongs to Rancher alone.
func (a *api) apply(ctx context.Context, gvr schema.GroupVersionResource, obj *unstructured.Unstructured) error {
	return a.applyAs(ctx, fieldManager, gvr, obj)
}

// applyStatus makes the status of an existing object so. With the uid of that object in it, the apply cannot undo a
// deletion that overtakes it, which is then not an error either. Subresource is "status" for the kinds that have one.
func (a *api) applyStatus(
	ctx context.Context, gvr schema.GroupVersionResource, of *unstructured.Unstructured, status map[string]any, subresource ...string,
) error {
	obj := manifest(of.GetAPIVersion(), of.GetKind(), keyOf(of), map[string]any{"status": status})
	obj.SetUID(of.GetUID())
	err := a.applyAs(ctx, statusManager, gvr, obj, subresource...)
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func (a *api) applyAs(
	ctx context.Context, manager string, gvr schema.GroupVersionResource, obj *unstructured.Unstructured, subresource ...string,
) error {
	_, err := a.client.Resource(gvr).Namespace(obj.GetNamespace()).Apply(ctx, obj.GetName(), obj,
		metav1.ApplyOptions{FieldManager: manager, Force: true}, subresource...)
	if err != nil {
		return fmt.Errorf("applying %s %s: %w", gvr.Resource, keyOf(obj), err)
	}
	return nil
}

// remove deletes an object; that it is gone already is fine.
func (a *api) remove(ctx context.Context, gvr schema.GroupVersionResource, k key) error {
	err := a.client.Resource(gvr).Namespace(k.Namespace).Delete(ctx, k.Name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting %s %s: %w", gvr.Resource, k, err)
	}
	return nil
}

// errBeingDeleted is about a namespace that is on its way out. That takes a while and is nobody's fault.
var errBeingDeleted = errors.New("namespace is being deleted")

// passes says whether an error is of the kind that goes away by itself: a namespace on its way out, which takes no new
// objects, or somebody who was faster than us.
func passes(err error) bool {
	return errors.Is(err, errBeingDeleted) || apierrors.IsConflict(err) ||
		apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}

func (a *api) ensureNamespace(ctx context.Context, name string) error {
	if err := a.apply(ctx, namespacesGVR, manifest("v1", "Namespace", key{Name: name}, nil)); err != nil {
		return err
	}
	namespace, err := a.get(ctx, namespacesGVR, key{Name: name})
	if err != nil {
		return err
	}
	if namespace == nil || namespace.GetDeletionTimestamp() != nil {
		return fmt.Errorf("%s: %w", name, errBeingDeleted)
	}
	return nil
}

// manifest builds an object to apply; fields holds spec, status, data and the like.
func manifest(apiVersion, kind string, k key, fields map[string]any) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{}}
	for name, value := range fields {
		obj.Object[name] = value
	}
	obj.SetAPIVersion(apiVersion)
	obj.SetKind(kind)
	obj.SetName(k.Name)
	obj.SetNamespace(k.Namespace)
	return obj
}

// into converts an object to its Go type.
func into[T any](obj *unstructured.Unstructured) (*T, error) {
	typed := new(T)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, typed); err != nil {
		return nil, fmt.Errorf("reading %s %s: %w", obj.GetKind(), keyOf(obj), err)
	}
	return typed, nil
}

// text reads a string field, "" when it is missing or something else.
func text(obj *unstructured.Unstructured, fields ...string) string {
	value, _, _ := unstructured.NestedString(obj.Object, fields...)
	return value
}
