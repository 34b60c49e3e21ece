package osimage

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	fleetv1 "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	upgradev1 "github.com/rancher/system-upgrade-controller/pkg/apis/upgrade.cattle.io/v1"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/tests/golden"
)

// seeds are the manifests that users were promised, as the end-to-end tests apply them.
const seeds = "../../../tests/e2e/testdata/seeds/"

// readImage reads a manifest; edits are the few that api.md calls unavoidable.
func readImage(t *testing.T, file string, edits ...string) *v1.ManagedOSImage {
	t.Helper()
	body, err := os.ReadFile(file)
	require.NoError(t, err)
	image := &v1.ManagedOSImage{}
	require.NoError(t, yaml.UnmarshalStrict([]byte(strings.NewReplacer(edits...).Replace(string(body))), image))
	if image.Namespace == "" {
		image.Namespace = "fleet-default"
	}
	if image.UID == "" {
		image.UID = "uid-of-the-image"
	}
	return image
}

// newImage is rancher/os2:v1 for every cluster of fleet-default, with changes.
func newImage(changes ...func(*v1.ManagedOSImageSpec)) *v1.ManagedOSImage {
	image := &v1.ManagedOSImage{
		ObjectMeta: metav1.ObjectMeta{Namespace: "fleet-default", Name: "demo", UID: "uid-demo", Generation: 2},
		Spec: v1.ManagedOSImageSpec{
			OSImage:        "rancher/os2:v1",
			ClusterTargets: []v1.ClusterTarget{{ClusterSelector: &metav1.LabelSelector{}}},
		},
	}
	for _, change := range changes {
		change(&image.Spec)
	}
	return image
}

func raw(text string) *runtime.RawExtension { return &runtime.RawExtension{Raw: []byte(text)} }

// planOf reads the Plan out of the Bundle, as system-upgrade-controller will.
func planOf(t *testing.T, bundle *fleetv1.Bundle) *upgradev1.Plan {
	t.Helper()
	plan := &upgradev1.Plan{}
	require.NoError(t, yaml.UnmarshalStrict([]byte(bundle.Spec.Resources[3].Content), plan))
	return plan
}

func rendered(t *testing.T, image *v1.ManagedOSImage) (output, *upgradev1.Plan) {
	t.Helper()
	out, err := render(input{image: image})
	require.NoError(t, err)
	return out, planOf(t, out.bundle)
}

// document is everything that was rendered, as a person would write it down.
func document(t *testing.T, out output) []byte {
	t.Helper()
	var document bytes.Buffer
	write := func(title string, object any) {
		fields, err := toMap(object)
		require.NoError(t, err)
		delete(fields, "status")
		body, err := yaml.Marshal(fields)
		require.NoError(t, err)
		document.WriteString("--- # " + title + "\n" + string(body))
	}
	bundle := out.bundle.DeepCopy()
	for i := range bundle.Spec.Resources {
		bundle.Spec.Resources[i].Content = "as below"
	}
	document.WriteString("# " + out.image + "\n")
	write("Bundle", bundle)
	for _, resource := range out.bundle.Spec.Resources {
		document.WriteString("--- # in the Bundle: " + resource.Name + "\n" + resource.Content)
	}
	if out.secret != nil {
		secret := out.secret.DeepCopy()
		secret.StringData = map[string]string{cloudConfigKey: string(secret.Data[cloudConfigKey])}
		secret.Data = nil
		write("beside the Bundle: Secret", secret)
	}
	return document.Bytes()
}

func goldenInputs(t *testing.T) map[string]input {
	t.Helper()
	version := &v1.ManagedOSVersion{ObjectMeta: metav1.ObjectMeta{Name: "v2.0.0"}, Spec: v1.ManagedOSVersionSpec{
		Version: "v2.0.0", Metadata: raw(`{"upgradeImage":"rancher/os2:v2.0.0","displayName":"The second","build.number":1000000,"beta":false,"nested":{"a":1}}`)}}
	return map[string]input{
		"seed-demo-update":      {image: readImage(t, seeds+"000-managedosimage.yaml", "<your new image tag>", "rancher/os2:v0.1.0")},
		"seed-default-os-image": {image: readImage(t, seeds+"001-default-os-image.yaml")},
		"seed-reference":        {image: readImage(t, seeds+"001-managedosimage-reference.yaml")},
		"every-field":           {image: readImage(t, "testdata/every-field.image.yaml")},
		"version": {version: version, registry: "registry.example.com:5000", image: newImage(func(s *v1.ManagedOSImageSpec) {
			s.OSImage, s.ManagedOSVersionName = "", "v2.0.0"
		})},
	}
}

func TestGolden(t *testing.T) {
	for name, in := range goldenInputs(t) {
		t.Run(name, func(t *testing.T) {
			out, err := render(in)
			require.NoError(t, err)
			golden.Equal(t, name+".yaml", document(t, out))
		})
	}
}

// Every ManagedOSImage of the seeds has its golden file.
func TestEverySeedIsRendered(t *testing.T) {
	files, err := filepath.Glob(seeds + "*.yaml")
	require.NoError(t, err)
	images := 0
	for _, file := range files {
		body, err := os.ReadFile(file)
		require.NoError(t, err)
		if bytes.Contains(body, []byte("kind: ManagedOSImage\n")) {
			images++
		}
	}
	require.Equal(t, 3, images, "a new seed wants a line in goldenInputs")
}

// The manifest of every field has every field: a new one cannot be forgotten there.
func TestEveryFieldIsRendered(t *testing.T) {
	spec := reflect.ValueOf(goldenInputs(t)["every-field"].image.Spec)
	for _, of := range []reflect.Value{spec, spec.FieldByName("Drain").Elem(), spec.FieldByName("Prepare").Elem(), spec.FieldByName("Window").Elem()} {
		for i := range of.NumField() {
			require.False(t, of.Field(i).IsZero(), "%s.%s is not in testdata/every-field.image.yaml", of.Type().Name(), of.Type().Field(i).Name)
		}
	}
}

// A difference between two runs would be a new rollout on every reconcile.
func TestSameOnEveryRun(t *testing.T) {
	for name, in := range goldenInputs(t) {
		first, err := render(in)
		require.NoError(t, err)
		want, err := json.Marshal(first.bundle)
		require.NoError(t, err)
		for range 50 {
			again, err := render(in)
			require.NoError(t, err)
			got, err := json.Marshal(again.bundle)
			require.NoError(t, err)
			require.Equal(t, string(want), string(got), name)
			require.Equal(t, first.secret, again.secret, name)
		}
	}
}

// What is rendered from lies in a cache that others read at the same time.
func TestRenderOnlyReads(t *testing.T) {
	for name, in := range goldenInputs(t) {
		image, version := in.image.DeepCopy(), in.version.DeepCopy()
		out, err := render(in)
		require.NoError(t, err)
		scribble(reflect.ValueOf(out.bundle))
		scribble(reflect.ValueOf(out.secret))
		require.Empty(t, cmp.Diff(image, in.image), "%s: the output shares memory with the image", name)
		require.Empty(t, cmp.Diff(version, in.version), "%s: the output shares memory with the version", name)
	}
}

// scribble overwrites every string that can be reached.
func scribble(value reflect.Value) {
	switch value.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !value.IsNil() {
			scribble(value.Elem())
		}
	case reflect.Struct:
		for i := range value.NumField() {
			scribble(value.Field(i))
		}
	case reflect.Slice:
		for i := range value.Len() {
			scribble(value.Index(i))
		}
	case reflect.Map:
		for _, key := range value.MapKeys() {
			if value.Type().Elem().Kind() == reflect.String {
				value.SetMapIndex(key, reflect.ValueOf("scribbled").Convert(value.Type().Elem()))
			}
		}
	case reflect.String:
		if value.CanSet() {
			value.SetString("scribbled")
		}
	}
}

func TestTargets(t *testing.T) {
	site, all := v1.ClusterTarget{ClusterName: "site"}, v1.ClusterTarget{ClusterSelector: &metav1.LabelSelector{}}
	bad := v1.ClusterTarget{ClusterSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Like"}}}}
	for _, c := range []struct {
		why              string
		namespace        string
		targets, aliases []v1.ClusterTarget
		want             []fleetv1.BundleTarget
		reason, message  string
	}{
		{why: "clusterTargets", namespace: "fleet-default", targets: []v1.ClusterTarget{site}, want: []fleetv1.BundleTarget{{ClusterName: "site"}}},
		{why: "targets, its other name", namespace: "fleet-default", aliases: []v1.ClusterTarget{site}, want: []fleetv1.BundleTarget{{ClusterName: "site"}}},
		{why: "both, the same", namespace: "fleet-default", targets: []v1.ClusterTarget{site}, aliases: []v1.ClusterTarget{site}, want: []fleetv1.BundleTarget{{ClusterName: "site"}}},
		{why: "the reference's targets: [] beside clusterTargets", namespace: "fleet-default", targets: []v1.ClusterTarget{site}, aliases: []v1.ClusterTarget{},
			want: []fleetv1.BundleTarget{{ClusterName: "site"}}},
		{why: "every cluster", namespace: "fleet-default", targets: []v1.ClusterTarget{all}, want: []fleetv1.BundleTarget{{ClusterSelector: &metav1.LabelSelector{}}}},
		{why: "a group, a name and labels together",
			namespace: "tenants", targets: []v1.ClusterTarget{{Name: "n", ClusterGroup: "g", ClusterGroupSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}}},
			want: []fleetv1.BundleTarget{{Name: "n", ClusterGroup: "g", ClusterGroupSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}}}},
		{why: "fleet-local is Rancher's own cluster", namespace: "fleet-local", want: []fleetv1.BundleTarget{{Name: "local", ClusterName: "local"}}},
		{why: "and an empty list is none", namespace: "fleet-local", aliases: []v1.ClusterTarget{}, want: []fleetv1.BundleTarget{{Name: "local", ClusterName: "local"}}},
		{why: "C49: targets in fleet-local", namespace: "fleet-local", targets: []v1.ClusterTarget{site}, reason: v1.ReasonTargetsInFleetLocal, message: "remove clusterTargets"},
		{why: "C49: under the other name", namespace: "fleet-local", aliases: []v1.ClusterTarget{site}, reason: v1.ReasonTargetsInFleetLocal, message: "take no targets"},
		{why: "no targets elsewhere: nobody meant every cluster", namespace: "fleet-default", reason: v1.ReasonNoTargets, message: "clusterSelector: {} selects every cluster"},
		{why: "C46: a selector that is none", namespace: "fleet-default", targets: []v1.ClusterTarget{site, bad}, reason: v1.ReasonInvalidSpec, message: "clusterTargets[1] is not a label selector"},
	} {
		t.Run(c.why, func(t *testing.T) {
			image := newImage(func(s *v1.ManagedOSImageSpec) { s.ClusterTargets, s.Targets = c.targets, c.aliases })
			image.Namespace = c.namespace
			out, err := render(input{image: image})
			if c.reason != "" {
				requireRefusal(t, err, c.reason, c.message)
				require.Nil(t, out.bundle)
				require.Equal(t, "rancher/os2:v1", out.image, "the image is known all the same")
				return
			}
			require.NoError(t, err)
			require.Empty(t, cmp.Diff(c.want, out.bundle.Spec.Targets))
		})
	}
}

func requireRefusal(t *testing.T, err error, reason, message string) {
	t.Helper()
	var refused *refusal
	require.ErrorAs(t, err, &refused)
	require.Equal(t, reason, refused.reason)
	require.Contains(t, refused.message, message)
}

// A Bundle is readable by many. Nothing of a cloud-config is in it; it travels as a Secret that Fleet copies.
func TestCloudConfigIsNotInTheBundle(t *testing.T) {
	const canary = "canary-7f3a"
	out, plan := rendered(t, newImage(func(s *v1.ManagedOSImageSpec) { s.CloudConfig = raw(`{"users":[{"passwd":"` + canary + `"}]}`) }))
	whole, err := json.Marshal(out.bundle)
	require.NoError(t, err)
	require.NotContains(t, string(whole), canary)

	require.Equal(t, "#cloud-config\nusers:\n    - passwd: "+canary+"\n", string(out.secret.Data["cloud-config"]))
	require.Equal(t, v1.SecretTypeCloudConfig, out.secret.Type)
	require.Equal(t, "fleet-default", out.secret.Namespace)
	require.Equal(t, []fleetv1.DownstreamResource{{Kind: "Secret", Name: out.secret.Name}}, out.bundle.Spec.DownstreamResources)
	require.Equal(t, []upgradev1.SecretSpec{{Name: out.secret.Name, Path: "/run/data"}}, plan.Spec.Secrets, "the file is /run/data/cloud-config")
}

func TestCloudConfigEdges(t *testing.T) {
	for _, none := range []*runtime.RawExtension{nil, raw("null"), raw("{}"), {}} {
		out, plan := rendered(t, newImage(func(s *v1.ManagedOSImageSpec) { s.CloudConfig = none }))
		require.Nil(t, out.secret)
		require.Empty(t, out.bundle.Spec.DownstreamResources)
		require.Empty(t, plan.Spec.Secrets)
	}
	_, err := render(input{image: newImage(func(s *v1.ManagedOSImageSpec) { s.CloudConfig = raw(`["secret-canary"]`) })})
	requireRefusal(t, err, v1.ReasonInvalidSpec, "cloudConfig must be a map, but is a list; correct spec.cloudConfig")
	require.NotContains(t, err.Error(), "secret-canary")
}

// Helm refuses to take over what another release brought (B30).
func TestNamesDownstreamAreTheImagesOwn(t *testing.T) {
	names := map[string]bool{}
	for _, namespace := range []string{"fleet-default", "tenants"} {
		for _, name := range []string{"one", "two"} {
			image := newImage()
			image.Namespace, image.Name = namespace, name
			out, _ := rendered(t, image)
			for _, resource := range out.bundle.Spec.Resources {
				var object metav1.PartialObjectMetadata
				require.NoError(t, yaml.Unmarshal([]byte(resource.Content), &object))
				key := object.Kind + " " + object.Name
				require.False(t, names[key], "%s twice", key)
				names[key] = true
				require.Equal(t, map[string]string{v1.LabelImage: name}, object.Labels, "a person sees whose it is")
			}
		}
	}
	require.Len(t, names, 16)
}

func TestOwned(t *testing.T) {
	out, _ := rendered(t, newImage(func(s *v1.ManagedOSImageSpec) { s.CloudConfig = raw(`{"a":1}`) }))
	for _, owned := range []metav1.Object{out.bundle, out.secret} {
		require.Equal(t, "demo", owned.GetLabels()[v1.LabelImage])
		require.Len(t, owned.GetOwnerReferences(), 1)
		require.Equal(t, "ManagedOSImage demo uid-demo",
			owned.GetOwnerReferences()[0].Kind+" "+owned.GetOwnerReferences()[0].Name+" "+string(owned.GetOwnerReferences()[0].UID))
	}
	require.Equal(t, "demo", out.bundle.Labels[v1.LabelRollout], "Fleet hands on no label of cattle.io")
	require.Equal(t, "cattle-system", out.bundle.Spec.DefaultNamespace, "system-upgrade-controller acts in no other")
}
