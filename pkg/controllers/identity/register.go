package identity

import (
	"context"

	"k8s.io/client-go/tools/record"

	"github.com/rancher/rancheros-operator/pkg/clients"
	rancheroscontrollers "github.com/rancher/rancheros-operator/pkg/generated/controllers/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
)

// handlerName is stored nowhere, but shows in logs and metrics: keep it.
const handlerName = "identity"

type handler struct {
	inventories rancheroscontrollers.MachineInventoryClient
	indexes     *index.Indexes
	events      record.EventRecorder
}

// Register adds the controller's handlers to the clients.
func Register(ctx context.Context, c *clients.Clients, indexes *index.Indexes) {
	h := &handler{inventories: c.RancherOS.MachineInventory(), indexes: indexes, events: c.Events}
	c.RancherOS.MachineInventory().OnChange(ctx, handlerName, h.onChange)
}
