package identity

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
)

// sameInstant is how far apart two registrations can be whose replicas did not see each other's yet: the time that a watch
// may lag, and plenty. Whatever is further apart is not a race but somebody's doing, and is left to people.
const sameInstant = time.Minute

// onChange deletes every inventory of the machine but the first. Which one brought us here does not matter.
func (h *handler) onChange(_ string, inventory *v1.MachineInventory) (*v1.MachineInventory, error) {
	if inventory == nil || !made(inventory) {
		return inventory, nil
	}
	same, err := h.indexes.InventoriesByTPMHash(index.TPMHash(inventory))
	if err != nil || len(same) < 2 {
		return inventory, err
	}
	first, others := sort(same)
	for _, other := range others {
		if err := h.delete(other, first); err != nil {
			return inventory, err
		}
	}
	return inventory, nil
}

// sort is pure: it tells the first inventory that was made of a machine from those that were made in the same instant and that
// nobody has used. They must not be told apart by anything that can change.
func sort(same []*v1.MachineInventory) (first *v1.MachineInventory, others []*v1.MachineInventory) {
	for _, inventory := range same {
		if made(inventory) && (first == nil || before(inventory, first)) {
			first = inventory
		}
	}
	for _, inventory := range same {
		if inventory != first && made(inventory) && unused(inventory) &&
			inventory.CreationTimestamp.Sub(first.CreationTimestamp.Time) <= sameInstant {
			others = append(others, inventory)
		}
	}
	return first, others
}

// made tells an inventory that the registration server made, or found proven, from one that a person wrote.
func made(inventory *v1.MachineInventory) bool {
	return inventory.Labels[v1.LabelRegistration] != "" && inventory.DeletionTimestamp == nil && index.TPMHash(inventory) != ""
}

func unused(inventory *v1.MachineInventory) bool {
	return inventory.Spec.ClusterName == "" && inventory.Spec.Replaces == ""
}

func before(a, b *v1.MachineInventory) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	return strings.Compare(string(a.UID), string(b.UID)) < 0
}

func (h *handler) delete(other, first *v1.MachineInventory) error {
	// The preconditions keep one that somebody has come to use since, or that took its name.
	preconditions := &metav1.Preconditions{UID: &other.UID, ResourceVersion: &other.ResourceVersion}
	err := h.inventories.Delete(other.Namespace, other.Name, &metav1.DeleteOptions{Preconditions: preconditions})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("deleting MachineInventory %s/%s, made of the machine of another: %w", other.Namespace, other.Name, err)
	}
	// Who may see the one namespace need not know of the other.
	h.events.Eventf(other, corev1.EventTypeWarning, "RegisteredTwice",
		"the machine registered in another namespace in the same instant, and stays there; delete its inventory there before it registers here")
	h.events.Eventf(first, corev1.EventTypeNormal, "RegisteredTwice",
		"the machine registered in another namespace in the same instant; this inventory was the first, and stays")
	return nil
}
