package index

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"pgregory.net/rapid"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// These names are stored: in objects that a new version must find again.
func TestNamesNeverChange(t *testing.T) {
	long := strings.Repeat("n", 63)
	for _, c := range []struct{ why, want, got string }{
		{"the Secret of a token", "edge-registration-token", TokenSecretName("edge")},
		{"a token", "m-1-247f9164cf", ClusterTokenName(machine("ns", "m-1"))},
		{"a long machine's token", strings.Repeat("n", 52) + "-c8709d5438", ClusterTokenName(machine("ns", long))},
		{"a Bundle", "mos-demo-update", BundleName(image("ns", "demo-update"))},
		{"a long image's Bundle", "mos-" + strings.Repeat("n", 38) + "-73dcf99641", BundleName(image("ns", long))},
		{"what arrives downstream", "os-upgrader-demo-update-996f1bf2dc", ObjectName(image("ns", "demo-update"))},
	} {
		require.Equal(t, c.want, c.got, c.why)
	}
}

func TestNamesTellApart(t *testing.T) {
	require.NotEqual(t, ClusterTokenName(machine("a", "m")), ClusterTokenName(machine("b", "m")),
		"machines of one name in two namespaces may join one cluster")
	require.NotEqual(t, ObjectName(image("a", "i")), ObjectName(image("b", "i")),
		"images of one name in two namespaces may reach one cluster")
	long := strings.Repeat("n", 62)
	require.NotEqual(t, BundleName(image("a", long+"1")), BundleName(image("a", long+"2")), "what the cut leaves alike")
	require.NotEqual(t, ClusterTokenName(machine("a", long+"1")), ClusterTokenName(machine("a", long+"2")))
}

// Whatever name the schema lets through, ours are names and label values, and fit where they go.
func TestNamesAreValid(t *testing.T) {
	// The cut comes right after a dot: what follows it must not begin with a dash.
	for _, length := range []int{37, 51} {
		name := strings.Repeat("n", length) + ".x-long-tail"
		require.Empty(t, validation.IsDNS1123Subdomain(ClusterTokenName(machine("ns", name))))
		require.Empty(t, validation.IsDNS1123Subdomain(BundleName(image("ns", name))))
		require.Empty(t, validation.IsDNS1123Subdomain(ObjectName(image("ns", name))))
	}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?){0,5}`).
			Filter(func(s string) bool { return len(s) <= 63 }).Draw(t, "name")
		namespace := rapid.StringMatching("[a-z]{1,63}").Draw(t, "namespace")
		for _, made := range []string{ClusterTokenName(machine(namespace, name)), BundleName(image(namespace, name)), ObjectName(image(namespace, name)), TokenSecretName(name)} {
			require.Empty(t, validation.IsDNS1123Subdomain(made), made)
		}
		require.Empty(t, validation.IsValidLabelValue(ObjectName(image(namespace, name))))
		require.LessOrEqual(t, len(ClusterTokenName(machine(namespace, name))), 63)
		require.LessOrEqual(t, len(BundleName(image(namespace, name))), 53, "a Helm release's name")
	})
}

func TestRegistrationOfSecret(t *testing.T) {
	namespace, registration, ours := RegistrationOfSecret("ns/" + TokenSecretName("edge"))
	require.Equal(t, []any{"ns", "edge", true}, []any{namespace, registration, ours})
	_, _, ours = RegistrationOfSecret("ns/other")
	require.False(t, ours)
}

func TestSplitKey(t *testing.T) {
	for key, want := range map[string][2]string{"ns/name": {"ns", "name"}, "server-url": {"", "server-url"}, "": {"", ""}} {
		namespace, name := SplitKey(key)
		require.Equal(t, want, [2]string{namespace, name})
	}
}

func TestTPMHash(t *testing.T) {
	require.Equal(t, "a", TPMHash(&v1.MachineInventory{Spec: v1.MachineInventorySpec{TPM: "a"}}))
	require.Equal(t, "a", TPMHash(&v1.MachineInventory{Spec: v1.MachineInventorySpec{TPMHash: "a"}}), "its other name")
	require.Empty(t, TPMHash(&v1.MachineInventory{}))
}

func machine(namespace, name string) *v1.MachineInventory {
	return &v1.MachineInventory{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}

func image(namespace, name string) *v1.ManagedOSImage {
	return &v1.ManagedOSImage{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}
