package rancher

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Outcome is what becomes of the upgrades of a node.
type Outcome string

// The outcomes.
const (
	// Succeeds: the node boots the new OS, and is marked.
	Succeeds Outcome = ""
	// Fails: the job never succeeds; the node stays cordoned, and the job's place taken.
	Fails Outcome = "fails"
	// FallsBack: the job succeeds and the node is marked, but it runs what it ran.
	FallsBack Outcome = "falls back"
)

// Node is a node of a downstream cluster.
type Node struct {
	// Name is also its host name.
	Name string
	// OS is what it calls itself, such as "RancherOS v1.0.0".
	OS string
	// Labels are those that it has beside the host name.
	Labels map[string]string
}

// downstream is what is in the clusters behind Rancher: their nodes, and system-upgrade-controller at work on them. Rancher
// copies the nodes to where the operator sees them.
type downstream struct {
	api    *api
	ledger *ledger
	links  *links
	log    func(string)
	// takes is how long an upgrade takes.
	takes time.Duration

	mutex    sync.Mutex
	clusters map[key]*downstreamCluster
}

type downstreamCluster struct {
	managed string
	nodes   map[string]*downstreamNode
	plans   map[string]*planState
	// seen is the ledger's count of changes that plans were read at, and restless tells that something goes on.
	seen     int
	restless bool
}

// downstreamNode is the truth about a node.
type downstreamNode struct {
	Node

	key        key // of Rancher's copy
	labels     map[string]string
	taints     []any // beside that of the cordon
	cordonedAt time.Time
	outcome    Outcome
	silent     bool
	changedAt  time.Time
	// dirty tells that Rancher's copy is behind.
	dirty bool
}

func newDownstream(a *api, l *ledger, links *links, takes time.Duration, log func(string)) *downstream {
	return &downstream{api: a, ledger: l, links: links, takes: takes, log: log, clusters: map[key]*downstreamCluster{}}
}

// run lets the clusters live until ctx ends.
func (d *downstream) run(ctx context.Context) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			if err := d.sync(ctx, d.step(now)); err != nil && ctx.Err() == nil {
				d.log(fmt.Sprintf("nodes: %v", err))
			}
		}
	}
}

// step lets every cluster in which something goes on take one step, and returns the copies that Rancher has to renew.
func (d *downstream) step(now time.Time) []nodeCopy {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	var behind []nodeCopy
	for k, cluster := range d.clusters {
		changes := d.ledger.changed(k)
		if changes == cluster.seen && !cluster.restless {
			continue
		}
		if changes != cluster.seen {
			cluster.readPlans(d.ledger.delivered(k))
			cluster.seen = changes
		}
		cluster.restless = false
		for _, name := range slices.Sorted(maps.Keys(cluster.plans)) {
			cluster.upgrade(cluster.plans[name], now, d.takes)
		}
		if d.links.isAway(k) {
			continue // what happened meanwhile shows when the line is back: see touch
		}
		for _, node := range cluster.nodes {
			if node.dirty {
				node.dirty = false
				behind = append(behind, node.copied())
			}
		}
	}
	return behind
}

// touch makes a cluster take a step.
func (d *downstream) touch(cluster key) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if found := d.clusters[cluster]; found != nil {
		found.restless = true
	}
}

// nodeCopy is what Rancher writes of a node.
type nodeCopy struct {
	key    key
	fields map[string]any
}

func (n *downstreamNode) copied() nodeCopy {
	labels := map[string]any{}
	for name, value := range n.labels {
		labels[name] = value
	}
	taints := append([]any{}, n.taints...)
	if !n.cordonedAt.IsZero() {
		taints = append(taints, map[string]any{
			"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule", "timeAdded": n.cordonedAt.UTC().Format(time.RFC3339),
		})
	}
	status := "True"
	if n.silent {
		status = "Unknown"
	}
	ready := map[string]any{"type": "Ready", "status": status, "lastTransitionTime": n.changedAt.UTC().Format(time.RFC3339)}
	return nodeCopy{n.key, map[string]any{
		"spec": map[string]any{"internalNodeSpec": map[string]any{"unschedulable": !n.cordonedAt.IsZero(), "taints": taints}},
		"status": map[string]any{
			"nodeName": n.Name, "nodeLabels": labels,
			"internalNodeStatus": map[string]any{"conditions": []any{ready}, "nodeInfo": map[string]any{"osImage": n.OS}},
		},
	}}
}

// sync renews Rancher's copies, several at a time.
func (d *downstream) sync(ctx context.Context, copies []nodeCopy) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, c := range copies {
		group.Go(func() error { return d.api.mergePatch(ctx, nodesGVR, c.key, c.fields) })
	}
	return group.Wait()
}

// add puts nodes into a cluster. It takes the place of those of the same name.
func (d *downstream) add(cluster key, managed string, nodes ...*downstreamNode) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	found := d.clusters[cluster]
	if found == nil {
		found = &downstreamCluster{managed: managed, nodes: map[string]*downstreamNode{}, plans: map[string]*planState{}, seen: -1}
		d.clusters[cluster] = found
	}
	for _, node := range nodes {
		found.nodes[node.Name] = node
	}
	found.restless = true
}

// change changes a node, and lets its cluster take a step.
func (d *downstream) change(cluster key, name string, change func(*downstreamNode)) error {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	found := d.clusters[cluster]
	if found == nil || found.nodes[name] == nil {
		return fmt.Errorf("cluster %s has no node %s", cluster, name)
	}
	change(found.nodes[name])
	found.nodes[name].dirty = true
	found.restless = true
	return nil
}

// AddNodes makes nodes join a cluster, named as its provisioning Cluster.
func (r *Rancher) AddNodes(ctx context.Context, namespace, name string, nodes ...Node) error {
	cluster := key{Namespace: namespace, Name: name}
	managed, err := r.managedCluster(ctx, cluster)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	joined := make([]*downstreamNode, len(nodes))
	for i, node := range nodes {
		labels := map[string]string{"kubernetes.io/hostname": node.Name, "kubernetes.io/os": "linux"}
		maps.Copy(labels, node.Labels)
		joined[i] = &downstreamNode{Node: node, key: key{Namespace: managed, Name: "m-" + node.Name}, labels: labels, changedAt: time.Now()}
		group.Go(func() error {
			c := joined[i].copied()
			_, err := r.api.client.Resource(nodesGVR).Namespace(managed).Create(ctx,
				manifest("management.cattle.io/v3", "Node", c.key, c.fields), metav1.CreateOptions{FieldManager: fieldManager})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("making nodes of cluster %s: %w", cluster, err)
	}
	r.downstream.add(cluster, managed, joined...)
	return nil
}

// SetOutcome decides what becomes of the upgrades of a node from now on.
func (r *Rancher) SetOutcome(namespace, cluster, node string, outcome Outcome) error {
	return r.downstream.change(key{Namespace: namespace, Name: cluster}, node, func(n *downstreamNode) { n.outcome = outcome })
}

// SetSilent makes a node's kubelet fall silent, or speak again.
func (r *Rancher) SetSilent(namespace, cluster, node string, silent bool) error {
	return r.downstream.change(key{Namespace: namespace, Name: cluster}, node, func(n *downstreamNode) { n.silent, n.changedAt = silent, time.Now() })
}

// LabelNode sets a label of a node in its cluster; without a value it takes it off.
func (r *Rancher) LabelNode(namespace, cluster, node, label, value string) error {
	return r.downstream.change(key{Namespace: namespace, Name: cluster}, node, func(n *downstreamNode) {
		n.labels[label] = value
		if value == "" {
			delete(n.labels, label)
		}
	})
}

// OSOf is what a node runs in truth, whatever Rancher knows of it.
func (r *Rancher) OSOf(namespace, cluster, node string) string {
	r.downstream.mutex.Lock()
	defer r.downstream.mutex.Unlock()
	if found := r.downstream.clusters[key{Namespace: namespace, Name: cluster}]; found != nil && found.nodes[node] != nil {
		return found.nodes[node].OS
	}
	return ""
}

// recall takes the nodes that an earlier run has left.
func (r *Rancher) recall(ctx context.Context) error {
	nodes, err := r.api.list(ctx, nodesGVR)
	if err != nil {
		return err
	}
	for i := range nodes {
		if err := r.adopt(ctx, keyOf(&nodes[i])); err != nil {
			return err
		}
	}
	return nil
}

// adopt takes a machine that has joined for a node of its cluster.
func (r *Rancher) adopt(ctx context.Context, k key) error {
	copied, err := r.api.get(ctx, nodesGVR, k)
	if err != nil || copied == nil {
		return err
	}
	managed, err := r.api.get(ctx, managementClustersGVR, key{Name: k.Namespace})
	if err != nil || managed == nil {
		return err
	}
	labels, _, _ := unstructured.NestedStringMap(copied.Object, "status", "nodeLabels")
	taints, _, _ := unstructured.NestedSlice(copied.Object, "spec", "internalNodeSpec", "taints")
	node := &downstreamNode{
		Node:      Node{Name: text(copied, "status", "nodeName"), OS: text(copied, "status", "internalNodeStatus", "nodeInfo", "osImage")},
		key:       k,
		labels:    labels,
		taints:    slices.DeleteFunc(taints, isCordon),
		changedAt: time.Now(),
	}
	if node.Name != "" && labels != nil {
		r.downstream.add(ownerOf(managed), k.Namespace, node)
	}
	return nil
}

func isCordon(taint any) bool {
	fields, ok := taint.(map[string]any)
	return ok && fields["key"] == "node.kubernetes.io/unschedulable"
}
