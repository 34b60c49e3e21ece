package server

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	managementv3 "github.com/rancher/rancheros-operator/pkg/apis/management.cattle.io/v3"
	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	"github.com/rancher/rancheros-operator/tests/memoryapi"
)

var sharedToken = strings.Repeat("s", v1.MinMachineToken)

func sharedSecret(name, token string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}, Type: v1.SecretTypeMachineToken, Data: map[string][]byte{"token": []byte(token)}}
}

func (w world) askWithToken(t *testing.T, token string) answer {
	t.Helper()
	return w.get(t, "/v1-rancheros/inventory", "Authorization: Bearer "+base64.StdEncoding.EncodeToString([]byte(token)))
}

func TestInventoryByTPM(t *testing.T) {
	client := newMachine(t)
	w := newWorld(t, assigned("m", v1.MachineInventorySpec{TPM: client.TPM.EndorsementHash()})...)
	conversation, err := client.Inventory(t.Context(), w.url)
	require.NoError(t, err)
	require.Equal(t, `{"role":"server","nodeName":"m","token":"cluster-token"}`+"\n", string(conversation.Final))
}

// B4, B3: what is not yet is no config, and no half of one.
func TestInventoryByTPMNotYet(t *testing.T) {
	client := newMachine(t)
	w := newWorld(t, inventory("m", v1.MachineInventorySpec{TPMHash: client.TPM.EndorsementHash()}))
	conversation, err := client.Inventory(t.Context(), w.url)
	require.NoError(t, err)
	require.Equal(t, "this machine is not assigned to a cluster", string(conversation.Final), "rancherd prints it and tries again")
}

// An unknown TPM is refused before anything is computed for it.
func TestInventoryOfUnknownTPM(t *testing.T) {
	client := newMachine(t)
	hash := client.TPM.EndorsementHash()
	for _, there := range [][]*v1.MachineInventory{nil,
		{inventory("a", v1.MachineInventorySpec{TPM: hash}), inventory("b", v1.MachineInventorySpec{TPM: hash})},
		{inventory("a", v1.MachineInventorySpec{TPM: hash[1:] + "0"})},
	} {
		w := newWorld(t)
		for _, inventory := range there {
			w.Put(inventory)
		}
		_, err := client.Inventory(t.Context(), w.url)
		refusal := refused(t, err)
		require.Equal(t, http.StatusUnauthorized, refusal.Status)
		require.Equal(t, "this machine is not registered\n", refusal.Body)
	}
}

func TestInventoryBySharedToken(t *testing.T) {
	w := newWorld(t, append(assigned("m", v1.MachineInventorySpec{MachineTokenSecretName: "shared"}), sharedSecret("shared", sharedToken))...)
	got := w.askWithToken(t, sharedToken)
	require.Equal(t, http.StatusOK, got.status)
	require.Equal(t, `{"role":"server","nodeName":"m","token":"cluster-token"}`+"\n", got.body)
	require.Equal(t, "text/plain; charset=utf-8", got.header.Get("Content-Type"))
	require.Equal(t, "no-store", got.header.Get("Cache-Control"))
}

// H54, H55, C39: exactly one Secret, with a token that cannot be guessed, and exactly one machine that names it. Every
// other case is answered alike.
func TestSharedTokensThatOpenNothing(t *testing.T) {
	elsewhere := sharedSecret("shared", sharedToken)
	elsewhere.Namespace = "tenant-b"
	opaque := sharedSecret("shared", sharedToken)
	opaque.Type = corev1.SecretTypeOpaque
	for _, c := range []struct {
		why   string
		token string
		there []runtime.Object
	}{
		{"no Secret", sharedToken, nil},
		{"another token", sharedToken + "x", []runtime.Object{sharedSecret("shared", sharedToken)}},
		{"C39: a newline at the end, as `echo` makes it: compared exactly", sharedToken, []runtime.Object{sharedSecret("shared", sharedToken+"\n")}},
		{"H55: three characters", "abc", []runtime.Object{sharedSecret("shared", "abc")}},
		{"C39: 31 characters", sharedToken[1:], []runtime.Object{sharedSecret("shared", sharedToken[1:])}},
		{"C39: an empty Secret", "x", []runtime.Object{sharedSecret("shared", "")}},
		{"C39: no key token", sharedToken, []runtime.Object{&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "shared"}, Type: v1.SecretTypeMachineToken,
			Data: map[string][]byte{"Token": []byte(sharedToken)}}}},
		{"C38: a Secret of another type", sharedToken, []runtime.Object{opaque}},
		{"H54: two Secrets of one token", sharedToken, []runtime.Object{sharedSecret("shared", sharedToken), sharedSecret("copy", sharedToken)}},
		{"H54: in two namespaces", sharedToken, []runtime.Object{sharedSecret("shared", sharedToken), elsewhere}},
		{"C38: a Secret in another namespace", sharedToken, []runtime.Object{elsewhere}},
		{"two machines that share one Secret", sharedToken, []runtime.Object{sharedSecret("shared", sharedToken), inventory("n", v1.MachineInventorySpec{MachineTokenSecretName: "shared"})}},
	} {
		t.Run(c.why, func(t *testing.T) {
			w := newWorld(t, append(assigned("m", v1.MachineInventorySpec{MachineTokenSecretName: "shared"}), c.there...)...)
			got := w.askWithToken(t, c.token)
			require.Equal(t, http.StatusUnauthorized, got.status)
			require.Equal(t, "Unauthorized\n", got.body)
		})
	}
}

// C39: what is in the Secret is the token, a newline and all, as long as the machine sends just that.
func TestSharedTokenWithNewline(t *testing.T) {
	w := newWorld(t, append(assigned("m", v1.MachineInventorySpec{MachineTokenSecretName: "shared"}), sharedSecret("shared", sharedToken+"\n"))...)
	require.Equal(t, http.StatusOK, w.askWithToken(t, sharedToken+"\n").status)
	require.Equal(t, http.StatusUnauthorized, w.askWithToken(t, sharedToken).status)
}

func TestInventoryWithoutProof(t *testing.T) {
	w := newWorld(t)
	for _, lines := range [][]string{nil, {"Authorization: Basic YTpi"}, {"Authorization: Bearer PLAINaa"}, {"Authorization: Bearer not/base64!"}, {"Authorization: Bearer"},
		{"Authorization: Bearer " + strings.Repeat("A", 4096)}} {
		got := w.get(t, "/v1-rancheros/inventory", lines...)
		require.Equal(t, http.StatusUnauthorized, got.status)
		require.Equal(t, "Unauthorized\n", got.body)
	}
}

// What a machine waits for, said to it with when to come back.
func TestAssignmentsNotYet(t *testing.T) {
	now := metav1.Now()
	for _, c := range []struct {
		why    string
		change func(w world, m *v1.MachineInventory)
		want   string
	}{
		{"being deleted", func(_ world, m *v1.MachineInventory) { m.DeletionTimestamp, m.Finalizers = &now, []string{"x"} }, "this machine's inventory is being deleted"},
		{"no cluster", func(_ world, m *v1.MachineInventory) { m.Spec.ClusterName = "" }, "this machine is not assigned to a cluster"},
		{"no config", func(_ world, m *v1.MachineInventory) { m.Spec.Config = nil }, "this machine has no role in its cluster"},
		{"no role", func(_ world, m *v1.MachineInventory) { m.Spec.Config.Role = "" }, "this machine has no role in its cluster"},
		{"no such cluster yet", func(w world, _ *v1.MachineInventory) { w.Clusters.Remove("ns", "site") }, "this machine's cluster is not ready to take it"},
		{"no token yet", func(w world, _ *v1.MachineInventory) { w.ClusterTokens.Remove("c-m-1", w.ClusterTokens.All()[0].Name) }, "this machine's cluster is not ready to take it"},
		{"its cluster is in another namespace, and does not allow it: the token that is still there is not given", func(w world, m *v1.MachineInventory) {
			elsewhere := w.Clusters.All()[0]
			elsewhere.Namespace = "team"
			w.Put(elsewhere)
			m.Spec.ClusterNamespace = "team"
		}, "this machine's cluster is not ready to take it"},
		{"its cluster did allow it, and does not any more", func(w world, m *v1.MachineInventory) {
			elsewhere := w.Clusters.All()[0]
			elsewhere.Namespace, elsewhere.Annotations = "team", map[string]string{v1.AnnotationAllowedNamespaces: "other"}
			w.Put(elsewhere)
			m.Spec.ClusterNamespace = "team"
		}, "this machine's cluster is not ready to take it"},
		{"a status that names a token proves nothing (B27)", func(w world, m *v1.MachineInventory) {
			m.Spec.ClusterName = "other"
			m.Status.ClusterRegistrationTokenNamespace, m.Status.ClusterRegistrationTokenName = "c-m-1", w.ClusterTokens.All()[0].Name
		}, "this machine's cluster is not ready to take it"},
	} {
		t.Run(c.why, func(t *testing.T) {
			w := newWorld(t, append(assigned("m", v1.MachineInventorySpec{MachineTokenSecretName: "shared"}), sharedSecret("shared", sharedToken))...)
			m := w.Inventories.All()[0]
			c.change(w, m)
			w.Put(m)
			got := w.askWithToken(t, sharedToken)
			require.Equal(t, http.StatusConflict, got.status)
			require.Equal(t, c.want+"\n", got.body)
			require.Equal(t, "not-assigned", got.header.Get("X-Rancheros-Code"))
			require.Equal(t, "15", got.header.Get("Retry-After"))
			require.NotContains(t, got.body, "cluster-token")
		})
	}
}

// G26 to G28.
func TestTokenValue(t *testing.T) {
	const secretName = "crt-token-t"
	secret := func(data map[string]string) *corev1.Secret {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "c-m-1", Name: secretName}, Data: map[string][]byte{}}
		for key, value := range data {
			secret.Data[key] = []byte(value)
		}
		return secret
	}
	for _, c := range []struct {
		why                string
		status, secretName string
		secret             *corev1.Secret
		want               string
		code               protocol.Code
	}{
		{"G26: until Rancher 2.14", "in-status", "", nil, "in-status", ""},
		{"G26: from Rancher 2.15 on", "", secretName, secret(map[string]string{"token": "in-secret"}), "in-secret", ""},
		{"G26: both: the Secret is what Rancher rotates", "in-status", secretName, secret(map[string]string{"token": "in-secret"}), "in-secret", ""},
		{"G26: neither: wait", "", "", nil, "", ""},
		{"G27: no Secret yet", "", secretName, nil, "", protocol.CodeNotAssigned},
		{"G27: no Secret yet, and a token of before", "in-status", secretName, nil, "", protocol.CodeNotAssigned},
		{"G27: no key", "", secretName, secret(nil), "", ""},
		{"G27: only the previous token, which ends soon", "", secretName, secret(map[string]string{"previousToken": "old"}), "", ""},
		{"G28: the Secret of another token: whoever may write statuses could read any Secret", "", "crt-token-victim", nil, "", protocol.CodeUnavailable},
		{"G28: a Secret that is none of a token's", "", "tls-rancher", nil, "", protocol.CodeUnavailable},
	} {
		t.Run(c.why, func(t *testing.T) {
			w := newWorld(t)
			w.Put(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "c-m-1", Name: "crt-token-victim"}, Data: map[string][]byte{"token": []byte("victim")}},
				&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "c-m-1", Name: "tls-rancher"}, Data: map[string][]byte{"token": []byte("victim")}})
			if c.secret != nil {
				w.Put(c.secret)
			}
			token := &managementv3.ClusterRegistrationToken{ObjectMeta: metav1.ObjectMeta{Namespace: "c-m-1", Name: "t"}}
			token.Status.Token, token.Status.TokenSecretName = c.status, c.secretName
			got, err := w.server.tokenValue(token)
			require.Equal(t, c.want, got)
			if c.code == "" {
				require.NoError(t, err)
				return
			}
			var refusal *protocol.Error
			require.ErrorAs(t, err, &refusal)
			require.Equal(t, c.code, refusal.Code)
			require.NotZero(t, refusal.RetryAfter)
			require.NotContains(t, refusal.Message, "victim")
		})
	}
	none, err := newWorld(t).server.tokenValue(nil)
	require.NoError(t, err)
	require.Empty(t, none)
}

// The token is read where Rancher rotates it, every time.
func TestTokenIsNeverKept(t *testing.T) {
	w := newWorld(t, append(assigned("m", v1.MachineInventorySpec{MachineTokenSecretName: "shared"}), sharedSecret("shared", sharedToken))...)
	require.Contains(t, w.askWithToken(t, sharedToken).body, `"token":"cluster-token"`)
	for _, secret := range w.Secrets.All() {
		if secret.Namespace == "c-m-1" {
			secret.Data["token"] = []byte("rotated")
			w.Put(secret)
		}
	}
	require.Contains(t, w.askWithToken(t, sharedToken).body, `"token":"rotated"`)
}

func TestEncodeAssignment(t *testing.T) {
	for _, c := range []struct {
		why    string
		config string
		want   string
	}{
		{"a role is enough", `{"role":"agent"}`, `{"role":"agent","nodeName":"m","token":"t"}`},
		{"every documented key, labels sorted and taints in their place (B5)",
			`{"role":"etcd,worker","nodeName":"n1","address":"192.0.2.1","internalAddress":"::1","labels":{"b":"2","a":"1","empty":""},
			"taints":[{"key":"z","value":"v","effect":"NoSchedule"},{"key":"a","effect":"NoExecute"}]}`,
			`{"role":"etcd,worker","nodeName":"n1","address":"192.0.2.1","internalAddress":"::1","taints":["z=v:NoSchedule","a=:NoExecute"],"labels":["a=1","b=2","empty="],"token":"t"}`},
		{"the seed's arbitrary cloud config is passed on, sorted", `{"role":"agent","runcmd":["id"],"big":18446744073709551616,"none":null}`,
			`{"big":18446744073709551616,"nodeName":"m","none":null,"role":"agent","runcmd":["id"],"token":"t"}`},
		{"a token of the user's does not hide the cluster's", `{"role":"agent","token":"theirs"}`, `{"nodeName":"m","role":"agent","token":"t"}`},
		{"nor does one in another case, which Go's decoders take for the same; the schema has checked none of these",
			`{"role":"agent","Token":"theirs","ROLE":"root; id","nodename":"x","Address":"--x","x":1}`, `{"nodeName":"m","role":"agent","token":"t","x":1}`},
	} {
		t.Run(c.why, func(t *testing.T) {
			config := &v1.MachineConfig{}
			require.NoError(t, json.Unmarshal([]byte(c.config), config))
			for range 20 {
				got, err := encodeAssignment(inventory("m", v1.MachineInventorySpec{Config: config}), "t")
				require.NoError(t, err)
				require.Equal(t, c.want+"\n", string(got))
			}
		})
	}
}

func TestFailuresOfTheAPIAreNotYet(t *testing.T) {
	w := newWorld(t, append(assigned("m", v1.MachineInventorySpec{MachineTokenSecretName: "shared"}), sharedSecret("shared", sharedToken))...)
	w.Fail = func(memoryapi.Request) error { return errors.New("the API server at 10.0.0.7 is away") }
	got := w.askWithToken(t, sharedToken)
	require.Equal(t, http.StatusConflict, got.status)
	require.Equal(t, "this machine's cluster is not ready to take it\n", got.body)
}
