package osimage

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	fleetv1 "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
)

// survey looks at every cluster that the image selects, and at its nodes. What is wrong with the image's selectors is for
// rendering to say.
func (h *handler) survey(image *v1.ManagedOSImage, bundle *fleetv1.Bundle) ([]clusterFacts, error) {
	if err := h.loadClaims(); err != nil {
		return nil, err
	}
	selected, err := h.claim(image)
	if err != nil {
		return nil, err
	}
	nodeSelector, err := selectorOf(image)
	if err != nil {
		return nil, nil //nolint:nilerr // Said when the plan is rendered.
	}
	delivered, err := h.deliveries(bundle)
	if err != nil {
		return nil, err
	}
	facts := make([]clusterFacts, 0, len(selected))
	for _, cluster := range selected {
		_, held := cluster.Labels[v1.LabelHold]
		fact := clusterFacts{name: cluster.Name, held: held, delivery: delivered[cluster.Name]}
		if fact.managed, err = h.managedName(cluster); err != nil {
			return nil, err
		}
		h.claims.manage(fact.managed, keyOf(cluster))
		if fact.winner, err = h.winner(image, cluster, fact.managed); err != nil {
			return nil, err
		}
		if fact.offline, fact.offlineSince, err = h.connection(fact.managed); err != nil {
			return nil, err
		}
		if fact.nodes, err = h.nodesOf(fact.managed, nodeSelector); err != nil {
			return nil, err
		}
		facts = append(facts, fact)
	}
	return facts, nil
}

func selectorOf(image *v1.ManagedOSImage) (labels.Selector, error) {
	if image.Spec.NodeSelector == nil {
		return labels.Everything(), nil
	}
	selector, err := metav1.LabelSelectorAsSelector(image.Spec.NodeSelector)
	if err != nil {
		return nil, fmt.Errorf("reading nodeSelector: %w", err)
	}
	return selector, nil
}

// loadClaims notes, before the first image is decided on, what all of them select: two that meet must not pass each other by
// because one is looked at first.
func (h *handler) loadClaims() error {
	h.loading.Lock()
	defer h.loading.Unlock()
	if h.loaded {
		return nil
	}
	images, err := h.images.Cache().List("", labels.Everything())
	if err != nil {
		return fmt.Errorf("reading images: %w", err)
	}
	for _, image := range images {
		if _, err := h.claim(image); err != nil {
			return err
		}
	}
	h.loaded = true
	return nil
}

// claim finds the clusters that the image selects, in the order of their names, and tells the images that it meets there.
func (h *handler) claim(image *v1.ManagedOSImage) ([]*fleetv1.Cluster, error) {
	var selected []*fleetv1.Cluster
	targets, err := h.targets(image)
	if err != nil {
		return nil, err
	}
	if image.DeletionTimestamp == nil {
		clusters, groups, err := h.fleetClusters(image.Namespace)
		if err != nil {
			return nil, err
		}
		for _, cluster := range clusters {
			if cluster.DeletionTimestamp == nil && anySelects(targets, cluster, groups) {
				selected = append(selected, cluster)
			}
		}
	}
	slices.SortFunc(selected, func(a, b *fleetv1.Cluster) int { return cmp.Compare(a.Name, b.Name) })
	keys := make([]objectKey, 0, len(selected))
	for _, cluster := range selected {
		keys = append(keys, keyOf(cluster))
	}
	h.later(h.claims.set(keyOf(image), keys, terms(image))...)
	return selected, nil
}

// targets are the image's. Where it gives none, or none that can be read, those of its Bundle still hold: what is under way
// goes on there, and another image must not come in between.
func (h *handler) targets(image *v1.ManagedOSImage) ([]target, error) {
	targets, problem := readTargets(image)
	if problem == nil && len(targets) > 0 {
		return targets, nil
	}
	bundle, err := h.bundles.Cache().Get(image.Namespace, index.BundleName(image))
	if apierrors.IsNotFound(err) || err == nil && checkOurs(bundle, image.Name) != nil {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading Bundle: %w", err)
	}
	return bundleSelects(bundle), nil
}

func (h *handler) fleetClusters(namespace string) ([]*fleetv1.Cluster, []*fleetv1.ClusterGroup, error) {
	clusters, err := h.clusters.List(namespace, labels.Everything())
	if err != nil {
		return nil, nil, fmt.Errorf("reading Fleet's clusters: %w", err)
	}
	groups, err := h.groups.List(namespace, labels.Everything())
	if err != nil {
		return nil, nil, fmt.Errorf("reading Fleet's cluster groups: %w", err)
	}
	return clusters, groups, nil
}

// terms change when other images have to look again whether they meet this one.
func terms(image *v1.ManagedOSImage) string {
	return strconv.FormatBool(acts(image)) + " " + metav1.FormatLabelSelector(image.Spec.NodeSelector)
}

// acts tells whether an image does anything to nodes, or has something in the clusters that does.
func acts(image *v1.ManagedOSImage) bool {
	spec := image.Spec
	return image.DeletionTimestamp == nil &&
		(spec.OSImage != "" || spec.ManagedOSVersionName != "" || spec.ManagedOSVersionChannelName != "" || spec.UpgradeContainer != nil || image.Status.Bundle != nil)
}

// winner is the image that has the cluster before this one: the oldest that selects a node of it which this one selects, too,
// and has not lost the cluster itself. It is empty where the cluster is this one's.
func (h *handler) winner(image *v1.ManagedOSImage, cluster *fleetv1.Cluster, managed string) (string, error) {
	claimants := h.claims.of(keyOf(cluster))
	if len(claimants) < 2 {
		return "", nil
	}
	var images []*v1.ManagedOSImage
	for _, key := range claimants {
		other, err := h.images.Cache().Get(key.Namespace, key.Name)
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return "", fmt.Errorf("reading image: %w", err)
		case other.UID == image.UID:
			images = append(images, image)
		case acts(other):
			images = append(images, other)
		}
	}
	var nodes []labels.Set
	if managed != "" {
		cached, err := h.nodes.List(managed, labels.Everything())
		if err != nil {
			return "", fmt.Errorf("reading nodes: %w", err)
		}
		for _, node := range cached {
			nodes = append(nodes, node.Status.NodeLabels)
		}
	}
	return firstOf(image, images, nodes), nil
}

// firstOf decides among the images that select a cluster: the older one has it, and of two of one second the one whose name
// comes first.
func firstOf(image *v1.ManagedOSImage, images []*v1.ManagedOSImage, nodes []labels.Set) string {
	slices.SortFunc(images, func(a, b *v1.ManagedOSImage) int {
		if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
			return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
		}
		return strings.Compare(a.Name, b.Name)
	})
	var have []*v1.ManagedOSImage
	for _, candidate := range images {
		at := slices.IndexFunc(have, func(other *v1.ManagedOSImage) bool { return meet(other, candidate, nodes) })
		if candidate == image {
			if at < 0 {
				return ""
			}
			return have[at].Name
		}
		if at < 0 {
			have = append(have, candidate)
		}
	}
	return ""
}

// meet tells whether two images select one node. Of a cluster without nodes it is taken for granted where one of them
// selects all there may come.
func meet(a, b *v1.ManagedOSImage, nodes []labels.Set) bool {
	first, err := selectorOf(a)
	if err != nil {
		return false
	}
	second, err := selectorOf(b)
	if err != nil {
		return false
	}
	if len(nodes) == 0 {
		return first.Empty() || second.Empty() || first.String() == second.String()
	}
	return slices.ContainsFunc(nodes, func(node labels.Set) bool { return first.Matches(node) && second.Matches(node) })
}

func keyOf(object metav1.Object) objectKey {
	return objectKey{Namespace: object.GetNamespace(), Name: object.GetName()}
}
