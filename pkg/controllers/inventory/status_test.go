package inventory

import (
	"errors"
	"strings"
	"testing"

	provisioningv1 "github.com/rancher/rancher/pkg/apis/provisioning.cattle.io/v1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	managementv3 "github.com/rancher/rancheros-operator/pkg/apis/management.cattle.io/v3"
	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

func TestClusterAssigned(t *testing.T) {
	at := cluster("site", "c-m-a")
	legacy := changed(tokenIn("c-m-a"), func(t *managementv3.ClusterRegistrationToken) {
		t.Status = managementv3.ClusterRegistrationTokenStatus{}
		t.Status.Token = "secret-token"
	})
	for _, c := range []struct {
		why      string
		machine  *v1.MachineInventory
		cluster  *provisioningv1.Cluster
		token    *managementv3.ClusterRegistrationToken
		hadToken bool
		err      error
		reason   string
		message  string
	}{
		{why: "never assigned", machine: machine(""), reason: v1.ReasonNoCluster, message: "set spec.clusterName and spec.config.role"},
		{why: "released just now", machine: machine(""), hadToken: true, reason: v1.ReasonReleased, message: "its token deleted"},
		{why: "issue 30: the Cluster comes after the assignment", machine: machine("site"), reason: v1.ReasonWaitingForCluster,
			message: "there is no Cluster site in namespace ns yet"},
		{why: "the Cluster goes", machine: machine("site"), cluster: changed(cluster("site", "c-m-a"), func(c *provisioningv1.Cluster) { c.DeletionTimestamp = &deleted }),
			reason: v1.ReasonClusterDeleting, message: "assign another one"},
		{why: "G25: Rancher has not looked at the Cluster", machine: machine("site"), cluster: cluster("site", ""), reason: v1.ReasonWaitingForManagementCluster,
			message: "look at the Cluster's conditions"},
		{why: "no token yet", machine: machine("site"), cluster: at, reason: v1.ReasonWaitingForToken, message: "look at Rancher's logs"},
		{why: "G26: neither form is filled in", machine: machine("site"), cluster: at,
			token: changed(tokenIn("c-m-a"), func(t *managementv3.ClusterRegistrationToken) {
				t.Status = managementv3.ClusterRegistrationTokenStatus{}
			}), reason: v1.ReasonWaitingForToken, message: "has not filled in"},
		{why: "a token that is going opens nothing for long", machine: machine("site"), cluster: at,
			token:  changed(tokenIn("c-m-a"), func(t *managementv3.ClusterRegistrationToken) { t.DeletionTimestamp = &deleted }),
			reason: v1.ReasonWaitingForToken, message: "has not filled in"},
		{why: "no config", machine: changed(machine("site"), func(m *v1.MachineInventory) { m.Spec.Config = nil }), cluster: at, token: tokenIn("c-m-a"),
			reason: v1.ReasonRoleMissing, message: "set spec.config.role to server or agent"},
		{why: "no role", machine: changed(machine("site"), func(m *v1.MachineInventory) { m.Spec.Config.Role = "" }), cluster: at, token: tokenIn("c-m-a"),
			reason: v1.ReasonRoleMissing, message: "set spec.config.role to server or agent"},
		{why: "G26: the form of Rancher 2.15", machine: machine("site"), cluster: at, token: tokenIn("c-m-a"), reason: v1.ReasonTokenReady, message: "joins Cluster site as server"},
		{why: "G26: the form before", machine: machine("site"), cluster: at, token: legacy, reason: v1.ReasonTokenReady, message: "joins Cluster site as server"},
		{why: "G28: the name is taken", machine: machine("site"), cluster: at, err: &foreignTokenError{"c-m-a", "m-123"}, reason: v1.ReasonForeignToken,
			message: "ClusterRegistrationToken c-m-a/m-123 exists and was not made by the operator; delete or rename it"},
		{why: "the API fails", machine: machine("site"), cluster: at, err: errors.New("no etcd"), reason: v1.ReasonAPIError, message: "no etcd; it is tried again"},
		{why: "a failure while releasing is no release", machine: machine(""), hadToken: true, err: errors.New("no etcd"), reason: v1.ReasonAPIError, message: "no etcd"},
	} {
		t.Run(c.why, func(t *testing.T) {
			decided := assignment{gathered: gathered{inventory: c.machine, cluster: c.cluster}, token: c.token}
			got := clusterAssigned(c.machine, decided, c.hadToken, c.err)
			require.Equal(t, v1.ConditionClusterAssigned, got.Type)
			require.Equal(t, c.reason, got.Reason)
			require.Contains(t, got.Message, c.message)
			require.NotContains(t, got.Message, "secret-token")
			require.Equal(t, c.reason == v1.ReasonTokenReady, got.Status == metav1.ConditionTrue, "True is said of a token alone")

			summary := ready(c.machine, approval(c.machine), got, replacement{})
			require.Equal(t, v1.ConditionReady, summary.Type)
			require.Equal(t, []string{got.Reason, got.Message}, []string{summary.Reason, summary.Message})
			good := c.reason == v1.ReasonTokenReady || c.reason == v1.ReasonNoCluster || c.reason == v1.ReasonReleased
			require.Equal(t, good, summary.Status == metav1.ConditionTrue, "a machine that is to join nothing lacks nothing")
		})
	}
}

func TestComputeStatus(t *testing.T) {
	hash := strings.Repeat("ab", 32)
	m := changed(machine("site"), func(m *v1.MachineInventory) { m.Spec.TPMHash = hash })
	decided := assignment{gathered: gathered{inventory: m, cluster: cluster("site", "c-m-a")}, token: tokenIn("c-m-a")}
	require.Len(t, computeStatus(m, outcome{assignment: decided}, nil), 3)
	require.Equal(t, int64(2), m.Status.ObservedGeneration)
	require.Equal(t, hash, m.Status.TPMHash, "under whichever name it was given")
	require.Equal(t, "c-m-a", m.Status.ClusterRegistrationTokenNamespace)
	require.Equal(t, decided.token.Name, m.Status.ClusterRegistrationTokenName)
	require.Empty(t, computeStatus(m, outcome{assignment: decided}, nil), "nothing turns twice")

	computeStatus(m, outcome{}, errors.New("no etcd"))
	require.Equal(t, "c-m-a", m.Status.ClusterRegistrationTokenNamespace, "a failure does not make a token go")

	m.Spec.ClusterName = ""
	released := assignment{gathered: gathered{inventory: m}, remove: []*managementv3.ClusterRegistrationToken{tokenIn("c-m-a")}}
	computeStatus(m, outcome{assignment: released}, nil)
	require.Empty(t, m.Status.ClusterRegistrationTokenName)
	require.Equal(t, v1.ReasonReleased, m.Status.Conditions[0].Reason)
	require.Empty(t, computeStatus(m, outcome{assignment: assignment{gathered: gathered{inventory: m}}}, nil), "and stays released when the token is gone")

	m.Spec.ClusterName = "other"
	computeStatus(m, outcome{assignment: assignment{gathered: gathered{inventory: m}}}, nil)
	require.Equal(t, v1.ReasonWaitingForCluster, m.Status.Conditions[0].Reason)
	m.Spec.ClusterName = ""
	computeStatus(m, outcome{assignment: assignment{gathered: gathered{inventory: m}}}, nil)
	require.Equal(t, v1.ReasonNoCluster, m.Status.Conditions[0].Reason, "what never had a token was not released")
}

func TestSeverity(t *testing.T) {
	for reason, want := range map[string]string{
		v1.ReasonWaitingForCluster: corev1.EventTypeNormal, v1.ReasonWaitingForManagementCluster: corev1.EventTypeNormal, v1.ReasonWaitingForToken: corev1.EventTypeNormal,
		v1.ReasonTokenReady: corev1.EventTypeNormal, v1.ReasonReleased: corev1.EventTypeNormal,
		v1.ReasonForeignToken: corev1.EventTypeWarning, v1.ReasonAPIError: corev1.EventTypeWarning, v1.ReasonRoleMissing: corev1.EventTypeWarning, v1.ReasonClusterDeleting: corev1.EventTypeWarning,
		v1.ReasonClusterNotAllowed: corev1.EventTypeWarning, v1.ReasonReplacementRefused: corev1.EventTypeWarning, v1.ReasonReplacedMissing: corev1.EventTypeWarning,
		v1.ReasonReplaced: corev1.EventTypeNormal, v1.ReasonRevoked: corev1.EventTypeNormal,
	} {
		require.Equal(t, want, severity(reason), reason)
	}
}

// A machine that a person has to look at first gets nothing, and says so before anything else.
func TestApproval(t *testing.T) {
	no, yes := false, true
	m := changed(machine("site"), func(m *v1.MachineInventory) { m.Spec.Approved = &no })
	g := gathered{inventory: m, cluster: cluster("site", "c-m-a"), tokens: []*managementv3.ClusterRegistrationToken{tokenIn("c-m-a")}}
	decided := decide(g)
	require.Nil(t, decided.create)
	require.Len(t, decided.remove, 1, "what was given before is taken back")
	computeStatus(m, outcome{assignment: decided}, nil)
	for _, condition := range m.Status.Conditions {
		require.Equal(t, v1.ReasonPendingApproval, condition.Reason, condition.Type)
		require.Equal(t, metav1.ConditionFalse, condition.Status)
	}
	m.Spec.Approved = &yes
	require.Empty(t, decide(g).remove)
}

func TestAssurance(t *testing.T) {
	hash := strings.Repeat("ab", 32)
	for want, change := range map[string]func(*v1.MachineInventory){
		v1.AssuranceCertificate: func(m *v1.MachineInventory) {
			m.Labels, m.Spec.TPM = map[string]string{v1.LabelAssurance: v1.AssuranceCertificate}, hash
		},
		v1.AssuranceListed:       func(m *v1.MachineInventory) { m.Spec.TPM, m.Spec.MachineTokenSecretName = hash, "secret" },
		v1.AssuranceSharedSecret: func(m *v1.MachineInventory) { m.Spec.MachineTokenSecretName = "secret" },
		"":                       func(*v1.MachineInventory) {},
	} {
		require.Equal(t, want, assurance(changed(machine("site"), change)))
	}
}
