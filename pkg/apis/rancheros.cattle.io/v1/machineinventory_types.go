package v1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// +genclient
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=machineinventories,scope=Namespaced,shortName=machine,categories=rancheros
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Cluster",type=string,JSONPath=`.spec.clusterName`
// +kubebuilder:printcolumn:name="Role",type=string,JSONPath=`.spec.config.role`
// +kubebuilder:printcolumn:name="Assurance",type=string,JSONPath=`.status.assurance`
// +kubebuilder:printcolumn:name="Hostname",type=string,JSONPath=`.status.hostname`,priority=1
// +kubebuilder:printcolumn:name="OS",type=string,JSONPath=`.status.osImage`,priority=1
// +kubebuilder:printcolumn:name="Seen",type=date,JSONPath=`.status.lastSeen`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Address",type=string,priority=1,JSONPath=`.spec.config.address`
// +kubebuilder:printcolumn:name="TPM",type=string,priority=1,JSONPath=`.status.tpmHash`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63",message="metadata.name must be at most 63 characters: it becomes a hostname and a label value"
// +kubebuilder:validation:XValidation:rule="!has(self.spec) || !has(self.spec.replaces) || self.spec.replaces != self.metadata.name",message="spec.replaces must name another MachineInventory: a machine cannot take its own place",fieldPath=".spec.replaces"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.status) || !has(oldSelf.status.replaced) || (has(self.spec) && has(self.spec.replaces) && self.spec.replaces == oldSelf.status.replaced.name)",message="spec.replaces cannot be changed once the machine has taken the other's place: it is the record of that",fieldPath=".spec.replaces"

// MachineInventory is one machine: who it is, and the cluster that it belongs to. Registering machines make their own;
// it may also be written beforehand, with the TPM hash that `rancheros-register tpm-hash` prints on the machine.
type MachineInventory struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Who the machine is and where it belongs.
	// +optional
	Spec MachineInventorySpec `json:"spec,omitempty"`
	// How far it has come.
	// +optional
	Status MachineInventoryStatus `json:"status,omitempty"`
}

// MachineInventorySpec says who the machine is and which cluster it joins.
//
// +kubebuilder:validation:XValidation:rule="!has(self.tpm) || !has(self.tpmHash) || self.tpm == self.tpmHash",message="tpm and tpmHash mean the same: give one of them, or the same value in both",fieldPath=".tpmHash"
// +kubebuilder:validation:XValidation:rule="(has(oldSelf.tpm) || has(oldSelf.tpmHash)) ? ((has(self.tpm) || has(self.tpmHash)) && (has(self.tpm) ? self.tpm : self.tpmHash) == (has(oldSelf.tpm) ? oldSelf.tpm : oldSelf.tpmHash)) : true",message="tpm cannot be changed or removed once set: it is the machine's identity. Delete this MachineInventory and make another for other hardware",fieldPath=".tpm"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.replacedBy) || oldSelf.replacedBy.size() == 0 || (has(self.replacedBy) && self.replacedBy == oldSelf.replacedBy)",message="replacedBy cannot be changed or removed: this machine's identity is revoked for good. Delete this MachineInventory to let the hardware register as a new machine",fieldPath=".replacedBy"
type MachineInventorySpec struct {
	// The provisioning.cattle.io Cluster to join. It may not exist yet: the machine joins when it appears. Clear it to
	// release the machine.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule=`self == '' || self.matches(r'^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')`,message="clusterName must be the name of a Cluster: lower-case letters, digits and '-'"
	ClusterName string `json:"clusterName,omitempty"`

	// The namespace of that Cluster. Default: this inventory's own. In any other namespace the Cluster must carry the
	// annotation rancheros.cattle.io/allowed-namespaces with this inventory's namespace in its comma-separated list.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule=`self == '' || self.matches(r'^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')`,message="clusterNamespace must be the name of a namespace: lower-case letters, digits and '-'"
	ClusterNamespace string `json:"clusterNamespace,omitempty"`

	// The machine's TPM: SHA-256, in 64 lower-case hex digits, of the DER (PKIX) of its endorsement public key.
	// `rancheros-register tpm-hash` prints it on the machine. Cannot be changed once set.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[0-9a-f]{64}$')`,message="tpm must be 64 lower-case hex digits, as `rancheros-register tpm-hash` prints them on the machine"
	TPM string `json:"tpm,omitempty"`

	// Another name of tpm.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[0-9a-f]{64}$')`,message="tpmHash must be 64 lower-case hex digits, as `rancheros-register tpm-hash` prints them on the machine"
	TPMHash string `json:"tpmHash,omitempty"`

	// What the machine said of its hardware when it registered, in the names that dmidecode prints. Readable by whoever
	// may read inventories.
	// +optional
	// +nullable
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Type=object
	// +kubebuilder:validation:MaxProperties=512
	SMBIOS *runtime.RawExtension `json:"smbios,omitempty"`

	// A Secret in this namespace, of type rancheros.cattle.io/token, whose key `token` (at least 32 characters) the
	// machine shares. For machines without a TPM.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule=`self == '' || self.matches(r'^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')`,message="machineTokenSecretName must be the name of a Secret in this namespace"
	MachineTokenSecretName string `json:"machineTokenSecretName,omitempty"`

	// What the machine is told when it joins: its role and how its node is set up. Keys beside the documented ones are
	// passed on as they are.
	// +optional
	// +nullable
	Config *MachineConfig `json:"config,omitempty"`

	// Whether the machine may have its configuration and a cluster. A registration whose admission asks for approval makes
	// inventories with false; set it to true to let the machine in. Absent counts as true.
	// +optional
	// +nullable
	Approved *bool `json:"approved,omitempty"`

	// The MachineInventory of this namespace whose place this machine takes, because its hardware is new. Once approved is
	// explicitly true, the other's labels, node name, config and cluster move to this machine, and the other's identity is
	// revoked for good. Until then this machine gets nothing.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule=`self == '' || self.matches(r'^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')`,message="replaces must be the name of a MachineInventory in this namespace"
	Replaces string `json:"replaces,omitempty"`

	// The machine that has taken this one's place. Set by the operator, and never taken back: a machine with it is
	// refused whatever it asks for.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	ReplacedBy string `json:"replacedBy,omitempty"`
}

// MachineConfig is what a machine is told when it joins. Keys that are not documented here are kept and passed on.
//
// +kubebuilder:pruning:PreserveUnknownFields
type MachineConfig struct {
	// What the node is in its cluster: server (etcd, control plane and worker), agent (worker), cluster-init, or any of
	// etcd, control-plane and worker joined by commas.
	// +optional
	// +nullable
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule=`self.matches('^(server|agent|cluster-init|(etcd|control-plane|controlplane|worker)(,(etcd|control-plane|controlplane|worker))*)$')`,message="role must be server, agent or cluster-init, or a comma-joined list of etcd, control-plane and worker"
	Role string `json:"role,omitempty"`

	// The node's name. Default: this inventory's name.
	// +optional
	// +nullable
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$') && self != 'localhost'`,message="nodeName must be a DNS name in lower case, and not localhost"
	NodeName string `json:"nodeName,omitempty"`

	// The node's address: an IP address or a DNS name.
	// +optional
	// +nullable
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^([0-9a-fA-F:]*:[0-9a-fA-F:.]*|[a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?)$')`,message="address must be an IP address or a DNS name"
	Address string `json:"address,omitempty"`

	// The node's address inside the cluster: an IP address or a DNS name.
	// +optional
	// +nullable
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^([0-9a-fA-F:]*:[0-9a-fA-F:.]*|[a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?)$')`,message="internalAddress must be an IP address or a DNS name"
	InternalAddress string `json:"internalAddress,omitempty"`

	// Labels of the node.
	// +optional
	// +nullable
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule=`self.all(k, k.matches(r'^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))`,message="a key of labels is not a label key: use an optional DNS prefix and '/', then at most 63 letters, digits, '-', '_' or '.'"
	// +kubebuilder:validation:XValidation:rule=`self.all(k, self[k].matches(r'^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$'))`,message="a value of labels is not a label value: use at most 63 letters, digits, '-', '_' or '.'"
	// +kubebuilder:validation:XValidation:rule=`self.all(k, !k.startsWith('node-role.kubernetes.io/'))`,message="labels must not hold node-role.kubernetes.io/ keys: set role instead"
	Labels map[string]NodeLabelValue `json:"labels,omitempty"`

	// Taints of the node.
	// +optional
	// +nullable
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:XValidation:rule="self.all(a, self.exists_one(b, a.key == b.key && a.effect == b.effect))",message="taints must not hold the same key and effect twice"
	Taints []NodeTaint `json:"taints,omitempty"`

	// Extra holds every other key, as it was written.
	Extra map[string]runtime.RawExtension `json:"-"`
}

// NodeLabelValue is the value of a node's label.
// +kubebuilder:validation:MaxLength=63
type NodeLabelValue string

// NodeTaint keeps pods that do not tolerate it off the node.
type NodeTaint struct {
	// The taint's key.
	// +kubebuilder:validation:MaxLength=316
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$')`,message="a taint's key must be a label key: an optional DNS prefix and '/', then at most 63 letters, digits, '-', '_' or '.'"
	Key string `json:"key"`
	// The taint's value.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$')`,message="a taint's value must be a label value: at most 63 letters, digits, '-', '_' or '.'"
	Value string `json:"value,omitempty"`
	// NoSchedule, PreferNoSchedule or NoExecute.
	// +kubebuilder:validation:Enum=NoSchedule;PreferNoSchedule;NoExecute
	Effect corev1.TaintEffect `json:"effect"`
}

// MachineInventoryStatus says how far the machine has come.
type MachineInventoryStatus struct {
	// The spec's generation that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Ready: the machine has what it needs for its next step. ClusterAssigned: its cluster's token waits for it.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// The machine's TPM hash, whichever of the spec's two names it was given under.
	// +optional
	TPMHash string `json:"tpmHash,omitempty"`

	// How the machine's identity was established. Certificate: its TPM's maker vouches for it. Listed: an administrator
	// named its TPM beforehand. FirstUse: it is the one that came first; it may be software. SharedSecret: it knows a token.
	// +optional
	Assurance string `json:"assurance,omitempty"`

	// The machine's hostname, as it last called home.
	// +optional
	Hostname string `json:"hostname,omitempty"`
	// The machine's addresses, as it last called home.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	Addresses []string `json:"addresses,omitempty"`
	// The operating system that the machine runs, as it last called home.
	// +optional
	OSImage string `json:"osImage,omitempty"`
	// The version of that operating system.
	// +optional
	OSVersion string `json:"osVersion,omitempty"`
	// When the machine last called home, to the hour.
	// +optional
	LastSeen *metav1.Time `json:"lastSeen,omitempty"`

	// The ClusterRegistrationToken that was made for this machine, and for no other.
	// +optional
	ClusterRegistrationTokenName string `json:"clusterRegistrationTokenName,omitempty"`

	// The namespace of that token: the management cluster's.
	// +optional
	ClusterRegistrationTokenNamespace string `json:"clusterRegistrationTokenNamespace,omitempty"`

	// The machine whose place this one has taken.
	// +optional
	Replaced *MachineReplacement `json:"replaced,omitempty"`

	// The machine that has taken this one's place.
	// +optional
	ReplacedBy *MachineReplacement `json:"replacedBy,omitempty"`
}

// MachineReplacement records that one machine has taken another's place.
type MachineReplacement struct {
	// The other machine's MachineInventory.
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// The other machine's TPM hash, as far as it had one.
	// +optional
	TPMHash string `json:"tpmHash,omitempty"`
	// When it was recorded.
	Time metav1.Time `json:"time"`
}

// Conditions and reasons of a MachineInventory.
const (
	// ConditionApproved tells whether the machine may have its configuration and a cluster. Where it is not True, look at the
	// machine and approve or delete it.
	ConditionApproved = "Approved"
	// ConditionClusterAssigned tells whether the machine can join the cluster that clusterName names. Where it is not True,
	// read its message: it says what the machine waits for.
	ConditionClusterAssigned = "ClusterAssigned"
	// ConditionReplacement tells whether the machine has taken the place of the one that spec.replaces names. Where it is not
	// True, read its message: it says what to correct or what it waits for.
	ConditionReplacement = "Replacement"
	// ConditionRevoked is True for a machine whose place another has taken: it is refused. Delete it when its record is not
	// needed any more.
	ConditionRevoked = "Revoked"

	// ReasonApproved: the machine is approved, by its registration or by a person; nothing to do.
	ReasonApproved = "Approved"
	// ReasonPendingApproval: a person must approve the machine. Compare its TPM hash with the machine's own
	// (`rancheros-register tpm-hash`), then set spec.approved to true, or delete the inventory.
	ReasonPendingApproval = "PendingApproval"
	// ReasonNoCluster: no cluster is assigned. Set spec.clusterName and spec.config.role when the machine is to join one.
	ReasonNoCluster = "NoCluster"
	// ReasonReleased: clusterName was cleared; the machine's token is gone and the inventory stays. Set clusterName to
	// use the machine again.
	ReasonReleased = "Released"
	// ReasonWaitingForCluster: no Cluster of that name exists yet in the namespace. Create it, or correct clusterName;
	// nothing has to be done here when it appears.
	ReasonWaitingForCluster = "WaitingForCluster"
	// ReasonWaitingForManagementCluster: the Cluster exists, and Rancher has not given it a management cluster yet. Wait;
	// when it stays so, look at the Cluster's own conditions.
	ReasonWaitingForManagementCluster = "WaitingForManagementCluster"
	// ReasonClusterNotAllowed: the Cluster is in another namespace and does not allow machines of this one. Assign a Cluster of
	// this namespace, or have the other's owner add this namespace to its annotation rancheros.cattle.io/allowed-namespaces.
	ReasonClusterNotAllowed = "ClusterNotAllowed"
	// ReasonClusterDeleting: the Cluster is being deleted. Assign another one.
	ReasonClusterDeleting = "ClusterDeleting"
	// ReasonWaitingForToken: the ClusterRegistrationToken was made and Rancher has not filled it in yet. Wait; when it
	// stays so, look at Rancher's logs.
	ReasonWaitingForToken = "WaitingForToken"
	// ReasonTokenReady: the machine gets its role and token the next time it asks; nothing to do.
	ReasonTokenReady = "TokenReady"
	// ReasonRoleMissing: a cluster is assigned and spec.config.role is not. Set it: server or agent.
	ReasonRoleMissing = "RoleMissing"
	// ReasonForeignToken: a ClusterRegistrationToken of the name that this machine's would have exists and is not the
	// operator's. Delete or rename it.
	ReasonForeignToken = "ForeignToken"
	// ReasonReplaced: the machine has taken the other's place. Remove the other's node from the cluster if it is still there.
	ReasonReplaced = "Replaced"
	// ReasonReplacedMissing: spec.replaces names no MachineInventory of this namespace. Correct it, or clear it.
	ReasonReplacedMissing = "ReplacedMissing"
	// ReasonReplacementRefused: the machine cannot take the other's place. Correct what the message names.
	ReasonReplacementRefused = "ReplacementRefused"
	// ReasonReplacing: the machine is about to take the other's place. Wait; it takes a moment.
	ReasonReplacing = "Replacing"
	// ReasonRevoked: another machine has taken this one's place. Delete this inventory to let the hardware register as a new
	// machine.
	ReasonRevoked = "Revoked"
	// ReasonHardwareChanged, an Event of a machine: it came again with another serial number or UUID than spec.smbios has. Its name
	// and spec.smbios stay. Nothing to do where its mainboard was replaced; else look whether its TPM is in another machine now, or,
	// being a file, was copied there.
	ReasonHardwareChanged = "HardwareChanged"
)
