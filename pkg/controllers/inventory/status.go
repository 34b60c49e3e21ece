package inventory

import (
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	managementv3 "github.com/rancher/rancheros-operator/pkg/apis/management.cattle.io/v3"
	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/pkg/status"
)

// outcome is what the status tells.
type outcome struct {
	assignment
	replacement replacement
	now         time.Time
}

// computeStatus puts the outcome into the status of inventory, a copy, and returns the conditions that turned.
func computeStatus(inventory *v1.MachineInventory, o outcome, err error) []metav1.Condition {
	into := &inventory.Status
	into.ObservedGeneration = inventory.Generation
	into.TPMHash = index.TPMHash(inventory)
	into.Assurance = assurance(inventory)
	hadToken := into.ClusterRegistrationTokenName != ""
	if err == nil {
		into.ClusterRegistrationTokenNamespace, into.ClusterRegistrationTokenName = "", ""
		if o.token != nil {
			into.ClusterRegistrationTokenNamespace = o.token.Namespace
			into.ClusterRegistrationTokenName = o.token.Name
		}
	}
	recordReplacement(inventory, o)
	approval, assigned := approval(inventory), clusterAssigned(inventory, o.assignment, hadToken, err)
	conditions := []metav1.Condition{assigned, approval, ready(inventory, approval, assigned, o.replacement)}
	conditions = append(conditions, replacementConditions(inventory, o.replacement)...)
	return status.Set(&into.Conditions, inventory.Generation, conditions...)
}

// assurance is what the registration server found out, which its label says; a person who writes an inventory vouches
// for the TPM in it.
func assurance(inventory *v1.MachineInventory) string {
	switch {
	case inventory.Labels[v1.LabelAssurance] != "":
		return inventory.Labels[v1.LabelAssurance]
	case index.TPMHash(inventory) != "":
		return v1.AssuranceListed
	case inventory.Spec.MachineTokenSecretName != "":
		return v1.AssuranceSharedSecret
	}
	return ""
}

func approval(inventory *v1.MachineInventory) metav1.Condition {
	switch {
	case inventory.Spec.ReplacedBy != "":
		return revoked(v1.ConditionApproved, metav1.ConditionFalse, inventory)
	case index.Approved(inventory):
		return status.True(v1.ConditionApproved, v1.ReasonApproved, "the machine may have its configuration and a cluster")
	case inventory.Spec.Replaces != "":
		return status.False(v1.ConditionApproved, v1.ReasonPendingApproval, fmt.Sprintf(
			"the machine waits for approval to take the place of %s; compare status.tpmHash with what the machine shows, then set spec.approved to true, or clear spec.replaces",
			inventory.Spec.Replaces))
	}
	return status.False(v1.ConditionApproved, v1.ReasonPendingApproval,
		"the machine waits for approval; compare status.tpmHash with what the machine shows, then set spec.approved to true, or delete this")
}

// ready is as clusterAssigned, but a machine without a cluster lacks nothing, and one that is not approved, or has yet to
// take another's place, everything.
func ready(inventory *v1.MachineInventory, approval, assigned metav1.Condition, replacement replacement) metav1.Condition {
	idle := assigned.Reason == v1.ReasonNoCluster || assigned.Reason == v1.ReasonReleased
	switch {
	case approval.Status != metav1.ConditionTrue:
		approval.Type = v1.ConditionReady
		return approval
	case index.Replacing(inventory) && (idle || assigned.Reason == v1.ReasonReplacing):
		return status.False(v1.ConditionReady, replacement.reason, replacement.message)
	case idle:
		return status.True(v1.ConditionReady, assigned.Reason, assigned.Message)
	}
	assigned.Type = v1.ConditionReady
	return assigned
}

func clusterAssigned(inventory *v1.MachineInventory, decided assignment, hadToken bool, err error) metav1.Condition {
	const kind = v1.ConditionClusterAssigned
	name := inventory.Spec.ClusterName
	var foreign *foreignTokenError
	switch {
	case errors.As(err, &foreign):
		return status.False(kind, v1.ReasonForeignToken, fmt.Sprintf("%v; delete or rename it", foreign))
	case err != nil:
		return status.False(kind, v1.ReasonAPIError, fmt.Sprintf("%v; it is tried again", err))
	case inventory.Spec.ReplacedBy != "":
		return revoked(kind, metav1.ConditionFalse, inventory)
	case name == "":
		return unassigned(inventory, hadToken)
	case !index.Approved(inventory):
		return status.False(kind, v1.ReasonPendingApproval, fmt.Sprintf("the machine gets no token for Cluster %s before it is approved", name))
	case index.Replacing(inventory):
		return status.False(kind, v1.ReasonReplacing, fmt.Sprintf(
			"the machine gets no token for Cluster %s before it has taken the place of %s; the condition Replacement says what it waits for", name, inventory.Spec.Replaces))
	case decided.cluster == nil:
		return status.False(kind, v1.ReasonWaitingForCluster, waitingForCluster(inventory, decided.elsewhere))
	case !index.Allows(decided.cluster, inventory.Namespace):
		return status.False(kind, v1.ReasonClusterNotAllowed, notAllowed(inventory))
	case decided.cluster.DeletionTimestamp != nil:
		return status.False(kind, v1.ReasonClusterDeleting, fmt.Sprintf(
			"Cluster %s is being deleted; assign another one, or wait until it is made again", name))
	case decided.cluster.Status.ClusterName == "":
		return status.False(kind, v1.ReasonWaitingForManagementCluster, fmt.Sprintf(
			"Rancher has not given Cluster %s a management cluster yet; if it stays so, look at the Cluster's conditions", name))
	case !filledIn(decided.token):
		return status.False(kind, v1.ReasonWaitingForToken, fmt.Sprintf(
			"Rancher has not filled in the machine's token for Cluster %s yet; if it stays so, look at Rancher's logs", name))
	case inventory.Spec.Config == nil || inventory.Spec.Config.Role == "":
		return status.False(kind, v1.ReasonRoleMissing, fmt.Sprintf(
			"the machine has no role in Cluster %s; set spec.config.role to server or agent", name))
	}
	return status.True(kind, v1.ReasonTokenReady, fmt.Sprintf(
		"the machine joins Cluster %s as %s the next time it asks", name, inventory.Spec.Config.Role))
}

// filledIn tells whether Rancher has put a token behind the object; one that is going does not count.
func filledIn(token *managementv3.ClusterRegistrationToken) bool {
	return token != nil && token.DeletionTimestamp == nil && (token.Status.Token != "" || token.Status.TokenSecretName != "")
}

// unassigned tells a machine that was released from one that never had a cluster.
func unassigned(inventory *v1.MachineInventory, hadToken bool) metav1.Condition {
	const kind = v1.ConditionClusterAssigned
	if before := findCondition(inventory, kind); hadToken || (before != nil && before.Reason == v1.ReasonReleased) {
		return status.False(kind, v1.ReasonReleased, "released from its cluster, and its token deleted; set spec.clusterName to use the machine again")
	}
	return status.False(kind, v1.ReasonNoCluster, "not assigned to a cluster; set spec.clusterName and spec.config.role when it is to join one")
}

func findCondition(inventory *v1.MachineInventory, kind string) *metav1.Condition {
	for i := range inventory.Status.Conditions {
		if inventory.Status.Conditions[i].Type == kind {
			return &inventory.Status.Conditions[i]
		}
	}
	return nil
}
