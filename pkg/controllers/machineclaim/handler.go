package machineclaim

import (
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/clients"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/pkg/status"
)

func (h *handler) onChange(key string, claim *v1.MachineClaim) (*v1.MachineClaim, error) {
	if claim == nil {
		return nil, h.removeOrphans(key)
	}
	if claim.DeletionTimestamp != nil {
		return h.remove(claim)
	}
	current, chosen, err := h.claim(claim)
	if overtaken(err) {
		// Somebody wrote a machine, or the claim, in between: not worth a word, we look again.
		return claim, err
	}
	desired := current.DeepCopy()
	turned := computeStatus(desired, chosen, err)
	written, writeErr := status.Write(h.claims, current, desired)
	if writeErr == nil {
		h.emit(written, turned)
	}
	var bad *selectorError
	if errors.As(err, &bad) {
		err = nil // Only an edit can mend it, and that brings the claim back.
	}
	return written, errors.Join(err, writeErr)
}

// claim decides by the cache whether there is anything to do and, where there is, once more by what the API server says is
// the claim's: a machine that was claimed a moment ago must not be missed in the count.
func (h *handler) claim(claim *v1.MachineClaim) (*v1.MachineClaim, choice, error) {
	chosen, err := h.decide(claim, h.cached)
	if err != nil || len(chosen.changes) == 0 {
		return claim, chosen, err
	}
	if chosen, err = h.decide(claim, h.live); err != nil {
		return claim, chosen, err
	}
	// The finalizer comes before the first machine: from here on there may be something to release.
	if claim, err = clients.SetFinalizer(h.claims, claim, v1.FinalizerClaimedMachines, true); err != nil {
		return claim, chosen, err
	}
	return claim, chosen, h.make(chosen.changes)
}

// decide asks for the machines of the namespace only when the claim's own do not do.
func (h *handler) decide(claim *v1.MachineClaim, mine func(namespace, claim string) ([]*v1.MachineInventory, error)) (choice, error) {
	g := gathered{claim: claim}
	var err error
	if g.mine, err = mine(claim.Namespace, claim.Name); err != nil {
		return choice{}, err
	}
	chosen, err := decide(g)
	if err != nil || !slices.ContainsFunc(chosen.pools, func(p pool) bool { return p.lacks() > 0 }) {
		return chosen, err
	}
	all, err := h.indexes.Inventories(claim.Namespace)
	if err != nil {
		return choice{}, err
	}
	names := map[string]bool{}
	for _, machine := range g.mine {
		names[machine.Name] = true
	}
	for _, machine := range all {
		if !names[machine.Name] {
			g.others = append(g.others, machine)
		}
	}
	return decide(g)
}

// cached are the machines that say that they are the claim's, as far as the cache has heard.
func (h *handler) cached(namespace, claim string) ([]*v1.MachineInventory, error) {
	return h.indexes.InventoriesByClaim(namespace, claim)
}

// live are the same as they are now. Machines that have a record and no label any more are still the cache's.
func (h *handler) live(namespace, claim string) ([]*v1.MachineInventory, error) {
	list, err := h.inventories.List(namespace, metav1.ListOptions{LabelSelector: labels.Set{v1.LabelClaim: claim}.String()})
	if err != nil {
		return nil, fmt.Errorf("listing the claim's machines: %w", err)
	}
	var machines []*v1.MachineInventory
	names := map[string]bool{}
	for i := range list.Items {
		machines = append(machines, &list.Items[i])
		names[list.Items[i].Name] = true
	}
	cached, err := h.cached(namespace, claim)
	for _, machine := range cached {
		if !names[machine.Name] && machine.Labels[v1.LabelClaim] == "" {
			machines = append(machines, machine)
		}
	}
	return machines, err
}

// make writes the changes. One that fails does not hold up the others.
func (h *handler) make(changes []change) error {
	var errs []error
	var behind error
	for _, change := range changes {
		machine := change.machine
		_, err := h.inventories.Patch(machine.Namespace, machine.Name, types.MergePatchType, change.patch)
		switch {
		case overtaken(err):
			behind = err
		case err != nil:
			errs = append(errs, fmt.Errorf("writing MachineInventory %s: %w", machine.Name, err))
		default:
			h.tell(change)
		}
	}
	if len(errs) == 0 && behind != nil {
		return behind
	}
	return errors.Join(errs[:min(len(errs), 3)]...)
}

// overtaken tells of a write that somebody else's came before, or that its object has not lived to see.
func overtaken(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsNotFound(err)
}

// remove releases the machines of a claim that is being deleted, then lets it go.
func (h *handler) remove(claim *v1.MachineClaim) (*v1.MachineClaim, error) {
	if !slices.Contains(claim.Finalizers, v1.FinalizerClaimedMachines) {
		return claim, nil
	}
	machines, err := h.live(claim.Namespace, claim.Name)
	if err != nil {
		return claim, err
	}
	if err := h.release(claim.Name, machines); err != nil {
		return claim, err
	}
	return clients.SetFinalizer(h.claims, claim, v1.FinalizerClaimedMachines, false)
}

// removeOrphans releases the machines of a claim that is gone although its finalizer was, for instance, removed by hand.
func (h *handler) removeOrphans(key string) error {
	namespace, name := index.SplitKey(key)
	machines, err := h.cached(namespace, name)
	if err != nil {
		return err
	}
	return h.release(name, machines)
}

// release is what no pool at all makes of the machines: each is released, or left to whoever took it.
func (h *handler) release(claim string, machines []*v1.MachineInventory) error {
	var c choice
	for _, machine := range oldestFirst(machines) {
		written := contributionOf(machine)
		after, reason, message := released(machine), v1.ReasonClaimReleased, fmt.Sprintf("released: MachineClaim %s was deleted", claim)
		if written == nil || (machine.Spec.ClusterName != "" && machine.Spec.ClusterName != written.Cluster) || machine.Labels[v1.LabelClaim] != claim {
			after, reason = abandoned(machine), v1.ReasonClaimLost
			message = fmt.Sprintf("MachineClaim %s was deleted; the machine had been taken from it by hand, and stays as it is", claim)
		}
		if err := c.change(machine, after, reason, message); err != nil {
			return err
		}
	}
	return h.make(c.changes)
}
