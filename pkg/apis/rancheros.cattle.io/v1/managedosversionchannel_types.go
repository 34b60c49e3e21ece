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

	// For github-releases: github-releases://owner/repo. For oci: registry.example.com/rancher/os2, whose tags that are whole
	// versions, such as v1.2.3, are the releases, each pinned to its digest.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^github-releases://[A-Za-z0-9][-A-Za-z0-9]*/[A-Za-z0-9_.-]+$') || self.matches(r'^([a-zA-Z0-9.-]+(:[0-9]{1,5})?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*$')`,message="url must be github-releases://owner/repo or a registry repository such as registry.example.com/rancher/os2"
	URL string `json:"url,omitempty"`

	// Where to ask, for the types json and custom.
	// +optional
	// +nullable
	Options *ChannelOptions `json:"options,omitempty"`

	// A Secret in this namespace with what it takes to be answered. For json and github-releases: the key token, or username
	// and password. For oci and custom: the type kubernetes.io/dockerconfigjson, with which to ask the registry, or pull the
	// image. Its key ca.crt is trusted like caBundle. Whoever names a Secret here must be allowed to read it.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule=`self == '' || self.matches(r'^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')`,message="secretName must be the name of a Secret in this namespace"
	SecretName string `json:"secretName,omitempty"`

	// Certificates of authorities, in PEM, to trust beside those of the system.
	// +optional
	// +kubebuilder:validation:MaxLength=131072
	CABundle string `json:"caBundle,omitempty"`

	// Whether to ask also where the certificate is not trusted and, for oci, over plain http. Whoever is in between then
	// decides what nodes run: for laboratories only.
	// +optional
	Insecure bool `json:"insecure,omitempty"`

	// How often to ask: a duration from 1m to 168h. Default 60m.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^([0-9]{1,6}(h|m|s))+$') && duration(self) >= duration('1m') && duration(self) <= duration('168h')`,message="pollInterval must be a duration from 1m to 168h, such as 60m"
	PollInterval string `json:"pollInterval,omitempty"`

	// Whether to stop asking. What was found stays.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// Whether to delete versions that the channel does not list any more and that no ManagedOSImage names. Without it they
	// stay, with the label rancheros.cattle.io/no-longer-listed, and are not taken for the newest. An empty answer, or one
	// that lacks more than half of the versions, does neither until somebody confirms it.
	// +optional
	Prune bool `json:"prune,omitempty"`

	// Runs the upgrade to each of the channel's versions instead of the image's own upgrade command.
	// +optional
	// +nullable
	UpgradeContainer *ContainerSpec `json:"upgradeContainer,omitempty"`
}

// ChannelOptions says where a channel of type json or custom asks, and details of the type github-releases.
type ChannelOptions struct {
	// json: the https address of the document, a JSON list of at most 1,024 versions and 2 MiB, each like a ManagedOSVersion:
	// {"metadata":{"name":"v1.2.3"},"spec":{"version":"v1.2.3","type":"container","minVersion":"v1.1.0","metadata":
	// {"upgradeImage":"registry.example.com/rancher/os2:v1.2.3"}}}. github-releases: the address of a GitHub Enterprise
	// server's API, such as https://github.example.com/api/v3/; absent, GitHub's own.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule=`isURL(self) && url(self).getScheme() == 'https' && url(self).getHost() != '' && !self.contains('@')`,message="uri must be an https address without a user or password in it"
	URI string `json:"uri,omitempty"`

	// json, github-releases, oci: how long one request may take, from 1s to 60s. Default 10s.
	// +optional
	// +kubebuilder:validation:MaxLength=8
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[0-9]{1,2}(s|m)$') && duration(self) >= duration('1s') && duration(self) <= duration('60s')`,message="timeout must be a duration from 1s to 60s, such as 10s"
	Timeout string `json:"timeout,omitempty"`

	// custom: the container image to run. It prints the JSON list that uri describes; where it prints other things, too, the
	// list stands between the lines BEGIN VERSIONS and END VERSIONS. It runs for ten minutes at most, not as root, without
	// rights on the cluster, and with a folder /tmp as all that it can write to.
	// github-releases: the image repository whose tags are those of the releases; absent, owner/repo.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^(([a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?(:[0-9]{1,5})?|\[[0-9a-fA-F:]+\](:[0-9]{1,5})?)/)?[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[a-f0-9]{64})?$')`,message="image must be an image reference such as registry.example.com:5000/tools/versions:v1"
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
	// When the channel last gave a good answer. So that a channel that brings nothing new costs no writes, a later time is
	// written only when something else changes, or after an hour.
	// +optional
	LastSync *metav1.Time `json:"lastSync,omitempty"`
	// The newest version that it holds, release candidates aside.
	// +optional
	LatestVersion string `json:"latestVersion,omitempty"`
	// How many versions it holds that its last answer listed.
	// +optional
	Versions int `json:"versions"`
	// The value of the annotation rancheros.cattle.io/sync-channel for which the channel was last asked.
	// +optional
	HandledSync string `json:"handledSync,omitempty"`
}

// Reasons of a ManagedOSVersionChannel.
const (
	// ReasonSynced: the channel's versions are here; nothing to do. Where entries were skipped, the message says which.
	ReasonSynced = "Synced"
	// ReasonSyncing: the channel is asked for the first time, or after an edit; wait.
	ReasonSyncing = "Syncing"
	// ReasonSuspended: spec.suspend is true. Set it to false to go on; what was found stays.
	ReasonSuspended = "Suspended"
	// ReasonSecretNotFound: the Secret in spec.secretName does not exist, or is not of a kind that channels may read. Create
	// it, or correct the name.
	ReasonSecretNotFound = "SecretNotFound"
	// ReasonUnreachable: the channel's server does not answer, or not in time. It is asked again by itself; look at its
	// address, the network and options.timeout.
	ReasonUnreachable = "Unreachable"
	// ReasonCertificateNotTrusted: the certificate of the channel's server is not trusted. Give the authority that signed it
	// in spec.caBundle, or correct the certificate.
	ReasonCertificateNotTrusted = "CertificateNotTrusted"
	// ReasonAddressForbidden: the address leads to the operator's own host, to the cluster's services, or elsewhere where a
	// channel has no business. Correct the address, or allow the network with the operator's --channel-networks.
	ReasonAddressForbidden = "AddressForbidden"
	// ReasonRequestRefused: the server answered with another HTTP status than 200; the message has it. Correct the address;
	// for 401 and 403, put what the server asks for into the Secret in spec.secretName.
	ReasonRequestRefused = "RequestRefused"
	// ReasonRateLimited: the server has had enough of us for now. Wait; or give a token in the Secret of spec.secretName, which
	// has a limit of its own.
	ReasonRateLimited = "RateLimited"
	// ReasonInvalidDocument: the answer is not a JSON list of versions, or too large. Correct the document; none of it was
	// taken over.
	ReasonInvalidDocument = "InvalidDocument"
	// ReasonJobFailed: the Job of a channel of type custom failed, or ran for too long. Look at the message and at the image's
	// command; it is run again by itself.
	ReasonJobFailed = "JobFailed"
	// ReasonEmptyChannel: the answer has no version that can be used, and versions that were found before stay. Correct the
	// channel; delete it, if there are to be no versions.
	ReasonEmptyChannel = "EmptyChannel"
	// ReasonMassRemoval: the answer lacks more than half of the versions, which stay. Correct the channel; or set the
	// annotation that the message names, if they are to go.
	ReasonMassRemoval = "MassRemoval"
	// ReasonVersionChanged: the channel now says something else of a version that was found before, which stays as it is:
	// nodes may run it. Correct the channel; or delete the ManagedOSVersion, which is then made as the channel says.
	ReasonVersionChanged = "VersionChanged"
	// ReasonVersionNameTaken: a ManagedOSVersion of that name exists and is not this channel's. Delete or rename it.
	ReasonVersionNameTaken = "VersionNameTaken"
)

// Reasons of a ManagedOSImage that follows a channel.
const (
	// ReasonChannelNotFound: the ManagedOSVersionChannel does not exist in this namespace. Create it, or correct the name.
	ReasonChannelNotFound = "ChannelNotFound"
	// ReasonChannelWithoutVersions: the ManagedOSVersionChannel has no version yet. Wait; if it stays so, look at the channel's
	// own conditions.
	ReasonChannelWithoutVersions = "ChannelWithoutVersions"
)
