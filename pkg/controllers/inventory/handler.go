package inventory

import (
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	managementv3 "github.com/rancher/rancheros-operator/pkg/apis/management.cattle.io/v3"
	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/clients"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/pkg/status"
)

func (h *handler) onChange(key string, inventory *v1.MachineInventory) (*v1.MachineInventory, error) {
	if inventory == nil {
		return nil, h.removeOrphans(key)
	}
	if inventory.DeletionTimestamp != nil {
		return h.remove(inventory)
	}
	current, replaced, replaceErr := h.replace(inventory)
	current, assigned, err := h.assign(current)
	if err = errors.Join(replaceErr, err); apierrors.IsConflict(err) {
		// Somebody wrote in between: not worth a word, the change itself brings us back.
		return inventory, err
	}
	desired := current.DeepCopy()
	turned := computeStatus(desired, outcome{assignment: assigned, replacement: replaced, now: h.now()}, err)
	written, writeErr := status.Write(h.inventories, current, desired)
	if writeErr == nil {
		h.emit(inventory, turned)
	}
	return written, errors.Join(err, writeErr)
}

// assign deletes every token that the assignment does not ask for, makes the one that it does, and returns the inventory as
// it then is. What opens a former cluster goes first: nothing that is wrong with the new one may hold that back.
func (h *handler) assign(inventory *v1.MachineInventory) (*v1.MachineInventory, assignment, error) {
	gathered, err := h.gather(inventory)
	if err != nil {
		return inventory, assignment{}, err
	}
	decided := decide(gathered)
	if err := h.delete(decided.remove); err != nil {
		return inventory, decided, err
	}
	if decided.create != nil {
		// The finalizer comes before the token: from here on there may be something to clean up.
		if inventory, err = clients.SetFinalizer(h.inventories, inventory, v1.FinalizerClusterToken, true); err != nil {
			return inventory, decided, err
		}
		if decided.token, err = h.create(decided.create); err != nil {
			return inventory, decided, err
		}
	}
	if decided.token == nil && len(decided.remove) == 0 {
		inventory, err = clients.SetFinalizer(h.inventories, inventory, v1.FinalizerClusterToken, false)
	}
	return inventory, decided, err
}

func (h *handler) gather(inventory *v1.MachineInventory) (gathered, error) {
	g := gathered{inventory: inventory}
	var err error
	if g.cluster, err = h.indexes.AssignedCluster(inventory); err != nil {
		return g, err
	}
	if g.cluster == nil && inventory.Spec.ClusterName != "" {
		if g.elsewhere, err = h.indexes.ClustersByName(inventory.Spec.ClusterName); err != nil {
			return g, err
		}
	}
	g.tokens, err = h.indexes.ClusterTokensByMachine(inventory.Namespace, inventory.Name)
	return g, err
}

// remove deletes the tokens of an inventory that is being deleted, then lets it go.
func (h *handler) remove(inventory *v1.MachineInventory) (*v1.MachineInventory, error) {
	if !slices.Contains(inventory.Finalizers, v1.FinalizerClusterToken) {
		return inventory, nil
	}
	tokens, err := h.indexes.ClusterTokensByMachine(inventory.Namespace, inventory.Name)
	if err != nil {
		return inventory, err
	}
	if err := h.delete(tokens); err != nil {
		return inventory, err
	}
	return clients.SetFinalizer(h.inventories, inventory, v1.FinalizerClusterToken, false)
}

// removeOrphans deletes the tokens of an inventory that is gone although its finalizer was, for instance, removed by hand.
func (h *handler) removeOrphans(key string) error {
	namespace, name := index.SplitKey(key)
	tokens, err := h.indexes.ClusterTokensByMachine(namespace, name)
	if err != nil {
		return err
	}
	return h.delete(tokens)
}

func (h *handler) create(token *managementv3.ClusterRegistrationToken) (*managementv3.ClusterRegistrationToken, error) {
	created, err := h.tokens.Create(token)
	if apierrors.IsAlreadyExists(err) {
		// The cache lags behind our own write, or the name is taken.
		if created, err = h.tokens.Get(token.Namespace, token.Name, metav1.GetOptions{}); err == nil && !ours(created, token) {
			return nil, &foreignTokenError{namespace: token.Namespace, name: token.Name}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("making ClusterRegistrationToken %s/%s: %w", token.Namespace, token.Name, err)
	}
	return created, nil
}

func (h *handler) delete(tokens []*managementv3.ClusterRegistrationToken) error {
	for _, token := range tokens {
		// The precondition keeps a stale view from deleting another object that took the name since.
		err := h.tokens.Delete(token.Namespace, token.Name, &metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(token.UID))})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return fmt.Errorf("deleting ClusterRegistrationToken %s/%s: %w", token.Namespace, token.Name, err)
		}
	}
	return nil
}
