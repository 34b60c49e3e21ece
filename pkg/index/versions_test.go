package index

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/tests/memoryapi"
)

func TestNewestOfChannel(t *testing.T) {
	channel := &v1.ManagedOSVersionChannel{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "stable", UID: "u"}}
	version := func(namespace, text string, change func(*v1.ManagedOSVersion)) *v1.ManagedOSVersion {
		made := &v1.ManagedOSVersion{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: text,
			OwnerReferences: []metav1.OwnerReference{v1.OwnedBy(channel, "ManagedOSVersionChannel")}}, Spec: v1.ManagedOSVersionSpec{Version: text, MinVersion: "v0.1.0"}}
		if change != nil {
			change(made)
		}
		return made
	}
	now := metav1.Now()
	indexes := Add(memoryapi.New(t,
		version("ns", "v1.2.0", nil), version("ns", "v1.10.0", nil), version("ns", "v2.0.0-rc1", nil),
		version("ns", "v3.0.0", func(v *v1.ManagedOSVersion) { v.Labels = map[string]string{v1.LabelNoLongerListed: "true"} }),
		version("ns", "v4.0.0", func(v *v1.ManagedOSVersion) {
			v.OwnerReferences = nil
			v.Labels = map[string]string{v1.LabelChannel: "stable"}
		}),
		version("ns", "v5.0.0", func(v *v1.ManagedOSVersion) { v.OwnerReferences[0].Kind = "ManagedOSImage" }),
		version("ns", "v6.0.0", func(v *v1.ManagedOSVersion) { v.OwnerReferences[0].APIVersion = "example.com/v1" }),
		version("ns", "v7.0.0", func(v *v1.ManagedOSVersion) { v.DeletionTimestamp, v.Finalizers = &now, []string{"a/b"} }),
		version("other", "v8.0.0", nil),
		version("ns", "v9.0.0", func(v *v1.ManagedOSVersion) { v.OwnerReferences[0].UID = "of a channel that was deleted" }),
		version("candidates", "v1.0.0-rc2", nil), version("candidates", "v1.0.0-rc10", nil),
		version("unknown", "latest", nil),
	).Clients())
	for _, c := range []struct{ why, namespace, want string }{
		{"what the channel lists, owns and keeps; numbers are numbers", "ns", "v1.10.0"},
		{"in another namespace", "other", "v8.0.0"},
		{"candidates where there is nothing else", "candidates", "v1.0.0-rc10"},
		{"no version that is one", "unknown", ""},
		{"nothing", "none", ""},
	} {
		newest, err := indexes.NewestOfChannel(&v1.ManagedOSVersionChannel{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: "stable", UID: "u"}})
		require.NoError(t, err)
		if c.want == "" {
			require.Nil(t, newest, c.why)
			continue
		}
		require.Equal(t, c.want, newest.Name, c.why)
	}
	all, err := indexes.VersionsByChannel("ns", "stable")
	require.NoError(t, err)
	require.Len(t, all, 6)
	release := Release(all[0])
	require.Equal(t, "v0.1.0", release.MinVersion)
	require.True(t, release.Version.Known())
}

func TestImagesByChannel(t *testing.T) {
	image := func(namespace, name, channel string) *v1.ManagedOSImage {
		return &v1.ManagedOSImage{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: v1.ManagedOSImageSpec{ManagedOSVersionChannelName: channel}}
	}
	indexes := Add(memoryapi.New(t, image("ns", "a", "stable"), image("ns", "b", "other"), image("ns", "c", ""), image("elsewhere", "d", "stable"),
		&v1.ManagedOSVersionChannel{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "stable"}}).Clients())
	for channel, want := range map[string][]string{"stable": {"ns/a"}, "": {"ns/a", "ns/b"}, "none": nil} {
		found, err := indexes.ImagesByChannel("ns", channel)
		require.NoError(t, err)
		require.Equal(t, want, keys(found), channel)
	}
	channel, err := indexes.Channel("ns", "stable")
	require.NoError(t, err)
	require.Equal(t, "stable", channel.Name)
	channel, err = indexes.Channel("elsewhere", "stable")
	require.NoError(t, err)
	require.Nil(t, channel)
}
