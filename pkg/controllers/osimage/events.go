package osimage

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// emit tells of the turns of Ready, once each; Delivered says the same in part and stays silent.
func (h *handler) emit(image *v1.ManagedOSImage, turned []metav1.Condition) {
	for _, condition := range turned {
		if condition.Type == v1.ConditionReady {
			h.events.Event(image, severity(condition.Reason), condition.Reason, condition.Message)
		}
	}
}

// severity is Normal where the rollout takes its course, and Warning where somebody has to do something.
func severity(reason string) string {
	switch reason {
	case v1.ReasonDelivering, v1.ReasonDelivered, v1.ReasonPaused, v1.ReasonReady, v1.ReasonNoClusterMatches, v1.ReasonUpdating, v1.ReasonNoNodes:
		return corev1.EventTypeNormal
	}
	return corev1.EventTypeWarning
}
