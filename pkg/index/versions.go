package index

import (
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/osversion"
)

const channelKind = "ManagedOSVersionChannel"

// versionByChannel finds a version by the channel that owns it; its label alone would be anybody's to set.
func versionByChannel(version *v1.ManagedOSVersion) ([]string, error) {
	name, _ := ChannelOf(version)
	if name == "" {
		return nil, nil
	}
	return []string{key(version.Namespace, name)}, nil
}

// imageByFollowed finds an image by the channel that it follows, and each that follows one by its namespace.
func imageByFollowed(image *v1.ManagedOSImage) ([]string, error) {
	if image.Spec.ManagedOSVersionChannelName == "" {
		return nil, nil
	}
	return []string{key(image.Namespace, image.Spec.ManagedOSVersionChannelName), key(image.Namespace, "")}, nil
}

// ImagesByChannel are the images that follow the channel; with an empty name, those that follow any of the namespace.
func (i *Indexes) ImagesByChannel(namespace, channel string) ([]*v1.ManagedOSImage, error) {
	return lookup(i.images, byFollowed, key(namespace, channel))
}

// Channel is the channel of that name; nil when there is none.
func (i *Indexes) Channel(namespace, name string) (*v1.ManagedOSVersionChannel, error) {
	channel, err := i.channels.Get(namespace, name)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking up channel: %w", err)
	}
	return channel, nil
}

// ChannelOf is the name and the UID of the channel that owns the version; empty for one that was made by hand.
func ChannelOf(version *v1.ManagedOSVersion) (string, types.UID) {
	owner := metav1.GetControllerOf(version)
	if owner == nil || owner.Kind != channelKind || owner.APIVersion != v1.SchemeGroupVersion.String() {
		return "", ""
	}
	return owner.Name, owner.UID
}

// VersionsByChannel are the versions that belong to a channel of that name, those that it does not list any more included.
func (i *Indexes) VersionsByChannel(namespace, channel string) ([]*v1.ManagedOSVersion, error) {
	return lookup(i.versions, byChannel, key(namespace, channel))
}

// NewestOfChannel is the newest version that the channel lists, release candidates aside where there is anything else; nil
// when it lists none. What belonged to another channel of its name does not count.
func (i *Indexes) NewestOfChannel(channel *v1.ManagedOSVersionChannel) (*v1.ManagedOSVersion, error) {
	versions, err := i.VersionsByChannel(channel.Namespace, channel.Name)
	if err != nil {
		return nil, err
	}
	byName := map[string]*v1.ManagedOSVersion{}
	var releases []osversion.Release
	for _, version := range versions {
		if _, owner := ChannelOf(version); owner == channel.UID && Listed(version) {
			byName[version.Name] = version
			releases = append(releases, Release(version))
		}
	}
	newest, _ := osversion.Newest(releases)
	return byName[newest.Name], nil
}

// Listed tells whether the version is one that its channel still lists.
func Listed(version *v1.ManagedOSVersion) bool {
	_, unlisted := version.Labels[v1.LabelNoLongerListed]
	return !unlisted && version.DeletionTimestamp == nil
}

// Release is the version as osversion compares it.
func Release(version *v1.ManagedOSVersion) osversion.Release {
	return osversion.Release{Name: version.Name, Version: osversion.Parse(version.Spec.Version), MinVersion: version.Spec.MinVersion}
}
