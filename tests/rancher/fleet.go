package rancher

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	fleet "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/rancher/wrangler/v3/pkg/name"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// retryFailed is how soon a Bundle that could not be deployed is tried again.
const retryFailed = time.Second

// localFleetCluster is the one cluster whose API server we have; the others only exist in the ledger.
var localFleetCluster = key{Namespace: localWorkspace, Name: localCluster}

// fleetController pretends to be Fleet's controller and the agents of all clusters at once.
type fleetController struct {
	api       *api
	manifests *manifestReader
	mapper    *mapper
	ledger    *ledger
	opts      Options

	bundles *loop
	links   *links
	written map[[2]key]deployment // what the BundleDeployment of (cluster, Bundle) says; only the loop uses it
}

func newFleetController(a *api, manifests *manifestReader, m *mapper, opts Options) *fleetController {
	return &fleetController{
		api: a, manifests: manifests, mapper: m, ledger: newLedger(), opts: opts, links: newLinks(), written: map[[2]key]deployment{},
	}
}

func (f *fleetController) loop(log func(string)) (*loop, error) {
	f.bundles = newLoop("bundle", f.opts.FleetDelay, log, f.reconcile)
	inWorkspace := func(obj *unstructured.Unstructured) []key {
		var keys []key
		for _, bundle := range f.api.cachedIn(bundlesGVR, obj.GetNamespace()) {
			keys = append(keys, keyOf(bundle))
		}
		return keys
	}
	watches := []struct {
		gvr  schema.GroupVersionResource
		keys func(*unstructured.Unstructured) []key
	}{
		{bundlesGVR, nil},
		{fleetClustersGVR, inWorkspace},
		{clusterGroupsGVR, inWorkspace},
		{secretsGVR, f.copying},
	}
	for _, w := range watches {
		if err := f.bundles.watch(f.api.informer(w.gvr), w.keys); err != nil {
			return nil, err
		}
	}
	return f.bundles, nil
}

// copying lists the Bundles that copy a Secret downstream.
func (f *fleetController) copying(secret *unstructured.Unstructured) []key {
	var keys []key
	for _, obj := range f.api.cachedIn(bundlesGVR, secret.GetNamespace()) {
		named, _, _ := unstructured.NestedSlice(obj.Object, "spec", "downstreamResources")
		for _, entry := range named {
			resource, ok := entry.(map[string]any)
			if ok && resource["kind"] == "Secret" && resource["name"] == secret.GetName() {
				keys = append(keys, keyOf(obj))
			}
		}
	}
	return keys
}

// recall fills the ledger with what an earlier run delivered, and queues it: a Bundle that went meanwhile still has to be
// undone.
func (f *fleetController) recall(ctx context.Context) error {
	list, err := f.api.list(ctx, bundleDeploymentsGVR)
	if err != nil {
		return err
	}
	for _, obj := range list {
		recorded, err := into[fleet.BundleDeployment](&obj)
		if err != nil {
			return err
		}
		cluster, bundle, r := releaseOf(recorded)
		f.ledger.put(cluster, bundle, r)
		f.bundles.queue.Add(bundle)
	}
	return nil
}

func (f *fleetController) reconcile(ctx context.Context, k key) (time.Duration, error) {
	obj, found := f.api.cached(bundlesGVR, k)
	if !found || obj.GetDeletionTimestamp() != nil {
		return 0, f.retreat(ctx, k, nil)
	}
	bundle, err := into[fleet.Bundle](obj)
	if err != nil {
		return 0, err
	}
	clusters, err := typed[fleet.Cluster](f.api.cachedIn(fleetClustersGVR, k.Namespace))
	if err != nil {
		return 0, err
	}
	groups, err := typed[fleet.ClusterGroup](f.api.cachedIn(clusterGroupsGVR, k.Namespace))
	if err != nil {
		return 0, err
	}
	matches, err := matchTargets(bundle, clusters, groups)
	if err != nil {
		return 0, err
	}
	if err := f.retreat(ctx, k, matches); err != nil {
		return 0, err
	}

	again := time.Duration(0)
	states := map[key]deployment{}
	rendered := map[string]rendering{} // clusters with the same options get the same
	for _, m := range matches {
		cluster := key{Namespace: m.cluster.Namespace, Name: m.cluster.Name}
		state := f.deploy(ctx, bundle, m, rendered)
		if state.state == fleet.ErrApplied {
			again = retryFailed
		}
		if err := f.writeDeployment(ctx, obj, cluster, state); err != nil {
			return 0, err
		}
		states[cluster] = state
	}
	return again, f.writeBundleStatus(ctx, obj, bundle, states)
}

// retreat undoes a Bundle on all clusters but those that it still goes to.
func (f *fleetController) retreat(ctx context.Context, bundle key, still []match) error {
	for _, cluster := range f.ledger.clustersOf(bundle) {
		if slices.ContainsFunc(still, func(m match) bool { return m.cluster.Name == cluster.Name }) {
			continue
		}
		if cluster == localFleetCluster {
			had, _ := f.ledger.get(cluster, bundle)
			if err := f.removeLocal(ctx, had, slices.Concat(had.objects, had.copies)); err != nil {
				return err
			}
		}
		if err := f.api.remove(ctx, bundleDeploymentsGVR, deploymentKey(cluster, bundle)); err != nil {
			return err
		}
		f.ledger.drop(cluster, bundle)
		delete(f.written, [2]key{cluster, bundle})
	}
	return nil
}

// rendering is what a Bundle is for the clusters with certain options.
type rendering struct {
	release release
	id      string
	err     error
}

func (f *fleetController) renderOnce(ctx context.Context, bundle *fleet.Bundle, target fleet.BundleTarget, rendered map[string]rendering) rendering {
	options, err := json.Marshal(target.BundleDeploymentOptions)
	if err != nil {
		return rendering{err: fmt.Errorf("encoding options: %w", err)}
	}
	found, known := rendered[string(options)]
	if !known {
		found.release, found.err = f.render(ctx, bundle, target)
		found.id = found.release.id()
		rendered[string(options)] = found
	}
	return found
}

// deploy brings a Bundle to one cluster and says how that went.
func (f *fleetController) deploy(ctx context.Context, bundle *fleet.Bundle, m match, rendered map[string]rendering) deployment {
	cluster := key{Namespace: m.cluster.Namespace, Name: m.cluster.Name}
	k := key{Namespace: bundle.Namespace, Name: bundle.Name}
	had, _ := f.ledger.get(cluster, k)
	f.ledger.put(cluster, k, had) // also where nothing arrives: its BundleDeployment has to go one day
	if bundle.Spec.Paused || m.cluster.Spec.Paused {
		return deployment{state: fleet.OutOfSync, message: "paused", release: had}
	}
	wanted := f.renderOnce(ctx, bundle, m.target, rendered)
	err := wanted.err
	if err == nil && wanted.id != had.id() {
		switch {
		case f.links.heldBack(cluster):
			return deployment{state: fleet.OutOfSync, release: had, staged: wanted.id}
		case f.links.isAway(cluster):
			return deployment{state: fleet.WaitApplied, release: had, staged: wanted.id, assigned: wanted.id}
		}
	}
	if err == nil {
		err = f.ledger.check(cluster, k, wanted.release)
	}
	if err == nil {
		err = f.install(ctx, cluster, k, wanted.release)
	}
	if err != nil {
		had, _ = f.ledger.get(cluster, k) // of a release that failed halfway some objects are there
		return deployment{state: fleet.ErrApplied, message: err.Error(), release: had}
	}
	return deployment{state: fleet.Ready, release: wanted.release}
}

func (f *fleetController) render(ctx context.Context, bundle *fleet.Bundle, target fleet.BundleTarget) (release, error) {
	options := optionsFor(bundle, target)
	objects, err := f.manifests.read(overlaid(bundle.Spec.Resources, options))
	if err != nil {
		return release{}, err
	}
	if err := place(objects, options, f.mapper); err != nil {
		return release{}, err
	}
	r := release{name: releaseName(bundle.Name, options), namespace: releaseNamespace(options), objects: objects}
	if f.opts.OldFleet {
		return r, nil
	}
	for _, resource := range options.DownstreamResources {
		copied, err := f.copyOf(ctx, bundle.Namespace, resource, r.namespace)
		if err != nil {
			return release{}, err
		}
		r.copies = append(r.copies, *copied)
	}
	return r, nil
}

// copyOf takes a Secret or ConfigMap of the Bundle's namespace to where the Bundle goes.
func (f *fleetController) copyOf(ctx context.Context, from string, resource fleet.DownstreamResource, to string) (*unstructured.Unstructured, error) {
	gvr := secretsGVR
	switch resource.Kind {
	case "Secret":
	case "ConfigMap":
		gvr = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	default:
		return nil, fmt.Errorf("unsupported kind for copying to downstream clusters: %s", resource.Kind)
	}
	source, err := f.api.get(ctx, gvr, key{Namespace: from, Name: resource.Name})
	if err != nil {
		return nil, err
	}
	if source == nil {
		return nil, fmt.Errorf("%s %s/%s to copy downstream not found", resource.Kind, from, resource.Name)
	}
	fields := map[string]any{}
	for _, field := range []string{"type", "data", "binaryData", "immutable"} {
		if value, found := source.Object[field]; found {
			fields[field] = value
		}
	}
	copied := manifest("v1", resource.Kind, key{Namespace: to, Name: resource.Name}, fields)
	copied.SetLabels(maps.Clone(source.GetLabels()))
	return copied, nil
}

// optionsFor are the Bundle's options, overruled by those of the target in what this package knows.
func optionsFor(bundle *fleet.Bundle, target fleet.BundleTarget) fleet.BundleDeploymentOptions {
	options := bundle.Spec.BundleDeploymentOptions
	if target.DefaultNamespace != "" {
		options.DefaultNamespace = target.DefaultNamespace
	}
	if target.TargetNamespace != "" {
		options.TargetNamespace = target.TargetNamespace
	}
	if target.YAML != nil {
		options.YAML = target.YAML
	}
	return options
}

// overlaid puts the files of the overlays that were asked for in the place of those of the same name, and drops the others.
func overlaid(resources []fleet.BundleResource, options fleet.BundleDeploymentOptions) []fleet.BundleResource {
	instead := map[string]fleet.BundleResource{}
	if options.YAML != nil {
		for _, overlay := range options.YAML.Overlays {
			for _, resource := range resources {
				if name, found := strings.CutPrefix(resource.Name, "overlays/"+overlay+"/"); found {
					instead[name] = resource
				}
			}
		}
	}
	var files []fleet.BundleResource
	for _, resource := range resources {
		if strings.HasPrefix(resource.Name, "overlays/") {
			continue
		}
		if other, found := instead[resource.Name]; found {
			other.Name = resource.Name
			resource = other
		}
		files = append(files, resource)
	}
	return files
}

func releaseName(bundle string, options fleet.BundleDeploymentOptions) string {
	if options.Helm != nil && options.Helm.ReleaseName != "" {
		return options.Helm.ReleaseName
	}
	return name.Limit(strings.ReplaceAll(bundle, ".", "-"), fleet.MaxHelmReleaseNameLen)
}

func typed[T any](objects []*unstructured.Unstructured) ([]T, error) {
	var all []T
	for _, obj := range objects {
		one, err := into[T](obj)
		if err != nil {
			return nil, err
		}
		all = append(all, *one)
	}
	return all, nil
}
