package index

import (
	"crypto/sha256"
	"testing"
	"time"

	rancherv3 "github.com/rancher/rancher/pkg/apis/management.cattle.io/v3"
	provisioningv1 "github.com/rancher/rancher/pkg/apis/provisioning.cattle.io/v1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	managementv3 "github.com/rancher/rancheros-operator/pkg/apis/management.cattle.io/v3"
	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/tests/memoryapi"
)

const hash = "d68795c6192af9922692f050b0f1e2d3c4b5a697887766554433221100ffeedd"

func tokenSecret(namespace, name, registration, token string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{v1.LabelRegistration: registration}},
		Type:       v1.SecretTypeRegistration,
		Data:       map[string][]byte{"token": []byte(token)},
	}
}

func registration(namespace, name string) *v1.MachineRegistration {
	return &v1.MachineRegistration{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}

func TestRegistrationsByToken(t *testing.T) {
	foreign := tokenSecret("ns", "edge-registration-token", "edge", "foreign")
	foreign.Type = corev1.SecretTypeOpaque
	for _, c := range []struct {
		why     string
		secrets []*corev1.Secret
		want    []string
	}{
		{"the registration whose Secret holds it", []*corev1.Secret{tokenSecret("ns", "edge-registration-token", "edge", "t")}, []string{"ns/edge"}},
		{"another token", []*corev1.Secret{tokenSecret("ns", "edge-registration-token", "edge", "tt")}, nil},
		{"a Secret of another type", []*corev1.Secret{foreign}, nil},
		{"a Secret in another's place: whoever may write Secrets could else open any registration of the namespace",
			[]*corev1.Secret{tokenSecret("ns", "mine", "edge", "t")}, nil},
		{"a Secret whose label names another registration than its name", []*corev1.Secret{tokenSecret("ns", "edge-registration-token", "other", "t")}, nil},
		{"a Secret in another namespace", []*corev1.Secret{tokenSecret("elsewhere", "edge-registration-token", "edge", "t")}, nil},
		{"a registration that is gone", []*corev1.Secret{tokenSecret("ns", "gone-registration-token", "gone", "t")}, nil},
		{"a copied Secret: both, and the caller refuses", []*corev1.Secret{
			tokenSecret("ns", "edge-registration-token", "edge", "t"), tokenSecret("ns", "other-registration-token", "other", "t")}, []string{"ns/edge", "ns/other"}},
	} {
		t.Run(c.why, func(t *testing.T) {
			api := memoryapi.New(t, registration("ns", "edge"), registration("ns", "other"))
			for _, secret := range c.secrets {
				api.Put(secret)
			}
			found, err := Add(api.Clients()).RegistrationsByToken("t")
			require.NoError(t, err)
			require.Equal(t, c.want, keys(found))
		})
	}
	found, err := Add(memoryapi.New(t, registration("ns", "edge"), tokenSecret("ns", "edge-registration-token", "edge", "")).Clients()).RegistrationsByToken("")
	require.NoError(t, err)
	require.Empty(t, found, "an empty token opens nothing, not even a Secret that is empty")
}

func TestInventories(t *testing.T) {
	one, two := machine("ns", "one"), machine("ns", "two")
	one.Spec = v1.MachineInventorySpec{TPM: hash, ClusterName: "site", MachineTokenSecretName: "shared"}
	one.Labels = map[string]string{v1.LabelRegistration: "edge", v1.LabelSerialNumber: "A1"}
	two.Spec = v1.MachineInventorySpec{TPMHash: hash[1:] + "0"}
	two.Status.ClusterRegistrationTokenName = ClusterTokenName(two)
	three := machine("elsewhere", "three")
	three.Labels = map[string]string{v1.LabelSerialNumber: "A1"}
	three.Spec = v1.MachineInventorySpec{ClusterName: "site", MachineTokenSecretName: "shared"}
	four := machine("ns", "four")
	indexes := Add(memoryapi.New(t, one, two, three, four).Clients())

	for _, c := range []struct {
		why  string
		look func() ([]*v1.MachineInventory, error)
		want []string
	}{
		{"by TPM", func() ([]*v1.MachineInventory, error) { return indexes.InventoriesByTPMHash(hash) }, []string{"ns/one"}},
		{"by TPM under its other name", func() ([]*v1.MachineInventory, error) { return indexes.InventoriesByTPMHash(hash[1:] + "0") }, []string{"ns/two"}},
		{"an empty hash is nobody's", func() ([]*v1.MachineInventory, error) { return indexes.InventoriesByTPMHash("") }, nil},
		{"by the digest of the hash", func() ([]*v1.MachineInventory, error) {
			return indexes.InventoriesByTPMDigest(sha256.Sum256([]byte(hash)))
		}, []string{"ns/one"}},
		{"the digest of nothing is nobody's", func() ([]*v1.MachineInventory, error) {
			return indexes.InventoriesByTPMDigest(sha256.Sum256(nil))
		}, nil},
		{"by registration", func() ([]*v1.MachineInventory, error) { return indexes.InventoriesByRegistration("ns", "edge") }, []string{"ns/one"}},
		{"S14: by serial number, in its own namespace only", func() ([]*v1.MachineInventory, error) {
			return indexes.InventoriesBySerialNumber("ns", "A1")
		}, []string{"ns/one"}},
		{"S14: no serial number is nobody's", func() ([]*v1.MachineInventory, error) { return indexes.InventoriesBySerialNumber("ns", "") }, nil},
		{"by shared Secret, in its own namespace only", func() ([]*v1.MachineInventory, error) {
			return indexes.InventoriesByTokenSecret("elsewhere", "shared")
		}, []string{"elsewhere/three"}},
		{"by the name of its token", func() ([]*v1.MachineInventory, error) {
			return indexes.InventoriesByTokenName(ClusterTokenName(three))
		}, []string{"elsewhere/three"}},
		{"by the name of a token that it was given while it had a cluster", func() ([]*v1.MachineInventory, error) {
			return indexes.InventoriesByTokenName(ClusterTokenName(two))
		}, []string{"ns/two"}},
		{"who has no cluster has no token", func() ([]*v1.MachineInventory, error) {
			return indexes.InventoriesByTokenName(ClusterTokenName(four))
		}, nil},
	} {
		found, err := c.look()
		require.NoError(t, err, c.why)
		require.Equal(t, c.want, keys(found), c.why)
	}
}

func TestMachineTokens(t *testing.T) {
	shared := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "shared"}, Type: v1.SecretTypeMachineToken,
		Data: map[string][]byte{"token": []byte("secret\n")}}
	foreign := shared.DeepCopy()
	foreign.Name, foreign.Type = "opaque", corev1.SecretTypeOpaque
	indexes := Add(memoryapi.New(t, shared, foreign).Clients())

	found, err := indexes.MachineTokensByToken([]byte("secret\n"))
	require.NoError(t, err)
	require.Equal(t, []string{"ns/shared"}, keys(found), "and no Secret of another type")
	found, err = indexes.MachineTokensByToken([]byte("secret"))
	require.NoError(t, err)
	require.Empty(t, found, "C39: compared exactly")
	found, err = indexes.MachineTokensByDigest(sha256.Sum256([]byte("secret\n")))
	require.NoError(t, err)
	require.Equal(t, []string{"ns/shared"}, keys(found))
}

// The index holds no token: a dump of it opens nothing.
func TestIndexHoldsNoToken(t *testing.T) {
	values, err := secretByToken(tokenSecret("ns", "x", "x", "very-secret"))
	require.NoError(t, err)
	require.Len(t, values, 1)
	require.NotContains(t, values[0], "very-secret")
}

func TestImages(t *testing.T) {
	one := image("ns", "one")
	one.Spec.ManagedOSVersionName = "v1"
	indexes := Add(memoryapi.New(t, one, image("ns", "two")).Clients())
	found, err := indexes.ImagesByVersion("ns", "v1")
	require.NoError(t, err)
	require.Equal(t, []string{"ns/one"}, keys(found))
	for _, name := range []string{BundleName(one), ObjectName(one)} {
		found, err = indexes.ImagesByObjectName("ns", name)
		require.NoError(t, err)
		require.Equal(t, []string{"ns/one"}, keys(found), "what was deleted is found by its name: %s", name)
	}
	found, err = indexes.ImagesByObjectName("elsewhere", BundleName(one))
	require.NoError(t, err)
	require.Empty(t, found)
}

func TestCluster(t *testing.T) {
	indexes := Add(memoryapi.New(t, cluster("site", "c-m-1")).Clients())
	found, err := indexes.Cluster("ns", "site")
	require.NoError(t, err)
	require.Equal(t, "site", found.Name)
	found, err = indexes.Cluster("ns", "none")
	require.NoError(t, err)
	require.Nil(t, found)
}

func TestClusterTokenOf(t *testing.T) {
	assigned := machine("ns", "m")
	assigned.Spec.ClusterName = "site"
	now := metav1.NewTime(time.Now())
	token := func(change func(*managementv3.ClusterRegistrationToken)) *managementv3.ClusterRegistrationToken {
		token := &managementv3.ClusterRegistrationToken{
			ObjectMeta: metav1.ObjectMeta{Namespace: "c-m-1", Name: ClusterTokenName(assigned),
				Labels: map[string]string{v1.LabelMachineNamespace: "ns", v1.LabelMachine: "m"}},
			Spec: rancherv3.ClusterRegistrationTokenSpec{ClusterName: "c-m-1"},
		}
		change(token)
		return token
	}
	same := func(*managementv3.ClusterRegistrationToken) {}
	deleting := cluster("site", "c-m-1")
	deleting.DeletionTimestamp, deleting.Finalizers = &now, []string{"x"}
	for _, c := range []struct {
		why     string
		machine *v1.MachineInventory
		cluster *provisioningv1.Cluster
		token   *managementv3.ClusterRegistrationToken
		found   bool
	}{
		{"the machine's token in its cluster", assigned, cluster("site", "c-m-1"), token(same), true},
		{"no assignment", machine("ns", "m"), cluster("site", "c-m-1"), token(same), false},
		{"no such cluster", assigned, cluster("other", "c-m-1"), token(same), false},
		{"the cluster has no management cluster yet", assigned, cluster("site", ""), token(same), false},
		{"the cluster is being deleted, and its tokens with it", assigned, deleting, token(same), false},
		{"the cluster was made again: the token is of the former one", assigned, cluster("site", "c-m-2"), token(same), false},
		{"another machine's", assigned, cluster("site", "c-m-1"),
			token(func(t *managementv3.ClusterRegistrationToken) { t.Labels[v1.LabelMachine] = "other" }), false},
		{"that of a machine of this name elsewhere", assigned, cluster("site", "c-m-1"),
			token(func(t *managementv3.ClusterRegistrationToken) { t.Labels[v1.LabelMachineNamespace] = "other" }), false},
		{"one that only carries our labels", assigned, cluster("site", "c-m-1"),
			token(func(t *managementv3.ClusterRegistrationToken) { t.Name = "mine" }), false},
		{"one that lets into another cluster than it lies in", assigned, cluster("site", "c-m-1"),
			token(func(t *managementv3.ClusterRegistrationToken) { t.Spec.ClusterName = "c-m-9" }), false},
		{"one that is being deleted", assigned, cluster("site", "c-m-1"),
			token(func(t *managementv3.ClusterRegistrationToken) {
				t.DeletionTimestamp, t.Finalizers = &now, []string{"x"}
			}), false},
	} {
		t.Run(c.why, func(t *testing.T) {
			found, err := Add(memoryapi.New(t, c.cluster, c.token).Clients()).ClusterTokenOf(c.machine)
			require.NoError(t, err)
			require.Equal(t, c.found, found != nil)
		})
	}
}

// No decision is taken from a status, which others may be able to write (B27).
func TestClusterTokenOfIgnoresStatus(t *testing.T) {
	m := machine("ns", "m")
	m.Status = v1.MachineInventoryStatus{ClusterRegistrationTokenNamespace: "c-m-1", ClusterRegistrationTokenName: "victim"}
	victim := &managementv3.ClusterRegistrationToken{ObjectMeta: metav1.ObjectMeta{Namespace: "c-m-1", Name: "victim"},
		Spec: rancherv3.ClusterRegistrationTokenSpec{ClusterName: "c-m-1"}}
	found, err := Add(memoryapi.New(t, m, victim, cluster("site", "c-m-1")).Clients()).ClusterTokenOf(m)
	require.NoError(t, err)
	require.Nil(t, found)
}

func cluster(name, managementCluster string) *provisioningv1.Cluster {
	return &provisioningv1.Cluster{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name},
		Status:     provisioningv1.ClusterStatus{ClusterName: managementCluster},
	}
}

func keys[T metav1.Object](objects []T) []string {
	var keys []string
	for _, object := range objects {
		keys = append(keys, object.GetNamespace()+"/"+object.GetName())
	}
	return keys
}
