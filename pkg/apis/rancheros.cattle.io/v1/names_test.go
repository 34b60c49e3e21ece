package v1

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestOwnedBy(t *testing.T) {
	owner := &MachineRegistration{ObjectMeta: metav1.ObjectMeta{Name: "edge", UID: "1"}}
	reference := OwnedBy(owner, "MachineRegistration")
	require.Equal(t, "rancheros.cattle.io/v1 MachineRegistration edge 1", reference.APIVersion+" "+reference.Kind+" "+reference.Name+" "+string(reference.UID))
	require.True(t, *reference.Controller)
	require.Nil(t, reference.BlockOwnerDeletion, "it would take a right on the owner's finalizers")
}
