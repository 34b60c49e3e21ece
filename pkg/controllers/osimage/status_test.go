package osimage

import (
	"errors"
	"testing"

	fleetv1 "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// bundleWith is a Bundle of generation 2 that Fleet has looked at, at the given generation.
func bundleWith(observed int64, ready, desired int) *fleetv1.Bundle {
	bundle := &fleetv1.Bundle{ObjectMeta: metav1.ObjectMeta{Name: "mos-demo", Generation: 2}}
	bundle.Status.ObservedGeneration = observed
	bundle.Status.Summary.Ready, bundle.Status.Summary.DesiredReady = ready, desired
	return bundle
}

func TestDelivered(t *testing.T) {
	for _, c := range []struct {
		why     string
		bundle  *fleetv1.Bundle
		err     error
		status  metav1.ConditionStatus
		reason  string
		message string
	}{
		{"every cluster has it", bundleWith(2, 3, 3), nil, metav1.ConditionTrue, v1.ReasonDelivered, "reached 3/3 clusters"},
		{"some have it", bundleWith(2, 1, 3), nil, metav1.ConditionFalse, v1.ReasonDelivering, "reached 1/3 clusters"},
		{"there is no cluster", bundleWith(2, 0, 0), nil, metav1.ConditionFalse, v1.ReasonNoClusterMatches, "correct clusterTargets, or create the cluster"},
		{"Fleet has not looked yet", bundleWith(0, 0, 0), nil, metav1.ConditionFalse, v1.ReasonDelivering, "Fleet has not taken up the plan yet"},
		{"what Fleet says is about the plan before", bundleWith(1, 3, 3), nil, metav1.ConditionFalse, v1.ReasonDelivering, "Fleet has not taken up the plan yet"},
		{"a refusal under its own reason", bundleWith(2, 3, 3), refuse(v1.ReasonNoTargets, "no cluster is targeted"), metav1.ConditionFalse, v1.ReasonNoTargets, "no cluster is targeted"},
		{"a failure", nil, errors.New("no etcd"), metav1.ConditionFalse, v1.ReasonAPIError, "no etcd; it is tried again"},
	} {
		t.Run(c.why, func(t *testing.T) {
			got := delivered(c.bundle, c.err)
			require.Equal(t, []any{v1.ConditionDelivered, c.status, c.reason}, []any{got.Type, got.Status, got.Reason})
			require.Contains(t, got.Message, c.message)
		})
	}
}

func TestReady(t *testing.T) {
	image := newImage()
	yes := delivered(bundleWith(2, 3, 3), nil)
	got := ready(image, yes)
	require.Equal(t, metav1.ConditionUnknown, got.Status, "delivered is not done: Fleet calls a failed plan ready")
	got = ready(image, delivered(bundleWith(2, 1, 3), nil))
	require.Equal(t, []any{metav1.ConditionFalse, v1.ReasonDelivering}, []any{got.Status, got.Reason})
	image.Spec.Concurrency = pointer(int64(0))
	got = ready(image, yes)
	require.Equal(t, []any{metav1.ConditionFalse, v1.ReasonPaused}, []any{got.Status, got.Reason}, "a paused Plan says Complete at once")
	require.Contains(t, got.Message, "set it to 1 or more to go on")
}

func TestComputeStatus(t *testing.T) {
	image := newImage()
	turned := computeStatus(image, rollout{image: "rancher/os2:v1", bundle: bundleWith(2, 1, 3)}, nil)
	require.Len(t, turned, 2)
	require.Equal(t, int64(2), image.Status.ObservedGeneration)
	require.Equal(t, "rancher/os2:v1", image.Status.Image)
	require.Equal(t, &v1.BundleStatus{Name: "mos-demo", Delivered: "1/3", Ready: 1, Desired: 3}, image.Status.Bundle)

	computeStatus(image, rollout{image: "rancher/os2:v2", bundle: bundleWith(1, 3, 3)}, nil)
	require.Equal(t, "0/3", image.Status.Bundle.Delivered, "no cluster has the new plan yet")
	computeStatus(image, rollout{}, refuse(v1.ReasonNothingToDo, "nothing"))
	require.Nil(t, image.Status.Bundle)
	require.Empty(t, image.Status.Image)
}

func TestSeverity(t *testing.T) {
	require.Equal(t, corev1.EventTypeNormal, severity(v1.ReasonDelivering))
	require.Equal(t, corev1.EventTypeNormal, severity(v1.ReasonPaused))
	require.Equal(t, corev1.EventTypeWarning, severity(v1.ReasonForeignBundle))
	require.Equal(t, corev1.EventTypeWarning, severity(v1.ReasonInvalidSpec))
}
