package index

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/tests/memoryapi"
)

func TestSeedImages(t *testing.T) {
	seed := func(namespace, name, registration string) *v1.SeedImage {
		return &v1.SeedImage{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: v1.SeedImageSpec{RegistrationName: registration}}
	}
	secret := func(name, seed string, kind corev1.SecretType, token string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, Labels: map[string]string{v1.LabelSeedImage: seed}},
			Type: kind, Data: map[string][]byte{"token": []byte(token)}}
	}
	api := memoryapi.New(t, seed("ns", "usb", "edge"), seed("ns", "pxe", "edge"), seed("other", "usb", "edge"), registration("ns", "edge"),
		secret("usb-seed-token", "usb", v1.SecretTypeSeedImage, "a"),
		secret("copied-seed-token", "usb", v1.SecretTypeSeedImage, "a"), // Its name says whose it is, not its label.
		secret("pxe-seed-token", "pxe", v1.SecretTypeRegistration, "b"),
		secret("gone-seed-token", "gone", v1.SecretTypeSeedImage, "c"),
		secret("mine", "usb", v1.SecretTypeSeedImage, "d"),
		secret("empty-seed-token", "empty", v1.SecretTypeSeedImage, ""))
	indexes := Add(api.Clients())
	for token, want := range map[string][]string{"a": {"ns/usb"}, "b": nil, "c": nil, "d": nil, "": nil, "A": nil} {
		seeds, err := indexes.SeedImagesByToken(token)
		require.NoError(t, err)
		require.ElementsMatch(t, want, keys(seeds), token)
	}
	seeds, err := indexes.SeedImagesByRegistration("ns", "edge")
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"ns/pxe", "ns/usb"}, keys(seeds))
	all, err := indexes.SeedImages()
	require.NoError(t, err)
	require.Len(t, all, 3)
	none, err := indexes.SeedImage("ns", "none")
	require.NoError(t, err)
	require.Nil(t, none)
	found, err := indexes.Registration("ns", "edge")
	require.NoError(t, err)
	require.Equal(t, "edge", found.Name)
	missing, err := indexes.Registration("other", "edge")
	require.NoError(t, err)
	require.Nil(t, missing)

	namespace, name, ours := SeedImageOfSecret("ns/" + SeedSecretName("usb"))
	require.Equal(t, []any{"ns", "usb", true}, []any{namespace, name, ours})
	_, _, ours = SeedImageOfSecret("ns/usb-registration-token")
	require.False(t, ours)
}
