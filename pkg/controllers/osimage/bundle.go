package osimage

import (
	"fmt"

	fleetv1 "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
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
)

// input is all that a rollout is rendered from; its objects lie in the cache and are only read.
type input struct {
	image *v1.ManagedOSImage
	// version is the ManagedOSVersion that the image names; nil when it names none, or an osImage beside it.
	version *v1.ManagedOSVersion
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

// render is pure, and its output the same on every run. On a refusal, output.image is still set when it is known.
func render(in input) (output, error) {
	var out output
	reference, err := resolveImage(in)
	if err != nil {
		return out, err
	}
	out.image = reference.String()
	targets, err := bundleTargets(in.image)
	if err != nil {
		return out, err
	}
	if out.secret, err = cloudConfigSecret(in.image); err != nil {
		return out, err
	}
	plan, err := newPlan(in, reference, out.secret != nil)
	if err != nil {
		return out, err
	}
	resources, err := bundleResources(in.image, plan)
	if err != nil {
		return out, err
	}
	out.bundle = &fleetv1.Bundle{
		ObjectMeta: ownedMeta(in.image, index.BundleName(in.image)),
		Spec: fleetv1.BundleSpec{
			BundleDeploymentOptions: fleetv1.BundleDeploymentOptions{DefaultNamespace: planNamespace},
			RolloutStrategy:         in.image.Spec.ClusterRolloutStrategy.DeepCopy(),
			Resources:               resources,
			Targets:                 targets,
		},
	}
	if out.secret != nil {
		out.bundle.Spec.DownstreamResources = []fleetv1.DownstreamResource{{Kind: "Secret", Name: out.secret.Name}}
	}
	return out, nil
}

// bundleTargets are Rancher's own cluster in fleet-local, and what the image selects elsewhere.
func bundleTargets(image *v1.ManagedOSImage) ([]fleetv1.BundleTarget, error) {
	selected := image.Spec.ClusterTargets
	if len(selected) == 0 {
		selected = image.Spec.Targets
	}
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
		{"plan.yaml", plan},
	}
	resources := make([]fleetv1.BundleResource, 0, len(documents))
	for _, document := range documents {
		fields, err := toMap(document.object)
		if err != nil {
			return nil, err
		}
		// Empty fields of the Go types that are no part of what we ask for.
		delete(fields, "status")
		if metadata, ok := fields["metadata"].(map[string]any); ok {
			delete(metadata, "creationTimestamp")
			metadata["labels"] = map[string]any{v1.LabelImage: image.Name}
		}
		content, err := yaml.Marshal(fields)
		if err != nil {
			return nil, fmt.Errorf("encoding %s: %w", document.name, err)
		}
		resources = append(resources, fleetv1.BundleResource{Name: document.name, Content: string(content)})
	}
	return resources, nil
}
