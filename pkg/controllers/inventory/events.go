package inventory

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// emit tells of the assignment's turns, once each. Ready says the same in other words and stays silent, and so does a
// machine that is new and has no cluster: its making was told by the registration.
func (h *handler) emit(inventory *v1.MachineInventory, turned []metav1.Condition) {
	for _, condition := range turned {
		if !news(inventory, condition) {
			continue
		}
		h.events.Event(inventory, severity(condition.Reason), condition.Reason, condition.Message)
	}
}

// news is everything but an approval that nobody had to give, what another condition tells in the same turn, and what
// passes by itself in a moment: if it does not, the condition says so. A machine whose cluster comes a day later has three
// events.
func news(inventory *v1.MachineInventory, condition metav1.Condition) bool {
	switch {
	case condition.Type == v1.ConditionReady, condition.Reason == v1.ReasonNoCluster,
		condition.Reason == v1.ReasonReplacing, condition.Reason == v1.ReasonWaitingForToken:
		return false
	case condition.Reason == v1.ReasonApproved:
		return inventory.Spec.Approved != nil
	case condition.Reason == v1.ReasonRevoked:
		return condition.Type == v1.ConditionRevoked
	case condition.Reason == v1.ReasonPendingApproval:
		return condition.Type != v1.ConditionReplacement
	}
	return true
}

// severity is Warning where somebody has to do something, and Normal where waiting is enough.
func severity(reason string) string {
	switch reason {
	case v1.ReasonForeignToken, v1.ReasonAPIError, v1.ReasonRoleMissing, v1.ReasonClusterDeleting, v1.ReasonClusterNotAllowed,
		v1.ReasonReplacedMissing, v1.ReasonReplacementRefused:
		return corev1.EventTypeWarning
	}
	return corev1.EventTypeNormal
}
