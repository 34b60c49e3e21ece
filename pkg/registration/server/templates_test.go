package server

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

func TestTemplates(t *testing.T) {
	registration := func(uid string, generation int64, config string) *v1.MachineRegistration {
		return &v1.MachineRegistration{
			ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid), Generation: generation},
			Spec:       v1.MachineRegistrationSpec{CloudConfig: &runtime.RawExtension{Raw: []byte(config)}},
		}
	}
	var remembered templates
	told := func(registration *v1.MachineRegistration, serverURL string) string {
		template, err := remembered.get(registration, serverURL)
		require.NoError(t, err)
		config, err := template.For("m-1")
		require.NoError(t, err)
		return string(config)
	}
	const rancher = "https://rancher.example.com"
	first := told(registration("a", 1, `{"motd":"one"}`), rancher)
	require.Contains(t, first, `"motd":"one"`)
	require.Equal(t, first, told(registration("a", 1, `not looked at again`), rancher))
	require.Contains(t, told(registration("a", 2, `{"motd":"two"}`), rancher), `"motd":"two"`, "a spec that was changed")
	require.Contains(t, told(registration("a", 2, `{"motd":"two"}`), "https://moved.example.com"), "moved.example.com", "another address")
	require.Contains(t, told(registration("b", 2, `{"motd":"b"}`), rancher), `"motd":"b"`, "another registration of the same generation")

	broken := registration("c", 1, `{"rancherd":7}`)
	for range 2 {
		_, err := remembered.get(broken, rancher)
		require.ErrorContains(t, err, "cloudConfig", "what cannot be used is said each time")
	}
	for i := range 2 * maxTemplates {
		told(registration(fmt.Sprint(i), 1, `{}`), rancher)
	}
	require.LessOrEqual(t, len(remembered.decoded), maxTemplates)
}
