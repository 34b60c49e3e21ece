package registration

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// emit tells of conditions that turned, once each. The URL stays out of the message: it is a secret of sorts.
func (h *handler) emit(registration *v1.MachineRegistration, turned []metav1.Condition) {
	for _, condition := range turned {
		kind := corev1.EventTypeWarning
		if condition.Status == metav1.ConditionTrue {
			kind = corev1.EventTypeNormal
		}
		h.events.Event(registration, kind, condition.Reason, condition.Message)
	}
}
