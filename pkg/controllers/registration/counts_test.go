package registration

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// While machines come all the time, the write of each count brings the registration back, which has another one by then.
func TestCountsArePaced(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	w.now = func() time.Time { return now }
	come := func(n int) {
		w.Put(&v1.MachineInventory{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: fmt.Sprint("m", n), Labels: map[string]string{v1.LabelRegistration: "edge"}}})
	}
	counted := func() int {
		registration, err := w.reconcile(t)
		require.NoError(t, err)
		return registration.Status.Machines
	}
	come(1)
	require.Equal(t, 1, counted(), "the first is counted at once")
	come(2)
	now = now.Add(countDelay / 2)
	w.Requests()
	w.Registrations.Enqueued()
	require.Equal(t, 1, counted(), "the next waits")
	require.Empty(t, w.Requests(), "and costs no write")
	require.Equal(t, []string{"ns/edge"}, w.Registrations.Enqueued(), "but is not forgotten")
	require.Equal(t, countDelay/2, w.counts.due("ns/edge", now))
	now = now.Add(countDelay / 2)
	require.Equal(t, 2, counted())

	_, err := w.onChange("ns/edge", nil)
	require.NoError(t, err)
	require.Empty(t, w.counts.given, "a registration that is gone is forgotten")
}
