package server

import (
	"fmt"
	"slices"
	"time"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// approvalRetry is when a machine that waits for a person asks again.
const approvalRetry = 30 * time.Second

// applicant is a machine that has proven to hold its key, and where it wants to go.
type applicant struct {
	registration *v1.MachineRegistration
	trust        trust
	identity     attestation.Identity
	// known is its inventory; nil for a new machine.
	known *v1.MachineInventory
	now   time.Time
}

// admit is pure: it decides whether the machine may register, and says how its identity is established.
//
// What the registration demands of a TPM holds for every machine, also for those that registered under milder demands.
// That it takes no new machines holds for new ones alone: a machine that is known may come back after a wipe. One that came by
// another registration of the namespace is new to this one each time; else the mildest one would open them all.
func admit(a applicant) (assurance string, err error) {
	if assurance, err = establish(a); err != nil {
		return "", err
	}
	admission := a.registration.Spec.Admission
	switch {
	case a.known != nil && !cameByAnother(a.known, a.registration):
		return assurance, nil
	case a.registration.Spec.Paused:
		return "", &protocol.Error{Code: protocol.CodePaused, RetryAfter: setupRetry, Message: "this registration takes no new machines for now",
			Hint: "an administrator must set spec.paused of the MachineRegistration to false"}
	case admission != nil && admission.ExpiresAt != nil && !a.now.Before(admission.ExpiresAt.Time):
		return "", &protocol.Error{Code: protocol.CodeExpired, Message: "this registration has expired",
			Hint: "an administrator must set a later spec.admission.expiresAt, or give this machine another registration URL"}
	case a.known != nil && wantsApproval(a.registration) && a.known.Spec.Approved == nil:
		return "", pending(a.known)
	}
	return assurance, nil
}

// establish judges the machine's key by the registration's demands.
func establish(a applicant) (string, error) {
	certified := a.identity.Certificate != nil && a.identity.Certificate.Verified
	listed := isListed(a)
	var enough bool
	switch a.trust.mode {
	case v1.EndorsementAny:
		enough = true
	case v1.EndorsementCertificate:
		enough = certified
	case v1.EndorsementListed:
		enough = listed
	case v1.EndorsementCertificateOrListed:
		enough = certified || listed
	}
	switch {
	case a.identity.Weak != "" && !allowsWeakKeys(a.registration):
		return "", weakKey(a.identity)
	case a.identity.Emulated && !listed:
		return "", &protocol.Error{Code: protocol.CodeForbidden, Message: "this machine's TPM is a simulator whose keys everybody has",
			Hint: fmt.Sprintf("start the simulator with a seed of its own, or let an administrator list its hash, %s, in spec.admission.endorsementKeys", a.identity.Hash)}
	case !enough:
		return "", unendorsed(a)
	case certified:
		return v1.AssuranceCertificate, nil
	case listed:
		return v1.AssuranceListed, nil
	}
	return v1.AssuranceFirstUse, nil
}

// isListed tells whether an administrator named this TPM: in the registration, or by an inventory made beforehand. That another
// registration lists it says nothing here.
func isListed(a applicant) bool {
	if a.known != nil && !cameByAnother(a.known, a.registration) && (!attested(a.known) || a.known.Labels[v1.LabelAssurance] == v1.AssuranceListed) {
		return true
	}
	admission := a.registration.Spec.Admission
	return admission != nil && slices.Contains(admission.EndorsementKeys, v1.EndorsementKeyHash(a.identity.Hash))
}

func unendorsed(a applicant) error {
	if a.trust.mode == v1.EndorsementListed {
		return &protocol.Error{Code: protocol.CodeForbidden, Message: "this machine's TPM is not on the list",
			Hint: fmt.Sprintf("an administrator must add its hash, %s, to spec.admission.endorsementKeys, or create a MachineInventory with it", a.identity.Hash)}
	}
	refusal := &protocol.Error{Code: protocol.CodeCertificateRequired, Message: "this machine's TPM shows no endorsement certificate",
		Hint:   "the registration demands one: enable the TPM's certificate, or let an administrator list this machine's TPM hash",
		Reason: "no endorsement certificate"}
	if certificate := a.identity.Certificate; certificate != nil {
		refusal.Message = "this machine's endorsement certificate is not trusted"
		refusal.Hint = "an administrator must add its maker's CA and intermediates to the registration's CA Secret, or list this machine's TPM hash"
		refusal.Reason = certificate.Problem
		if a.trust.requireValidity && certificate.OutsideValidity {
			refusal.Message = "this machine's endorsement certificate is outside its validity"
			refusal.Hint = "an administrator must set spec.admission.requireValidCertificates to false, or list this machine's TPM hash"
		}
	}
	return refusal
}

// weakKey refuses a machine that whoever has computed its key can be as well. A person may know what they do, and let it in.
func weakKey(identity attestation.Identity) *protocol.Error {
	return &protocol.Error{Code: protocol.CodeForbidden, Message: "this machine's TPM has a weak key", Reason: identity.Weak,
		Hint: "update the TPM's firmware (CVE-2017-15361), or let an administrator set spec.admission.allowWeakKeys of the MachineRegistration to true, and register there"}
}

func allowsWeakKeys(registration *v1.MachineRegistration) bool {
	return registration.Spec.Admission != nil && registration.Spec.Admission.AllowWeakKeys
}

// outsideValidity tells of a certificate that was accepted although it, or a CA behind it, has expired or is not valid yet.
func outsideValidity(identity attestation.Identity) bool {
	return identity.Certificate != nil && identity.Certificate.Verified && identity.Certificate.OutsideValidity
}

// attested tells whether the operator has seen this machine prove its key; an inventory that a person wrote is a wish.
func attested(inventory *v1.MachineInventory) bool {
	return inventory.Labels[v1.LabelRegistration] != ""
}

// cameByAnother tells whether the machine has proven itself at another registration of the namespace.
func cameByAnother(inventory *v1.MachineInventory, registration *v1.MachineRegistration) bool {
	return attested(inventory) && inventory.Labels[v1.LabelRegistration] != registration.Name
}

// wantsApproval tells whether a person has to approve each machine.
func wantsApproval(registration *v1.MachineRegistration) bool {
	return registration.Spec.Admission != nil && registration.Spec.Admission.Approval == v1.ApprovalManual
}

// mayHave refuses machines that get nothing, or nothing yet: those that another has replaced, those that a person has to
// approve, and those that have yet to take another's place.
func mayHave(inventory *v1.MachineInventory) error {
	switch {
	case inventory.Spec.ReplacedBy != "":
		return &protocol.Error{Code: protocol.CodeRevoked, Message: "this machine has been replaced, and its identity is revoked",
			Hint: fmt.Sprintf("to use this hardware again as a new machine, an administrator must delete MachineInventory %s", inventory.Name)}
	case !index.Approved(inventory):
		return pending(inventory)
	case index.Replacing(inventory):
		return &protocol.Error{Code: protocol.CodePending, RetryAfter: assignmentRetry, Message: "this machine has yet to take another's place",
			Hint: fmt.Sprintf("if it stays so, `kubectl describe machineinventory %s` says what must be corrected", inventory.Name)}
	}
	return nil
}

func pending(inventory *v1.MachineInventory) error {
	return &protocol.Error{Code: protocol.CodePending, RetryAfter: approvalRetry, Message: "this machine waits for approval",
		Hint: fmt.Sprintf("an administrator must set spec.approved of MachineInventory %s to true, after comparing its TPM hash with this machine's", inventory.Name)}
}
