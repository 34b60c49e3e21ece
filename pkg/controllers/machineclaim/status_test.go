package machineclaim

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

func TestStatus(t *testing.T) {
	chosen := func(claim *v1.MachineClaim, others ...*v1.MachineInventory) choice {
		c, err := decide(gathered{claim: claim, others: others})
		require.NoError(t, err)
		return c
	}
	two := int32(2)
	tests := []struct {
		reason  string
		claim   *v1.MachineClaim
		others  []*v1.MachineInventory
		err     error
		want    v1.MachineClaimStatus
		ready   metav1.ConditionStatus
		because string
		says    string
	}{
		{"all is there", claimOf(workers(2)), []*v1.MachineInventory{machine("b", 0), machine("a", 1)}, nil,
			v1.MachineClaimStatus{Summary: "2/2", Pools: []v1.MachinePoolStatus{{Name: "workers", Wanted: 2, Claimed: 2}}, Machines: []string{"a", "b"}},
			metav1.ConditionTrue, v1.ReasonReady, "all 2 machines are claimed for Cluster c1"},
		{"one", claimOf(workers(1)), []*v1.MachineInventory{machine("a", 1)}, nil,
			v1.MachineClaimStatus{Summary: "1/1", Pools: []v1.MachinePoolStatus{{Name: "workers", Wanted: 1, Claimed: 1}}, Machines: []string{"a"}},
			metav1.ConditionTrue, v1.ReasonReady, "the machine is claimed for Cluster c1"},
		{"none is asked for", claimOf(workers(0)), nil, nil,
			v1.MachineClaimStatus{Summary: "0/0", Pools: []v1.MachinePoolStatus{{Name: "workers"}}},
			metav1.ConditionTrue, v1.ReasonReady, "no machine is asked for"},
		{"short", claimOf(workers(3)), []*v1.MachineInventory{machine("a", 1), machine("b", 1)}, nil,
			v1.MachineClaimStatus{Summary: "2/3", Pools: []v1.MachinePoolStatus{{Name: "workers", Wanted: 3, Claimed: 2, Matched: &two}}, Machines: []string{"a", "b"}},
			metav1.ConditionFalse, v1.ReasonTooFewMachines,
			"workers: 2 of 3 claimed; no other machine matches. Register, approve, release or label machines, or lower replicas"},
		{"an error keeps the numbers", claimOf(workers(3)), nil, errors.New("no etcd"), v1.MachineClaimStatus{Summary: "1/3"},
			metav1.ConditionFalse, v1.ReasonAPIError, "no etcd; it is tried again"},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			claim := test.claim.DeepCopy()
			claim.Status.Summary = "1/3"
			turned := computeStatus(claim, chosen(claim, test.others...), test.err)
			require.Len(t, turned, 1)
			require.Equal(t, test.ready, turned[0].Status)
			require.Equal(t, test.because, turned[0].Reason)
			require.Equal(t, test.says, turned[0].Message)
			test.want.ObservedGeneration, test.want.Conditions = 1, claim.Status.Conditions
			require.Empty(t, cmp.Diff(test.want, claim.Status))
			require.Empty(t, computeStatus(claim, chosen(claim, test.others...), test.err), "nothing turns twice")
		})
	}
}

// A status is read by people: a thousand names are no use there.
func TestStatusIsBounded(t *testing.T) {
	claim := claimOf(workers(1000))
	var others []*v1.MachineInventory
	for i := range 1000 {
		others = append(others, machine(fmt.Sprintf("m-%04d", i), i))
	}
	c, err := decide(gathered{claim: claim, others: others})
	require.NoError(t, err)
	computeStatus(claim, c, nil)
	require.Equal(t, "1000/1000", claim.Status.Summary)
	require.Len(t, claim.Status.Machines, maxMachines)
	require.Equal(t, "m-0099", claim.Status.Machines[99])
}
