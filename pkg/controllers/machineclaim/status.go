package machineclaim

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/status"
)

// maxMachines bounds the names in a status; the label finds all of them.
const maxMachines = 100

// computeStatus puts the choice, whose changes are made, into the status of claim, a copy, and returns the conditions that
// turned. After an error the numbers stay as they were.
func computeStatus(claim *v1.MachineClaim, chosen choice, err error) []metav1.Condition {
	into := &claim.Status
	into.ObservedGeneration = claim.Generation
	if err == nil {
		into.Pools, into.Machines = nil, nil
		wanted, has := 0, 0
		for i := range chosen.pools {
			pool := &chosen.pools[i]
			into.Pools = append(into.Pools, poolStatus(pool))
			wanted, has = wanted+int(pool.Replicas), has+len(pool.machines)
			for _, machine := range pool.machines {
				into.Machines = append(into.Machines, machine.Name)
			}
		}
		into.Summary = fmt.Sprintf("%d/%d", has, wanted)
		slices.Sort(into.Machines)
		into.Machines = into.Machines[:min(len(into.Machines), maxMachines)]
	}
	return status.Set(&into.Conditions, claim.Generation, ready(claim, chosen, err))
}

func poolStatus(pool *pool) v1.MachinePoolStatus {
	s := v1.MachinePoolStatus{Name: pool.Name, Wanted: pool.Replicas, Claimed: int32(len(pool.machines))}
	if pool.lacks() > 0 {
		matched := int32(pool.matched)
		s.Matched = &matched
	}
	return s
}

func ready(claim *v1.MachineClaim, chosen choice, err error) metav1.Condition {
	var bad *selectorError
	switch {
	case errors.As(err, &bad):
		return status.False(v1.ConditionReady, v1.ReasonInvalidSpec, fmt.Sprintf("%v; correct it, until then no machine is claimed or released", bad))
	case err != nil:
		return status.False(v1.ConditionReady, v1.ReasonAPIError, fmt.Sprintf("%v; it is tried again", err))
	}
	var short []string
	all := 0
	for i := range chosen.pools {
		all += len(chosen.pools[i].machines)
		if chosen.pools[i].lacks() > 0 {
			short = append(short, shortage(&chosen.pools[i]))
		}
	}
	switch {
	case len(short) > 0:
		return status.False(v1.ConditionReady, v1.ReasonTooFewMachines,
			strings.Join(short, ". ")+". Register, approve, release or label machines, or lower replicas")
	case all == 0:
		return status.True(v1.ConditionReady, v1.ReasonReady, "no machine is asked for")
	case all == 1:
		return status.True(v1.ConditionReady, v1.ReasonReady, fmt.Sprintf("the machine is claimed for Cluster %s", claim.Spec.ClusterName))
	}
	return status.True(v1.ConditionReady, v1.ReasonReady, fmt.Sprintf("all %d machines are claimed for Cluster %s", all, claim.Spec.ClusterName))
}

// shortage is "workers: 2 of 3 claimed; 3 machines match, 1 is claimed by MachineClaim default/other".
func shortage(pool *pool) string {
	text := fmt.Sprintf("%s: %d of %d claimed; ", pool.Name, len(pool.machines), pool.Replicas)
	switch {
	case pool.matched == 0:
		return text + "no machine matches"
	case len(pool.excuses) == 0:
		return text + "no other machine matches"
	case pool.matched == 1:
		return text + "1 machine matches, " + pool.excuses.String()
	}
	return fmt.Sprintf("%s%d machines match, %s", text, pool.matched, pool.excuses)
}
