package osimage

import (
	"fmt"

	"github.com/distribution/reference"
	fleetv1 "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	upgradev1 "github.com/rancher/system-upgrade-controller/pkg/apis/upgrade.cattle.io/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/cloudconfig"
	"github.com/rancher/rancheros-operator/pkg/index"
)

const (
	// localNamespace is the workspace of the cluster that Rancher runs in, and localCluster that cluster's name there.
	localNamespace = "fleet-local"
	localCluster   = "local"
	// planNamespace is where system-upgrade-controller looks for Plans under Rancher; it acts in no other.
	planNamespace = "cattle-system"
	// cloudConfigKey becomes the file name below cloudConfigPath in the upgrade container.
	cloudConfigKey  = "cloud-config"
	cloudConfigPath = "/run/data"
	// planFile is the Plan's name in the Bundle.
	planFile = "plan.yaml"
)

// input is all that a rollout is rendered from; its objects lie in the cache and are only read.
type input struct {
	image *v1.ManagedOSImage
	// version is the ManagedOSVersion that the image names; nil when it names none, or an osImage beside it.
	version *v1.ManagedOSVersion
	// versions are all of the namespace, which may be needed on the way to that one.
	versions []*v1.ManagedOSVersion
	// registry is prefixed to an OS image that names no registry; empty without one.
	registry string
	// existing is the Bundle as it is now; nil while there is none.
	existing *fleetv1.Bundle
}

// output is what the input asks for.
type output struct {
	// image is the complete reference of the OS image.
	image string
	// secret carries the cloud-config; nil without one.
	secret *corev1.Secret
	bundle *fleetv1.Bundle
}

// refusal says why an image cannot be rolled out as it is written, under a reason of a condition.
type refusal struct{ reason, message string }

func (r *refusal) Error() string { return r.message }

func refuse(reason, format string, args ...any) error {
	return &refusal{reason: reason, message: fmt.Sprintf(format, args...)}
}

// draft is all of a rollout that does not depend on the state of clusters and nodes.
type draft struct {
	input
	reference reference.Named
	targets   []fleetv1.BundleTarget
	// secret carries the cloud-config; nil without one.
	secret *corev1.Secret
	// plan is the one for the clusters that need none of their own, and hash what it marks nodes with.
	plan *upgradev1.Plan
	hash string
}

// layout is how the rollout lies on the clusters.
type layout struct {
	// stopped tells that no node starts anywhere.
	stopped bool
	// clusters are those that get something else than the others, in the order of their names.
	clusters []clusterLayout
}

// clusterLayout is a cluster that another image has first, and gets nothing, or one with a plan of its own.
type clusterLayout struct {
	name    string
	skipped bool
	plan    clusterPlan
}

// render is pure, and its output the same on every run. On a refusal, output.image is still set when it is known.
func render(in input) (output, error) {
	d, err := newDraft(in)
	out := output{image: d.image(), secret: d.secret}
	if err != nil {
		return out, err
	}
	out.bundle, err = d.bundle(layout{})
	return out, err
}

// image is the complete reference of the OS image; empty while it is not known.
func (d draft) image() string {
	if d.reference == nil {
		return ""
	}
	return d.reference.String()
}

// newDraft is pure. On a refusal, what was found before it is there.
func newDraft(in input) (draft, error) {
	d := draft{input: in}
	var err error
	if d.reference, err = resolveImage(in); err != nil {
		return d, err
	}
	if d.targets, err = bundleTargets(in.image); err != nil {
		return d, err
	}
	if d.secret, err = cloudConfigSecret(in.image); err != nil {
		return d, err
	}
	if d.plan, err = newPlan(in, d.reference, d.secret != nil); err != nil {
		return d, err
	}
	d.hash, err = planHash(d.plan, d.secret)
	return d, err
}

// bundle puts the draft onto the clusters. Clusters with a plan of their own get it as an overlay of Fleet's, a file that
// takes the place of plan.yaml there.
func (d draft) bundle(l layout) (*fleetv1.Bundle, error) {
	plan := d.plan.DeepCopy()
	if l.stopped {
		plan.Spec.Concurrency = 0
	}
	resources, err := bundleResources(d.input.image, plan)
	if err != nil {
		return nil, err
	}
	own, overlays, err := d.overlays(l)
	if err != nil {
		return nil, err
	}
	meta := ownedMeta(d.input.image, index.BundleName(d.input.image))
	meta.Labels[v1.LabelRollout] = d.input.image.Name
	bundle := &fleetv1.Bundle{
		ObjectMeta: meta,
		Spec: fleetv1.BundleSpec{
			BundleDeploymentOptions: fleetv1.BundleDeploymentOptions{DefaultNamespace: planNamespace},
			RolloutStrategy:         d.input.image.Spec.ClusterRolloutStrategy.DeepCopy(),
			Resources:               append(resources, overlays...),
			// Fleet takes the first target that fits.
			Targets: append(own, d.targets...),
		},
	}
	if d.secret != nil {
		bundle.Spec.DownstreamResources = []fleetv1.DownstreamResource{{Kind: "Secret", Name: d.secret.Name}}
	}
	return bundle, nil
}

// bundleTargets are Rancher's own cluster in fleet-local, and what the image selects elsewhere.
func bundleTargets(image *v1.ManagedOSImage) ([]fleetv1.BundleTarget, error) {
	selected := targetsOf(image)
	if image.Namespace == localNamespace {
		if len(selected) > 0 {
			return nil, refuse(v1.ReasonTargetsInFleetLocal,
				"images in %s are for Rancher's own cluster and take no targets; remove clusterTargets, or move this to the clusters' namespace", localNamespace)
		}
		return []fleetv1.BundleTarget{{Name: localCluster, ClusterName: localCluster}}, nil
	}
	if len(selected) == 0 {
		return nil, refuse(v1.ReasonNoTargets,
			"no cluster is targeted; give clusterTargets, where clusterSelector: {} selects every cluster of the namespace")
	}
	targets := make([]fleetv1.BundleTarget, 0, len(selected))
	for i, target := range selected {
		if err := checkSelectors(fmt.Sprintf("clusterTargets[%d]", i), target.ClusterSelector, target.ClusterGroupSelector); err != nil {
			return nil, err
		}
		targets = append(targets, fleetv1.BundleTarget{
			Name:                 target.Name,
			ClusterName:          target.ClusterName,
			ClusterSelector:      target.ClusterSelector.DeepCopy(),
			ClusterGroup:         target.ClusterGroup,
			ClusterGroupSelector: target.ClusterGroupSelector.DeepCopy(),
		})
	}
	return targets, nil
}

func checkSelectors(field string, selectors ...*metav1.LabelSelector) error {
	for _, selector := range selectors {
		if _, err := metav1.LabelSelectorAsSelector(selector); err != nil {
			return refuse(v1.ReasonInvalidSpec, "%s is not a label selector: %v; correct it", field, err)
		}
	}
	return nil
}

// cloudConfigSecret is nil without a cloud-config.
func cloudConfigSecret(image *v1.ManagedOSImage) (*corev1.Secret, error) {
	if image.Spec.CloudConfig == nil {
		return nil, nil
	}
	document, err := cloudconfig.Upgrade(image.Spec.CloudConfig.Raw)
	if err != nil {
		return nil, refuse(v1.ReasonInvalidSpec, "%v; correct spec.cloudConfig", err)
	}
	if document == nil {
		return nil, nil
	}
	return &corev1.Secret{
		ObjectMeta: ownedMeta(image, index.ObjectName(image)),
		Type:       v1.SecretTypeCloudConfig,
		Data:       map[string][]byte{cloudConfigKey: document},
	}, nil
}

// ownedMeta makes an object go when its image goes, and be found by its image's name.
func ownedMeta(image *v1.ManagedOSImage, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace:       image.Namespace,
		Name:            name,
		Labels:          map[string]string{v1.LabelImage: image.Name},
		OwnerReferences: []metav1.OwnerReference{v1.OwnedBy(image, "ManagedOSImage")},
	}
}

// bundleResources are the documents that arrive downstream, in the order in which they are read best.
func bundleResources(image *v1.ManagedOSImage, plan any) ([]fleetv1.BundleResource, error) {
	name := index.ObjectName(image)
	documents := []struct {
		name   string
		object any
	}{
		{"service-account.yaml", newServiceAccount(name)},
		{"cluster-role.yaml", newClusterRole(name)},
		{"cluster-role-binding.yaml", newClusterRoleBinding(name)},
		{planFile, plan},
	}
	resources := make([]fleetv1.BundleResource, 0, len(documents))
	for _, document := range documents {
		resource, err := bundleResource(image, document.name, document.object)
		if err != nil {
			return nil, err
		}
		resources = append(resources, resource)
	}
	return resources, nil
}

func bundleResource(image *v1.ManagedOSImage, name string, object any) (fleetv1.BundleResource, error) {
	fields, err := toMap(object)
	if err != nil {
		return fleetv1.BundleResource{}, err
	}
	// Empty fields of the Go types that are no part of what we ask for.
	delete(fields, "status")
	if metadata, ok := fields["metadata"].(map[string]any); ok {
		delete(metadata, "creationTimestamp")
		metadata["labels"] = map[string]any{v1.LabelImage: image.Name}
	}
	content, err := yaml.Marshal(fields)
	if err != nil {
		return fleetv1.BundleResource{}, fmt.Errorf("encoding %s: %w", name, err)
	}
	return fleetv1.BundleResource{Name: name, Content: string(content)}, nil
}
