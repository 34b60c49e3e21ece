package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ManagedOSImageStatus says how far the rollout has come.
type ManagedOSImageStatus struct {
	// The spec's generation that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Delivered: the targeted clusters have the plan. Progressing: nodes are on their way. Degraded: nodes failed or fell
	// back. Conflict: another image has a targeted cluster first. Ready: every node that can be reached runs the image.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// The image that is rolled out, complete with the registry that Rancher's system-default-registry adds.
	// +optional
	Image string `json:"image,omitempty"`

	// Nodes that run the image, of those that are to run it: 7/10.
	// +optional
	Summary string `json:"summary,omitempty"`

	// The selected nodes of the targeted clusters, counted by what they are at. Each counts once.
	// +optional
	Nodes *NodeCounts `json:"nodes,omitempty"`

	// The targeted clusters, counted by what they are at. Each counts once.
	// +optional
	Clusters *ClusterCounts `json:"clusters,omitempty"`

	// The nodes that somebody should look at, with the reason: those that failed first, then those that fell back and those
	// that are blocked. At most 50; the counts are exact.
	// +optional
	// +listType=atomic
	Attention []NodeReport `json:"attention,omitempty"`

	// While nothing is started, because concurrency is 0 or no release is known yet: what would be. At most 50 clusters.
	// +optional
	// +listType=atomic
	Preview []ClusterPreview `json:"preview,omitempty"`

	// The clusters that another image has first, and which. At most 50; clusters.conflict is exact.
	// +optional
	// +listType=atomic
	Conflicts []ImageConflict `json:"conflicts,omitempty"`

	// The rollout that is under way.
	// +optional
	Rollout *RolloutStatus `json:"rollout,omitempty"`

	// The Fleet Bundle that carries the plan. It says what was delivered, not what was done.
	// +optional
	Bundle *BundleStatus `json:"bundle,omitempty"`
}

// NodeCounts are nodes by what they are at; the sum of all but total is total.
type NodeCounts struct {
	// All of them.
	Total int `json:"total"`
	// They run the image.
	UpToDate int `json:"upToDate"`
	// Their upgrade has begun.
	Updating int `json:"updating"`
	// Their turn will come.
	Pending int `json:"pending"`
	// Their upgrade did not come to its end in time.
	Failed int `json:"failed"`
	// Their upgrade came to its end, and yet they run what they ran before.
	FellBack int `json:"fellBack"`
	// They are not upgraded as things are; attention says why.
	Blocked int `json:"blocked"`
	// They have not been heard of; what they run is not known.
	Offline int `json:"offline"`
}

// ClusterCounts are clusters by what they are at: the worst of their nodes.
type ClusterCounts struct {
	// All of them.
	Total int `json:"total"`
	// Every node that can be reached runs the image; also a cluster without nodes.
	UpToDate int `json:"upToDate"`
	// Nodes are being upgraded.
	Updating int `json:"updating"`
	// Nodes wait for their turn, and none is being upgraded.
	Pending int `json:"pending"`
	// Nodes have failed or fallen back.
	Failed int `json:"failed"`
	// Nodes are blocked, and none waits or is being upgraded.
	Blocked int `json:"blocked"`
	// The cluster cannot be reached.
	Offline int `json:"offline"`
	// Another image has the cluster first; it gets nothing from this one.
	Conflict int `json:"conflict"`
}

// NodeReport is a node that somebody should look at.
type NodeReport struct {
	// The cluster's name, as in clusterTargets.
	Cluster string `json:"cluster"`
	// The node's name in that cluster; empty where the whole cluster is concerned.
	// +optional
	Node string `json:"node,omitempty"`
	// Failed, FellBack, Blocked or Offline.
	State string `json:"state"`
	// Why, in one word.
	// +optional
	Reason string `json:"reason,omitempty"`
	// Why, and what to do.
	// +optional
	Message string `json:"message,omitempty"`
	// Since when, as far as the node tells.
	// +optional
	Since *metav1.Time `json:"since,omitempty"`
}

// ClusterPreview is what would happen to one cluster.
type ClusterPreview struct {
	// The cluster's name, as in clusterTargets.
	Cluster string `json:"cluster"`
	// How many of its nodes would be upgraded.
	Upgrade int `json:"upgrade"`
	// The first of them, at most 10.
	// +optional
	// +listType=atomic
	Nodes []string `json:"nodes,omitempty"`
	// How many would not be; attention says which and why.
	// +optional
	Blocked int `json:"blocked,omitempty"`
	// Why none would be, where the whole cluster is concerned.
	// +optional
	Message string `json:"message,omitempty"`
}

// ImageConflict is a cluster that another image has first.
type ImageConflict struct {
	// The cluster's name, as in clusterTargets.
	Cluster string `json:"cluster"`
	// The ManagedOSImage that has it: the older one of the two.
	Image string `json:"image"`
}

// RolloutStatus is what has to be remembered of a rollout.
type RolloutStatus struct {
	// The hash by which nodes mark that they are done: the value of their label plan.upgrade.cattle.io/<plan>.
	Hash string `json:"hash"`
	// Since when this rollout is asked for. A node that was cordoned before was not cordoned by it.
	StartedAt metav1.Time `json:"startedAt"`
	// The most nodes that were at fault, failed or fallen back, at one time. With maxFailures at most this the rollout is
	// halted, until maxFailures is raised or another image is given.
	// +optional
	Failures int `json:"failures,omitempty"`
}

// BundleStatus is the Fleet Bundle's own account of how many clusters have received the plan.
type BundleStatus struct {
	// The Bundle's name; it is in the same namespace.
	Name string `json:"name"`
	// Clusters that have the plan, of those that are to have it: 3/4.
	// +optional
	Delivered string `json:"delivered,omitempty"`
	// How many clusters have the plan.
	// +optional
	Ready int `json:"ready"`
	// How many clusters are to have it.
	// +optional
	Desired int `json:"desired"`
}

// Conditions and reasons of a ManagedOSImage.
const (
	// ConditionDelivered tells whether every targeted cluster has received the upgrade plan. Where it is not True, read its
	// message: it says what is in the way.
	ConditionDelivered = "Delivered"
	// ConditionProgressing tells whether nodes are on their way. Where it is False before Ready is True, read its message: it
	// says what stands still.
	ConditionProgressing = "Progressing"
	// ConditionDegraded tells whether nodes failed or fell back. Where it is True, look at status.attention.
	ConditionDegraded = "Degraded"
	// ConditionConflict tells whether another image has a targeted cluster first. Where it is True, read its message: it says
	// which.
	ConditionConflict = "Conflict"

	// ReasonNothingToDo: none of osImage, managedOSVersionName and managedOSVersionChannelName is given. Give one of them to
	// upgrade nodes, or delete the ManagedOSImage; until then nodes stay as they are, and a rollout that is under way goes on.
	ReasonNothingToDo = "NothingToDo"
	// ReasonNoTargets: no cluster is targeted. Give clusterTargets; clusterSelector: {} selects every cluster of the
	// namespace.
	ReasonNoTargets = "NoTargets"
	// ReasonNoClusterMatches: clusterTargets selects no cluster of this namespace. Correct it, or create the cluster.
	ReasonNoClusterMatches = "NoClusterMatches"
	// ReasonTargetsInFleetLocal: fleet-local is about Rancher's own cluster and takes no targets. Remove them, or move
	// the object to the clusters' namespace.
	ReasonTargetsInFleetLocal = "TargetsInFleetLocal"
	// ReasonVersionNotFound: the ManagedOSVersion does not exist in this namespace. Create it, or correct the name.
	ReasonVersionNotFound = "VersionNotFound"
	// ReasonVersionWithoutImage: the ManagedOSVersion has no metadata.upgradeImage that is an image reference. Add it.
	ReasonVersionWithoutImage = "VersionWithoutImage"
	// ReasonForeignBundle: a Bundle of the name that this image's would have exists and is not the operator's. Delete or
	// rename it.
	ReasonForeignBundle = "ForeignBundle"
	// ReasonFleetTooOld: Fleet before 0.16 does not carry the cloud-config's Secret to the clusters, and the plan waits for
	// it there. Upgrade Fleet, or remove spec.cloudConfig.
	ReasonFleetTooOld = "FleetTooOld"
	// ReasonDelivering: Fleet has not brought the plan to every targeted cluster yet. Wait; clusters that are offline get it
	// when they return. When it stays so, look at the Bundle of the name in status.bundle.
	ReasonDelivering = "Delivering"
	// ReasonDelivered: every targeted cluster has the plan, and works on it by itself; nothing to do.
	ReasonDelivered = "Delivered"
	// ReasonPaused: concurrency is 0. Set it to 1 or more to go on; status.preview says what will happen then.
	ReasonPaused = "Paused"
	// ReasonHalted: as many nodes as maxFailures have failed or fallen back, and no further one starts. Look at
	// status.attention; then raise maxFailures to go on, or give another image.
	ReasonHalted = "Halted"
	// ReasonNodesFailed: nodes failed or fell back. Look at status.attention, and on the cluster at the Plan and its Jobs in
	// the namespace cattle-system; the upgrade is tried again there by itself.
	ReasonNodesFailed = "NodesFailed"
	// ReasonNodesBlocked: all that is left are nodes that are not upgraded as things are. Look at status.attention: each has
	// its reason and the way out.
	ReasonNodesBlocked = "NodesBlocked"
	// ReasonUpdating: nodes are being upgraded, or wait for their turn. Wait; status.nodes has the numbers.
	ReasonUpdating = "Updating"
	// ReasonNoNodes: the targeted clusters have no node that nodeSelector selects, or none that can be reached. Correct
	// nodeSelector, or wait until nodes join.
	ReasonNoNodes = "NoNodes"
	// ReasonNodesHealthy: no node has failed; nothing to do.
	ReasonNodesHealthy = "NodesHealthy"
	// ReasonOlderImage: an older ManagedOSImage selects nodes of a targeted cluster, which gets nothing from this one. Delete
	// one of the two, or correct clusterTargets or nodeSelector so that they do not meet.
	ReasonOlderImage = "OlderImage"
	// ReasonNoConflict: no other image has a targeted cluster first; nothing to do.
	ReasonNoConflict = "NoConflict"
)

// Why a node is in status.attention.
const (
	// NodeReasonTimeout: the upgrade began, and did not come to its end within nodeTimeout. Look at the Plan in the cluster.
	NodeReasonTimeout = "Timeout"
	// NodeReasonOldOS: the upgrade came to its end, but the node runs the older OS. Look at the node's console: it has
	// probably not booted the new one.
	NodeReasonOldOS = "OldOS"
	// NodeReasonMinVersion: no known release leads from what the node runs to the image. Create the ManagedOSVersion between,
	// or upgrade the node by hand.
	NodeReasonMinVersion = "MinVersion"
	// NodeReasonNewer: the node runs a newer version. Set allowDowngrade to go back to the older one.
	NodeReasonNewer = "Newer"
	// NodeReasonHeld: somebody holds the node or its cluster by the label rancheros.cattle.io/hold-upgrades. Remove it to go on.
	NodeReasonHeld = "Held"
	// NodeReasonWindow: the window is closed. Wait until it opens.
	NodeReasonWindow = "Window"
	// NodeReasonPartition: Fleet holds the cluster back until others are through. Wait, or change clusterRolloutStrategy.
	NodeReasonPartition = "Partition"
	// NodeReasonPaused: concurrency is 0. Set it to 1 or more to go on.
	NodeReasonPaused = "Paused"
	// NodeReasonHalted: maxFailures has been reached. Raise it to go on.
	NodeReasonHalted = "Halted"
	// NodeReasonNotApplied: Fleet could not bring the plan into the cluster. Read its message, which is Fleet's.
	NodeReasonNotApplied = "NotApplied"
	// NodeReasonDisconnected: the node, or its whole cluster, has not been heard of. Look at its power and network;
	// it goes on by itself when it is back.
	NodeReasonDisconnected = "Disconnected"
)
