package rancher

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	fleet "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/rancher/wrangler/v3/pkg/genericcondition"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// Labels by which a BundleDeployment tells where it comes from and where it goes.
const (
	bundleNameLabel         = "fleet.cattle.io/bundle-name"
	bundleNamespaceLabel    = "fleet.cattle.io/bundle-namespace"
	deploymentClusterLabel  = "fleet.cattle.io/cluster"
	deploymentWorkspaceName = "fleet.cattle.io/cluster-namespace"
)

// mostNonReady is how many clusters Fleet names in a Bundle's status.
const mostNonReady = 10

// deployment is how a Bundle stands on one cluster.
type deployment struct {
	state   fleet.BundleState
	message string
	release release // what is there now
	// staged is what waits to be let through, and assigned what the cluster is to have; what is there, where empty.
	staged, assigned string
}

func (d deployment) equal(other deployment) bool {
	return d.state == other.state && d.message == other.message && d.staged == other.staged && d.assigned == other.assigned && sameRelease(d.release, other.release)
}

func deploymentKey(cluster, bundle key) key {
	return key{Namespace: deploymentNamespace(cluster), Name: bundle.Name}
}

// writeDeployment records in the cluster's BundleDeployment what became of the Bundle there.
func (f *fleetController) writeDeployment(ctx context.Context, bundle *unstructured.Unstructured, cluster key, d deployment) error {
	slot := [2]key{cluster, keyOf(bundle)}
	if before, found := f.written[slot]; found && before.equal(d) {
		return nil
	}
	k := deploymentKey(cluster, keyOf(bundle))
	id, copied := d.release.id(), []any{}
	for _, obj := range d.release.copies {
		copied = append(copied, map[string]any{"kind": obj.GetKind(), "name": obj.GetName()})
	}
	obj := manifest("fleet.cattle.io/v1alpha1", "BundleDeployment", k, map[string]any{"spec": map[string]any{
		"deploymentID": cmp.Or(d.assigned, id), "stagedDeploymentID": cmp.Or(d.staged, id),
		"options": map[string]any{"defaultNamespace": d.release.namespace, "downstreamResources": copied},
	}})
	labels := handedOn(bundle.GetLabels())
	maps.Copy(labels, map[string]string{
		bundleNamespaceLabel: bundle.GetNamespace(), bundleNameLabel: bundle.GetName(),
		deploymentWorkspaceName: cluster.Namespace, deploymentClusterLabel: cluster.Name,
	})
	obj.SetLabels(labels)
	if err := f.api.apply(ctx, bundleDeploymentsGVR, obj); err != nil {
		return err
	}
	status, err := runtime.DefaultUnstructuredConverter.ToUnstructured(deploymentStatus(d, id))
	if err != nil {
		return fmt.Errorf("encoding status of BundleDeployment %s: %w", k, err)
	}
	if err := f.api.applyStatus(ctx, bundleDeploymentsGVR, obj, status, "status"); err != nil {
		return err
	}
	f.written[slot] = d
	return nil
}

// handedOn are the labels of a Bundle that its BundleDeployments get, too: none whose name has cattle.io in it.
func handedOn(labels map[string]string) map[string]string {
	kept := map[string]string{}
	for name, value := range labels {
		if !strings.Contains(name, "cattle.io/") {
			kept[name] = value
		}
	}
	return kept
}

func deploymentStatus(d deployment, id string) *fleet.BundleDeploymentStatus {
	ready := d.state == fleet.Ready
	status := &fleet.BundleDeploymentStatus{
		Ready:       ready,
		NonModified: ready,
		Display:     fleet.BundleDeploymentDisplay{State: string(d.state), Deployed: string(boolStatus(ready)), Monitored: string(boolStatus(ready))},
	}
	// What waits leaves what is there as it is.
	if ready || d.staged != "" {
		status.AppliedDeploymentID = id
	}
	if d.release.name != "" {
		status.Release = d.release.namespace + "/" + d.release.name + ":1"
	}
	for _, name := range []string{fleet.BundleDeploymentConditionInstalled, fleet.BundleDeploymentConditionDeployed,
		fleet.BundleDeploymentConditionMonitored, fleet.BundleDeploymentConditionReady} {
		condition := genericcondition.GenericCondition{Type: name, Status: boolStatus(ready)}
		if !ready && d.message != "" {
			condition.Reason, condition.Message = "Error", d.message
		}
		status.Conditions = append(status.Conditions, condition)
	}
	for _, obj := range d.release.objects {
		status.Resources = append(status.Resources, fleet.BundleDeploymentResource{
			APIVersion: obj.GetAPIVersion(), Kind: obj.GetKind(), Namespace: obj.GetNamespace(), Name: obj.GetName(),
		})
	}
	return status
}

// releaseOf reads back what writeDeployment wrote: which objects the cluster has, though not their content.
func releaseOf(recorded *fleet.BundleDeployment) (cluster, bundle key, r release) {
	labels := recorded.Labels
	cluster = key{Namespace: labels[deploymentWorkspaceName], Name: labels[deploymentClusterLabel]}
	bundle = key{Namespace: labels[bundleNamespaceLabel], Name: labels[bundleNameLabel]}
	named, _, _ := strings.Cut(recorded.Status.Release, ":")
	r.namespace, r.name, _ = strings.Cut(named, "/")
	for _, resource := range recorded.Status.Resources {
		k := key{Namespace: resource.Namespace, Name: resource.Name}
		r.objects = append(r.objects, *manifest(resource.APIVersion, resource.Kind, k, nil))
	}
	for _, resource := range recorded.Spec.Options.DownstreamResources {
		k := key{Namespace: r.namespace, Name: resource.Name}
		r.copies = append(r.copies, *manifest("v1", resource.Kind, k, nil))
	}
	return cluster, bundle, r
}

// id changes when the content does.
func (r release) id() string {
	sum := sha256.New()
	for _, obj := range slices.Concat(r.objects, r.copies) {
		encoded, _ := json.Marshal(obj.Object)
		sum.Write(encoded)
	}
	return "s-" + hex.EncodeToString(sum.Sum(nil))[:32]
}

// writeBundleStatus sums up for the Bundle's author, and writes only what changed.
func (f *fleetController) writeBundleStatus(
	ctx context.Context, obj *unstructured.Unstructured, bundle *fleet.Bundle, states map[key]deployment,
) error {
	wanted := bundleStatus(bundle, states)
	had := bundle.Status
	keepTimes(wanted.Conditions, had.Conditions, time.Now())
	encoded, err := runtime.DefaultUnstructuredConverter.ToUnstructured(wanted)
	if err != nil {
		return fmt.Errorf("encoding status of Bundle %s: %w", bundle.Name, err)
	}
	before, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&had)
	if err != nil {
		return fmt.Errorf("encoding status of Bundle %s: %w", bundle.Name, err)
	}
	if equality.Semantic.DeepEqual(before, encoded) {
		return nil
	}
	return f.api.applyStatus(ctx, bundlesGVR, obj, encoded, "status")
}

func bundleStatus(bundle *fleet.Bundle, states map[key]deployment) *fleet.BundleStatus {
	status := &fleet.BundleStatus{ObservedGeneration: bundle.Generation, ResourcesSHA256Sum: resourcesSum(bundle)}
	status.Summary.DesiredReady = len(states)
	counts := map[fleet.BundleState]int{}
	for _, cluster := range slices.SortedFunc(maps.Keys(states), compareKeys) {
		d := states[cluster]
		counts[d.state]++
		if d.state != fleet.Ready && len(status.Summary.NonReadyResources) < mostNonReady {
			status.Summary.NonReadyResources = append(status.Summary.NonReadyResources,
				fleet.NonReadyResource{Name: cluster.String(), State: d.state, Message: d.message})
		}
	}
	status.Summary.Ready = counts[fleet.Ready]
	status.Summary.ErrApplied = counts[fleet.ErrApplied]
	status.Summary.OutOfSync = counts[fleet.OutOfSync]
	status.Summary.WaitApplied = counts[fleet.WaitApplied]
	status.Unavailable = status.Summary.DesiredReady - status.Summary.Ready
	status.Display.ReadyClusters = fmt.Sprintf("%d/%d", status.Summary.Ready, status.Summary.DesiredReady)

	ready := genericcondition.GenericCondition{Type: fleet.BundleConditionReady, Status: boolStatus(status.Unavailable == 0)}
	for _, state := range []fleet.BundleState{fleet.OutOfSync, fleet.ErrApplied} { // the worst last
		if counts[state] > 0 {
			status.Display.State = string(state)
		}
	}
	ready.Message = readyMessage(counts, status.Summary.NonReadyResources)
	status.Conditions = []genericcondition.GenericCondition{ready}
	return status
}

// readyMessage reads as Fleet's: "ErrApplied(1) [Cluster fleet-default/a: why]".
func readyMessage(counts map[fleet.BundleState]int, nonReady []fleet.NonReadyResource) string {
	var parts []string
	for _, state := range []fleet.BundleState{fleet.ErrApplied, fleet.OutOfSync} {
		if counts[state] == 0 {
			continue
		}
		var whys []string
		for _, resource := range nonReady {
			if resource.State == state {
				whys = append(whys, fmt.Sprintf("Cluster %s: %s", resource.Name, resource.Message))
			}
		}
		parts = append(parts, fmt.Sprintf("%s(%d) [%s]", state, counts[state], strings.Join(whys, "; ")))
	}
	return strings.Join(parts, "; ")
}

func resourcesSum(bundle *fleet.Bundle) string {
	encoded, _ := json.Marshal(bundle.Spec.Resources)
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:])
}

// keepTimes gives a condition the time of its last change.
func keepTimes(wanted, had []genericcondition.GenericCondition, now time.Time) {
	for i := range wanted {
		wanted[i].LastUpdateTime = now.UTC().Format(time.RFC3339)
		for _, before := range had {
			same := before.Type == wanted[i].Type && before.Status == wanted[i].Status && before.Message == wanted[i].Message
			if same && before.LastUpdateTime != "" {
				wanted[i].LastUpdateTime = before.LastUpdateTime
			}
		}
	}
}

func boolStatus(b bool) corev1.ConditionStatus {
	if b {
		return corev1.ConditionTrue
	}
	return corev1.ConditionFalse
}
