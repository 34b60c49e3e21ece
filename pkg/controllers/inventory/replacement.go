package inventory

import (
	"fmt"
	"strings"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
)

// replacement is what becomes of a machine's wish to take another's place, and of another's wish to take its own.
type replacement struct {
	// old is the machine whose place is wanted or was taken; nil when there is none, or none any more.
	old *v1.MachineInventory
	// reason and message say how far it is; both are empty for a machine that wants nobody's place.
	reason, message string
	// successor is the machine that has taken this one's place; nil when nobody has, or it is gone.
	successor *v1.MachineInventory
}

// decideReplacement is pure. The reason is ReasonReplacing when the machine may take the other's place now, or may go on
// doing so, and ReasonReplaced when it has.
func decideReplacement(inventory, old *v1.MachineInventory) (reason, message string) {
	replaces, has := inventory.Spec.Replaces, inventory.Annotations[v1.AnnotationReplaced]
	switch {
	case inventory.Spec.ReplacedBy != "" && has != replaces:
		return v1.ReasonReplacementRefused, fmt.Sprintf("%s has taken this machine's own place; clear spec.replaces", inventory.Spec.ReplacedBy)
	case has == replaces:
		return v1.ReasonReplaced, fmt.Sprintf("the machine has taken the place of %s, whose identity is revoked; remove its node from the cluster if it is still there", replaces)
	case has != "":
		return v1.ReasonReplacementRefused, fmt.Sprintf("the machine has taken the place of %s already; set spec.replaces to %s", has, has)
	case !index.Approved(inventory):
		return v1.ReasonPendingApproval, fmt.Sprintf("the machine takes nothing from %s before spec.approved is true", replaces)
	case replaces == inventory.Name:
		return v1.ReasonReplacementRefused, "a machine cannot take its own place; correct or clear spec.replaces"
	case old == nil || old.DeletionTimestamp != nil:
		return v1.ReasonReplacedMissing, fmt.Sprintf("there is no MachineInventory %s in namespace %s; correct or clear spec.replaces", replaces, inventory.Namespace)
	case sameIdentity(inventory, old):
		return v1.ReasonReplacementRefused, fmt.Sprintf("%s is the same machine: it has the same TPM or token; clear spec.replaces, and delete one of the two", replaces)
	case old.Spec.ReplacedBy != "" && old.Spec.ReplacedBy != inventory.Name:
		return v1.ReasonReplacementRefused, fmt.Sprintf("%s has taken the place of %s already; set spec.replaces to the one that is in service, or clear it", old.Spec.ReplacedBy, replaces)
	case index.Replacing(old):
		return v1.ReasonReplacementRefused, fmt.Sprintf("%s has yet to take the place of %s itself; approve that, or clear its spec.replaces", replaces, old.Spec.Replaces)
	case clustersDiffer(inventory, old):
		return v1.ReasonReplacementRefused, fmt.Sprintf("the machine is assigned to Cluster %s, and %s to Cluster %s; clear spec.clusterName, which comes with the other's place",
			inventory.Spec.ClusterName, replaces, old.Spec.ClusterName)
	}
	return v1.ReasonReplacing, fmt.Sprintf("the machine is about to take the place of %s", replaces)
}

// sameIdentity tells of two inventories of one machine: to revoke one would be to revoke the other.
func sameIdentity(a, b *v1.MachineInventory) bool {
	return index.TPMHash(a) != "" && index.TPMHash(a) == index.TPMHash(b) ||
		a.Spec.MachineTokenSecretName != "" && a.Spec.MachineTokenSecretName == b.Spec.MachineTokenSecretName
}

func clustersDiffer(a, b *v1.MachineInventory) bool {
	return a.Spec.ClusterName != "" && b.Spec.ClusterName != "" &&
		(a.Spec.ClusterName != b.Spec.ClusterName || index.ClusterNamespace(a) != index.ClusterNamespace(b))
}

// replacedBy is old, out of service for good. Its place is still in it: that is taken next.
func replacedBy(old *v1.MachineInventory, successor string) *v1.MachineInventory {
	revoked, approved := old.DeepCopy(), false
	// Nobody that goes by the approval alone may take the record for a machine.
	revoked.Spec.ReplacedBy, revoked.Spec.Approved = successor, &approved
	return revoked
}

// inPlaceOf is the machine with all that was old's. The annotation is written with it, and so tells for good that it was
// taken, whatever becomes of either afterwards.
func inPlaceOf(old, inventory *v1.MachineInventory) *v1.MachineInventory {
	taken := inventory.DeepCopy()
	for key, value := range moving(old) {
		if taken.Labels == nil {
			taken.Labels = map[string]string{}
		}
		taken.Labels[key] = value
	}
	if old.Spec.Config != nil {
		taken.Spec.Config = old.Spec.Config.DeepCopy()
	}
	if taken.Spec.Config == nil {
		taken.Spec.Config = &v1.MachineConfig{}
	}
	taken.Spec.Config.NodeName = nodeName(old)
	if old.Spec.ClusterName != "" {
		taken.Spec.ClusterName, taken.Spec.ClusterNamespace = old.Spec.ClusterName, old.Spec.ClusterNamespace
	}
	if taken.Annotations == nil {
		taken.Annotations = map[string]string{}
	}
	for key, value := range notes(old) {
		taken.Annotations[key] = value
	}
	taken.Annotations[v1.AnnotationReplaced] = old.Name
	return taken
}

// nodeName is what the machine's node was called.
func nodeName(inventory *v1.MachineInventory) string {
	if inventory.Spec.Config != nil && inventory.Spec.Config.NodeName != "" {
		return inventory.Spec.Config.NodeName
	}
	return inventory.Name
}

// emptied is old without what the other machine has from it: selectors and clusters must not find both.
func emptied(old, successor *v1.MachineInventory) *v1.MachineInventory {
	empty := old.DeepCopy()
	for key, value := range moving(old) {
		if successor.Labels[key] == value {
			delete(empty.Labels, key)
		}
	}
	for key, value := range notes(old) {
		if successor.Annotations[key] == value {
			delete(empty.Annotations, key)
		}
	}
	empty.Spec.ClusterName, empty.Spec.ClusterNamespace = "", ""
	return empty
}

// moving are the labels that go with a machine's place. How a machine proved who it is does not, nor its serial number.
func moving(old *v1.MachineInventory) map[string]string {
	labels := map[string]string{}
	for key, value := range old.Labels {
		if key != v1.LabelRegistration && key != v1.LabelAssurance && key != v1.LabelSerialNumber {
			labels[key] = value
		}
	}
	return labels
}

// notes are what the operator itself has written down about the machine's place, such as which claim it has it from. What
// others annotate is about the hardware as much as about the place, and stays where it is, as what is about its TPM does.
func notes(old *v1.MachineInventory) map[string]string {
	annotations := map[string]string{}
	for key, value := range old.Annotations {
		if strings.HasPrefix(key, v1.AnnotationPrefix) && key != v1.AnnotationReplaced && key != v1.AnnotationEndorsementCertificate {
			annotations[key] = value
		}
	}
	return annotations
}
