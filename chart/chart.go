// Package chart has those files of the chart that the operator's own diagnosis compares the cluster with, so that there is no
// second list of rights.
package chart

import _ "embed"

// Roles are the operator's rights: YAML documents of a ClusterRole, bound everywhere; a Role with a namespace, which is the
// operator's own; and perhaps Roles without one, bound in the namespaces whose objects have Secrets.
//
//go:embed rancheros-operator/files/cluster-role.yaml
var Roles []byte

// AdmissionPolicies are YAML documents of ValidatingAdmissionPolicies and their bindings.
//
//go:embed rancheros-operator/files/admission-policies.yaml
var AdmissionPolicies []byte
