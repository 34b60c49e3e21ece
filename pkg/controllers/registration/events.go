package registration

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/cloudconfig"
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

// emitOverridden tells, once for each version of the spec, of what it sets in vain.
func (h *handler) emitOverridden(registration *v1.MachineRegistration, serverURL string) {
	if registration.Spec.CloudConfig == nil || registration.Status.ObservedGeneration == registration.Generation {
		return
	}
	if paths := cloudconfig.Overridden(registration.Spec.CloudConfig.Raw, serverURL); len(paths) > 0 {
		h.events.Eventf(registration, corev1.EventTypeWarning, "CloudConfigOverridden",
			"%s of spec.cloudConfig is not used: machines get the operator's own value", strings.Join(paths, ", "))
	}
}
