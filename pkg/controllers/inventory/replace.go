package inventory

import (
	"encoding/json"
	"fmt"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/pkg/status"
)

// replace lets an approved machine take the place of the one that it names, and returns the inventory as it then is.
//
// Four steps, each of which finds out by itself whether it was done, so that whoever comes after a crash goes on:
// the old machine is put out of service, which also decides between two that want its place; its tokens are deleted; its
// place is written into the new machine, all at once; what was taken is removed from the old one.
func (h *handler) replace(inventory *v1.MachineInventory) (*v1.MachineInventory, replacement, error) {
	r, err := h.gatherReplacement(inventory)
	if err != nil {
		return inventory, r, err
	}
	if r.reason == v1.ReasonReplacing {
		if r.old, err = h.write(r.old, replacedBy(r.old, inventory.Name)); err != nil {
			return inventory, r, err
		}
		tokens, err := h.indexes.ClusterTokensByMachine(r.old.Namespace, r.old.Name)
		if err != nil {
			return inventory, r, err
		}
		if err := h.delete(tokens); err != nil {
			return inventory, r, err
		}
		if inventory, err = h.write(inventory, inPlaceOf(r.old, inventory)); err != nil {
			return inventory, r, err
		}
		r.reason, r.message = decideReplacement(inventory, r.old)
	}
	if r.reason == v1.ReasonReplaced && r.old != nil && r.old.Spec.ReplacedBy == inventory.Name {
		r.old, err = h.write(r.old, emptied(r.old, inventory))
	}
	return inventory, r, err
}

func (h *handler) gatherReplacement(inventory *v1.MachineInventory) (r replacement, err error) {
	if inventory.Spec.ReplacedBy != "" {
		if r.successor, err = h.indexes.Inventory(inventory.Namespace, inventory.Spec.ReplacedBy); err != nil {
			return r, err
		}
	}
	if inventory.Spec.Replaces == "" {
		return r, nil
	}
	if r.old, err = h.indexes.Inventory(inventory.Namespace, inventory.Spec.Replaces); err != nil {
		return r, err
	}
	r.reason, r.message = decideReplacement(inventory, r.old)
	return r, nil
}

// write patches what differs between an inventory as it was read and the copy that it should be, and nothing when nothing
// does. It conflicts with whoever wrote in between.
func (h *handler) write(current, desired *v1.MachineInventory) (*v1.MachineInventory, error) {
	before, err := json.Marshal(current)
	if err != nil {
		return current, fmt.Errorf("encoding MachineInventory: %w", err)
	}
	after, err := json.Marshal(desired)
	if err != nil {
		return current, fmt.Errorf("encoding MachineInventory: %w", err)
	}
	difference, err := jsonpatch.CreateMergePatch(before, after)
	if err != nil {
		return current, fmt.Errorf("comparing MachineInventory: %w", err)
	}
	if string(difference) == "{}" {
		return current, nil
	}
	guarded, err := jsonpatch.MergePatch(difference, fmt.Appendf(nil, `{"metadata":{"resourceVersion":%q}}`, current.ResourceVersion))
	if err != nil {
		return current, fmt.Errorf("encoding patch: %w", err)
	}
	written, err := h.inventories.Patch(current.Namespace, current.Name, types.MergePatchType, guarded)
	if err != nil {
		return current, fmt.Errorf("writing MachineInventory %s: %w", current.Name, err)
	}
	return written, nil
}

// recordReplacement keeps in the status what a later deletion of either machine would take away.
func recordReplacement(inventory *v1.MachineInventory, o outcome) {
	into := &inventory.Status
	if o.replacement.reason == v1.ReasonReplaced {
		into.Replaced = recorded(into.Replaced, inventory.Spec.Replaces, o.replacement.old, o)
	}
	if by := inventory.Spec.ReplacedBy; by != "" {
		into.ReplacedBy = recorded(into.ReplacedBy, by, o.replacement.successor, o)
	}
}

// recorded is what is known of the other machine. One that comes back later than this one, in a restore, is added.
func recorded(known *v1.MachineReplacement, name string, other *v1.MachineInventory, o outcome) *v1.MachineReplacement {
	made := v1.MachineReplacement{Name: name, Time: metav1.NewTime(o.now.Truncate(time.Second))}
	if known != nil && known.Name == name {
		made = *known
	}
	if made.TPMHash == "" && other != nil {
		made.TPMHash = index.TPMHash(other)
	}
	return &made
}

// replacementConditions are those that only machines have which replace or were replaced. One that does not want
// another's place any more loses the condition.
func replacementConditions(inventory *v1.MachineInventory, r replacement) []metav1.Condition {
	var conditions []metav1.Condition
	switch r.reason {
	case "":
		if inventory.Spec.Replaces == "" {
			meta.RemoveStatusCondition(&inventory.Status.Conditions, v1.ConditionReplacement)
		}
	case v1.ReasonReplaced:
		conditions = append(conditions, status.True(v1.ConditionReplacement, r.reason, r.message))
	default:
		conditions = append(conditions, status.False(v1.ConditionReplacement, r.reason, r.message))
	}
	if inventory.Spec.ReplacedBy != "" {
		conditions = append(conditions, revoked(v1.ConditionRevoked, metav1.ConditionTrue, inventory))
	}
	return conditions
}

// revoked says of every condition of a replaced machine the same.
func revoked(kind string, value metav1.ConditionStatus, inventory *v1.MachineInventory) metav1.Condition {
	return metav1.Condition{Type: kind, Status: value, Reason: v1.ReasonRevoked, Message: fmt.Sprintf(
		"%s has taken this machine's place, and this machine is refused; delete this record to let the hardware register as a new machine", inventory.Spec.ReplacedBy)}
}
