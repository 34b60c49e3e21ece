package seedimage

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// A medium that is used up stays so when a restore has lost the status, and the Secret its owner.
func TestDownloadsOutliveStatus(t *testing.T) {
	limited := usb()
	limited.UID, limited.Spec.MaxDownloads, limited.Status.Downloads = "first", new(3), 3
	w := newWorld(t, limited, edge())
	for range 2 {
		_, err := w.reconcile(t)
		require.NoError(t, err)
	}
	require.Equal(t, "3", string(w.Secrets.All()[0].Data[v1.SecretKeyDownloads]))
	w.Requests()
	_, err := w.reconcile(t)
	require.NoError(t, err)
	require.Empty(t, w.Requests(), "an unchanged world costs nothing")

	secret := w.Secrets.All()[0].DeepCopy()
	secret.OwnerReferences = nil
	w.Put(secret)
	restored := usb()
	restored.UID, restored.Spec.MaxDownloads = "second", new(3)
	w.Put(restored)
	seed, err := w.reconcile(t)
	require.NoError(t, err)
	require.Equal(t, 3, seed.Status.Downloads)
	require.Equal(t, v1.ReasonUsedUp, seed.Status.Conditions[0].Reason)
	require.True(t, metav1.IsControlledBy(w.Secrets.All()[0], seed))
}
