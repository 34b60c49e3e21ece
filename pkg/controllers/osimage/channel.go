package osimage

import (
	"context"
	"time"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/clients"
	"github.com/rancher/rancheros-operator/pkg/index"
)

// channelHandlerName is stored nowhere, but shows in logs and metrics: keep it.
const channelHandlerName = "osimage-channel"

// gatherDelay makes one look at an image of a thousand versions that come together.
const gatherDelay = time.Second

// followChannels brings an image back when the channel that it follows, or one of its versions, changes.
func (h *handler) followChannels(ctx context.Context, c *clients.Clients) {
	c.RancherOS.ManagedOSVersion().OnChange(ctx, channelHandlerName, h.onChannelVersion)
	c.RancherOS.ManagedOSVersionChannel().OnChange(ctx, channelHandlerName, h.onChannel)
}

func (h *handler) onChannelVersion(key string, version *v1.ManagedOSVersion) (*v1.ManagedOSVersion, error) {
	namespace, _ := index.SplitKey(key)
	// The owner of a version that is gone went with it: an image may follow any channel of its namespace.
	channel := ""
	if version != nil {
		if channel, _ = index.ChannelOf(version); channel == "" {
			return version, nil
		}
	}
	return version, h.enqueueFollowers(namespace, channel)
}

func (h *handler) onChannel(key string, channel *v1.ManagedOSVersionChannel) (*v1.ManagedOSVersionChannel, error) {
	namespace, name := index.SplitKey(key)
	return channel, h.enqueueFollowers(namespace, name)
}

func (h *handler) enqueueFollowers(namespace, channel string) error {
	images, err := h.indexes.ImagesByChannel(namespace, channel)
	for _, image := range images {
		h.images.EnqueueAfter(image.Namespace, image.Name, gatherDelay)
	}
	return err
}

// followed is the newest version of the channel that the image follows; nil where it follows none, or says itself what
// to run.
func (h *handler) followed(image *v1.ManagedOSImage) (*v1.ManagedOSVersion, error) {
	name := image.Spec.ManagedOSVersionChannelName
	if image.Spec.OSImage != "" || image.Spec.ManagedOSVersionName != "" || name == "" {
		return nil, nil
	}
	channel, err := h.indexes.Channel(image.Namespace, name)
	if err != nil {
		return nil, err
	}
	if channel == nil {
		return nil, refuse(v1.ReasonChannelNotFound, "there is no ManagedOSVersionChannel %s in namespace %s; create it, or correct managedOSVersionChannelName",
			name, image.Namespace)
	}
	newest, err := h.indexes.NewestOfChannel(channel)
	if err != nil {
		return nil, err
	}
	if newest == nil {
		return nil, refuse(v1.ReasonChannelWithoutVersions, "ManagedOSVersionChannel %s has no version yet; wait, or look at its conditions", name)
	}
	return newest, nil
}
