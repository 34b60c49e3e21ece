package server

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/pkg/machine"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// enroll returns the proven machine's inventory, made when there is none, once the machine may have its configuration.
// However often and wherever a machine asks, it meets the same object: one that is known by its TPM, or else the one
// name that follows from its identity.
func (s *Server) enroll(registration *v1.MachineRegistration, demands trust, identity attestation.Identity, smbios map[string]any) (*v1.MachineInventory, error) {
	inventory, err := s.letIn(registration, demands, identity, smbios)
	if err != nil {
		refusal := *protocol.AsError(err)
		s.tellRefused(registration, identity, &refusal)
		// The log's line says whom it is about; the machine is told nothing of it.
		refusal.Reason = strings.TrimSuffix(fmt.Sprintf("TPM hash %s at registration %s/%s: %s", identity.Hash, registration.Namespace, registration.Name, refusal.Reason), ": ")
		return inventory, &refusal
	}
	return inventory, nil
}

func (s *Server) letIn(registration *v1.MachineRegistration, demands trust, identity attestation.Identity, smbios map[string]any) (*v1.MachineInventory, error) {
	inventory, err := s.known(registration.Namespace, identity.Hash)
	if err != nil {
		return nil, err
	}
	if inventory != nil && inventory.Spec.ReplacedBy != "" {
		// Said before anything that could be corrected in the registration: none of it would let the machine in.
		return nil, mayHave(inventory)
	}
	assurance, err := admit(applicant{registration: registration, trust: demands, identity: identity, known: inventory, now: time.Now()})
	if err != nil {
		return nil, err
	}
	if inventory != nil {
		s.tellChanged(inventory, smbios)
	}
	count := &s.enrolled.known
	switch {
	case inventory == nil || !attested(inventory):
		count = &s.enrolled.fresh
		if inventory, err = s.settle(newcomer{registration, identity, assurance, smbios}, inventory); err != nil {
			return nil, err
		}
	case cameByAnother(inventory, registration):
		if err := s.reserve(registration, identity.Hash); err != nil {
			return nil, err
		}
	}
	if err := mayHave(inventory); err != nil {
		return inventory, err
	}
	count.Add(1)
	return inventory, nil
}

// newcomer is a new machine that is let in: what its inventory is made of.
type newcomer struct {
	registration *v1.MachineRegistration
	identity     attestation.Identity
	assurance    string
	smbios       map[string]any
}

// settle makes the inventory of a new machine, or makes one that was written beforehand the machine's own; once at a
// time for one machine and registration.
func (s *Server) settle(n newcomer, premade *v1.MachineInventory) (*v1.MachineInventory, error) {
	settled, err, _ := s.enrolling.Do(n.registration.Namespace+"/"+n.registration.Name+"/"+n.identity.Hash, func() (any, error) {
		if premade != nil {
			return s.adopt(n, premade)
		}
		if err := s.reserve(n.registration, n.identity.Hash); err != nil {
			return nil, err
		}
		return s.create(n)
	})
	if err != nil {
		return nil, err
	}
	return settled.(*v1.MachineInventory), nil
}

// known is the machine's inventory in the namespace; nil when there is none. One that another registration's machine
// has proven to be is the machine's for good; one that somebody merely wrote in another namespace is not.
func (s *Server) known(namespace, hash string) (*v1.MachineInventory, error) {
	inventories, err := s.Indexes.InventoriesByTPMHash(hash)
	if err != nil {
		return nil, err
	}
	var here []*v1.MachineInventory
	for _, inventory := range inventories {
		switch {
		case inventory.Namespace == namespace:
			here = append(here, inventory)
		case attested(inventory):
			return nil, &protocol.Error{Code: protocol.CodeForbidden, Message: "this machine belongs to another registration",
				Hint:   "an administrator must delete its old MachineInventory first",
				Reason: fmt.Sprintf("TPM hash %s belongs to %s/%s", hash, inventory.Namespace, inventory.Name)}
		}
	}
	if len(here) == 0 {
		return nil, nil
	}
	if len(here) > 1 {
		return nil, &protocol.Error{Code: protocol.CodeForbidden, Message: "this machine is registered more than once",
			Hint:   "an administrator must delete all but one MachineInventory of this TPM",
			Reason: fmt.Sprintf("%d inventories in %s have TPM hash %s", len(here), namespace, hash)}
	}
	return here[0], notDeleting(here[0])
}

// adopt marks an inventory that was written beforehand as proven: from now on nobody else can be this machine.
func (s *Server) adopt(n newcomer, premade *v1.MachineInventory) (*v1.MachineInventory, error) {
	metadata := map[string]any{
		"resourceVersion": premade.ResourceVersion,
		"labels":          map[string]string{v1.LabelRegistration: n.registration.Name, v1.LabelAssurance: n.assurance},
	}
	if outsideValidity(n.identity) {
		metadata["annotations"] = map[string]string{v1.AnnotationEndorsementCertificate: v1.EndorsementOutsideValidity}
	}
	patch, err := json.Marshal(map[string]any{"metadata": metadata})
	if err != nil {
		return nil, fmt.Errorf("encoding metadata: %w", err)
	}
	adopted, err := s.Inventories.Patch(premade.Namespace, premade.Name, types.MergePatchType, patch)
	if err != nil {
		return nil, asUnavailable(err)
	}
	s.tellRegistered(n, adopted)
	return adopted, nil
}

// notDeleting sends the machine away until its old inventory is gone: what it was told now would not hold.
func notDeleting(inventory *v1.MachineInventory) error {
	if inventory.DeletionTimestamp == nil {
		return nil
	}
	return &protocol.Error{Code: protocol.CodeUnavailable, RetryAfter: busyRetry, Message: "this machine's inventory is being deleted",
		Hint: "it is made anew when the old one is gone; if it stays so, look at what holds the old one back"}
}

func (s *Server) create(n newcomer) (*v1.MachineInventory, error) {
	desired, err := newInventory(n)
	if err != nil {
		return nil, err
	}
	created, err := s.Inventories.Create(desired)
	if mayBeSaved(err) {
		// The answer was lost, perhaps not the inventory. If it is there, it is this machine's first one, and told of as such.
		if found, missing := s.Inventories.Get(desired.Namespace, desired.Name, metav1.GetOptions{}); missing == nil && sameMachine(found, desired) {
			created, err = found, nil
		}
	}
	if apierrors.IsAlreadyExists(err) {
		// Another replica was faster, or our cache lags: the same machine, unless somebody took its name by hand.
		created, err = s.Inventories.Get(desired.Namespace, desired.Name, metav1.GetOptions{})
		if err == nil && index.TPMHash(created) != n.identity.Hash {
			return nil, &protocol.Error{Code: protocol.CodeForbidden, Message: "this machine's name is taken",
				Hint: fmt.Sprintf("an administrator must delete MachineInventory %s, or give it this machine's TPM hash", desired.Name)}
		}
		if err != nil {
			return nil, asUnavailable(err)
		}
		if created.Labels[v1.LabelRegistration] != n.registration.Name {
			// What lets it in here is decided when our cache has it.
			return nil, &protocol.Error{Code: protocol.CodeUnavailable, RetryAfter: busyRetry, Message: "this machine's inventory has just been made by another hand",
				Hint: "it is looked at again by itself", Reason: "not by this registration: " + created.Name}
		}
		return created, notDeleting(created)
	}
	if err != nil {
		return nil, asUnavailable(err)
	}
	s.tellRegistered(n, created)
	return created, nil
}

// mayBeSaved is true of errors that do not say whether a request was carried out.
func mayBeSaved(err error) bool {
	return err != nil && (apierrors.ReasonForError(err) == metav1.StatusReasonUnknown || apierrors.IsInternalError(err) || apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err))
}

// sameMachine tells whether two inventories of one name are of the same machine, by the same registration.
func sameMachine(a, b *v1.MachineInventory) bool {
	return index.TPMHash(a) == index.TPMHash(b) && a.Labels[v1.LabelRegistration] == b.Labels[v1.LabelRegistration] && a.DeletionTimestamp == nil
}

// tellRegistered is the audit of a decision: one line in the log, and one event on the registration.
func (s *Server) tellRegistered(n newcomer, inventory *v1.MachineInventory) {
	how, line := n.assurance, logrus.WithFields(logrus.Fields{"machine": inventory.Namespace + "/" + inventory.Name, "registration": n.registration.Name,
		"tpm": index.TPMHash(inventory), "assurance": n.assurance, "approved": index.Approved(inventory)})
	if caveats := n.caveats(); caveats != "" {
		how, line = how+"; "+caveats, line.WithField("caveats", caveats)
	}
	line.Info("registered machine")
	if index.Approved(inventory) {
		s.tell(n.registration, corev1.EventTypeNormal, "MachineRegistered", "machine %s registered (%s)", inventory.Name, how)
	} else {
		s.tell(n.registration, corev1.EventTypeNormal, "MachinePending", "machine %s waits for approval (%s): set its spec.approved to true, or delete it",
			inventory.Name, how)
	}
	s.tellShared(n, inventory)
}

// caveats are what is to be known of how the machine's identity was established.
func (n newcomer) caveats() string {
	var caveats []string
	if n.identity.Weak != "" {
		caveats = append(caveats, "its key is weak: "+n.identity.Weak)
	}
	if outsideValidity(n.identity) {
		caveats = append(caveats, "its endorsement certificate is outside its validity")
	}
	return strings.Join(caveats, "; ")
}

// registrationEvents is how often events tell of the same thing at one object: the log has them all. client-go drops what goes
// beyond 25 at an object, whatever it is about, so that a crowd which is let in would keep a refusal from being heard of.
var registrationEvents = Rate{PerSecond: 1.0 / 60, Burst: 10}

// subject is what an event is about.
type subject interface {
	runtime.Object
	GetUID() types.UID
}

func (s *Server) tell(about subject, eventType, reason, message string, args ...any) {
	if s.told.spend(topic(about, reason)) == nil {
		s.Events.Eventf(about, eventType, reason, message, args...)
	}
}

func topic(about subject, reason string) string {
	return string(about.GetUID()) + "/" + reason
}

// refusalEvents is the same for refused machines, for each cause.
var refusalEvents = Rate{PerSecond: 1.0 / 60, Burst: 3}

// tellRefused tells of a proven machine that is not let in, for a reason that a person has to decide about.
func (s *Server) tellRefused(registration *v1.MachineRegistration, identity attestation.Identity, refusal *protocol.Error) {
	switch refusal.Code {
	case protocol.CodeForbidden, protocol.CodeCertificateRequired, protocol.CodePaused, protocol.CodeExpired, protocol.CodeFull, protocol.CodeRevoked:
	default:
		return
	}
	why := refusal.Message
	if refusal.Code == protocol.CodeCertificateRequired && identity.Certificate != nil {
		why += " (" + identity.Certificate.Problem + ")"
	}
	if s.refusalsTold.spend(string(registration.UID)+"/"+string(refusal.Code)) == nil {
		s.Events.Eventf(registration, corev1.EventTypeWarning, "MachineRefused", "the machine with TPM hash %s was refused: %s; %s",
			identity.Hash, why, refusal.Hint)
	}
}

// newInventory is what the registration makes of the machine.
func newInventory(n newcomer) (*v1.MachineInventory, error) {
	registration, hash, smbios := n.registration, n.identity.Hash, n.smbios
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
	inventory.Labels[v1.LabelAssurance] = n.assurance
	if serial, said := machine.RenderLabelValue(serialNumber, smbios); said {
		inventory.Labels[v1.LabelSerialNumber] = serial
	}
	if outsideValidity(n.identity) {
		inventory.Annotations[v1.AnnotationEndorsementCertificate] = v1.EndorsementOutsideValidity
	}
	if wantsApproval(registration) {
		approved := false
		inventory.Spec.Approved = &approved
	}
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
