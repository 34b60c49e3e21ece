package osimage

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	fleetv1 "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"

	managementv3 "github.com/rancher/rancheros-operator/pkg/apis/management.cattle.io/v3"
	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// managedLabel is on Fleet's cluster, and names Rancher's.
const managedLabel = "management.cattle.io/cluster-name"

// clusterFacts is what is known of a targeted cluster.
type clusterFacts struct {
	// name is that of Fleet's cluster, which clusterTargets know.
	name string
	// managed is that of Rancher's, and the namespace of the nodes; empty where it is not known.
	managed string
	// winner is the image that has the cluster first; empty where it is ours.
	winner string
	// held tells that somebody holds the whole cluster.
	held bool
	// offline tells that Rancher has lost it, and since when; zero where Rancher does not say.
	offline      bool
	offlineSince time.Time
	delivery     delivery
	// nodes are those that nodeSelector selects, in the order of their names.
	nodes []nodeFacts
}

// delivery is how far Fleet has brought the plan.
type delivery struct {
	// reason is empty while nothing is in the way: the plan is there, or on its way.
	reason, message string
}

// nodeFacts is what is known of a node.
type nodeFacts struct {
	name, hostname, osImage string
	labels                  map[string]string
	// cordonedAt is zero where the node is not cordoned, or does not say since when.
	cordonedAt time.Time
	// lost tells that the kubelet is silent, and unready that it says so itself; changedAt is since when.
	lost, unready bool
	changedAt     time.Time
}

// nodesOf reads the nodes of Rancher's cluster that the selector selects. One without a host name is not there for
// system-upgrade-controller.
func (h *handler) nodesOf(managed string, selector labels.Selector) ([]nodeFacts, error) {
	if managed == "" {
		return nil, nil
	}
	nodes, err := h.nodes.List(managed, labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("reading nodes: %w", err)
	}
	facts := make([]nodeFacts, 0, len(nodes))
	for _, node := range nodes {
		if node.DeletionTimestamp == nil && node.Status.NodeLabels[corev1.LabelHostname] != "" && selector.Matches(labels.Set(node.Status.NodeLabels)) {
			facts = append(facts, readNode(node))
		}
	}
	slices.SortFunc(facts, func(a, b nodeFacts) int { return cmp.Compare(a.name, b.name) })
	return facts, nil
}

func readNode(node *managementv3.Node) nodeFacts {
	facts := nodeFacts{
		name:     cmp.Or(node.Status.NodeName, node.Name),
		hostname: node.Status.NodeLabels[corev1.LabelHostname],
		osImage:  node.Status.InternalNodeStatus.NodeInfo.OSImage,
		labels:   node.Status.NodeLabels,
	}
	if wanted := node.Spec.InternalNodeSpec; wanted.Unschedulable {
		for _, taint := range wanted.Taints {
			if taint.Key == corev1.TaintNodeUnschedulable && taint.TimeAdded != nil {
				facts.cordonedAt = taint.TimeAdded.Time
			}
		}
	}
	for _, condition := range node.Status.InternalNodeStatus.Conditions {
		if condition.Type == string(corev1.NodeReady) {
			facts.lost = condition.Status == corev1.ConditionUnknown
			facts.unready = condition.Status != corev1.ConditionTrue
			facts.changedAt = condition.LastTransitionTime.Time
		}
	}
	return facts
}

// managedName is the name of Rancher's cluster behind Fleet's.
func (h *handler) managedName(cluster *fleetv1.Cluster) (string, error) {
	if managed := cluster.Labels[managedLabel]; managed != "" {
		return managed, nil
	}
	provisioned, err := h.indexes.Cluster(cluster.Namespace, cluster.Name)
	if err != nil || provisioned == nil {
		return "", err
	}
	return provisioned.Status.ClusterName, nil
}

// connection asks Rancher whether it reaches the cluster. One that it says nothing of counts as reached.
func (h *handler) connection(managed string) (offline bool, since time.Time, err error) {
	cluster, err := h.managed.Get(managed)
	if apierrors.IsNotFound(err) {
		return false, time.Time{}, nil
	}
	if err != nil {
		return false, time.Time{}, fmt.Errorf("reading cluster: %w", err)
	}
	offline, since = disconnected(cluster.Status.Conditions)
	return offline, since, nil
}

func disconnected(conditions []managementv3.ClusterCondition) (bool, time.Time) {
	var ready *managementv3.ClusterCondition
	for i, condition := range conditions {
		switch condition.Type {
		case "Connected":
			// Newer Ranchers say it in so many words.
			return condition.Status == corev1.ConditionFalse, timeOf(condition)
		case "Ready":
			ready = &conditions[i]
		}
	}
	if ready == nil || ready.Status == corev1.ConditionTrue || ready.Status == corev1.ConditionFalse && ready.Reason != "Disconnected" {
		return false, time.Time{}
	}
	return true, timeOf(*ready)
}

func timeOf(condition managementv3.ClusterCondition) time.Time {
	for _, text := range []string{condition.LastTransitionTime, condition.LastUpdateTime} {
		if at, err := time.Parse(time.RFC3339, text); err == nil {
			return at
		}
	}
	return time.Time{}
}

// deliveries reads, for each cluster by its name, how far Fleet has brought the Bundle.
func (h *handler) deliveries(bundle *fleetv1.Bundle) (map[string]delivery, error) {
	if bundle == nil || outdated(bundle) {
		return nil, nil
	}
	deployments, err := h.indexes.RolloutsByBundle(bundle.Namespace, bundle.Name)
	if err != nil {
		return nil, err
	}
	found := make(map[string]delivery, len(deployments))
	for _, deployment := range deployments {
		found[deployment.Labels[fleetv1.ClusterLabel]] = readDelivery(deployment)
	}
	return found, nil
}

// maxForeign bounds what is repeated of somebody else's message.
const maxForeign = 200

func readDelivery(deployment *fleetv1.BundleDeployment) delivery {
	spec := deployment.Spec
	if spec.DeploymentID != spec.StagedDeploymentID {
		return delivery{v1.NodeReasonPartition, "Fleet holds the cluster back until others are through; wait, or change clusterRolloutStrategy"}
	}
	if deployment.Status.AppliedDeploymentID == spec.DeploymentID {
		return delivery{}
	}
	for _, condition := range deployment.Status.Conditions {
		if condition.Type == fleetv1.BundleDeploymentConditionDeployed && condition.Status == corev1.ConditionFalse && condition.Message != "" {
			message := condition.Message
			if len(message) > maxForeign {
				message = message[:maxForeign] + "..."
			}
			return delivery{v1.NodeReasonNotApplied, "Fleet could not apply the plan: " + message}
		}
	}
	return delivery{}
}
