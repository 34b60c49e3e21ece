package server

import (
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	"github.com/rancher/rancheros-operator/pkg/status"
)

// reserveTries bounds how often a place is fought for with other replicas.
const reserveTries = 10

// admittedDigits of a TPM hash tell machines apart in a registration's list of the admitted: 64 bits.
const admittedDigits = 16

// reserve takes a place for the machine in a registration that limits them, and is done at once in one that does not.
//
// The list of the admitted is written before the inventory is made, under the resourceVersion that it was read at: of
// two replicas that take the last place, the API server lets one through. A machine that fails in between finds its
// own place taken for it when it comes back.
func (s *Server) reserve(registration *v1.MachineRegistration, hash string) error {
	if registration.Spec.Admission == nil || registration.Spec.Admission.MaxMachines == nil {
		return nil
	}
	// One at a time in this process: only other replicas are left to conflict with.
	s.reserving.Lock()
	defer s.reserving.Unlock()
	for range reserveTries {
		admitted, err := s.admitted(registration)
		if err != nil {
			return err
		}
		if slices.Contains(admitted, hash[:admittedDigits]) {
			return nil
		}
		limit := registration.Spec.Admission.MaxMachines
		if limit != nil && len(admitted) >= *limit {
			return &protocol.Error{Code: protocol.CodeFull, Message: "this registration has taken all the machines it may take",
				Hint: "an administrator must raise spec.admission.maxMachines, or give this machine another registration URL"}
		}
		err = s.writeAdmitted(registration, append(admitted, hash[:admittedDigits]))
		if err == nil {
			return nil
		}
		if !apierrors.IsConflict(err) {
			return asUnavailable(err)
		}
		if registration, err = s.Registrations.Get(registration.Namespace, registration.Name, metav1.GetOptions{}); err != nil {
			return asUnavailable(err)
		}
		if registration.Spec.Admission == nil {
			return nil
		}
	}
	return asUnavailable(fmt.Errorf("reserving a place: %d conflicts in a row", reserveTries))
}

// admitted joins the list with the inventories that exist: a restore from a backup may have lost the former.
func (s *Server) admitted(registration *v1.MachineRegistration) ([]string, error) {
	machines, err := s.Indexes.InventoriesByRegistration(registration.Namespace, registration.Name)
	if err != nil {
		return nil, err
	}
	admitted := slices.Clone(registration.Status.Admitted)
	for _, machine := range machines {
		if hash := index.TPMHash(machine); len(hash) > admittedDigits && !slices.Contains(admitted, hash[:admittedDigits]) {
			admitted = append(admitted, hash[:admittedDigits])
		}
	}
	return admitted, nil
}

func (s *Server) writeAdmitted(registration *v1.MachineRegistration, admitted []string) error {
	desired := registration.DeepCopy()
	desired.Status.Admitted = admitted
	_, err := status.Write(s.Registrations, registration, desired)
	return err
}
