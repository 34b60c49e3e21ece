package inventory

import (
	"context"
	"time"

	provisioningv1 "github.com/rancher/rancher/pkg/apis/provisioning.cattle.io/v1"
	"k8s.io/client-go/tools/record"

	managementv3 "github.com/rancher/rancheros-operator/pkg/apis/management.cattle.io/v3"
	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/clients"
	managementcontrollers "github.com/rancher/rancheros-operator/pkg/generated/controllers/management.cattle.io/v3"
	rancheroscontrollers "github.com/rancher/rancheros-operator/pkg/generated/controllers/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
)

// handlerName is stored nowhere, but shows in logs and metrics: keep it.
const handlerName = "inventory"

// replacedHandlerName: see handlerName.
const replacedHandlerName = "inventory-replaced"

type handler struct {
	inventories rancheroscontrollers.MachineInventoryController
	tokens      managementcontrollers.ClusterRegistrationTokenController
	indexes     *index.Indexes
	events      record.EventRecorder
	now         func() time.Time
}

// Register adds the controller's handlers to the clients.
func Register(ctx context.Context, c *clients.Clients, indexes *index.Indexes) {
	h := &handler{
		inventories: c.RancherOS.MachineInventory(),
		tokens:      c.Management.ClusterRegistrationToken(),
		indexes:     indexes,
		events:      c.Events,
		now:         time.Now,
	}
	h.inventories.OnChange(ctx, handlerName, h.onChange)
	h.inventories.OnChange(ctx, replacedHandlerName, h.onReplaced)
	c.Provisioning.Cluster().OnChange(ctx, handlerName, h.onCluster)
	h.tokens.OnChange(ctx, handlerName, h.onToken)
}

// onCluster brings back the machines of a Cluster that appeared, changed or went, and those that wait for one of its name
// in another namespace: they are told where it is.
func (h *handler) onCluster(key string, cluster *provisioningv1.Cluster) (*provisioningv1.Cluster, error) {
	namespace, name := index.SplitKey(key)
	machines, err := h.indexes.InventoriesByClusterName(name)
	if err != nil {
		return cluster, err
	}
	for _, machine := range machines {
		if index.ClusterNamespace(machine) != namespace {
			assigned, err := h.indexes.AssignedCluster(machine)
			if err != nil {
				return cluster, err
			}
			if assigned != nil {
				continue
			}
		}
		clients.Enqueue(h.inventories, machine.Namespace, machine.Name)
	}
	return cluster, nil
}

// onReplaced brings back the machines that want the place of one that appeared, changed or went.
func (h *handler) onReplaced(key string, inventory *v1.MachineInventory) (*v1.MachineInventory, error) {
	machines, err := h.indexes.InventoriesReplacing(index.SplitKey(key))
	if err != nil {
		return inventory, err
	}
	for _, machine := range machines {
		clients.Enqueue(h.inventories, machine.Namespace, machine.Name)
	}
	return inventory, h.completeRecord(inventory)
}

// completeRecord brings back the machine whose place this one has taken, if it does not know yet by whom: in a restore the
// two come one after the other.
func (h *handler) completeRecord(inventory *v1.MachineInventory) error {
	if inventory == nil || inventory.Spec.Replaces == "" || index.TPMHash(inventory) == "" {
		return nil
	}
	old, err := h.indexes.Inventory(inventory.Namespace, inventory.Spec.Replaces)
	if err != nil || old == nil {
		return err
	}
	if by := old.Status.ReplacedBy; by != nil && by.Name == inventory.Name && by.TPMHash == "" {
		clients.Enqueue(h.inventories, old.Namespace, old.Name)
	}
	return nil
}

// onToken brings back the machine that a token was made for: Rancher has filled it in, or somebody deleted it.
func (h *handler) onToken(key string, token *managementv3.ClusterRegistrationToken) (*managementv3.ClusterRegistrationToken, error) {
	if token != nil {
		if machine := token.Labels[v1.LabelMachine]; machine != "" {
			clients.Enqueue(h.inventories, token.Labels[v1.LabelMachineNamespace], machine)
		}
		return token, nil
	}
	// A deleted token's labels are gone, but its name tells.
	_, name := index.SplitKey(key)
	machines, err := h.indexes.InventoriesByTokenName(name)
	if err != nil {
		return nil, err
	}
	for _, machine := range machines {
		clients.Enqueue(h.inventories, machine.Namespace, machine.Name)
	}
	return nil, nil
}
