package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// +genclient
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=machineregistrations,scope=Namespaced,shortName=mreg,categories=rancheros
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Machines",type=integer,JSONPath=`.status.machines`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="URL",type=string,priority=1,JSONPath=`.status.registrationURL`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63",message="metadata.name must be at most 63 characters: it becomes a label value"

// MachineRegistration makes a URL with which machines register: they ask it who they may be, prove who they are with
// their TPM, and become a MachineInventory in this namespace.
type MachineRegistration struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What the machines that register here become, and what they are told.
	// +optional
	Spec MachineRegistrationSpec `json:"spec,omitempty"`
	// What the operator made of it: the URL, and how many machines came.
	// +optional
	Status MachineRegistrationStatus `json:"status,omitempty"`
}

// MachineRegistrationSpec says what registering machines become and what they are told.
type MachineRegistrationSpec struct {
	// Template of the machine's name, which is also its hostname. ${Section/Field} is replaced by the machine's SMBIOS
	// field of that name, as dmidecode prints it: ${System Information/Serial Number}. A short digest of the machine's
	// identity is always appended, so that two machines never share a name. Default:
	// m-${System Information/Manufacturer}-${System Information/Product Name}-${System Information/Serial Number}-
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule=`!self.matches(r'[\x00-\x1f\x7f]')`,message="machineName must be one line without control characters"
	MachineName string `json:"machineName,omitempty"`

	// Labels put on the MachineInventory of each machine. Values may hold ${Section/Field} SMBIOS paths as in
	// machineName; a value that comes out empty leaves its label out.
	// +optional
	// +nullable
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule=`self.all(k, k.matches(r'^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))`,message="a key of machineInventoryLabels is not a label key: use an optional DNS prefix and '/', then at most 63 letters, digits, '-', '_' or '.'"
	// +kubebuilder:validation:XValidation:rule=`self.all(k, !k.startsWith('rancheros.cattle.io/'))`,message="machineInventoryLabels must not hold keys under rancheros.cattle.io/: those are the operator's own"
	// +kubebuilder:validation:XValidation:rule=`self.all(k, self[k].contains('${') || self[k].matches(r'^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$'))`,message="a value of machineInventoryLabels is not a label value: use at most 63 letters, digits, '-', '_' or '.', or a ${...} template"
	MachineInventoryLabels map[string]LabelTemplate `json:"machineInventoryLabels,omitempty"`

	// Annotations put on the MachineInventory of each machine. Values may hold ${Section/Field} SMBIOS paths.
	// +optional
	// +nullable
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule=`self.all(k, k.matches(r'^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))`,message="a key of machineInventoryAnnotations is not an annotation key: use an optional DNS prefix and '/', then at most 63 letters, digits, '-', '_' or '.'"
	// +kubebuilder:validation:XValidation:rule=`self.all(k, !k.startsWith('rancheros.cattle.io/'))`,message="machineInventoryAnnotations must not hold keys under rancheros.cattle.io/: those are the operator's own"
	MachineInventoryAnnotations map[string]AnnotationTemplate `json:"machineInventoryAnnotations,omitempty"`

	// The cloud-config that the machine installs itself with. It is sent after the machine has proven who it is, never
	// before. rancherd.server, rancherd.token and rancheros.install.automatic are set by the operator; hostname is the
	// machine's name unless it is given here.
	// +optional
	// +nullable
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Type=object
	// +kubebuilder:validation:MaxProperties=256
	CloudConfig *runtime.RawExtension `json:"cloudConfig,omitempty"`
}

// LabelTemplate is a label value, or a template of one.
// +kubebuilder:validation:MaxLength=256
type LabelTemplate string

// AnnotationTemplate is an annotation value, or a template of one.
// +kubebuilder:validation:MaxLength=4096
type AnnotationTemplate string

// MachineRegistrationStatus says what the operator made of the registration.
type MachineRegistrationStatus struct {
	// The spec's generation that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Ready: the URL works.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// The token at the end of the URL. Its home is the Secret that tokenSecretName names; this is a copy for people.
	// +optional
	RegistrationToken string `json:"registrationToken,omitempty"`

	// The URL that machines register at: <server-url>/v1-rancheros/registration/<token>. `curl` it for the cloud-config
	// to put on an ISO.
	// +optional
	RegistrationURL string `json:"registrationURL,omitempty"`

	// The Secret, owned by this registration, that holds the token (key `token`). Back it up to keep ISOs working.
	// +optional
	TokenSecretName string `json:"tokenSecretName,omitempty"`

	// How many MachineInventories came from here.
	// +optional
	Machines int `json:"machines"`
}

// Reasons of a MachineRegistration.
const (
	// ReasonTokenSecretInvalid: the Secret in the token's place is not the one that the operator made, or was changed.
	// The message says how to mend it; deleting it makes a new token, and with it a new URL.
	ReasonTokenSecretInvalid = "TokenSecretInvalid"
	// ReasonCloudConfigConflict: spec.cloudConfig holds something else where the operator must put its own settings, or
	// nests too deep; machines are refused until it is corrected.
	ReasonCloudConfigConflict = "CloudConfigConflict"
)
