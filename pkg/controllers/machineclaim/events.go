package machineclaim

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// emit tells of the claim's turns, once each.
func (h *handler) emit(claim *v1.MachineClaim, turned []metav1.Condition) {
	for _, condition := range turned {
		kind := corev1.EventTypeWarning
		if condition.Status == metav1.ConditionTrue {
			kind = corev1.EventTypeNormal
		}
		h.events.Event(claim, kind, condition.Reason, condition.Message)
	}
}

// tell tells the machine what became of it.
func (h *handler) tell(made change) {
	if made.reason != "" {
		h.events.Event(made.machine, corev1.EventTypeNormal, made.reason, made.message)
	}
}
