package registration

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// limited is a registration for two machines, as of one life of the cluster.
func limited(uid types.UID, admitted ...string) *v1.MachineRegistration {
	registration := edge()
	registration.UID = uid
	registration.Spec.Admission = &v1.AdmissionSpec{MaxMachines: new(2)}
	registration.Status.Admitted = admitted
	return registration
}

// A URL that is used up stays so when a restore has lost the status; the order is that of admission.
func TestAdmittedOutliveStatus(t *testing.T) {
	w := newWorld(t)
	w.Put(limited("first", "b", "a"))
	_, err := w.reconcile(t)
	require.NoError(t, err)
	_, err = w.reconcile(t) // The Secret was made in the first round, and is seen in the next.
	require.NoError(t, err)
	require.Equal(t, "b,a", string(w.Secrets.All()[0].Data[v1.SecretKeyAdmitted]))
	w.Requests()
	_, err = w.reconcile(t)
	require.NoError(t, err)
	require.Empty(t, w.Requests(), "an unchanged world costs nothing")

	secret := w.Secrets.All()[0].DeepCopy()
	secret.OwnerReferences = nil
	w.Put(secret)
	w.Put(limited("second"))
	registration, err := w.reconcile(t)
	require.NoError(t, err)
	require.Equal(t, []string{"b", "a"}, registration.Status.Admitted)
	require.Equal(t, v1.ReasonFull, registration.Status.Conditions[0].Reason)
	require.True(t, metav1.IsControlledBy(w.Secrets.All()[0], registration), "what has no owner is given back to it")
}

// A registration of the same name that was made anew owes nothing to the one before it, whose Secret is about to go.
func TestAdmittedOfAnEarlierRegistration(t *testing.T) {
	w := newWorld(t)
	w.Put(limited("first", "a", "b"))
	for range 2 {
		_, err := w.reconcile(t)
		require.NoError(t, err)
	}
	w.Put(limited("second"))
	registration, err := w.reconcile(t)
	require.NoError(t, err)
	require.Empty(t, registration.Status.Admitted)
}
