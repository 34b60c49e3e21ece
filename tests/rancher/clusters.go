package rancher

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"strings"
	"time"

	"github.com/rancher/wrangler/v3/pkg/name"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// A management Cluster and a fleet Cluster remember in these annotations, as in Rancher, which provisioning Cluster they
// belong to.
const (
	ownerGVK       = "objectset.rio.cattle.io/owner-gvk"
	ownerNamespace = "objectset.rio.cattle.io/owner-namespace"
	ownerName      = "objectset.rio.cattle.io/owner-name"
)

// Labels of a fleet Cluster that targets may select.
const (
	clusterNameLabel        = "management.cattle.io/cluster-name"
	clusterDisplayNameLabel = "management.cattle.io/cluster-display-name"
)

// clusters gives every provisioning Cluster what Rancher gives it: a management Cluster, a namespace of that name, a
// fleet Cluster, a default registration token.
type clusters struct {
	api *api
}

func (c *clusters) loop(delay time.Duration, log func(string)) (*loop, error) {
	l := newLoop("cluster", delay, log, c.reconcile)
	if err := l.watch(c.api.informer(provisioningClustersGVR), nil); err != nil {
		return nil, err
	}
	return l, l.watch(c.api.informer(managementClustersGVR), func(obj *unstructured.Unstructured) []key {
		return []key{ownerOf(obj)}
	})
}

func (c *clusters) reconcile(ctx context.Context, k key) (time.Duration, error) {
	cluster, found := c.api.cached(provisioningClustersGVR, k)
	if found && cluster.GetDeletionTimestamp() != nil {
		found = false
	}
	wanted := ""
	if found {
		wanted = managementName(cluster)
	}
	for _, obj := range c.api.cachedIn(managementClustersGVR, "") {
		if ownerOf(obj) != k || obj.GetName() == wanted {
			continue
		}
		// Gone, or made anew under its old name: then what goes by that name alone stays.
		if !found {
			if err := c.removeFleetCluster(ctx, k); err != nil {
				return 0, err
			}
		}
		if err := c.api.remove(ctx, namespacesGVR, key{Name: obj.GetName()}); err != nil {
			return 0, err
		}
		if err := c.api.remove(ctx, managementClustersGVR, keyOf(obj)); err != nil {
			return 0, err
		}
	}
	if !found {
		return 0, nil
	}
	return 0, c.ensure(ctx, cluster)
}

func (c *clusters) removeFleetCluster(ctx context.Context, k key) error {
	if err := c.api.remove(ctx, fleetClustersGVR, k); err != nil {
		return err
	}
	return c.api.remove(ctx, namespacesGVR, key{Name: deploymentNamespace(k)})
}

func (c *clusters) ensure(ctx context.Context, cluster *unstructured.Unstructured) error {
	k, managed := keyOf(cluster), managementName(cluster)
	if err := c.api.ensureNamespace(ctx, managed); err != nil {
		return err
	}
	if err := c.api.apply(ctx, managementClustersGVR, managementCluster(k, managed)); err != nil {
		return err
	}
	if err := c.api.apply(ctx, registrationTokensGVR, defaultToken(managed)); err != nil {
		return err
	}
	err := c.api.applyStatus(ctx, provisioningClustersGVR, cluster, map[string]any{
		"clusterName":        managed,
		"fleetWorkspaceName": k.Namespace,
		"observedGeneration": cluster.GetGeneration(),
	}, "status")
	if err != nil {
		return err
	}
	return c.ensureFleetCluster(ctx, cluster, managed)
}

func (c *clusters) ensureFleetCluster(ctx context.Context, cluster *unstructured.Unstructured, managed string) error {
	k := keyOf(cluster)
	if err := c.api.ensureNamespace(ctx, deploymentNamespace(k)); err != nil {
		return err
	}
	obj := manifest("fleet.cattle.io/v1alpha1", "Cluster", k, map[string]any{"spec": map[string]any{
		"kubeConfigSecret": k.Name + "-kubeconfig",
	}})
	labels := map[string]string{}
	for label, value := range cluster.GetLabels() {
		labels[label] = value // so that a target can select by what the user wrote on the Cluster
	}
	labels[clusterNameLabel] = managed
	labels[clusterDisplayNameLabel] = k.Name
	obj.SetLabels(labels)
	obj.SetAnnotations(ownedBy(k))
	if err := c.api.apply(ctx, fleetClustersGVR, obj); err != nil {
		return err
	}
	return c.api.applyStatus(ctx, fleetClustersGVR, obj, map[string]any{"namespace": deploymentNamespace(k)}, "status")
}

func managementCluster(owner key, managed string) *unstructured.Unstructured {
	obj := manifest("management.cattle.io/v3", "Cluster", key{Name: managed}, map[string]any{"spec": map[string]any{
		"displayName":        owner.Name,
		"fleetWorkspaceName": owner.Namespace,
		"internal":           managed == localCluster,
	}})
	obj.SetAnnotations(ownedBy(owner))
	return obj
}

// defaultToken is the registration token that every cluster has from the start, beside those that others make.
func defaultToken(managed string) *unstructured.Unstructured {
	return manifest("management.cattle.io/v3", "ClusterRegistrationToken", key{Namespace: managed, Name: "default-token"},
		map[string]any{"spec": map[string]any{"clusterName": managed}})
}

func ownedBy(owner key) map[string]string {
	return map[string]string{
		ownerGVK:       "provisioning.cattle.io/v1, Kind=Cluster",
		ownerNamespace: owner.Namespace,
		ownerName:      owner.Name,
	}
}

func ownerOf(obj *unstructured.Unstructured) key {
	annotations := obj.GetAnnotations()
	return key{Namespace: annotations[ownerNamespace], Name: annotations[ownerName]}
}

// managementName is c-m- and eight characters. They follow from the uid: a Cluster that is deleted and made anew gets
// another management Cluster, as in Rancher, and nothing of the old one shows in it.
func managementName(cluster *unstructured.Unstructured) string {
	if cluster.GetName() == localCluster && cluster.GetNamespace() == localWorkspace {
		return localCluster
	}
	sum := sha256.Sum256([]byte(keyOf(cluster).String() + "/" + string(cluster.GetUID())))
	return "c-m-" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:8]
}

// deploymentNamespace is where Fleet keeps the BundleDeployments of a cluster.
func deploymentNamespace(cluster key) string {
	return name.SafeConcatName("cluster", cluster.Namespace, cluster.Name, name.Hex(cluster.String(), 12))
}
