// Package v3 is the little of Rancher's own management.cattle.io/v3 that the operator reads and writes. Rancher's module
// for it lags behind Rancher: its types are taken where they have what we need, and extended where they do not.
package v3

import (
	rancherv3 "github.com/rancher/rancher/pkg/apis/management.cattle.io/v3"
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
