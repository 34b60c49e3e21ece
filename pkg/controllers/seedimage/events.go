package seedimage

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// emit tells of conditions that turned, once each. That the base is on its way is nothing to worry about.
func (h *handler) emit(seed *v1.SeedImage, turned []metav1.Condition) {
	for _, condition := range turned {
		kind := corev1.EventTypeWarning
		if condition.Status == metav1.ConditionTrue || condition.Reason == v1.ReasonFetchingBase {
			kind = corev1.EventTypeNormal
		}
		h.events.Event(seed, kind, condition.Reason, condition.Message)
	}
}
