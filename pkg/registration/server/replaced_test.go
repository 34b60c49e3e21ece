package server

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	"github.com/rancher/rancheros-operator/tests/machine"
)

// A cluster of another namespace that allows the machine is as good as one of its own.
func TestAssignmentAcrossNamespaces(t *testing.T) {
	w := newWorld(t, append(assigned("m", v1.MachineInventorySpec{MachineTokenSecretName: "shared"}), sharedSecret("shared", sharedToken))...)
	site, m := w.Clusters.All()[0], w.Inventories.All()[0]
	w.Clusters.Remove("ns", "site")
	site.Namespace, site.Annotations = "team", map[string]string{v1.AnnotationAllowedNamespaces: "other, ns"}
	m.Spec.ClusterNamespace = "team"
	w.Put(site, m)
	require.Contains(t, w.askWithToken(t, sharedToken).body, `"token":"cluster-token"`)
}

// Whoever was replaced is told so wherever it asks, by a code of its own, and gets nothing: not its cloud-config, not its
// old cluster, whatever else its inventory still says.
func TestReplacedMachineIsRefused(t *testing.T) {
	const sentence = "this machine has been replaced, and its identity is revoked"
	yes := true
	client := newMachine(t)
	w := newWorld(t, append(assigned("m", v1.MachineInventorySpec{TPM: client.TPM.EndorsementHash(), MachineTokenSecretName: "shared", ReplacedBy: "new", Approved: &yes}),
		sharedSecret("shared", sharedToken))...)
	require.Equal(t, sentence, w.register(t, client, nuc))
	conversation, err := client.Inventory(t.Context(), w.url)
	require.NoError(t, err)
	require.Equal(t, sentence, string(conversation.Final))
	got := w.askWithToken(t, sharedToken)
	require.Equal(t, http.StatusForbidden, got.status)
	require.Equal(t, sentence+"\n", got.body)
	require.Equal(t, "revoked", got.header.Get("X-Rancheros-Code"))
	require.Contains(t, got.header.Get("X-Rancheros-Hint"), "must delete MachineInventory m")
	require.Empty(t, w.writes(), "and nothing is written for it")

	_, err = w.server.callHome(t.Context(), caller{Identity: identityOf(t, client)})
	require.Equal(t, protocol.CodeRevoked, protocol.AsError(err).Code)
	require.False(t, protocol.CodeRevoked.Retriable(), "asking again does not help")

	// A paused registration, or a list that it is not on, is not what is wrong.
	paused := edge()
	paused.Spec.Paused = true
	w.Put(paused)
	require.Equal(t, sentence, w.register(t, client, nuc))

	// Its record deleted, it is new hardware.
	w.Put(edge())
	w.Inventories.Remove("ns", "m")
	require.Contains(t, w.register(t, client, nuc), `"hostname":"m-edge-systems-nuc-12-s-n-1-`)
}

// Who is to take another's place waits: for a person, then for the operator. It then has the other's name from its first boot on.
func TestReplacingMachineWaits(t *testing.T) {
	yes := true
	client := newMachine(t)
	for _, c := range []struct {
		why   string
		spec  v1.MachineInventorySpec
		taken string
		want  string
	}{
		{"nobody has approved it", v1.MachineInventorySpec{Replaces: "old"}, "", "this machine waits for approval"},
		{"it is about to", v1.MachineInventorySpec{Replaces: "old", Approved: &yes}, "", "this machine has yet to take another's place"},
		{"a place that it has is not the one that it wants", v1.MachineInventorySpec{Replaces: "old", Approved: &yes}, "older", "this machine has yet to take another's place"},
	} {
		t.Run(c.why, func(t *testing.T) {
			c.spec.TPM = client.TPM.EndorsementHash()
			objects := assigned("new", c.spec)
			w := newWorld(t, objects...)
			m := w.Inventories.All()[0]
			m.Annotations = map[string]string{v1.AnnotationReplaced: c.taken}
			w.Put(m)
			require.Equal(t, c.want, w.register(t, client, nuc))
			conversation, err := client.Inventory(t.Context(), w.url)
			require.NoError(t, err)
			require.Equal(t, c.want, string(conversation.Final))
			_, err = w.server.callHome(t.Context(), caller{Identity: identityOf(t, client)})
			require.Equal(t, protocol.CodePending, protocol.AsError(err).Code)
		})
	}
	w := newWorld(t, assigned("new", v1.MachineInventorySpec{TPM: client.TPM.EndorsementHash(), Replaces: "old", Approved: &yes, Config: &v1.MachineConfig{Role: "agent", NodeName: "old"}})...)
	m := w.Inventories.All()[0]
	m.Annotations = map[string]string{v1.AnnotationReplaced: "old"}
	w.Put(m)
	require.Contains(t, w.register(t, client, nuc), `"hostname":"old"`)
	conversation, err := client.Inventory(t.Context(), w.url)
	require.NoError(t, err)
	require.Equal(t, `{"role":"agent","nodeName":"old","token":"cluster-token"}`+"\n", string(conversation.Final))
}

func identityOf(t *testing.T, client *machine.OldClient) attestation.Identity {
	t.Helper()
	return attestation.Identity{Hash: client.TPM.EndorsementHash()}
}
