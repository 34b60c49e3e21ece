package supportbundle

import (
	"k8s.io/apimachinery/pkg/runtime/schema"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// fields are those of an object that are shown, and of these again; nil shows all that is below. "*" stands for every key.
// Lists are looked through.
type fields map[string]fields

// kind is one whose objects are packed.
type kind struct {
	resource schema.GroupVersionResource
	// selector narrows them by their labels.
	selector string
	// shown are their fields beside metadata.
	shown fields
}

// some makes fields of which each is shown in full.
func some(names ...string) fields {
	all := fields{}
	for _, name := range names {
		all[name] = nil
	}
	return all
}

// and adds to a copy of the fields.
func (f fields) and(more fields) fields {
	all := fields{}
	for _, part := range []fields{f, more} {
		for name, below := range part {
			all[name] = below
		}
	}
	return all
}

// metadata is shown alike of every kind. Annotations hold whatever somebody wanted to keep, whole manifests among it.
var metadata = some("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation",
	"resourceVersion", "finalizers", "labels", "ownerReferences").and(fields{"annotations": some(
	v1.AnnotationApplied, v1.AnnotationReplaced, v1.AnnotationEndorsementCertificate, v1.AnnotationRelease, v1.AnnotationAllowedNamespaces, v1.AnnotationRotateTokenGrace)})

// machineConfig is shown without the keys that are passed on as they are.
var machineConfig = some("role", "nodeName", "address", "internalAddress", "labels", "taints")

// container is shown without what it is told: commands, arguments and variables hold passwords.
var container = some("image").and(fields{"env": some("name")})

var pod = fields{
	"nodeName": nil, "serviceAccountName": nil, "priorityClassName": nil, "securityContext": nil, "topologySpreadConstraints": nil,
	"containers": some("name", "image", "args", "ports", "resources", "securityContext", "readinessProbe", "livenessProbe", "volumeMounts").and(fields{"env": some("name")}),
}

// summary is Fleet's count of clusters, without the patches in which it shows what somebody has changed there: whole manifests.
var summary = some("ready", "desiredReady", "notReady", "waitApplied", "errApplied", "outOfSync", "modified", "pending").and(fields{
	"nonReadyResources": some("name", "bundleState", "message")})

func ours(plural string, shown fields) kind {
	return kind{resource: v1.SchemeGroupVersion.WithResource(plural), shown: shown}
}

func foreign(group, version, plural, selector string, shown fields) kind {
	return kind{resource: schema.GroupVersionResource{Group: group, Version: version, Resource: plural}, selector: selector, shown: shown}
}

// kinds are all that are packed. A field that is new is not shown before it is named here.
func kinds() []kind {
	return []kind{
		ours("machineregistrations", fields{
			"spec":   some("machineName", "machineInventoryLabels", "admission", "paused"),
			"status": some("observedGeneration", "conditions", "tokenSecretName", "machines", "pending", "admitted"),
		}),
		ours("machineinventories", fields{
			"spec": some("clusterName", "clusterNamespace", "tpm", "tpmHash", "machineTokenSecretName", "approved", "replaces", "replacedBy").and(fields{
				"config": machineConfig, "smbios": {"System Information": some("Manufacturer", "Product Name", "Serial Number", "Version")}}),
			"status": nil,
		}),
		ours("machineclaims", fields{
			"spec":   {"clusterName": nil, "pools": some("name", "replicas", "role", "selector").and(fields{"config": machineConfig})},
			"status": nil,
		}),
		ours("managedosimages", fields{
			"spec": some("osImage", "managedOSVersionName", "managedOSVersionChannelName", "nodeSelector", "concurrency", "cordon", "drain", "clusterTargets",
				"targets", "clusterRolloutStrategy", "window", "nodeTimeout", "maxFailures", "allowDowngrade", "imagePullSecrets").and(fields{
				"prepare": container, "upgradeContainer": container}),
			"status": nil,
		}),
		ours("managedosversions", fields{
			"spec":   some("version", "type", "minVersion").and(fields{"metadata": some("upgradeImage"), "upgradeContainer": container}),
			"status": nil,
		}),
		ours("managedosversionchannels", fields{
			"spec": some("type", "url", "secretName", "insecure", "pollInterval", "suspend", "prune").and(fields{
				"options": some("timeout", "image"), "upgradeContainer": container}),
			"status": nil,
		}),
		ours("seedimages", fields{
			"spec": some("registrationName", "type", "baseChecksum", "expiresAt", "maxDownloads").and(fields{"netboot": some("kernel", "initrd")}),
			"status": some("observedGeneration", "conditions", "state", "tokenSecretName", "downloads", "size", "checksum").and(fields{
				"base": some("observedGeneration", "checksum", "method", "identity", "reason", "message")}),
		}),
		foreign("fleet.cattle.io", "v1alpha1", "bundles", v1.LabelRollout, fields{
			"spec":   some("targets", "rolloutStrategy", "paused").and(fields{"resources": some("name"), "downstreamResources": some("kind", "name")}),
			"status": some("conditions", "display", "observedGeneration", "unavailable").and(fields{"summary": summary}),
		}),
		foreign("fleet.cattle.io", "v1alpha1", "bundledeployments", v1.LabelRollout, fields{
			"spec": some("paused", "deploymentID", "stagedDeploymentID"),
			"status": some("conditions", "display", "ready", "nonModified", "appliedDeploymentID", "release", "observedGeneration").and(fields{
				"nonReadyStatus": some("apiVersion", "kind", "namespace", "name", "summary")}),
		}),
		foreign("fleet.cattle.io", "v1alpha1", "clusters", "", fields{"status": some("namespace", "conditions", "display").and(fields{"agent": some("lastSeen", "namespace")})}),
		foreign("provisioning.cattle.io", "v1", "clusters", "", fields{"status": some("clusterName", "conditions", "ready", "observedGeneration")}),
		foreign("management.cattle.io", "v3", "clusters", "", fields{"status": some("conditions", "version", "driver")}),
		foreign("management.cattle.io", "v3", "nodes", "", fields{"spec": {"internalNodeSpec": some("unschedulable", "taints")}, "status": {
			"nodeName": nil, "nodeLabels": nil, "conditions": nil, "internalNodeStatus": some("conditions", "nodeInfo")}}),
		foreign("management.cattle.io", "v3", "clusterregistrationtokens", v1.LabelMachine, fields{"spec": some("clusterName"), "status": some("tokenSecretName", "expiresAt")}),
		foreign("management.cattle.io", "v3", "apiservices", "", fields{"spec": nil, "status": some("conditions", "serviceAccountName", "serviceAccountNamespace")}),
	}
}

// of the operator's own namespace.
func operatorKinds() []kind {
	workload := fields{"spec": some("replicas", "strategy", "selector").and(fields{"template": {"spec": pod}}), "status": nil}
	return []kind{
		foreign("apps", "v1", "deployments", "", workload),
		foreign("", "v1", "pods", "", fields{"spec": pod, "status": nil}),
		foreign("coordination.k8s.io", "v1", "leases", "", fields{"spec": nil}),
		foreign("policy", "v1", "poddisruptionbudgets", "", fields{"spec": nil, "status": nil}),
	}
}

// settings of Rancher's that are packed; others hold secrets.
var settingNames = []string{"server-url", "cacerts", "server-version", "system-default-registry", "install-uuid", "agent-tls-mode"}

var setting = some("value", "default")

var event = some("involvedObject", "reason", "message", "type", "count", "firstTimestamp", "lastTimestamp", "source", "reportingComponent")
