package osimage

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	upgradev1 "github.com/rancher/system-upgrade-controller/pkg/apis/upgrade.cattle.io/v1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// The seeds say env; the Plan's field is called envs, and system-upgrade-controller knows no other.
func TestEnvBecomesEnvs(t *testing.T) {
	out, _ := rendered(t, newImage(func(s *v1.ManagedOSImageSpec) {
		s.Prepare = &v1.ContainerSpec{Image: "ubuntu", Command: []string{"/bin/sh"}, Args: []string{"-c", "true"}, Env: []corev1.EnvVar{{Name: "TEST_ENV", Value: "testValue"}}}
		s.UpgradeContainer = s.Prepare
	}))
	var plan struct{ Spec map[string]any }
	require.NoError(t, yaml.Unmarshal([]byte(out.bundle.Spec.Resources[3].Content), &plan))
	want := map[string]any{
		"image": "ubuntu:latest", "command": []any{"/bin/sh"}, "args": []any{"-c", "true"},
		"envs": []any{map[string]any{"name": "TEST_ENV", "value": "testValue"}},
	}
	require.Empty(t, cmp.Diff(want, plan.Spec["prepare"]))
	require.Empty(t, cmp.Diff(want, plan.Spec["upgrade"]))
}

func TestWhichUpgradeContainer(t *testing.T) {
	own, versions := &v1.ContainerSpec{Image: "own:v1"}, &v1.ContainerSpec{Image: "versions:v1"}
	version := &v1.ManagedOSVersion{ObjectMeta: metav1.ObjectMeta{Name: "v2"}, Spec: v1.ManagedOSVersionSpec{Metadata: raw(`{"upgradeImage":"os2:v2"}`), UpgradeContainer: versions}}
	plain := version.DeepCopy()
	plain.Spec.UpgradeContainer = nil
	for _, c := range []struct {
		why     string
		spec    v1.ManagedOSImageSpec
		version *v1.ManagedOSVersion
		want    string
		command []string
	}{
		{"the OS image, with its own command", v1.ManagedOSImageSpec{OSImage: "os2:v1"}, nil, "os2:v1", []string{"/usr/sbin/suc-upgrade"}},
		{"the image's own container overrides osImage", v1.ManagedOSImageSpec{OSImage: "os2:v1", UpgradeContainer: own}, nil, "own:v1", nil},
		{"the version's image", v1.ManagedOSImageSpec{}, plain, "os2:v2", []string{"/usr/sbin/suc-upgrade"}},
		{"the version's container", v1.ManagedOSImageSpec{}, version, "versions:v1", nil},
		{"the image's own container overrides the version's", v1.ManagedOSImageSpec{UpgradeContainer: own}, version, "own:v1", nil},
	} {
		in := input{image: &v1.ManagedOSImage{Spec: c.spec}, version: c.version}
		named, err := resolveImage(in)
		require.NoError(t, err, c.why)
		got, err := upgradeContainer(in, named)
		require.NoError(t, err, c.why)
		require.Equal(t, c.want, got.Image, c.why)
		require.Equal(t, c.command, got.Command, c.why)
	}
}

func TestContainerImages(t *testing.T) {
	for in, want := range map[string]string{"ubuntu": "ubuntu:latest", "reg.local:5000/a": "reg.local:5000/a:latest", "a@" + digest: "a@" + digest} {
		got, err := newContainer(&v1.ContainerSpec{Image: in}, "prepare")
		require.NoError(t, err)
		require.Equal(t, want, got.Image, "without a tag, system-upgrade-controller would put the OS image's there")
	}
	for _, field := range []string{"prepare", "upgradeContainer"} {
		_, err := render(input{image: newImage(func(s *v1.ManagedOSImageSpec) {
			bad := &v1.ContainerSpec{Image: "A B"}
			if s.Prepare = bad; field != "prepare" {
				s.Prepare, s.UpgradeContainer = nil, bad
			}
		})})
		requireRefusal(t, err, v1.ReasonInvalidSpec, field+".image")
	}
	in := input{image: newImage(func(s *v1.ManagedOSImageSpec) { s.OSImage = "" }),
		version: &v1.ManagedOSVersion{ObjectMeta: metav1.ObjectMeta{Name: "v2"},
			Spec: v1.ManagedOSVersionSpec{Metadata: raw(`{"upgradeImage":"os2"}`), UpgradeContainer: &v1.ContainerSpec{Image: "A B"}}}}
	_, err := render(in)
	requireRefusal(t, err, v1.ReasonInvalidSpec, "upgradeContainer of ManagedOSVersion v2.image")
}

// C53.
func TestMetadata(t *testing.T) {
	variable := func(name, value string) corev1.EnvVar { return corev1.EnvVar{Name: name, Value: value} }
	for _, c := range []struct {
		why      string
		metadata string
		own      []corev1.EnvVar
		want     []corev1.EnvVar
	}{
		{"sorted, in capitals", `{"b":"2","a":"1","upgradeImage":"x"}`, nil,
			[]corev1.EnvVar{variable("METADATA_A", "1"), variable("METADATA_B", "2"), variable("METADATA_UPGRADEIMAGE", "x")}},
		{"numbers as they were written", `{"i":1000000,"big":18446744073709551616,"f":0.10,"e":1e3}`, nil,
			[]corev1.EnvVar{variable("METADATA_BIG", "18446744073709551616"), variable("METADATA_E", "1e3"), variable("METADATA_F", "0.10"), variable("METADATA_I", "1000000")}},
		{"true, false and the empty string", `{"t":true,"f":false,"s":""}`, nil,
			[]corev1.EnvVar{variable("METADATA_F", "false"), variable("METADATA_S", ""), variable("METADATA_T", "true")}},
		{"what is no value is left out", `{"n":null,"l":["a"],"m":{"a":"b"}}`, nil, nil},
		{"names that are none", `{"build.number":"1","a=b":"2","a b c":"3","größe":"4","$(id)":"5"}`, nil,
			[]corev1.EnvVar{variable("METADATA___ID_", "5"), variable("METADATA_A_B_C", "3"), variable("METADATA_A_B", "2"), variable("METADATA_BUILD_NUMBER", "1"), variable("METADATA_GR__E", "4")}},
		{"two keys of one name: the first, always", `{"a_b":"under","a-b":"dash"}`, nil, []corev1.EnvVar{variable("METADATA_A_B", "dash")}},
		{"never over the container's own", `{"a":"theirs","b":"2"}`, []corev1.EnvVar{variable("METADATA_A", "own"), variable("Z", "z")},
			[]corev1.EnvVar{variable("METADATA_A", "own"), variable("Z", "z"), variable("METADATA_B", "2")}},
	} {
		t.Run(c.why, func(t *testing.T) {
			metadata, err := versionMetadata(&v1.ManagedOSVersion{Spec: v1.ManagedOSVersionSpec{Metadata: raw(c.metadata)}})
			require.NoError(t, err)
			for range 20 {
				require.Empty(t, cmp.Diff(c.want, withMetadata(append([]corev1.EnvVar(nil), c.own...), metadata)))
			}
		})
	}
}

// B32: the container in the cache is another's, and five workers render at once.
func TestMetadataDoesNotReachTheCache(t *testing.T) {
	env := make([]corev1.EnvVar, 1, 8)
	env[0] = corev1.EnvVar{Name: "A", Value: "1"}
	version := &v1.ManagedOSVersion{Spec: v1.ManagedOSVersionSpec{Metadata: raw(`{"upgradeImage":"os2"}`), UpgradeContainer: &v1.ContainerSpec{Image: "up", Env: env}}}
	got, err := upgradeContainer(input{image: &v1.ManagedOSImage{}, version: version}, nil)
	require.NoError(t, err)
	require.Len(t, got.Env, 2)
	require.Equal(t, upgradev1.ContainerSpec{Image: "up:latest", Env: got.Env}, *got)
	require.Empty(t, env[:2][1], "not even behind the end of the list")
}
