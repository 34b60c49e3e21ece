package index

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

func inventoryByClaim(inventory *v1.MachineInventory) ([]string, error) {
	claim := ClaimOf(inventory)
	if claim == "" {
		return nil, nil
	}
	return []string{key(inventory.Namespace, claim)}, nil
}

// claimByNeed finds the claims that lack machines by their namespace alone: any machine there may be what they wait for.
func claimByNeed(claim *v1.MachineClaim) ([]string, error) {
	if claim.DeletionTimestamp != nil || meta.IsStatusConditionTrue(claim.Status.Conditions, v1.ConditionReady) {
		return nil, nil
	}
	return []string{claim.Namespace}, nil
}

// ClaimOf is the name of the MachineClaim that the machine's label names or, where somebody removed the label, of the one
// whose record it still carries; empty for a machine that none has taken.
func ClaimOf(inventory *v1.MachineInventory) string {
	if claim := inventory.Labels[v1.LabelClaim]; claim != "" {
		return claim
	}
	written := inventory.Annotations[v1.AnnotationClaimed]
	if written == "" {
		return ""
	}
	var record struct {
		Claim string `json:"claim"`
	}
	if json.Unmarshal([]byte(written), &record) != nil {
		return "" // Not ours: nothing that we write looks like it.
	}
	return record.Claim
}

// InventoriesByClaim are the machines that say that the MachineClaim has taken them.
func (i *Indexes) InventoriesByClaim(namespace, claim string) ([]*v1.MachineInventory, error) {
	return lookup(i.inventories, byClaim, key(namespace, claim))
}

// Inventories are all machines of the namespace. This is the one lookup that gets slower with the fleet: only for who looks
// for machines that are free.
func (i *Indexes) Inventories(namespace string) ([]*v1.MachineInventory, error) {
	inventories, err := i.inventories.List(namespace, labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("listing inventories: %w", err)
	}
	return inventories, nil
}

// ClaimsInNeed are the namespace's MachineClaims that lack machines, or have not been looked at yet.
func (i *Indexes) ClaimsInNeed(namespace string) ([]*v1.MachineClaim, error) {
	return lookup(i.claims, byNeed, namespace)
}

// Claims are all MachineClaims of the namespace.
func (i *Indexes) Claims(namespace string) ([]*v1.MachineClaim, error) {
	claims, err := i.claims.List(namespace, labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("listing claims: %w", err)
	}
	return claims, nil
}
