package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// +genclient
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=machineclaims,scope=Namespaced,shortName=mclaim,categories=rancheros
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Cluster",type=string,JSONPath=`.spec.clusterName`
// +kubebuilder:printcolumn:name="Claimed",type=string,JSONPath=`.status.summary`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63",message="metadata.name must be at most 63 characters: it becomes a label value"

// MachineClaim takes machines that are free for one Cluster of its namespace: so many for each pool, chosen by their
// labels. What it has taken says so in the label rancheros.cattle.io/claim; a machine that is assigned to another cluster by
// hand, or whose label is removed, is the claim's no more. Deleting the claim releases its machines.
type MachineClaim struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Which machines the cluster gets.
	Spec MachineClaimSpec `json:"spec"`
	// Which ones it has got, and what it lacks.
	// +optional
	Status MachineClaimStatus `json:"status,omitempty"`
}

// MachineClaimSpec says which machines the cluster gets.
type MachineClaimSpec struct {
	// The provisioning.cattle.io Cluster, in this namespace, that the machines join. It may not exist yet. Naming another
	// one releases the machines of the former, and claims anew.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')`,message="clusterName must be the name of a Cluster: lower-case letters, digits and '-'"
	ClusterName string `json:"clusterName"`

	// Groups of machines that are alike. A machine that fits several goes to the first of them.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +kubebuilder:validation:XValidation:rule="self.all(a, self.exists_one(b, a.name == b.name))",message="pools must not hold the same name twice"
	Pools []MachinePool `json:"pools"`
}

// MachinePool is a number of machines that are alike.
//
// +kubebuilder:validation:XValidation:rule="!has(self.config) || self.config == null || !has(self.config.role)",message="config.role belongs beside config: set the pool's role"
// +kubebuilder:validation:XValidation:rule="!has(self.config) || self.config == null || (!has(self.config.nodeName) && !has(self.config.address) && !has(self.config.internalAddress))",message="config must not hold nodeName, address or internalAddress: they are each machine's own, set them in its MachineInventory"
type MachinePool struct {
	// The pool's name, for the status and for people.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')`,message="a pool's name must be made of lower-case letters, digits and '-'"
	Name string `json:"name"`

	// How many machines. Fewer than before releases the newest ones.
	// +kubebuilder:validation:XValidation:rule="self >= 0 && self <= 1000",message="replicas must be between 0 and 1000"
	Replicas int32 `json:"replicas"`

	// What the nodes are in their cluster: server (etcd, control plane and worker), agent (worker), cluster-init, or any of
	// etcd, control-plane and worker joined by commas. A machine that has another role of its own is not claimed.
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule=`self.matches('^(server|agent|cluster-init|(etcd|control-plane|controlplane|worker)(,(etcd|control-plane|controlplane|worker))*)$')`,message="role must be server, agent or cluster-init, or a comma-joined list of etcd, control-plane and worker"
	Role string `json:"role"`

	// Which machines fit, by the labels of their MachineInventory. Null or empty: any. It is asked when a machine is
	// claimed, not afterwards.
	// +optional
	// +nullable
	Selector *MachineSelector `json:"selector,omitempty"`

	// What else goes into spec.config of the claimed machines: labels, taints and any other key. What a machine's own config
	// says already stays as it is.
	// +optional
	// +nullable
	Config *MachineConfig `json:"config,omitempty"`
}

// MachineSelector selects machines by their labels, as a Kubernetes label selector does: all that is given must fit.
type MachineSelector struct {
	// Labels that a machine must have, with these values.
	// +optional
	// +nullable
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule=`self.all(k, k.matches(r'^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))`,message="a key of matchLabels is not a label key: use an optional DNS prefix and '/', then at most 63 letters, digits, '-', '_' or '.'"
	// +kubebuilder:validation:XValidation:rule=`self.all(k, self[k].matches(r'^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$'))`,message="a value of matchLabels is not a label value: use at most 63 letters, digits, '-', '_' or '.'"
	MatchLabels map[string]LabelValue `json:"matchLabels,omitempty"`

	// What else must be so of a machine's labels.
	// +optional
	// +nullable
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	MatchExpressions []MachineSelectorRequirement `json:"matchExpressions,omitempty"`
}

// LabelValue is the value of a label.
// +kubebuilder:validation:MaxLength=63
type LabelValue string

// MachineSelectorRequirement is one thing that must be so of a machine's labels.
//
// +kubebuilder:validation:XValidation:rule="(self.operator == 'In' || self.operator == 'NotIn') == (has(self.values) && self.values.size() > 0)",message="values must be given with the operators In and NotIn, and left out with Exists and DoesNotExist"
type MachineSelectorRequirement struct {
	// The label's key.
	// +kubebuilder:validation:MaxLength=316
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$')`,message="a selector's key must be a label key: an optional DNS prefix and '/', then at most 63 letters, digits, '-', '_' or '.'"
	Key string `json:"key"`
	// In, NotIn, Exists or DoesNotExist.
	// +kubebuilder:validation:Enum=In;NotIn;Exists;DoesNotExist
	Operator metav1.LabelSelectorOperator `json:"operator"`
	// The values of In and NotIn.
	// +optional
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:XValidation:rule=`self.all(v, v.matches(r'^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$'))`,message="values of a selector must be label values: at most 63 letters, digits, '-', '_' or '.'"
	// +listType=atomic
	Values []LabelValue `json:"values,omitempty"`
}

// MachineClaimStatus says which machines the cluster has got.
type MachineClaimStatus struct {
	// The spec's generation that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Ready: every pool has its machines.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// How many machines are claimed, of how many: 2/3.
	// +optional
	Summary string `json:"summary,omitempty"`

	// The same for each pool of the spec.
	// +optional
	// +listType=map
	// +listMapKey=name
	Pools []MachinePoolStatus `json:"pools,omitempty"`

	// The names of the claimed machines, at most 100 of them. All of them are
	// `kubectl get machineinventories -l rancheros.cattle.io/claim=<name>`.
	// +optional
	// +listType=atomic
	Machines []string `json:"machines,omitempty"`
}

// MachinePoolStatus is what one pool has got.
type MachinePoolStatus struct {
	// The pool's name.
	Name string `json:"name"`
	// How many machines it asks for.
	Wanted int32 `json:"wanted"`
	// How many it has.
	Claimed int32 `json:"claimed"`
	// How many machines of the namespace its selector matches, whoever has them. Counted while the pool lacks some.
	// +optional
	Matched *int32 `json:"matched,omitempty"`
}

// Conditions and reasons of a MachineClaim.
const (
	// ReasonTooFewMachines: a pool has fewer machines than it asks for. Read the message, which says who has those that match.
	// Register, approve, release or label more machines, or lower the pool's replicas; what becomes free is claimed by itself.
	ReasonTooFewMachines = "TooFewMachines"
	// ReasonClaimed, an Event of a machine: a MachineClaim has assigned it to its cluster; nothing to do.
	ReasonClaimed = "Claimed"
	// ReasonClaimReleased, an Event of a machine: its MachineClaim has released it, since it asks for fewer machines, for
	// another cluster, or is deleted; nothing to do.
	ReasonClaimReleased = "ClaimReleased"
	// ReasonClaimLost, an Event of a machine: somebody has assigned it to another cluster by hand, or changed what the claim
	// keeps on it, so it is the claim's no more; nothing to do. Clear spec.clusterName to give it back to whoever claims it.
	ReasonClaimLost = "ClaimLost"
)
