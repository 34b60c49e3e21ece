package seedimage

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

// downloadPath and the names behind it are where media/library serves; see registration/protocol.
const (
	downloadPath = "/v1-rancheros/seedimage/"
	isoSuffix    = ".iso"
	ipxeFile     = "boot.ipxe"
)

// computeStatus puts what was seen into the status of seed, a copy, and returns the conditions that turned. What
// media/library reports is left as it is, but for a count that a restore has lost.
func computeStatus(seed *v1.SeedImage, seen observed) []metav1.Condition {
	into := &seed.Status
	into.ObservedGeneration = seed.Generation
	into.TokenSecretName = index.SeedSecretName(seed.Name)
	into.Downloads = max(into.Downloads, seen.downloads)
	into.DownloadURL, into.IPXEURL = "", ""
	if seen.token != "" && seen.serverURLErr == nil {
		address := seen.serverURL + downloadPath + seen.token + "/"
		if seed.Spec.Type != v1.SeedImageNetboot {
			into.DownloadURL = address + seed.Name + isoSuffix
		}
		if seed.Spec.Type == v1.SeedImageNetboot || seed.Spec.Type == v1.SeedImageBoth {
			into.IPXEURL = address + ipxeFile
		}
	}
	ready := ready(seed, seen)
	into.State = state(ready)
	return status.Set(&into.Conditions, seed.Generation, ready)
}

// ready tells whether the medium can be downloaded.
func ready(seed *v1.SeedImage, seen observed) metav1.Condition {
	not := func(reason, message string) metav1.Condition { return status.False(v1.ConditionReady, reason, message) }
	var secretErr *secretError
	var notServed *clients.NotServedError
	switch {
	case errors.As(seen.tokenErr, &notServed):
		return not(v1.ReasonNamespaceNotServed, notServed.Error())
	case errors.As(seen.tokenErr, &secretErr):
		return not(v1.ReasonTokenSecretInvalid, secretErr.message)
	case errors.Is(seen.serverURLErr, settings.ErrServerURL):
		return not(v1.ReasonServerURLMissing, fmt.Sprintf("%v; set it in Rancher's global settings", seen.serverURLErr))
	}
	if err := errors.Join(seen.tokenErr, seen.serverURLErr, seen.registrationErr); err != nil {
		return not(v1.ReasonAPIError, fmt.Sprintf("%v; it is tried again", err))
	}
	if condition, ok := allowed(seed, seen); !ok {
		return condition
	}
	return medium(seed)
}

// allowed tells what the spec, and the registration that it names, stand in the way of.
func allowed(seed *v1.SeedImage, seen observed) (metav1.Condition, bool) {
	not := func(reason, format string, args ...any) (metav1.Condition, bool) {
		return status.False(v1.ConditionReady, reason, fmt.Sprintf(format, args...)), false
	}
	spec := seed.Spec
	switch {
	case seen.registration == nil:
		return not(v1.ReasonRegistrationMissing, "there is no MachineRegistration %s in this namespace; create it, or correct spec.registrationName", spec.RegistrationName)
	case seen.registration.Status.RegistrationURL == "":
		return not(v1.ReasonRegistrationNotReady, "MachineRegistration %s has no URL yet; its own Ready condition says why", spec.RegistrationName)
	case spec.ExpiresAt != nil && !seen.now.Before(spec.ExpiresAt.Time):
		return not(v1.ReasonSeedImageExpired, "expired: set a later spec.expiresAt to hand it out again")
	case spec.MaxDownloads != nil && seed.Status.Downloads >= *spec.MaxDownloads:
		return not(v1.ReasonUsedUp, "handed out %d times, as spec.maxDownloads allows; raise it to hand it out again", *spec.MaxDownloads)
	}
	if spec.CloudConfig != nil {
		if _, err := cloudconfig.Medium(spec.CloudConfig.Raw, "", "-"); err != nil {
			return not(v1.ReasonCloudConfigConflict, "%v; correct spec.cloudConfig", err)
		}
	}
	return metav1.Condition{}, true
}

// medium tells what media/library has found.
func medium(seed *v1.SeedImage) metav1.Condition {
	switch base := seed.Status.Base; {
	case base == nil || base.ObservedGeneration != seed.Generation:
		return status.False(v1.ConditionReady, v1.ReasonFetchingBase, "the base medium is on its way; wait for it")
	case base.Reason != "":
		return status.False(v1.ConditionReady, base.Reason, base.Message)
	}
	return status.True(v1.ConditionReady, v1.ReasonReady, "the medium can be downloaded, or booted, at the address in the status")
}

// state is the Ready condition in one word.
func state(ready metav1.Condition) string {
	switch ready.Reason {
	case v1.ReasonReady:
		return v1.SeedImageStateReady
	case v1.ReasonFetchingBase:
		return v1.SeedImageStateFetching
	case v1.ReasonSeedImageExpired:
		return v1.SeedImageStateExpired
	case v1.ReasonUsedUp:
		return v1.SeedImageStateUsedUp
	}
	return v1.SeedImageStateFailed
}
