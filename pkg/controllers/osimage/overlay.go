package osimage

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	fleetv1 "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	upgradev1 "github.com/rancher/system-upgrade-controller/pkg/apis/upgrade.cattle.io/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/osversion"
)

// maxOverlays bounds a Bundle, which has to fit into etcd with all of its plans. Clusters that would need one more wait.
const maxOverlays = 100

// overlays makes a target for each cluster that gets something else than the others, and the files that these name.
func (d draft) overlays(l layout) ([]fleetv1.BundleTarget, []fleetv1.BundleResource, error) {
	var targets []fleetv1.BundleTarget
	var files []fleetv1.BundleResource
	for _, cluster := range l.clusters {
		target := fleetv1.BundleTarget{Name: "only-" + cluster.name, ClusterName: cluster.name, DoNotDeploy: cluster.skipped}
		if !cluster.skipped {
			plan := cluster.plan
			plan.stopped = plan.stopped || l.stopped
			overlay, file, err := d.overlay(plan)
			if err == nil && !slices.Contains(files, file) && len(files) >= maxOverlays {
				overlay, file, err = d.overlay(clusterPlan{stopped: true})
			}
			if err != nil {
				return nil, nil, err
			}
			if !slices.Contains(files, file) {
				files = append(files, file)
			}
			target.YAML = &fleetv1.YAMLOptions{Overlays: []string{overlay}}
		}
		targets = append(targets, target)
	}
	return targets, files, nil
}

// overlay is the plan as a file in a folder that is named after what is in it: clusters with the same plan share it.
func (d draft) overlay(p clusterPlan) (string, fleetv1.BundleResource, error) {
	plan, err := d.planOf(p)
	if err != nil {
		return "", fleetv1.BundleResource{}, err
	}
	file, err := bundleResource(d.input.image, "", plan)
	if err != nil {
		return "", file, err
	}
	sum := sha256.Sum256([]byte(file.Content))
	name := "plan-" + hex.EncodeToString(sum[:])[:10]
	file.Name = "overlays/" + name + "/" + planFile
	return name, file, nil
}

func (d draft) planOf(p clusterPlan) (*upgradev1.Plan, error) {
	plan, err := d.stepPlan(p.step)
	if err != nil {
		return nil, err
	}
	plan = plan.DeepCopy()
	if p.stopped {
		plan.Spec.Concurrency = 0
	}
	if len(p.leftOut) > 0 {
		plan.Spec.NodeSelector.MatchExpressions = append(plan.Spec.NodeSelector.MatchExpressions,
			metav1.LabelSelectorRequirement{Key: corev1.LabelHostname, Operator: metav1.LabelSelectorOpNotIn, Values: p.leftOut})
	}
	return plan, nil
}

// stepPlan is the plan for a release on the way: all as asked for, but with that version's image.
func (d draft) stepPlan(step string) (*upgradev1.Plan, error) {
	at := slices.IndexFunc(d.versions, func(version *v1.ManagedOSVersion) bool { return version.Name == step })
	if step == "" || at < 0 {
		return d.plan, nil
	}
	in := d.input
	in.version = d.versions[at]
	reference, err := resolveImage(in)
	if err != nil {
		return nil, err
	}
	return newPlan(in, reference, d.secret != nil)
}

// steps are what the plans of the releases on the way mark nodes with. One that no plan can be made of is no way.
func (d draft) steps(g *goal) (map[string]string, error) {
	hashes := map[string]string{}
	var usable []osversion.Release
	for _, release := range g.known {
		plan, err := d.stepPlan(release.Name)
		if err != nil {
			continue
		}
		if hashes[release.Name], err = planHash(plan, d.secret); err != nil {
			return nil, err
		}
		usable = append(usable, release)
	}
	g.known = usable
	return hashes, nil
}
