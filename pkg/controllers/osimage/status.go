package osimage

import (
	"errors"
	"fmt"

	fleetv1 "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/status"
)

// computeStatus puts what came of the rollout into the status of image, a copy, and returns the conditions that turned.
func computeStatus(image *v1.ManagedOSImage, result rollout, err error) []metav1.Condition {
	into := &image.Status
	into.ObservedGeneration = image.Generation
	into.Image = result.image
	into.Bundle = bundleStatus(result.bundle)
	delivered := delivered(result.bundle, err)
	return status.Set(&into.Conditions, image.Generation, delivered, ready(image, delivered))
}

func bundleStatus(bundle *fleetv1.Bundle) *v1.BundleStatus {
	if bundle == nil {
		return nil
	}
	summary := bundle.Status.Summary
	if outdated(bundle) {
		summary.Ready = 0
	}
	return &v1.BundleStatus{
		Name:      bundle.Name,
		Delivered: fmt.Sprintf("%d/%d", summary.Ready, summary.DesiredReady),
		Ready:     summary.Ready,
		Desired:   summary.DesiredReady,
	}
}

// outdated tells whether what Fleet says is still about the plan before this one.
func outdated(bundle *fleetv1.Bundle) bool {
	return bundle.Status.ObservedGeneration < bundle.Generation
}

// delivered speaks of the plan's way to the clusters, which is all that a Bundle knows.
func delivered(bundle *fleetv1.Bundle, err error) metav1.Condition {
	const kind = v1.ConditionDelivered
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		return status.False(kind, refused.reason, refused.message)
	case err != nil:
		return status.False(kind, v1.ReasonAPIError, fmt.Sprintf("%v; it is tried again", err))
	case bundle == nil || outdated(bundle):
		return status.False(kind, v1.ReasonDelivering, "Fleet has not taken up the plan yet; if it stays so, look at the Bundle and at Fleet's logs")
	}
	summary := bundleStatus(bundle)
	switch {
	case summary.Desired == 0:
		return status.False(kind, v1.ReasonNoClusterMatches,
			"Fleet has matched no cluster to the targets; correct clusterTargets, or create the cluster")
	case summary.Ready < summary.Desired:
		return status.False(kind, v1.ReasonDelivering, fmt.Sprintf(
			"the plan has reached %s clusters; those that are offline get it when they return", summary.Delivered))
	}
	return status.True(kind, v1.ReasonDelivered, fmt.Sprintf("the plan has reached %s clusters", summary.Delivered))
}

// ready never takes delivery for success: a Bundle is called ready as soon as the plan arrived, whatever its jobs do.
func ready(image *v1.ManagedOSImage, delivered metav1.Condition) metav1.Condition {
	const kind = v1.ConditionReady
	if delivered.Status != metav1.ConditionTrue {
		return status.False(kind, delivered.Reason, delivered.Message)
	}
	if valueOr(image.Spec.Concurrency, 1) == 0 {
		return status.False(kind, v1.ReasonPaused, "paused: concurrency is 0; set it to 1 or more to go on")
	}
	return status.Unknown(kind, v1.ReasonDelivered, delivered.Message+", which upgrade their nodes by it; what the nodes run is not read from here yet")
}
