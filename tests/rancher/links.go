package rancher

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// links are the lines to the clusters: which are cut, and which Fleet holds back because others are not through.
type links struct {
	mutex      sync.Mutex
	away, held map[key]bool
}

func newLinks() *links { return &links{away: map[key]bool{}, held: map[key]bool{}} }

func (l *links) isAway(cluster key) bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.away[cluster]
}

func (l *links) heldBack(cluster key) bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.held[cluster]
}

func (l *links) set(of map[key]bool, cluster key, value bool) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	of[cluster] = value
}

// SetConnected cuts the line to a cluster, named as its provisioning Cluster, or mends it. While it is cut, Fleet brings
// nothing, and Rancher's copies of the nodes stay as they were; what the cluster was at goes on there.
func (r *Rancher) SetConnected(ctx context.Context, namespace, name string, connected bool) error {
	cluster := key{Namespace: namespace, Name: name}
	r.fleet.links.set(r.fleet.links.away, cluster, !connected)
	managed, err := r.managedCluster(ctx, cluster)
	if err != nil {
		return err
	}
	now := time.Now().UTC().Format(time.RFC3339)
	condition := map[string]any{"type": "Connected", "status": string(boolStatus(connected)), "lastUpdateTime": now, "lastTransitionTime": now}
	err = r.api.mergePatch(ctx, managementClustersGVR, key{Name: managed}, map[string]any{"status": map[string]any{"conditions": []any{condition}}})
	if err != nil {
		return err
	}
	r.downstream.touch(cluster)
	r.redeploy(namespace)
	return nil
}

// HoldBack makes Fleet keep from a cluster what is new, as it does with a partition whose turn has not come, or lets it
// through.
func (r *Rancher) HoldBack(namespace, name string, held bool) {
	r.fleet.links.set(r.fleet.links.held, key{Namespace: namespace, Name: name}, held)
	r.redeploy(namespace)
}

func (r *Rancher) redeploy(namespace string) {
	for _, bundle := range r.api.cachedIn(bundlesGVR, namespace) {
		r.fleet.bundles.queue.Add(keyOf(bundle))
	}
}

// managedCluster is the name of the management Cluster, and of its namespace.
func (r *Rancher) managedCluster(ctx context.Context, cluster key) (string, error) {
	provisioned, err := r.api.get(ctx, provisioningClustersGVR, cluster)
	if err != nil {
		return "", err
	}
	if provisioned == nil || text(provisioned, "status", "clusterName") == "" {
		return "", fmt.Errorf("cluster %s has no management cluster", cluster)
	}
	return text(provisioned, "status", "clusterName"), nil
}

// mergePatch changes fields of an object; that it is gone is fine.
func (a *api) mergePatch(ctx context.Context, gvr schema.GroupVersionResource, k key, fields map[string]any) error {
	body, err := json.Marshal(fields)
	if err != nil {
		return fmt.Errorf("encoding patch of %s: %w", k, err)
	}
	_, err = a.client.Resource(gvr).Namespace(k.Namespace).Patch(ctx, k.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: fieldManager})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("patching %s %s: %w", gvr.Resource, k, err)
	}
	return nil
}
