package index

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/tests/memoryapi"
)

func TestClaimOf(t *testing.T) {
	for _, test := range []struct {
		reason             string
		label, written, is string
	}{
		{"nobody's", "", "", ""},
		{"the label says it", "site", `{"claim":"other"}`, "site"},
		{"a label alone", "site", "", "site"},
		{"somebody removed the label: the record is still to be taken off", "", `{"claim":"site"}`, "site"},
		{"somebody wrote into the record", "", `{`, ""},
	} {
		m := &v1.MachineInventory{}
		if test.label != "" {
			m.Labels = map[string]string{v1.LabelClaim: test.label}
		}
		if test.written != "" {
			m.Annotations = map[string]string{v1.AnnotationClaimed: test.written}
		}
		require.Equal(t, test.is, ClaimOf(m), test.reason)
	}
}

func TestClaims(t *testing.T) {
	claim := func(namespace, name string, ready metav1.ConditionStatus) *v1.MachineClaim {
		c := &v1.MachineClaim{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
		if ready != "" {
			c.Status.Conditions = []metav1.Condition{{Type: v1.ConditionReady, Status: ready}}
		}
		return c
	}
	now := metav1.Now()
	going := claim("ns", "going", metav1.ConditionFalse)
	going.DeletionTimestamp, going.Finalizers = &now, []string{"x"}
	mine, other := machine("ns", "a"), machine("elsewhere", "a")
	mine.Labels, other.Labels = map[string]string{v1.LabelClaim: "new"}, map[string]string{v1.LabelClaim: "new"}
	indexes := Add(memoryapi.New(t, claim("ns", "new", ""), claim("ns", "short", metav1.ConditionFalse), claim("ns", "full", metav1.ConditionTrue), going,
		claim("elsewhere", "short", metav1.ConditionFalse), mine, other, machine("ns", "b")).Clients())
	names := func(claims []*v1.MachineClaim, err error) []string {
		require.NoError(t, err)
		var names []string
		for _, c := range claims {
			names = append(names, c.Name)
		}
		return names
	}
	require.Equal(t, []string{"new", "short"}, names(indexes.ClaimsInNeed("ns")), "a full one is left in peace, and so is one that goes")
	require.Equal(t, []string{"full", "going", "new", "short"}, names(indexes.Claims("ns")))
	machines, err := indexes.InventoriesByClaim("ns", "new")
	require.NoError(t, err)
	require.Len(t, machines, 1)
	require.Equal(t, "ns", machines[0].Namespace)
	machines, err = indexes.Inventories("ns")
	require.NoError(t, err)
	require.Len(t, machines, 2)
}
