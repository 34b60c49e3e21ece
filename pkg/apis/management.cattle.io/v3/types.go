// Package v3 is the little of Rancher's own management.cattle.io/v3 that the operator reads and writes. Rancher's module
// for it lags behind Rancher: its types are taken where they have what we need, and extended where they do not.
package v3

import (
	rancherv3 "github.com/rancher/rancher/pkg/apis/management.cattle.io/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// +genclient
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ClusterRegistrationToken lets machines register with the cluster that its spec names.
type ClusterRegistrationToken struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   rancherv3.ClusterRegistrationTokenSpec `json:"spec"`
	Status ClusterRegistrationTokenStatus         `json:"status,omitempty"`
}

// ClusterRegistrationTokenStatus is where Rancher puts the token: until 2.14 in the status itself, from 2.15 on in a
// Secret of the same namespace, key "token".
type ClusterRegistrationTokenStatus struct {
	rancherv3.ClusterRegistrationTokenStatus `json:",inline"`

	// TokenSecretName names the Secret that holds the token; empty before Rancher 2.15.
	TokenSecretName string `json:"tokenSecretName,omitempty"`
}

// +genclient
// +genclient:nonNamespaced
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// Setting is one of Rancher's global settings. What counts is its value, or its default where that is empty.
type Setting struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Value   string `json:"value"`
	Default string `json:"default"`
}

// +genclient
// +genclient:nonNamespaced
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// Cluster is one that Rancher manages: whether it can be reached, and since when.
type Cluster struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Status ClusterStatus `json:"status,omitempty"`
}

// ClusterStatus is the little of it that is read.
type ClusterStatus struct {
	Conditions []ClusterCondition `json:"conditions,omitempty"`
}

// ClusterCondition has its times as text, and not always both.
type ClusterCondition struct {
	Type               string                 `json:"type"`
	Status             corev1.ConditionStatus `json:"status"`
	Reason             string                 `json:"reason,omitempty"`
	LastUpdateTime     string                 `json:"lastUpdateTime,omitempty"`
	LastTransitionTime string                 `json:"lastTransitionTime,omitempty"`
}

// +genclient
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// Node is Rancher's copy of a node, in the namespace that is named as the cluster. While the cluster is offline it stays
// as it was.
type Node struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   NodeSpec   `json:"spec,omitempty"`
	Status NodeStatus `json:"status,omitempty"`
}

// NodeSpec is the little of it that is read.
type NodeSpec struct {
	InternalNodeSpec InternalNodeSpec `json:"internalNodeSpec,omitempty"`
}

// InternalNodeSpec is what the cluster itself wants of the node.
type InternalNodeSpec struct {
	Unschedulable bool    `json:"unschedulable,omitempty"`
	Taints        []Taint `json:"taints,omitempty"`
}

// Taint tells since when the node is cordoned.
type Taint struct {
	Key       string       `json:"key"`
	TimeAdded *metav1.Time `json:"timeAdded,omitempty"`
}

// NodeStatus is the little of it that is read.
type NodeStatus struct {
	NodeName           string             `json:"nodeName,omitempty"`
	NodeLabels         map[string]string  `json:"nodeLabels,omitempty"`
	InternalNodeStatus InternalNodeStatus `json:"internalNodeStatus,omitempty"`
}

// InternalNodeStatus is what the cluster itself knows of the node.
type InternalNodeStatus struct {
	Conditions []NodeCondition `json:"conditions,omitempty"`
	NodeInfo   NodeInfo        `json:"nodeInfo,omitempty"`
}

// NodeCondition is one of the kubelet's.
type NodeCondition struct {
	Type               string                 `json:"type"`
	Status             corev1.ConditionStatus `json:"status"`
	LastTransitionTime metav1.Time            `json:"lastTransitionTime,omitempty"`
}

// NodeInfo is the operating system that the node has booted.
type NodeInfo struct {
	OSImage string `json:"osImage,omitempty"`
}
