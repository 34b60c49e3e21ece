package registration

import (
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/clients"
	"github.com/rancher/rancheros-operator/pkg/cloudconfig"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/pkg/settings"
	"github.com/rancher/rancheros-operator/pkg/status"
)

// registrationPath is where registration/server serves it; see registration/protocol.
const registrationPath = "/v1-rancheros/registration/"

// computeStatus puts what was seen into the status of registration, a copy, and returns the conditions that turned.
func computeStatus(registration *v1.MachineRegistration, seen observed) []metav1.Condition {
	into := &registration.Status
	into.ObservedGeneration = registration.Generation
	into.Machines, into.Pending = seen.machines, seen.pending
	into.TokenSecretName = index.TokenSecretName(registration.Name)
	into.RegistrationToken = seen.token
	into.Admitted = restoredAdmitted(into.Admitted, seen.admitted)
	into.RegistrationURL = ""
	if seen.token != "" && seen.serverURLErr == nil {
		into.RegistrationURL = seen.serverURL + registrationPath + seen.token
	}
	return status.Set(&into.Conditions, registration.Generation, ready(registration, seen))
}

// ready tells whether machines can register.
func ready(registration *v1.MachineRegistration, seen observed) metav1.Condition {
	var secretErr *secretError
	var notServed *clients.NotServedError
	switch {
	case errors.As(seen.tokenErr, &notServed):
		return status.False(v1.ConditionReady, v1.ReasonNamespaceNotServed, notServed.Error())
	case errors.As(seen.tokenErr, &secretErr):
		return status.False(v1.ConditionReady, v1.ReasonTokenSecretInvalid, secretErr.message)
	case seen.tokenErr != nil:
		return status.False(v1.ConditionReady, v1.ReasonAPIError, fmt.Sprintf("%v; it is tried again", seen.tokenErr))
	case len(seen.shared) > 0:
		return status.False(v1.ConditionReady, v1.ReasonTokenShared, fmt.Sprintf(
			"machines are refused: Secret %s holds the same token as that of registration %s; delete the one that was copied, and its registration gets a new URL",
			index.TokenSecretName(registration.Name), joined(seen.shared)))
	case errors.Is(seen.serverURLErr, settings.ErrServerURL):
		return status.False(v1.ConditionReady, v1.ReasonServerURLMissing, fmt.Sprintf("%v; set it in Rancher's global settings", seen.serverURLErr))
	case seen.serverURLErr != nil:
		return status.False(v1.ConditionReady, v1.ReasonAPIError, fmt.Sprintf("%v; it is tried again", seen.serverURLErr))
	}
	if err := checkCloudConfig(registration); err != nil {
		return status.False(v1.ConditionReady, v1.ReasonCloudConfigConflict, fmt.Sprintf("%v; correct spec.cloudConfig", err))
	}
	if seen.bundleErr != nil {
		return status.False(v1.ConditionReady, v1.ReasonAPIError, fmt.Sprintf("%v; it is tried again", seen.bundleErr))
	}
	if refused := trustable(registration, seen.bundle); refused != nil {
		return *refused
	}
	return open(registration, seen)
}

// open tells whether new machines are taken. Those that are known get their answer in any case.
func open(registration *v1.MachineRegistration, seen observed) metav1.Condition {
	admission := registration.Spec.Admission
	switch {
	case registration.Spec.Paused:
		return status.False(v1.ConditionReady, v1.ReasonPausedRegistration, "paused: new machines are refused; set spec.paused to false to take them again")
	case admission != nil && admission.ExpiresAt != nil && !seen.now.Before(admission.ExpiresAt.Time):
		return status.False(v1.ConditionReady, v1.ReasonExpired, "expired: new machines are refused; set a later spec.admission.expiresAt to take them again")
	case admission != nil && admission.MaxMachines != nil && max(len(registration.Status.Admitted), seen.machines) >= *admission.MaxMachines:
		return status.False(v1.ConditionReady, v1.ReasonFull, fmt.Sprintf(
			"full: the %d machines of spec.admission.maxMachines have registered; raise it to take more", *admission.MaxMachines))
	}
	return status.True(v1.ConditionReady, v1.ReasonReady, "machines can register at the URL in status.registrationURL")
}

// checkCloudConfig tries what the server will do for each machine.
func checkCloudConfig(registration *v1.MachineRegistration) error {
	if registration.Spec.CloudConfig == nil {
		return nil
	}
	_, err := cloudconfig.Machine(registration.Spec.CloudConfig.Raw, "")
	return err
}
