package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// +genclient
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=seedimages,scope=Namespaced,shortName=seed,categories=rancheros
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Registration",type=string,JSONPath=`.spec.registrationName`
// +kubebuilder:printcolumn:name="Downloads",type=integer,JSONPath=`.status.downloads`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.spec.expiresAt`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="URL",type=string,priority=1,JSONPath=`.status.downloadURL`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63",message="metadata.name must be at most 63 characters: it becomes a label value"

// SeedImage makes a boot medium of a MachineRegistration: a machine that boots it registers there. The medium is a base
// image with a few kilobytes put in while it is downloaded; nothing is built, and nothing is stored for it.
type SeedImage struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Which base, for which registration, and for how long.
	Spec SeedImageSpec `json:"spec"`
	// Where to download it.
	// +optional
	Status SeedImageStatus `json:"status,omitempty"`
}

// SeedImageSpec says which base medium becomes one for which registration.
//
// +kubebuilder:validation:XValidation:rule="!self.baseImage.startsWith('http://') || has(self.baseChecksum)",message="a base over plain http can be changed on its way: give baseChecksum, or use https",fieldPath=".baseChecksum"
type SeedImageSpec struct {
	// The MachineRegistration, in this namespace, that machines which boot the medium register at.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')`,message="registrationName must be the name of a MachineRegistration in this namespace"
	RegistrationName string `json:"registrationName"`

	// What to make: iso (default), an image for discs and USB sticks; netboot, a script, kernel and initrd for iPXE, taken
	// out of the same base; or both.
	// +optional
	// +kubebuilder:validation:Enum=iso;netboot;both
	Type SeedImageType `json:"type,omitempty"`

	// The base medium, a bootable ISO image: an https address, an image reference such as registry.example.com/os/iso:v1, or
	// file:///name.iso in the folder that the operator was given. What was fetched is kept: when the content of an address
	// changes, change the address or baseChecksum.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[^\s]+$')`,message="baseImage must not hold white space"
	// +kubebuilder:validation:XValidation:rule=`!self.contains('://') || self.matches(r'^(https?|oci|file)://')`,message="baseImage must begin with https://, http://, oci:// or file://, or be an image reference"
	// +kubebuilder:validation:XValidation:rule=`!self.matches(r'^https?://') || (isURL(self) && url(self).getHost() != '' && !self.matches(r'^https?://[^/]*@'))`,message="baseImage must be an address with a host, and without a user or password in it"
	BaseImage string `json:"baseImage"`

	// The base's SHA-256, sha256: and 64 hex digits. Without it, the first base that is fetched stays the one.
	// +optional
	// +kubebuilder:validation:MaxLength=71
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^(sha256:)?[0-9a-f]{64}$')`,message="baseChecksum must be sha256: and 64 lower-case hex digits, as sha256sum prints them"
	BaseChecksum string `json:"baseChecksum,omitempty"`

	// More cloud-config for the medium. Whoever has the medium can read it: put no secrets here; those belong into the
	// registration's cloudConfig, which a machine gets once it has proven who it is.
	// +optional
	// +nullable
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Type=object
	// +kubebuilder:validation:MaxProperties=256
	CloudConfig *runtime.RawExtension `json:"cloudConfig,omitempty"`

	// What to boot over the network, where the base's own boot menu does not say it well enough.
	// +optional
	// +nullable
	Netboot *NetbootSpec `json:"netboot,omitempty"`

	// When to stop handing it out. Media that were downloaded work on.
	// +optional
	// +nullable
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`

	// How often it may be handed out. It counts when the part that makes it this registration's begins to be sent: a
	// transfer that breaks before, and one that is resumed behind it, do not count.
	// +optional
	// +nullable
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	MaxDownloads *int `json:"maxDownloads,omitempty"`
}

// SeedImageType says what to make of a base.
type SeedImageType string

// The values of SeedImageSpec.Type.
const (
	SeedImageISO     SeedImageType = "iso"
	SeedImageNetboot SeedImageType = "netboot"
	SeedImageBoth    SeedImageType = "both"
)

// NetbootSpec says what iPXE boots. What is empty is what the base's own boot menu would boot first.
type NetbootSpec struct {
	// The kernel's path on the base, such as /boot/kernel.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule=`self == '' || self.startsWith('/')`,message="kernel must be a path on the base, such as /boot/kernel"
	Kernel string `json:"kernel,omitempty"`
	// The initrd's path on the base, such as /boot/initrd.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule=`self == '' || self.startsWith('/')`,message="initrd must be a path on the base, such as /boot/initrd"
	Initrd string `json:"initrd,omitempty"`
	// The kernel's command line. It is no place for secrets.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[ -~]*$')`,message="arguments must be one line of ASCII"
	Arguments string `json:"arguments,omitempty"`
}

// SeedImageStatus says where to download the medium, and what it is made of.
type SeedImageStatus struct {
	// The spec's generation that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Ready: the medium can be downloaded.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Fetching, Ready, Failed, Expired or UsedUp.
	// +optional
	State string `json:"state,omitempty"`
	// Where to download the image. Whoever knows the address can register machines: keep it as you keep a password.
	// +optional
	DownloadURL string `json:"downloadURL,omitempty"`
	// Where to chain iPXE to.
	// +optional
	IPXEURL string `json:"ipxeURL,omitempty"`
	// The Secret, owned by this SeedImage, that holds the token in the addresses (key `token`).
	// +optional
	TokenSecretName string `json:"tokenSecretName,omitempty"`
	// How often it was handed out.
	// +optional
	Downloads int `json:"downloads"`
	// The image's size in bytes.
	// +optional
	Size int64 `json:"size,omitempty"`
	// The image's SHA-256, sha256: and 64 hex digits. It follows some time after Ready: a gigabyte takes a second or two.
	// +optional
	Checksum string `json:"checksum,omitempty"`
	// What the base is, as it was found.
	// +optional
	Base *SeedImageBase `json:"base,omitempty"`
}

// SeedImageBase is what the replica that handles media found.
type SeedImageBase struct {
	// The spec's generation that was looked at.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// The baseImage that was fetched.
	// +optional
	Image string `json:"image,omitempty"`
	// The base's SHA-256, sha256: and 64 hex digits. While baseImage and baseChecksum stay, so does the base.
	// +optional
	Checksum string `json:"checksum,omitempty"`
	// How the config gets onto it: ReservedFile, RootRecord or MovedRoot.
	// +optional
	Method string `json:"method,omitempty"`
	// What the image is made of, in short: while it stays, so do the image's bytes. It is the image's ETag.
	// +optional
	Identity string `json:"identity,omitempty"`
	// Why there is none: BaseUnavailable, BaseInvalid, CacheFull or MediaOff; empty when it is there.
	// +optional
	Reason string `json:"reason,omitempty"`
	// The reason, in words.
	// +optional
	Message string `json:"message,omitempty"`
}

// Reasons of a SeedImage, beside CloudConfigConflict and TokenSecretInvalid.
const (
	// ReasonFetchingBase: the base medium is on its way. Wait; the cache goes on where a transfer broke.
	ReasonFetchingBase = "FetchingBase"
	// ReasonBaseUnavailable: the base medium could not be fetched; it is tried again by itself. Read the message, and correct
	// spec.baseImage or the server that it names.
	ReasonBaseUnavailable = "BaseUnavailable"
	// ReasonBaseInvalid: what spec.baseImage leads to is no medium that can be used, or not the one of spec.baseChecksum.
	// Correct what the message names.
	ReasonBaseInvalid = "BaseInvalid"
	// ReasonCacheFull: there is no room for the base medium. Give the operator's cache more, or delete SeedImages that are not
	// needed.
	ReasonCacheFull = "CacheFull"
	// ReasonMediaOff: the operator was started without a folder for base media. Give it one: --media-dir.
	ReasonMediaOff = "MediaOff"
	// ReasonRegistrationMissing: there is no MachineRegistration of the name in spec.registrationName. Create it, or correct the
	// name.
	ReasonRegistrationMissing = "RegistrationMissing"
	// ReasonRegistrationNotReady: the MachineRegistration has no URL yet. Look at its own Ready condition.
	ReasonRegistrationNotReady = "RegistrationNotReady"
	// ReasonSeedImageExpired: spec.expiresAt has passed. Set a later one to hand the medium out again.
	ReasonSeedImageExpired = "Expired"
	// ReasonUsedUp: it was handed out as often as spec.maxDownloads says. Raise that to hand it out again.
	ReasonUsedUp = "UsedUp"
)

// States of a SeedImage.
const (
	SeedImageStateFetching = "Fetching"
	SeedImageStateReady    = "Ready"
	SeedImageStateFailed   = "Failed"
	SeedImageStateExpired  = "Expired"
	SeedImageStateUsedUp   = "UsedUp"
)
