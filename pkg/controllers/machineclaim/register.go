package machineclaim

import (
	"context"
	"time"

	"k8s.io/client-go/tools/record"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/clients"
	rancheroscontrollers "github.com/rancher/rancheros-operator/pkg/generated/controllers/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
)

// handlerName is stored nowhere, but shows in logs and metrics: keep it.
const handlerName = "machineclaim"

// gatherDelay gathers the changes of machines within it into one look of a claim.
const gatherDelay = 500 * time.Millisecond

type handler struct {
	claims      rancheroscontrollers.MachineClaimController
	inventories rancheroscontrollers.MachineInventoryController
	indexes     *index.Indexes
	events      record.EventRecorder
}

// Register adds the controller's handlers to the clients.
func Register(ctx context.Context, c *clients.Clients, indexes *index.Indexes) {
	h := &handler{
		claims:      c.RancherOS.MachineClaim(),
		inventories: c.RancherOS.MachineInventory(),
		indexes:     indexes,
		events:      c.Events,
	}
	h.claims.OnChange(ctx, handlerName, h.onChange)
	h.inventories.OnChange(ctx, handlerName, h.onInventory)
}

// onInventory brings back the claim that has the machine, and those of its namespace that lack machines. Where there are
// none of either, which is nearly always while machines register, it costs two lookups.
func (h *handler) onInventory(key string, inventory *v1.MachineInventory) (*v1.MachineInventory, error) {
	namespace, _ := index.SplitKey(key)
	lookup := h.indexes.ClaimsInNeed
	if inventory == nil {
		// The label of a machine that is gone went with it: any claim of its namespace may be one short.
		lookup = h.indexes.Claims
	} else if claim := index.ClaimOf(inventory); claim != "" {
		h.claims.EnqueueAfter(namespace, claim, gatherDelay)
	}
	claims, err := lookup(namespace)
	for _, claim := range claims {
		h.claims.EnqueueAfter(namespace, claim.Name, gatherDelay)
	}
	return inventory, err
}
