package v1

import (
	fleetv1 "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	upgradev1 "github.com/rancher/system-upgrade-controller/pkg/apis/upgrade.cattle.io/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// +genclient
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=managedosimages,scope=Namespaced,shortName=mosimage,categories=rancheros
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Image",type=string,JSONPath=`.status.image`
// +kubebuilder:printcolumn:name="Progress",type=string,JSONPath=`.status.summary`
// +kubebuilder:printcolumn:name="Failed",type=integer,JSONPath=`.status.nodes.failed`
// +kubebuilder:printcolumn:name="Delivered",type=string,priority=1,JSONPath=`.status.bundle.delivered`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63",message="metadata.name must be at most 63 characters: it becomes a label value"

// ManagedOSImage says which OS image the nodes of the targeted clusters run. The upgrade runs once on each selected node,
// a few at a time.
//
// In the namespace fleet-local it is about the nodes of the cluster that Rancher itself runs in; elsewhere about the
// clusters of that namespace (usually fleet-default) that clusterTargets selects. Whoever may write one is root on
// each of those nodes.
type ManagedOSImage struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// The image, the nodes, and how to go about it.
	// +optional
	Spec ManagedOSImageSpec `json:"spec,omitempty"`
	// How far it has come.
	// +optional
	Status ManagedOSImageStatus `json:"status,omitempty"`
}

// ManagedOSImageSpec says which image, on which nodes, and how to go about it.
//
// +kubebuilder:validation:XValidation:rule="!has(self.targets) || !has(self.clusterTargets) || self.targets.size() == 0 || self.clusterTargets.size() == 0 || dyn(self.targets) == dyn(self.clusterTargets)",message="targets and clusterTargets mean the same: give one of them, or the same list in both",fieldPath=".targets"
// +kubebuilder:validation:XValidation:rule="!has(self.maxFailures) || dyn(self.maxFailures) == null || !has(self.cordon) || dyn(self.cordon) != false || (has(self.drain) && dyn(self.drain) != null)",message="maxFailures needs cordon or drain: a node that has failed is known by being cordoned still",fieldPath=".maxFailures"
type ManagedOSImageSpec struct {
	// The OS image to run: registry.example.com:5000/rancher/os2:v1.2.3, with a tag, a digest or both.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule=`self == '' || self.matches(r'^(([a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?(:[0-9]{1,5})?|\[[0-9a-fA-F:]+\](:[0-9]{1,5})?)/)?[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[a-f0-9]{64})?$')`,message="osImage must be an image reference such as registry.example.com:5000/rancher/os2:v1.2.3 or rancher/os2@sha256:<64 hex digits>"
	OSImage string `json:"osImage,omitempty"`

	// A ManagedOSVersion in this namespace whose image to run. osImage wins when both are given.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule=`self == '' || self.matches(r'^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')`,message="managedOSVersionName must be the name of a ManagedOSVersion in this namespace"
	ManagedOSVersionName string `json:"managedOSVersionName,omitempty"`

	// A ManagedOSVersionChannel in this namespace whose newest version to run, now and later; release candidates only while
	// it has nothing else. osImage and managedOSVersionName win when they are given, too.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule=`self == '' || self.matches(r'^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')`,message="managedOSVersionChannelName must be the name of a ManagedOSVersionChannel in this namespace"
	ManagedOSVersionChannelName string `json:"managedOSVersionChannelName,omitempty"`

	// Which nodes of the targeted clusters to upgrade, by their labels. Null or empty: all of them.
	// +optional
	// +nullable
	NodeSelector *metav1.LabelSelector `json:"nodeSelector,omitempty"`

	// How many nodes of a cluster to upgrade at the same time. Default 1; 0 pauses the rollout.
	// +optional
	// +nullable
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Concurrency *int64 `json:"concurrency,omitempty"`

	// An action to perform on each node before it is upgraded.
	// +optional
	// +nullable
	Prepare *ContainerSpec `json:"prepare,omitempty"`

	// Whether to mark the node unschedulable while it is upgraded. Default true. Draining does so in any case.
	// +optional
	// +nullable
	Cordon *bool `json:"cordon,omitempty"`

	// How to move the workloads off the node before it is upgraded. Null: they are left where they are.
	// +optional
	// +nullable
	Drain *DrainSpec `json:"drain,omitempty"`

	// Runs the upgrade instead of the OS image's own upgrade command. Its image overrides osImage for that.
	// +optional
	// +nullable
	UpgradeContainer *ContainerSpec `json:"upgradeContainer,omitempty"`

	// A cloud-config for the nodes, given to the upgrade in the file /run/data/cloud-config. It travels as a Secret.
	// +optional
	// +nullable
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Type=object
	// +kubebuilder:validation:MaxProperties=256
	CloudConfig *runtime.RawExtension `json:"cloudConfig,omitempty"`

	// Which clusters of this namespace to target, in Fleet's syntax. Must be empty in fleet-local.
	// +optional
	// +nullable
	// +kubebuilder:validation:MaxItems=256
	ClusterTargets []ClusterTarget `json:"clusterTargets,omitempty"`

	// Another name of clusterTargets.
	// +optional
	// +nullable
	// +kubebuilder:validation:MaxItems=256
	Targets []ClusterTarget `json:"targets,omitempty"`

	// In which order and how many clusters at a time, in Fleet's terms.
	// +optional
	// +nullable
	// +kubebuilder:validation:XValidation:rule=`!has(self.maxUnavailable) || (type(self.maxUnavailable) == int ? self.maxUnavailable >= 0 : self.maxUnavailable.matches('^(100|[1-9]?[0-9])%$'))`,message="maxUnavailable must be a number of clusters or a percentage from 0% to 100%",fieldPath=".maxUnavailable"
	// +kubebuilder:validation:XValidation:rule=`!has(self.maxUnavailablePartitions) || (type(self.maxUnavailablePartitions) == int ? self.maxUnavailablePartitions >= 0 : self.maxUnavailablePartitions.matches('^(100|[1-9]?[0-9])%$'))`,message="maxUnavailablePartitions must be a number of partitions or a percentage from 0% to 100%",fieldPath=".maxUnavailablePartitions"
	// +kubebuilder:validation:XValidation:rule=`!has(self.autoPartitionSize) || (type(self.autoPartitionSize) == int ? self.autoPartitionSize >= 0 : self.autoPartitionSize.matches('^(100|[1-9]?[0-9])%$'))`,message="autoPartitionSize must be a number of clusters or a percentage from 0% to 100%",fieldPath=".autoPartitionSize"
	ClusterRolloutStrategy *fleetv1.RolloutStrategy `json:"clusterRolloutStrategy,omitempty"`

	// When upgrades may start: days, and a time of day. A node that has started finishes.
	// +optional
	// +nullable
	Window *WindowSpec `json:"window,omitempty"`

	// How long the upgrade of one node may take, from the cordon to its end: a duration such as 90m, or a number of seconds.
	// What takes longer is stopped, and counts as failed; it is tried again where concurrency is not 0. Default 1h.
	// +optional
	// +nullable
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:XValidation:rule=`type(self) == int ? self >= 1 && self <= 604800 : self.matches(r'^([0-9]{1,6}(\.[0-9]{1,3})?(h|m|s|ms))+$') && duration(self) >= duration('1s') && duration(self) <= duration('168h')`,message="nodeTimeout must be a duration such as 90m, or a number of seconds, from 1s to 168h"
	NodeTimeout *intstr.IntOrString `json:"nodeTimeout,omitempty"`

	// Halts the rollout, in all clusters, once so many nodes have failed or fallen back: no further node starts. To go on,
	// raise it, or change the image. Absent: only clusters whose nodes fail come to a stop by themselves.
	// +optional
	// +nullable
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	MaxFailures *int32 `json:"maxFailures,omitempty"`

	// Whether nodes that run a newer version go back to this one. Default false: they are left alone, and counted as blocked.
	// +optional
	AllowDowngrade bool `json:"allowDowngrade,omitempty"`

	// Names of Secrets in the namespace cattle-system of the targeted clusters with which to pull the image.
	// +optional
	// +nullable
	// +kubebuilder:validation:MaxItems=16
	ImagePullSecrets []corev1.LocalObjectReference `json:"imagePullSecrets,omitempty"`
}

// ContainerSpec is a container that runs on a node as root, with the node's filesystem at /host.
type ContainerSpec struct {
	// The image. Without a tag or digest: its tag latest.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^(([a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?(:[0-9]{1,5})?|\[[0-9a-fA-F:]+\](:[0-9]{1,5})?)/)?[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[a-f0-9]{64})?$')`,message="image must be an image reference such as registry.example.com:5000/tools/prepare:v1"
	Image string `json:"image"`
	// The command, as a list of words. Default: the image's own.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	Command []string `json:"command,omitempty"`
	// The command's arguments.
	// +optional
	// +kubebuilder:validation:MaxItems=256
	Args []string `json:"args,omitempty"`
	// Environment variables.
	// +optional
	// +kubebuilder:validation:MaxItems=256
	Env []corev1.EnvVar `json:"env,omitempty"`
	// ConfigMaps and Secrets, in the namespace cattle-system of the targeted clusters, to take environment variables from.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	EnvFrom []corev1.EnvFromSource `json:"envFrom,omitempty"`
	// Folders of the node to mount into the container.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	Volumes []upgradev1.VolumeSpec `json:"volumes,omitempty"`
	// The container's security context. Default: privileged.
	// +optional
	SecurityContext *corev1.SecurityContext `json:"securityContext,omitempty"`
}

// DrainSpec says how a node is drained; the words are those of `kubectl drain --help`.
//
// +kubebuilder:validation:XValidation:rule="!has(self.deleteLocalData) || !has(self.deleteEmptydirData) || self.deleteLocalData == self.deleteEmptydirData",message="deleteLocalData and deleteEmptydirData mean the same: give one of them, or the same value in both",fieldPath=".deleteEmptydirData"
type DrainSpec struct {
	// How long to wait for the drain before giving up: a duration such as 5m, or a number of seconds. 0 or absent waits
	// for ever.
	// +optional
	// +nullable
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:XValidation:rule=`type(self) == int ? self >= 0 && self <= 604800 : self.matches(r'^([0-9]{1,6}(\.[0-9]{1,3})?(h|m|s|ms))+$') && duration(self) <= duration('168h')`,message="timeout must be a duration such as 5m or 300s, or a number of seconds, and at most a week"
	Timeout *intstr.IntOrString `json:"timeout,omitempty"`

	// How long each pod may take to end: a duration such as 5m, or a number of seconds. Absent or -1: the pod's own
	// grace period.
	// +optional
	// +nullable
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:XValidation:rule=`type(self) == int ? self >= -1 && self <= 604800 : self.matches(r'^([0-9]{1,6}(\.[0-9]{1,3})?(h|m|s|ms))+$') && duration(self) <= duration('168h')`,message="gracePeriod must be a duration such as 5m or 300s, or a number of seconds (-1 for the pod's own), and at most a week"
	GracePeriod *intstr.IntOrString `json:"gracePeriod,omitempty"`

	// Whether to go on although pods use emptyDir volumes, whose data is lost.
	// +optional
	// +nullable
	DeleteLocalData *bool `json:"deleteLocalData,omitempty"`
	// The present name of deleteLocalData in kubectl.
	// +optional
	// +nullable
	DeleteEmptydirData *bool `json:"deleteEmptydirData,omitempty"`
	// Whether to leave the pods of DaemonSets alone. Without it the drain fails where there are any. Default true.
	// +optional
	// +nullable
	IgnoreDaemonSets *bool `json:"ignoreDaemonSets,omitempty"`
	// Whether to delete pods that no controller will make again.
	// +optional
	Force bool `json:"force,omitempty"`
	// Whether to delete pods instead of evicting them, and so not to ask PodDisruptionBudgets.
	// +optional
	DisableEviction bool `json:"disableEviction,omitempty"`
	// Do not wait for pods that have been ending for longer than this many seconds.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=604800
	SkipWaitForDeleteTimeout int `json:"skipWaitForDeleteTimeout,omitempty"`
	// Which pods to move, by their labels. Null: all of them.
	// +optional
	// +nullable
	PodSelector *metav1.LabelSelector `json:"podSelector,omitempty"`
}

// ClusterTarget selects clusters of the namespace: by name, by labels, or by cluster group. A cluster is selected when
// all that is given fits it.
//
// +kubebuilder:validation:XValidation:rule="has(self.clusterName) || has(self.clusterSelector) || has(self.clusterGroup) || has(self.clusterGroupSelector)",message="a target must have a clusterName, clusterSelector, clusterGroup or clusterGroupSelector; clusterSelector: {} selects every cluster of the namespace"
type ClusterTarget struct {
	// The target's own name, shown in Fleet.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
	// The name of a cluster.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ClusterName string `json:"clusterName,omitempty"`
	// Labels of clusters. {} selects every one.
	// +optional
	ClusterSelector *metav1.LabelSelector `json:"clusterSelector,omitempty"`
	// The name of a Fleet ClusterGroup.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ClusterGroup string `json:"clusterGroup,omitempty"`
	// Labels of Fleet ClusterGroups.
	// +optional
	ClusterGroupSelector *metav1.LabelSelector `json:"clusterGroupSelector,omitempty"`
}

// WindowSpec is when upgrades may start.
//
// +kubebuilder:validation:XValidation:rule="has(self.days) || has(self.startTime) || has(self.endTime)",message="window must have days, a startTime or an endTime"
type WindowSpec struct {
	// Days of the week: monday, mo, 1 and so on. Absent: every day.
	// +optional
	// +kubebuilder:validation:MaxItems=7
	Days []upgradev1.Day `json:"days,omitempty"`
	// When the window opens, such as 22:00 or 10pm. Absent: at 00:00.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	StartTime string `json:"startTime,omitempty"`
	// When the window closes, such as 04:00 or 4am. Absent: at the end of the day.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	EndTime string `json:"endTime,omitempty"`
	// The time zone's name, such as Europe/Berlin. Default UTC.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	TimeZone string `json:"timeZone,omitempty"`
}
