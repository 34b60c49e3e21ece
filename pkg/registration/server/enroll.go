package server

import (
	"encoding/json"
	"fmt"

	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/pkg/machine"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// enroll returns the proven machine's inventory, made when there is none. However often and wherever a machine asks, it
// meets the same object: one that is known by its TPM, or else the one name that follows from its identity.
func (s *Server) enroll(registration *v1.MachineRegistration, identity attestation.Identity, smbios map[string]any) (*v1.MachineInventory, error) {
	known, err := s.known(registration.Namespace, identity.Hash)
	if err != nil || known != nil {
		return known, err
	}
	made, err, _ := s.enrolling.Do(registration.Namespace+"/"+identity.Hash, func() (any, error) {
		return s.create(registration, identity, smbios)
	})
	if err != nil {
		return nil, err
	}
	return made.(*v1.MachineInventory), nil
}

// known is the machine's inventory in the namespace; nil when there is none anywhere.
func (s *Server) known(namespace, hash string) (*v1.MachineInventory, error) {
	inventories, err := s.Indexes.InventoriesByTPMHash(hash)
	if err != nil {
		return nil, err
	}
	switch {
	case len(inventories) == 0:
		return nil, nil
	case len(inventories) > 1:
		return nil, &protocol.Error{Code: protocol.CodeForbidden, Message: "this machine is registered more than once",
			Hint:   "an administrator must delete all but one MachineInventory of this TPM",
			Reason: fmt.Sprintf("%d inventories have TPM hash %s", len(inventories), hash)}
	case inventories[0].Namespace != namespace:
		return nil, &protocol.Error{Code: protocol.CodeForbidden, Message: "this machine belongs to another registration",
			Hint:   "an administrator must delete its old MachineInventory first",
			Reason: fmt.Sprintf("TPM hash %s belongs to %s/%s", hash, inventories[0].Namespace, inventories[0].Name)}
	}
	return inventories[0], notDeleting(inventories[0])
}

// notDeleting sends the machine away until its old inventory is gone: what it was told now would not hold.
func notDeleting(inventory *v1.MachineInventory) error {
	if inventory.DeletionTimestamp == nil {
		return nil
	}
	return &protocol.Error{Code: protocol.CodeUnavailable, RetryAfter: busyRetry, Message: "this machine's inventory is being deleted",
		Hint: "it is made anew when the old one is gone; if it stays so, look at what holds the old one back"}
}

func (s *Server) create(registration *v1.MachineRegistration, identity attestation.Identity, smbios map[string]any) (*v1.MachineInventory, error) {
	desired, err := newInventory(registration, identity.Hash, smbios)
	if err != nil {
		return nil, err
	}
	created, err := s.Inventories.Create(desired)
	if apierrors.IsAlreadyExists(err) {
		// Another replica was faster, or our cache lags: the same machine, unless somebody took its name by hand.
		created, err = s.Inventories.Get(desired.Namespace, desired.Name, metav1.GetOptions{})
		if err == nil && index.TPMHash(created) != identity.Hash {
			return nil, &protocol.Error{Code: protocol.CodeForbidden, Message: "this machine's name is taken",
				Hint: fmt.Sprintf("an administrator must delete MachineInventory %s, or give it this machine's TPM hash", desired.Name)}
		}
		if err != nil {
			return nil, asUnavailable(err)
		}
		return created, notDeleting(created)
	}
	if err != nil {
		return nil, asUnavailable(err)
	}
	logrus.WithFields(logrus.Fields{"machine": created.Namespace + "/" + created.Name, "registration": registration.Name,
		"tpm": identity.Hash}).Info("registered machine")
	s.Events.Eventf(registration, corev1.EventTypeNormal, "MachineRegistered", "machine %s registered", created.Name)
	return created, nil
}

// newInventory is what the registration makes of the machine.
func newInventory(registration *v1.MachineRegistration, hash string, smbios map[string]any) (*v1.MachineInventory, error) {
	template := registration.Spec.MachineName
	if template == "" {
		template = machine.DefaultNameTemplate
	}
	inventory := &v1.MachineInventory{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:   registration.Namespace,
			Name:        machine.RenderName(template, smbios, hash),
			Labels:      map[string]string{},
			Annotations: map[string]string{},
		},
		Spec: v1.MachineInventorySpec{TPM: hash},
	}
	for key, value := range registration.Spec.MachineInventoryLabels {
		if rendered, ok := machine.RenderLabelValue(string(value), smbios); ok {
			inventory.Labels[key] = rendered
		}
	}
	for key, value := range registration.Spec.MachineInventoryAnnotations {
		inventory.Annotations[key] = machine.RenderValue(string(value), smbios)
	}
	inventory.Labels[v1.LabelRegistration] = registration.Name
	if len(smbios) > 0 {
		raw, err := json.Marshal(smbios)
		if err != nil {
			return nil, fmt.Errorf("encoding SMBIOS: %w", err)
		}
		inventory.Spec.SMBIOS = &runtime.RawExtension{Raw: raw}
	}
	return inventory, nil
}

// asUnavailable tells the machine to come back: the API server's own words are for the log.
func asUnavailable(err error) error {
	if err == nil {
		return nil
	}
	return &protocol.Error{Code: protocol.CodeUnavailable, RetryAfter: busyRetry, Err: err,
		Message: "the machine could not be saved", Hint: "it is tried again by itself; if it stays so, look at the operator's log"}
}
