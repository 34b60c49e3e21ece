package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// +genclient
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=managedosversionchannels,scope=Namespaced,shortName=moschannel,categories=rancheros
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Type",type=string,JSONPath=`.spec.type`
// +kubebuilder:printcolumn:name="Latest",type=string,JSONPath=`.status.latestVersion`
// +kubebuilder:printcolumn:name="Versions",type=integer,JSONPath=`.status.versions`
// +kubebuilder:printcolumn:name="Synced",type=date,JSONPath=`.status.lastSync`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63",message="metadata.name must be at most 63 characters: it becomes a label value"

// ManagedOSVersionChannel is where releases come from: it is asked every so often and makes a ManagedOSVersion, in its
// own namespace, of each release that it finds.
type ManagedOSVersionChannel struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Where to ask, and how often.
	Spec ManagedOSVersionChannelSpec `json:"spec"`
	// What the last answers were.
	// +optional
	Status ManagedOSVersionChannelStatus `json:"status,omitempty"`
}

// ManagedOSVersionChannelSpec says where to ask for releases, and how often.
//
// +kubebuilder:validation:XValidation:rule="self.type != 'json' || (has(self.options) && has(self.options.uri))",message="a channel of type json needs options.uri, the https address of a JSON list of versions",fieldPath=".options"
// +kubebuilder:validation:XValidation:rule="self.type != 'custom' || (has(self.options) && has(self.options.image))",message="a channel of type custom needs options.image, a container image that prints a JSON list of versions",fieldPath=".options"
// +kubebuilder:validation:XValidation:rule="self.type != 'github-releases' || (has(self.url) && self.url.startsWith('github-releases://'))",message="a channel of type github-releases needs url: github-releases://owner/repo",fieldPath=".url"
// +kubebuilder:validation:XValidation:rule="self.type != 'oci' || has(self.url)",message="a channel of type oci needs url, a registry repository such as registry.example.com/rancher/os2",fieldPath=".url"
type ManagedOSVersionChannelSpec struct {
	// How releases are found: json (a document at options.uri), github-releases (the releases of the repository in url),
	// oci (the tags of the registry repository in url), or custom (what the container in options prints).
	// +kubebuilder:validation:Enum=json;github-releases;oci;custom
	Type string `json:"type"`

	// For github-releases: github-releases://owner/repo. For oci: registry.example.com/rancher/os2.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^github-releases://[A-Za-z0-9][-A-Za-z0-9]*/[A-Za-z0-9_.-]+$') || self.matches(r'^([a-zA-Z0-9.-]+(:[0-9]{1,5})?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*$')`,message="url must be github-releases://owner/repo or a registry repository such as registry.example.com/rancher/os2"
	URL string `json:"url,omitempty"`

	// Where to ask, for the types json and custom.
	// +optional
	// +nullable
	Options *ChannelOptions `json:"options,omitempty"`

	// How often to ask: a duration from 1m to 168h. Default 60m.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^([0-9]{1,6}(h|m|s))+$') && duration(self) >= duration('1m') && duration(self) <= duration('168h')`,message="pollInterval must be a duration from 1m to 168h, such as 60m"
	PollInterval string `json:"pollInterval,omitempty"`

	// Whether to stop asking. What was found stays.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// Runs the upgrade to each of the channel's versions instead of the image's own upgrade command.
	// +optional
	// +nullable
	UpgradeContainer *ContainerSpec `json:"upgradeContainer,omitempty"`
}

// ChannelOptions says where a channel of type json or custom asks.
type ChannelOptions struct {
	// json: the https address of the document, a JSON list of versions of at most 2 MiB.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule=`isURL(self) && url(self).getScheme() == 'https' && url(self).getHost() != '' && !self.contains('@')`,message="uri must be an https address without a user or password in it"
	URI string `json:"uri,omitempty"`

	// json: how long one request may take, from 1s to 60s. Default 10s.
	// +optional
	// +kubebuilder:validation:MaxLength=8
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[0-9]{1,2}(s|m)$') && duration(self) >= duration('1s') && duration(self) <= duration('60s')`,message="timeout must be a duration from 1s to 60s, such as 10s"
	Timeout string `json:"timeout,omitempty"`

	// custom: the container image to run.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image,omitempty"`
	// custom: the command, as a list of words.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	Command []string `json:"command,omitempty"`
	// custom: its arguments.
	// +optional
	// +kubebuilder:validation:MaxItems=256
	Args []string `json:"args,omitempty"`
}

// ManagedOSVersionChannelStatus says what the last answers were.
type ManagedOSVersionChannelStatus struct {
	// The spec's generation that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Ready: the last answer was good.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// When the channel last gave a good answer.
	// +optional
	LastSync *metav1.Time `json:"lastSync,omitempty"`
	// The newest version that it holds.
	// +optional
	LatestVersion string `json:"latestVersion,omitempty"`
	// How many versions it holds.
	// +optional
	Versions int `json:"versions"`
}
