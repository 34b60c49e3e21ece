package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// +genclient
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=managedosversions,scope=Namespaced,shortName=mosversion,categories=rancheros
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.spec.version`
// +kubebuilder:printcolumn:name="Image",type=string,JSONPath=`.spec.metadata.upgradeImage`
// +kubebuilder:printcolumn:name="Minimum",type=string,JSONPath=`.spec.minVersion`
// +kubebuilder:printcolumn:name="Type",type=string,priority=1,JSONPath=`.spec.type`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`

// ManagedOSVersion is one release of the OS. A ManagedOSVersionChannel makes them, or a person does.
type ManagedOSVersion struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// The release.
	// +optional
	Spec ManagedOSVersionSpec `json:"spec,omitempty"`
	// What became of it.
	// +optional
	Status ManagedOSVersionStatus `json:"status,omitempty"`
}

// ManagedOSVersionSpec is a release: its version, and what upgrades a node to it.
type ManagedOSVersionSpec struct {
	// The release's version, such as v1.2.3.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Version string `json:"version,omitempty"`

	// How the release is delivered: container, an image that upgrades the node that it runs on.
	// +optional
	// +kubebuilder:validation:Enum=container
	// +kubebuilder:default=container
	Type string `json:"type,omitempty"`

	// The lowest version that can be upgraded to this one directly. Absent: any.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	MinVersion string `json:"minVersion,omitempty"`

	// upgradeImage is the image that upgrades a node. It and every other key reach the upgrade container as the
	// environment variables METADATA_<KEY>.
	// +optional
	// +nullable
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Type=object
	// +kubebuilder:validation:MaxProperties=128
	Metadata *runtime.RawExtension `json:"metadata,omitempty"`

	// Runs the upgrade instead of upgradeImage's own upgrade command.
	// +optional
	// +nullable
	UpgradeContainer *ContainerSpec `json:"upgradeContainer,omitempty"`
}

// ManagedOSVersionStatus says what became of a release.
type ManagedOSVersionStatus struct {
	// The spec's generation that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Ready: the release can be rolled out.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}
