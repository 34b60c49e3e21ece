// Package controllers is the one list of the operator's controllers, in the order in which data flows through them.
// Each lives in a package of its own, named after the kind that it looks after, and knows none of the others: they meet
// in the API server.
package controllers

import (
	"context"

	"github.com/rancher/rancheros-operator/pkg/clients"
	"github.com/rancher/rancheros-operator/pkg/controllers/inventory"
	"github.com/rancher/rancheros-operator/pkg/controllers/machinetoken"
	"github.com/rancher/rancheros-operator/pkg/controllers/osimage"
	"github.com/rancher/rancheros-operator/pkg/controllers/registration"
	"github.com/rancher/rancheros-operator/pkg/controllers/seedimage"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/pkg/settings"
)

// Register adds every controller's handlers to the clients. They run once the clients' handlers are started.
func Register(ctx context.Context, c *clients.Clients, indexes *index.Indexes, settings *settings.Settings) {
	registration.Register(ctx, c, indexes, settings)
	machinetoken.Register(ctx, c, indexes)
	inventory.Register(ctx, c, indexes)
	osimage.Register(ctx, c, indexes, settings)
	seedimage.Register(ctx, c, indexes, settings)
}
