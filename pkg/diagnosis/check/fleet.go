package check

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	fleetv1 "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// most is how many clusters of one kind of trouble get a line of their own.
const most = 20

// The kinds of Fleet and Rancher that the operator works with.
var foreignKinds = map[string][]string{
	"fleet.cattle.io/v1alpha1":  {"Bundle", "BundleDeployment", "Cluster", "ClusterGroup"},
	"management.cattle.io/v3":   {"Cluster", "ClusterRegistrationToken", "Node", "Setting"},
	"provisioning.cattle.io/v1": {"Cluster"},
}

// fleet carries upgrades; the kinds of Rancher are looked at beside it, in the same way.
func (c *cluster) fleet(ctx context.Context) []Finding {
	var findings []Finding
	for _, groupVersion := range slices.Sorted(maps.Keys(foreignKinds)) {
		group, version, _ := strings.Cut(groupVersion, "/")
		topic := "kinds of Rancher"
		if group == "fleet.cattle.io" {
			topic = "Fleet"
		}
		served, err := c.served(ctx, group, version)
		if err != nil && !isMissing(err) {
			findings = append(findings, unseen(topic, "the kinds of "+group, err))
			continue
		}
		missing := slices.DeleteFunc(slices.Clone(foreignKinds[groupVersion]), func(kind string) bool { _, there := served[kind]; return there })
		if len(missing) > 0 {
			findings = append(findings, found(topic, "the API server does not know %s of %s", strings.Join(missing, ", "), groupVersion).
				at(Problem, "install or upgrade Rancher, which brings them"))
			continue
		}
		if _, carries := served["Bundle"].Properties["spec"].Properties["downstreamResources"]; group == "fleet.cattle.io" && !carries {
			findings = append(findings, found(topic, "it is older than 0.16: the cloud-config of a ManagedOSImage does not reach its clusters").
				at(Warning, "upgrade Rancher, or leave spec.cloudConfig of ManagedOSImages empty"))
			continue
		}
		findings = append(findings, ok(topic, "the kinds of %s are there", groupVersion))
	}
	return findings
}

// upgraders are the system-upgrade-controllers of the clusters. From here they can be seen by what Fleet says of the Bundles that
// brought them, and of those that brought Plans; of a cluster where there is neither, nothing is known.
func (c *cluster) upgraders(ctx context.Context) []Finding {
	const topic = "system-upgrade-controller"
	clusters, err := c.list(ctx, resource("fleet.cattle.io", "v1alpha1", "clusters"))
	if err != nil {
		if isMissing(err) {
			return nil // The finding about Fleet says so.
		}
		return []Finding{unseen(topic, "the clusters of Fleet", err)}
	}
	deployments, err := c.list(ctx, resource("fleet.cattle.io", "v1alpha1", "bundledeployments"))
	if err != nil {
		return []Finding{unseen(topic, "the BundleDeployments of Fleet", err)}
	}
	return upgradersOf(clusters, deployments)
}

// upgradersOf is upgraders for what was read.
func upgradersOf(clusters, deployments []unstructured.Unstructured) []Finding {
	const topic = "system-upgrade-controller"
	known, unknown := 0, 0
	var findings []Finding
	for _, cluster := range clusters {
		namespace, _, _ := unstructured.NestedString(cluster.Object, "status", "namespace")
		there, wrong := upgraderIn(namespace, deployments)
		switch {
		case wrong != "":
			findings = append(findings, found(topic, "cluster %s/%s: %s", cluster.GetNamespace(), cluster.GetName(), wrong).
				at(Problem, "install system-upgrade-controller there, or look at why it is not ready; Rancher brings it to the clusters that it provisions"))
		case there:
			known++
		default:
			unknown++
		}
	}
	if len(findings) > most {
		findings = append(findings[:most], found(topic, "%d more clusters are without it", len(findings)-most).at(Problem, "see above"))
	}
	if known > 0 {
		findings = append(findings, ok(topic, "%d of %d clusters have it, by what Fleet says of it or of the Plans that it was given", known, len(clusters)))
	}
	if unknown > 0 {
		findings = append(findings, found(topic, "it cannot be seen from here whether the other %d of %d clusters have it: Fleet has brought neither it nor a Plan there", unknown, len(clusters)).
			at(Skipped, "look there for the Deployment system-upgrade-controller in cattle-system; the first rollout shows it, too"))
	}
	if len(clusters) == 0 {
		findings = append(findings, ok(topic, "there are no clusters yet"))
	}
	return findings
}

// upgraderIn tells what Fleet says of one cluster, whose BundleDeployments are in a namespace of its own.
func upgraderIn(namespace string, deployments []unstructured.Unstructured) (there bool, wrong string) {
	for _, object := range deployments {
		if namespace == "" || object.GetNamespace() != namespace {
			continue
		}
		deployment, err := decode[fleetv1.BundleDeployment](&object)
		if err != nil {
			continue
		}
		_, ofOurs := object.GetLabels()[v1.LabelRollout]
		isUpgrader := strings.Contains(object.GetName(), "system-upgrade-controller")
		said := messageOf(deployment)
		switch {
		case ofOurs && strings.Contains(said, "no matches for kind") && strings.Contains(said, "upgrade.cattle.io"):
			return false, "it does not know the kind Plan, which system-upgrade-controller brings"
		case isUpgrader && !deployment.Status.Ready && said != "":
			return false, fmt.Sprintf("Fleet says of its system-upgrade-controller: %.300s", said)
		case (isUpgrader || ofOurs) && deployment.Status.Ready:
			there = true
		}
	}
	return there, ""
}

// messageOf is what Fleet says of a deployment that is not as it should be.
func messageOf(deployment *fleetv1.BundleDeployment) string {
	var said []string
	for _, condition := range deployment.Status.Conditions {
		if condition.Status != "True" && condition.Message != "" && !slices.Contains(said, condition.Message) {
			said = append(said, condition.Message)
		}
	}
	return strings.Join(said, "; ")
}
