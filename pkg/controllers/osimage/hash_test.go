package osimage

import (
	"testing"

	upgradev1 "github.com/rancher/system-upgrade-controller/pkg/apis/upgrade.cattle.io/v1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// The hashes are what DigestStatus of system-upgrade-controller v0.20.0 gave for these plans, with the annotation
// upgrade.cattle.io/digest: spec.upgrade.image, and spec.upgrade.image,metadata.annotations.run-again for those that are to run
// again.
func TestPlanHash(t *testing.T) {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "os-upgrader-demo", Namespace: "fleet-default"},
		Type:       "rancheros.cattle.io/cloud-config",
		Data:       map[string][]byte{"cloud-config": []byte("#cloud-config\nusers: []\n")},
	}
	for _, c := range []struct {
		why, version, image string
		secret              *corev1.Secret
		want, again         string
	}{
		{"a tag", "v1.2.3", "rancher/os2:v1.2.3", nil, "2f92ab648dcb70bab5a537492805d0da6c8f9ce17cc7dc1e578c5de0",
			"88c985bcebfa8461ddc984ea899b5da78f543ff52dd073ec386331e0"},
		{"a version with a plus, which a label does not take", "v1.2.3+k3s1", "rancher/os2:v1.2.3", nil, "a2a707038521d336b46515d4d3704243b9de3de1054e9aa425ae863b",
			"3f5a7fcd861e693433359977d09f0d5e68cdd3cb760f5f5c8262704d"},
		{"a cloud-config", "v1.2.3", "registry.example.com:5000/os2@sha256:00", secret, "78192c17b25c9a663780e30d15bb8c9f11b4126cf1528667050d2fd0",
			"40945cf8fac5f5c4015c7f8bdc16ec2e1928bdbd2356cac20051420c"},
	} {
		plan := &upgradev1.Plan{Spec: upgradev1.PlanSpec{
			Version: c.version, ServiceAccountName: "os-upgrader-demo", Upgrade: &upgradev1.ContainerSpec{Image: c.image},
		}}
		got, err := planHash(plan, c.secret)
		require.NoError(t, err, c.why)
		require.Equal(t, c.want, got, c.why)
		plan.Annotations = map[string]string{runAgain: "2026-11-20"}
		got, err = planHash(plan, c.secret)
		require.NoError(t, err, c.why)
		require.Equal(t, c.again, got, c.why)
	}
}

// planHash takes the fields that the annotation names.
func TestPlanHashKnowsTheAnnotation(t *testing.T) {
	image := newImage()
	_, plan := rendered(t, image)
	require.Equal(t, map[string]string{"upgrade.cattle.io/digest": "spec.upgrade.image"}, plan.Annotations)
	image.Annotations = map[string]string{v1.AnnotationRunAgain: "now"}
	_, plan = rendered(t, image)
	require.Equal(t, map[string]string{"upgrade.cattle.io/digest": "spec.upgrade.image,metadata.annotations.run-again", "run-again": "now"}, plan.Annotations)
}
