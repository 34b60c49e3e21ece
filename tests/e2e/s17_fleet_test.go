package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	provisioningv1 "github.com/rancher/rancher/pkg/apis/provisioning.cattle.io/v1"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/tests/harness"
	"github.com/rancher/rancheros-operator/tests/rancher"
)

const (
	fleetClusters   = 500
	nodesPerCluster = 20
	// fleetPatience bounds a rollout over ten thousand nodes. What takes the time is the API server, and the two cores under it.
	fleetPatience = 10 * time.Minute
)

// Ten thousand nodes of five hundred clusters are upgraded at once. Each tells Rancher of it, and the operator counts them all;
// yet it writes its image's status at most once in two seconds, and nothing when all is said. The nodes are not cordoned, which
// would be as many events again, of which the other scenarios have enough.
func Test17TenThousandNodes(t *testing.T) {
	ns := namespace(t, "s17-fleet")
	var clusters strings.Builder
	for i := range fleetClusters {
		fmt.Fprintf(&clusters, "---\napiVersion: provisioning.cattle.io/v1\nkind: Cluster\nmetadata: {name: site-%03d, namespace: %s}\nspec: {rkeConfig: {}}\n", i, ns)
	}
	apply(t, clusters.String())
	require.NoError(t, harness.Eventually(t.Context(), fleetPatience, func() error {
		made, err := world.Clients.Provisioning.Cluster().List(ns, metav1.ListOptions{})
		if err != nil {
			return err
		}
		named := slices.DeleteFunc(made.Items, func(cluster provisioningv1.Cluster) bool { return cluster.Status.ClusterName == "" })
		return equal("clusters", len(named), fleetClusters)
	}))
	for i := range fleetClusters {
		cluster := fmt.Sprintf("site-%03d", i)
		var nodes []rancher.Node
		for n := range nodesPerCluster {
			nodes = append(nodes, rancher.Node{Name: fmt.Sprintf("%s-node-%02d", cluster, n), OS: "RancherOS v1.0.0"})
		}
		require.NoError(t, world.Rancher.AddNodes(t.Context(), ns, cluster, nodes...))
	}
	// Some of everything: an offline cluster, a node that falls back.
	require.NoError(t, world.Rancher.SetConnected(t.Context(), ns, "site-007", false))
	require.NoError(t, world.Rancher.SetOutcome(ns, "site-013", "site-013-node-13", rancher.FallsBack))

	since := time.Now()
	apply(t, fmt.Sprintf(imageManifest, "image", ns, `{osImage: "rancher/os2:v1.2.0", concurrency: 20, cordon: false, clusterTargets: [{clusterSelector: {}}]}`))
	want := v1.NodeCounts{Total: fleetClusters * nodesPerCluster, UpToDate: (fleetClusters-1)*nodesPerCluster - 1, FellBack: 1, Offline: nodesPerCluster}
	var status v1.ManagedOSImageStatus
	require.NoError(t, harness.Eventually(t.Context(), fleetPatience, func() error {
		image, err := world.Clients.RancherOS.ManagedOSImage().Get(ns, "image", metav1.GetOptions{})
		if err != nil || image.Status.Nodes == nil {
			return fmt.Errorf("no status yet: %w", err)
		}
		status = image.Status
		return equal("nodes", *image.Status.Nodes, want)
	}))
	require.Equal(t, v1.ClusterCounts{Total: fleetClusters, UpToDate: fleetClusters - 2, Failed: 1, Offline: 1}, *status.Clusters)
	require.Equal(t, []string{"site-013 site-013-node-13 FellBack OldOS", "site-007  Offline Disconnected"}, reports(status))

	eventuallyQuiet(t, 5*time.Second)
	requirePaced(t, ns, "image", since)
}

// requirePaced reads from the audit log when the image's status was written.
func requirePaced(t *testing.T, ns, name string, since time.Time) {
	t.Helper()
	requests, err := world.OperatorRequests(since)
	require.NoError(t, err)
	var last time.Time
	written := 0
	for _, request := range requests {
		object := request.ObjectRef
		if !request.Writes() || object.Resource != "managedosimages" || object.Namespace != ns || object.Name != name {
			continue
		}
		if !last.IsZero() {
			require.GreaterOrEqual(t, request.RequestReceivedTimestamp.Sub(last), 1900*time.Millisecond, "%s, %s after the one before", request,
				request.RequestReceivedTimestamp.Sub(last))
		}
		last = request.RequestReceivedTimestamp
		written++
	}
	require.NotZero(t, written)
	t.Logf("%d writes of the status in %s", written, last.Sub(since).Round(time.Second))
}
