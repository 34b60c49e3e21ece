package osimage

import (
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	fleetv1 "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	"k8s.io/apimachinery/pkg/labels"

	managementv3 "github.com/rancher/rancheros-operator/pkg/apis/management.cattle.io/v3"
	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
)

// settle is how long changes of nodes and clusters are gathered before an image is looked at again, and the least time
// between two writes of its status because of them. The queue keeps one entry for an image, the earliest, so that a storm of
// events is one reconcile.
const settle = 2 * time.Second

// prints remembers what was seen of an object, in eight bytes: Rancher writes nodes all the time, and next to nothing of that
// concerns us.
type prints struct {
	mutex sync.Mutex
	seed  maphash.Seed
	seen  map[string]uint64
}

func newPrints() *prints { return &prints{seed: maphash.MakeSeed(), seen: map[string]uint64{}} }

// changed notes what an object looks like now, and tells whether that is news.
func (p *prints) changed(key string, print uint64) bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	before, known := p.seen[key]
	p.seen[key] = print
	return !known || before != print
}

func (p *prints) forget(key string) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	delete(p.seen, key)
}

// of is the same for equal facts; the order of labels does not count.
func (p *prints) of(set map[string]string, facts ...any) uint64 {
	sum := uint64(0)
	for key, value := range set {
		sum += maphash.Comparable(p.seed, [2]string{key, value})
	}
	for i, fact := range facts {
		sum += maphash.Comparable(p.seed, [2]any{i, fact})
	}
	return sum
}

// later brings images back once things have settled.
func (h *handler) later(images ...objectKey) {
	for _, image := range images {
		h.images.EnqueueAfter(image.Namespace, image.Name, h.settle)
	}
}

// onNode costs the same for one node and for ten thousand: two lookups, and an entry in the queue.
func (h *handler) onNode(key string, node *managementv3.Node) (*managementv3.Node, error) {
	managed, _ := index.SplitKey(key)
	if node == nil {
		h.prints.forget("node/" + key)
		h.later(h.claims.ofManaged(managed)...)
		return nil, nil
	}
	facts := readNode(node)
	print := h.prints.of(facts.labels, facts.name, facts.osImage, facts.cordonedAt.Unix(), facts.lost, facts.unready, node.DeletionTimestamp != nil)
	if h.prints.changed("node/"+key, print) {
		h.later(h.claims.ofManaged(managed)...)
	}
	return node, nil
}

// onManaged is about whether Rancher reaches a cluster.
func (h *handler) onManaged(key string, cluster *managementv3.Cluster) (*managementv3.Cluster, error) {
	if cluster == nil {
		h.prints.forget("cluster/" + key)
		h.later(h.claims.ofManaged(key)...)
		return nil, nil
	}
	lost, since := disconnected(cluster.Status.Conditions)
	if h.prints.changed("cluster/"+key, h.prints.of(nil, lost, since.Unix())) {
		h.later(h.claims.ofManaged(key)...)
	}
	return cluster, nil
}

// onFleetCluster is about which images select a cluster, which follows from its labels.
func (h *handler) onFleetCluster(key string, cluster *fleetv1.Cluster) (*fleetv1.Cluster, error) {
	namespace, name := index.SplitKey(key)
	before := h.claims.of(objectKey{Namespace: namespace, Name: name})
	if cluster == nil {
		h.prints.forget("fleet/" + key)
		h.later(before...)
		return nil, nil
	}
	if !h.prints.changed("fleet/"+key, h.prints.of(cluster.Labels, cluster.DeletionTimestamp != nil)) {
		return cluster, nil
	}
	h.later(before...)
	groups, err := h.groups.List(namespace, labels.Everything())
	if err != nil {
		return cluster, fmt.Errorf("reading Fleet's cluster groups: %w", err)
	}
	images, err := h.images.Cache().List(namespace, labels.Everything())
	if err != nil {
		return cluster, fmt.Errorf("reading images: %w", err)
	}
	for _, image := range images {
		targets, err := h.targets(image)
		if err != nil {
			return cluster, err
		}
		if anySelects(targets, cluster, groups) {
			h.later(keyOf(image))
		}
	}
	return cluster, nil
}

// onClusterGroup happens rarely, and may concern every image of the namespace.
func (h *handler) onClusterGroup(key string, group *fleetv1.ClusterGroup) (*fleetv1.ClusterGroup, error) {
	if group != nil && !h.prints.changed("group/"+key, h.prints.of(group.Labels, group.Generation)) {
		return group, nil
	}
	if group == nil {
		h.prints.forget("group/" + key)
	}
	namespace, _ := index.SplitKey(key)
	images, err := h.images.Cache().List(namespace, labels.Everything())
	for _, image := range images {
		h.later(keyOf(image))
	}
	return group, err
}

// onRollout is Fleet's account of how far a cluster has come with the Bundle. One that went is told by the Bundle's status.
func (h *handler) onRollout(_ string, deployment *fleetv1.BundleDeployment) (*fleetv1.BundleDeployment, error) {
	if deployment == nil {
		return nil, nil
	}
	if image := deployment.Labels[v1.LabelRollout]; image != "" {
		h.later(objectKey{Namespace: deployment.Labels[fleetv1.BundleNamespaceLabel], Name: image})
	}
	return deployment, nil
}

// pace keeps the status of an image from being written more often than settle allows.
type pace struct {
	mutex sync.Mutex
	wrote map[objectKey]write
}

// write is when a status was written, and for which generation of the spec.
type write struct {
	at         time.Time
	generation int64
}

func newPace() *pace { return &pace{wrote: map[objectKey]write{}} }

// wait is how long to leave the image alone. What its user has changed does not wait.
func (p *pace) wait(image *v1.ManagedOSImage, now time.Time, settle time.Duration) time.Duration {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	last := p.wrote[keyOf(image)]
	if last.generation != image.Generation {
		return 0
	}
	return max(0, settle-now.Sub(last.at))
}

func (p *pace) mark(image *v1.ManagedOSImage, now time.Time) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.wrote[keyOf(image)] = write{now, image.Generation}
}

func (p *pace) forget(image objectKey) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	delete(p.wrote, image)
}
