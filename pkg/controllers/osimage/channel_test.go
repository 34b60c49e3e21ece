package osimage

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

func TestFollowsAChannel(t *testing.T) {
	w := newWorld(t, newImage(func(s *v1.ManagedOSImageSpec) { s.OSImage, s.ManagedOSVersionChannelName = "", "stable" }))
	w.settle(t)
	require.Equal(t, v1.ReasonChannelNotFound, w.reason())
	channel := &v1.ManagedOSVersionChannel{ObjectMeta: metav1.ObjectMeta{Namespace: "fleet-default", Name: "stable", UID: "u"}}
	w.Put(channel)
	w.settle(t)
	require.Equal(t, v1.ReasonChannelWithoutVersions, w.reason())

	version := func(name string) *v1.ManagedOSVersion {
		return &v1.ManagedOSVersion{
			ObjectMeta: metav1.ObjectMeta{Namespace: "fleet-default", Name: name, OwnerReferences: []metav1.OwnerReference{v1.OwnedBy(channel, "ManagedOSVersionChannel")}},
			Spec:       v1.ManagedOSVersionSpec{Version: name, Metadata: raw(`{"upgradeImage":"rancher/os2:` + name + `"}`)},
		}
	}
	image := func() string { return planOf(t, w.Bundles.All()[0]).Spec.Upgrade.Image }
	w.Put(version("v1.9.0"), version("v2.0.0-rc1"))
	w.settle(t)
	require.Equal(t, "rancher/os2:v1.9.0", image())
	w.Put(version("v1.10.0"))
	w.settle(t)
	require.Equal(t, "rancher/os2:v1.10.0", image(), "a new release")
	w.edit(func(s *v1.ManagedOSImageSpec) { s.ManagedOSVersionName = "v1.9.0" })
	w.settle(t)
	require.Equal(t, "rancher/os2:v1.9.0", image(), "a version that is named wins")
	w.edit(func(s *v1.ManagedOSImageSpec) { s.OSImage = "rancher/os2:own" })
	w.settle(t)
	require.Equal(t, "rancher/os2:own", image(), "and an image over both")
}

func TestWhatBringsAFollowerBack(t *testing.T) {
	w := newWorld(t, newImage(func(s *v1.ManagedOSImageSpec) { s.OSImage, s.ManagedOSVersionChannelName = "", "stable" }))
	channel := &v1.ManagedOSVersionChannel{ObjectMeta: metav1.ObjectMeta{Namespace: "fleet-default", Name: "stable", UID: "u"}}
	owned := &v1.ManagedOSVersion{ObjectMeta: metav1.ObjectMeta{Namespace: "fleet-default", Name: "v1", OwnerReferences: []metav1.OwnerReference{v1.OwnedBy(channel, "ManagedOSVersionChannel")}}}
	for _, c := range []struct {
		why  string
		do   func() error
		want int
	}{
		{"its channel", func() error { _, err := w.onChannel("fleet-default/stable", channel); return err }, 1},
		{"its channel, deleted", func() error { _, err := w.onChannel("fleet-default/stable", nil); return err }, 1},
		{"another channel", func() error { _, err := w.onChannel("fleet-default/other", channel); return err }, 0},
		{"a version of its channel", func() error { _, err := w.onChannelVersion("fleet-default/v1", owned); return err }, 1},
		{"a version that is gone", func() error { _, err := w.onChannelVersion("fleet-default/v1", nil); return err }, 1},
		{"a version that is gone elsewhere", func() error { _, err := w.onChannelVersion("other/v1", nil); return err }, 0},
		{"a version of nobody", func() error { _, err := w.onChannelVersion("fleet-default/v1", &v1.ManagedOSVersion{}); return err }, 0},
	} {
		require.NoError(t, c.do(), c.why)
		require.Len(t, w.Images.Enqueued(), c.want, c.why)
	}
}
