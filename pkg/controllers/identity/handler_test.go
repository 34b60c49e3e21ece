package identity

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/tests/memoryapi"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// inventory is one that the server made, so long after noon.
func inventory(namespace string, after time.Duration) *v1.MachineInventory {
	return &v1.MachineInventory{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "m", UID: types.UID("uid-" + namespace), CreationTimestamp: metav1.NewTime(noon.Add(after)),
			Labels: map[string]string{v1.LabelRegistration: "edge"}},
		Spec: v1.MachineInventorySpec{TPM: strings.Repeat("ab", 32)},
	}
}

func TestOneMachineIsOneInventory(t *testing.T) {
	but := func(i *v1.MachineInventory, change func(*v1.MachineInventory)) *v1.MachineInventory {
		change(i)
		return i
	}
	for _, c := range []struct {
		why  string
		same []*v1.MachineInventory
		want []string // stay
	}{
		{"alone", []*v1.MachineInventory{inventory("a", 0)}, []string{"a/m"}},
		{"the first stays", []*v1.MachineInventory{inventory("a", time.Second), inventory("b", 0)}, []string{"b/m"}},
		{"in the same second, one of them stays", []*v1.MachineInventory{inventory("b", 0), inventory("a", 0)}, []string{"a/m"}},
		{"and of three", []*v1.MachineInventory{inventory("b", 0), inventory("c", 0), inventory("a", 2*time.Second)}, []string{"b/m"}},
		{"a day apart is no race", []*v1.MachineInventory{inventory("a", 0), inventory("b", 24*time.Hour)}, []string{"a/m", "b/m"}},
		{"somebody has given the second a cluster", []*v1.MachineInventory{inventory("a", 0), but(inventory("b", time.Second), func(i *v1.MachineInventory) {
			i.Spec.ClusterName = "site"
		})}, []string{"a/m", "b/m"}},
		{"the second is to take another's place", []*v1.MachineInventory{inventory("a", 0), but(inventory("b", time.Second), func(i *v1.MachineInventory) {
			i.Spec.Replaces = "old"
		})}, []string{"a/m", "b/m"}},
		{"a person wrote the second", []*v1.MachineInventory{inventory("a", 0), but(inventory("b", time.Second), func(i *v1.MachineInventory) {
			i.Labels = nil
		})}, []string{"a/m", "b/m"}},
		{"a person wrote the first", []*v1.MachineInventory{but(inventory("a", 0), func(i *v1.MachineInventory) { i.Labels = nil }), inventory("b", time.Second)}, []string{"a/m", "b/m"}},
		{"another machine", []*v1.MachineInventory{inventory("a", 0), but(inventory("b", 0), func(i *v1.MachineInventory) {
			i.Spec.TPM = strings.Repeat("cd", 32)
		})}, []string{"a/m", "b/m"}},
		{"machines without a TPM are not one machine", []*v1.MachineInventory{but(inventory("a", 0), func(i *v1.MachineInventory) { i.Spec.TPM = "" }),
			but(inventory("b", 0), func(i *v1.MachineInventory) { i.Spec.TPM = "" })}, []string{"a/m", "b/m"}},
	} {
		t.Run(c.why, func(t *testing.T) {
			for range 2 { // From either end.
				slices.Reverse(c.same)
				api := memoryapi.New(t)
				clients := api.Clients()
				recorder := record.NewFakeRecorder(10)
				h := &handler{inventories: clients.RancherOS.MachineInventory(), indexes: index.Add(clients), events: recorder}
				for _, i := range c.same {
					api.Put(i.DeepCopy())
				}
				for _, i := range c.same {
					cached, err := clients.RancherOS.MachineInventory().Cache().Get(i.Namespace, i.Name)
					if err != nil {
						continue
					}
					_, err = h.onChange(i.Namespace+"/"+i.Name, cached)
					require.NoError(t, err)
				}
				require.ElementsMatch(t, c.want, api.Inventories.Names())
				require.Len(t, recorder.Events, 2*(len(c.same)-len(c.want)), "both sides are told")
				for len(recorder.Events) > 0 {
					require.NotContains(t, <-recorder.Events, " b/", "and not where the other is")
				}
			}
		})
	}
}
