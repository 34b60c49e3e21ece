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
// +kubebuilder:printcolumn:name="Pending",type=integer,JSONPath=`.status.pending`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.spec.admission.expiresAt`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="URL",type=string,priority=1,JSONPath=`.status.registrationURL`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63",message="metadata.name must be at most 63 characters: it becomes a label value"

// MachineRegistration makes a URL at which machines register: each proves with its TPM who it is, becomes a
// MachineInventory in this namespace, and gets its cloud-config.
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

	// Who may register here. Without it, every machine that proves to hold a key may.
	// +optional
	// +nullable
	Admission *AdmissionSpec `json:"admission,omitempty"`

	// Whether to refuse new machines for now. Those that are known still get their answer.
	// +optional
	Paused bool `json:"paused,omitempty"`
}

// AdmissionSpec says which machines may register, and whether a person looks at each.
type AdmissionSpec struct {
	// Automatic (default), or Manual: a new machine waits until spec.approved of its MachineInventory is true, and gets no
	// cloud-config before.
	// +optional
	// +kubebuilder:validation:Enum=Automatic;Manual
	Approval ApprovalMode `json:"approval,omitempty"`

	// What a machine's TPM must show. Any: nothing; software that acts as a TPM passes too. Certificate: an endorsement
	// certificate that chains to the CAs in caSecretName. Listed: its hash stands in endorsementKeys, or in a
	// MachineInventory that was made beforehand. CertificateOrListed: either. Default: Certificate where the CA Secret
	// exists, else Any.
	// +optional
	// +kubebuilder:validation:Enum=Any;Certificate;Listed;CertificateOrListed
	Endorsement EndorsementMode `json:"endorsement,omitempty"`

	// A Secret in this namespace whose key tls.crt holds the TPM makers' CAs, roots and intermediates, in PEM. Default
	// tpm-ca.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule=`self == '' || self.matches(r'^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')`,message="caSecretName must be the name of a Secret in this namespace"
	CASecretName string `json:"caSecretName,omitempty"`

	// Whether to take an endorsement certificate for none when it, or a CA behind it, has expired or is not valid yet. By default it
	// counts, since TPMs outlive their certificates, and the MachineInventory gets the annotation
	// rancheros.cattle.io/endorsement-certificate: outside-validity.
	// +optional
	RequireValidCertificates bool `json:"requireValidCertificates,omitempty"`

	// Whether to take TPMs with a weak endorsement key (ROCA, CVE-2017-15361), from which anybody with some money can compute its
	// private half, and be the machine. Update the TPM's firmware instead where its maker has a newer one.
	// +optional
	AllowWeakKeys bool `json:"allowWeakKeys,omitempty"`

	// TPM hashes that may register: 64 lower-case hex digits, as `rancheros-register tpm-hash` prints them on the machine.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=4096
	EndorsementKeys []EndorsementKeyHash `json:"endorsementKeys,omitempty"`

	// When to stop taking new machines. Those that are known still get their answer.
	// +optional
	// +nullable
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`

	// How many machines may register here, ever; 1 makes a single-use URL. A machine whose inventory is deleted still
	// counts, and may itself come back.
	// +optional
	// +nullable
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	MaxMachines *int `json:"maxMachines,omitempty"`
}

// ApprovalMode says whether a person looks at new machines.
type ApprovalMode string

// EndorsementMode says what a machine's TPM must show.
type EndorsementMode string

// EndorsementKeyHash is the SHA-256, hex, of the DER (PKIX) of a TPM's endorsement public key.
// +kubebuilder:validation:MaxLength=128
// +kubebuilder:validation:XValidation:rule=`self.matches('^[0-9a-f]{64}$')`,message="an entry of endorsementKeys must be 64 lower-case hex digits, as `rancheros-register tpm-hash` prints them on the machine"
type EndorsementKeyHash string

// The values of AdmissionSpec's fields.
const (
	ApprovalAutomatic ApprovalMode = "Automatic"
	ApprovalManual    ApprovalMode = "Manual"

	EndorsementAny                 EndorsementMode = "Any"
	EndorsementCertificate         EndorsementMode = "Certificate"
	EndorsementListed              EndorsementMode = "Listed"
	EndorsementCertificateOrListed EndorsementMode = "CertificateOrListed"

	// DefaultCASecretName is the Secret that is looked for when caSecretName is empty.
	DefaultCASecretName = "tpm-ca"
)

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

	// How many of them wait for approval.
	// +optional
	Pending int `json:"pending"`

	// The machines that were ever admitted, where admission.maxMachines limits them: the first 16 digits of their TPM
	// hashes.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=10000
	Admitted []string `json:"admitted,omitempty"`
}

// Reasons of a MachineRegistration.
const (
	// ReasonTokenSecretInvalid: the Secret in the token's place is not the one that the operator made, or was changed.
	// Restore it as the message says, or delete it: that makes a new token, and with it a new URL.
	ReasonTokenSecretInvalid = "TokenSecretInvalid"
	// ReasonTokenShared: another registration has the same token, and machines are refused at both. Delete the Secret that was
	// copied, whichever it is: its registration gets a new token, and with it a new URL.
	ReasonTokenShared = "TokenShared"
	// ReasonTrustBundleMissing: the Secret with the TPM makers' CAs does not exist or is empty, and machines are refused. Create
	// or fill it, or set spec.admission.endorsement to Any.
	ReasonTrustBundleMissing = "TrustBundleMissing"
	// ReasonTrustBundleInvalid: the Secret with the TPM makers' CAs holds no root certificate that can be used. Correct it as the
	// message says; until then machines are judged by the last good one, or refused where there was none.
	ReasonTrustBundleInvalid = "TrustBundleInvalid"
	// ReasonCloudConfigConflict: spec.cloudConfig holds something else where the operator must put its own settings, or
	// nests too deep. Correct it; machines are refused until then.
	ReasonCloudConfigConflict = "CloudConfigConflict"
	// ReasonPausedRegistration: spec.paused is true, and new machines are refused. Set it to false to take them again.
	ReasonPausedRegistration = "RegistrationPaused"
	// ReasonExpired: spec.admission.expiresAt has passed, and new machines are refused. Set a later one to take them again.
	ReasonExpired = "Expired"
	// ReasonFull: as many machines as spec.admission.maxMachines have registered. Raise it to take more.
	ReasonFull = "Full"
	// ReasonSerialNumberShared, an Event of a registration: a new machine says the serial number that another machine of the namespace
	// has said. They stay two. Where it is the same hardware with another TPM, delete the old inventory, or set spec.replaces of the
	// new one; else look at both, since one of them may not be what it says.
	ReasonSerialNumberShared = "SerialNumberShared"
)
