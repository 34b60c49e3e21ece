// Package controllers is the one list of the operator's controllers, in the order in which data flows through them.
// Each lives in a package of its own, named after the kind that it looks after, and knows none of the others: they meet
// in the API server.
package controllers

import (
	"context"
	"net/netip"

	"github.com/rancher/rancheros-operator/pkg/clients"
	"github.com/rancher/rancheros-operator/pkg/controllers/identity"
	"github.com/rancher/rancheros-operator/pkg/controllers/inventory"
	"github.com/rancher/rancheros-operator/pkg/controllers/machineclaim"
	"github.com/rancher/rancheros-operator/pkg/controllers/machinetoken"
	"github.com/rancher/rancheros-operator/pkg/controllers/oschannel"
	"github.com/rancher/rancheros-operator/pkg/controllers/osimage"
	"github.com/rancher/rancheros-operator/pkg/controllers/registration"
	"github.com/rancher/rancheros-operator/pkg/controllers/seedimage"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/pkg/settings"
)

// Options are what a deployment decides about the controllers.
type Options struct {
	// ChannelNetworks may be reached by channels although they are forbidden otherwise; see package channel.
	ChannelNetworks []netip.Prefix
	// ChannelAsked, unless nil, is told the result of every try to read a channel: Synced, or why not.
	ChannelAsked func(result string)
	// CheckBundle judges a bundle of TPM makers' CAs, PEM, as the server does that takes machines.
	CheckBundle func(pem []byte) error
}

// Register adds every controller's handlers to the clients. They run once the clients' handlers are started.
func Register(ctx context.Context, c *clients.Clients, indexes *index.Indexes, settings *settings.Settings, options Options) {
	registration.Register(ctx, c, indexes, settings, options.CheckBundle)
	machinetoken.Register(ctx, c, indexes)
	identity.Register(ctx, c, indexes)
	machineclaim.Register(ctx, c, indexes)
	inventory.Register(ctx, c, indexes)
	oschannel.Register(ctx, c, indexes, oschannel.Options{Networks: options.ChannelNetworks, Asked: options.ChannelAsked})
	osimage.Register(ctx, c, indexes, settings)
	seedimage.Register(ctx, c, indexes, settings)
}
