package why

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// silence is after how long a machine that calls home every hour has missed several calls.
const silence = 3 * 60 * 60

func (s *story) machine(f Facts) {
	machine, status := f.Machine, f.Machine.Status
	s.ready("MachineInventory", machine, status.Conditions, status.ObservedGeneration)
	s.troubles(status.Conditions, []string{v1.ConditionApproved, v1.ConditionClusterAssigned, v1.ConditionReplacement}, []string{v1.ConditionRevoked})
	s.origin(f)
	if status.LastSeen == nil {
		s.say("It has not called home: without rancheros-register on it, or before it has booted the installed OS, that is normal")
	} else {
		s.say("It called home %s ago%s%s", s.ago(*status.LastSeen), with(" as ", status.Hostname), with(" with ", status.OSImage))
		if s.now.Sub(status.LastSeen.Time).Seconds() > silence {
			s.say("It does so every hour when all is well: look whether it runs, and at rancheros-call-home.timer on it")
		}
	}
	s.cluster(f)
	if claim := machine.Labels[v1.LabelClaim]; claim != "" {
		s.say("MachineClaim %s has taken it", claim)
	}
}

func with(words, value string) string {
	if value == "" {
		return ""
	}
	return words + value
}

// origin is where a machine came from, and how sure that is.
func (s *story) origin(f Facts) {
	name := f.Machine.Labels[v1.LabelRegistration]
	switch {
	case name == "" && f.Machine.Status.TPMHash == "" && f.Machine.Spec.MachineTokenSecretName == "":
		s.say("It was written by hand, and has neither a TPM hash nor a shared token: no machine can be it before it has one")
	case name == "":
		s.say("It was written by hand, and did not come from a registration")
	case f.Registration == nil:
		s.say("It came from MachineRegistration %s, which is not there any more: it gets no configuration, and cannot register again", name)
	default:
		s.say("It came from MachineRegistration %s", name)
		if ready := meta.FindStatusCondition(f.Registration.Status.Conditions, v1.ConditionReady); ready != nil && ready.Status != metav1.ConditionTrue {
			s.say("That one is not ready (%s): %s", ready.Reason, ready.Message)
		}
	}
	if assurance := f.Machine.Status.Assurance; assurance != "" {
		s.say("Its identity is known by %s", map[string]string{
			v1.AssuranceCertificate: "its TPM, for which the maker vouches", v1.AssuranceListed: "its TPM, which an administrator has named",
			v1.AssuranceFirstUse: "its key alone, which came first and may be software", v1.AssuranceSharedSecret: "a token that it shares",
		}[assurance])
	}
}

// cluster is the one that a machine joins.
func (s *story) cluster(f Facts) {
	switch {
	case f.Machine.Spec.ClusterName == "" || f.Cluster == nil:
		return
	case !f.Cluster.Found:
		s.say("There is no Cluster %s/%s", f.Cluster.Namespace, f.Cluster.Name)
		return
	case f.Cluster.Management == "":
		s.say("Cluster %s/%s is there, and Rancher has not given it a management cluster yet", f.Cluster.Namespace, f.Cluster.Name)
	default:
		s.say("Cluster %s/%s is there, as %s", f.Cluster.Namespace, f.Cluster.Name, f.Cluster.Management)
	}
	if f.Cluster.Trouble != "" {
		s.say("It says of itself: %s", f.Cluster.Trouble)
	}
	switch {
	case f.Token == nil:
	case !f.Token.Found:
		s.say("Its ClusterRegistrationToken %s/%s is gone; the operator makes it anew", f.Token.Namespace, f.Token.Name)
	case !f.Token.Filled:
		s.say("Rancher has not filled its ClusterRegistrationToken %s/%s: look at Rancher's log", f.Token.Namespace, f.Token.Name)
	default:
		s.say("Its token is there, and the machine gets it when it next asks: `rancheros-register join` on it says what it waits for")
	}
}

func (s *story) registration(f Facts) {
	registration, status := f.Registration, f.Registration.Status
	s.ready("MachineRegistration", registration, status.Conditions, status.ObservedGeneration)
	s.say("%s came from here", plural(status.Machines, "machine"))
	var pending []string
	for _, machine := range f.Machines {
		if meta.IsStatusConditionFalse(machine.Status.Conditions, v1.ConditionApproved) {
			pending = append(pending, machine.Name)
		}
	}
	if len(pending) > 0 {
		s.say("Waiting for approval: %s; compare the TPM hash, then set spec.approved to true", several(pending))
	}
	if admission := registration.Spec.Admission; admission != nil {
		if admission.ExpiresAt != nil && admission.ExpiresAt.After(s.now) {
			s.say("It takes new machines until %s", admission.ExpiresAt.UTC().Format("2006-01-02 15:04 MST"))
		}
		if admission.MaxMachines != nil {
			s.say("%d of %d admissions are used", len(status.Admitted), *admission.MaxMachines)
		}
		if admission.Endorsement != "" && admission.Endorsement != v1.EndorsementAny {
			s.say("Only machines whose TPM shows %s are let in", admission.Endorsement)
		}
	}
	if len(f.Seeds) > 0 {
		s.say("Boot media that lead here: %s", several(f.Seeds))
	}
}

func (s *story) claim(f Facts) {
	claim, status := f.Claim, f.Claim.Status
	s.ready("MachineClaim", claim, status.Conditions, status.ObservedGeneration)
	for _, pool := range status.Pools {
		line := fmt.Sprintf("Pool %s has %d of %s", pool.Name, pool.Claimed, plural(int(pool.Wanted), "machine"))
		if pool.Matched != nil {
			line += "; " + plural(int(*pool.Matched), "machine") + " of the namespace match its selector, whoever has them"
		}
		s.say("%s", line)
	}
	if len(status.Machines) > 0 {
		s.say("It has %s", several(status.Machines))
	}
	if f.Cluster != nil && !f.Cluster.Found {
		s.say("There is no Cluster %s yet; the machines join when it appears", strings.Join([]string{f.Cluster.Namespace, f.Cluster.Name}, "/"))
	}
}
