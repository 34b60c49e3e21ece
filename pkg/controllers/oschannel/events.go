package oschannel

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// emit tells of conditions that turned, once each, and of a release that is newer than all before.
func (h *handler) emit(before *v1.ManagedOSVersionChannel, turned []metav1.Condition, latest string) {
	for _, condition := range turned {
		h.events.Event(before, severity(condition.Reason), condition.Reason, condition.Message)
	}
	if latest != "" && latest != before.Status.LatestVersion {
		h.events.Event(before, corev1.EventTypeNormal, "NewLatestVersion", "the newest version is now "+latest)
	}
}

func severity(reason string) string {
	switch reason {
	case v1.ReasonSynced, v1.ReasonSyncing, v1.ReasonSuspended:
		return corev1.EventTypeNormal
	}
	return corev1.EventTypeWarning
}
