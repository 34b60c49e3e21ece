package oschannel

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/channel"
)

// A version without an owner is the channel's own only if it says what the channel says: everybody may set the marks.
func TestRestored(t *testing.T) {
	c := &v1.ManagedOSVersionChannel{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "stable", UID: "new"}}
	release := channel.Release{Name: "v1.0.0", Version: "v1.0.0", Metadata: []byte(`{"upgradeImage":"os:v1.0.0","b":1}`)}
	for _, test := range []struct {
		why    string
		change func(*v1.ManagedOSVersion)
		want   bool
	}{
		{"as it was saved", func(*v1.ManagedOSVersion) {}, true},
		{"the API server sorts keys", func(v *v1.ManagedOSVersion) {
			v.Spec.Metadata = &runtime.RawExtension{Raw: []byte(`{"b":1,"upgradeImage":"os:v1.0.0"}`)}
		}, true},
		{"another image", func(v *v1.ManagedOSVersion) {
			v.Spec.Metadata = &runtime.RawExtension{Raw: []byte(`{"b":1,"upgradeImage":"evil:v1.0.0"}`)}
		}, false},
		{"a container of its own", func(v *v1.ManagedOSVersion) { v.Spec.UpgradeContainer = &v1.ContainerSpec{} }, false},
		{"without the label it was written by hand", func(v *v1.ManagedOSVersion) { delete(v.Labels, v1.LabelChannel) }, false},
		{"and without the annotation", func(v *v1.ManagedOSVersion) { delete(v.Annotations, v1.AnnotationRelease) }, false},
		{"it has an owner", func(v *v1.ManagedOSVersion) {
			earlier := c.DeepCopy()
			earlier.UID = "old"
			v.OwnerReferences = []metav1.OwnerReference{v1.OwnedBy(earlier, channelKind)}
		}, false},
	} {
		version := newVersion(c, release)
		version.OwnerReferences = nil
		test.change(version)
		require.Equal(t, test.want, restored(c, version, release), test.why)
	}
}
