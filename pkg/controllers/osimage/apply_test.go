package osimage

import (
	"encoding/json"
	"testing"

	fleetv1 "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

func TestContains(t *testing.T) {
	for _, c := range []struct {
		why, present, desired string
		want                  bool
	}{
		{"the same", `{"a":1,"b":{"c":[1,2]}}`, `{"a":1,"b":{"c":[1,2]}}`, true},
		{"what others add is none of our business", `{"a":1,"keepResources":false,"b":{"c":1,"d":2}}`, `{"a":1,"b":{"c":1}}`, true},
		{"nor what they add to an item of a list", `{"l":[{"a":1,"default":true}]}`, `{"l":[{"a":1}]}`, true},
		{"another value", `{"a":2}`, `{"a":1}`, false},
		{"a value that is gone", `{}`, `{"a":1}`, false},
		{"null is absent", `{}`, `{"a":null}`, true},
		{"an item too many", `{"l":[1,2]}`, `{"l":[1]}`, false},
		{"an item too few", `{"l":[1]}`, `{"l":[1,2]}`, false},
		{"items in another order", `{"l":[2,1]}`, `{"l":[1,2]}`, false},
		{"a list where a map was", `{"a":[]}`, `{"a":{}}`, false},
		{"a map where a list was", `{"a":{}}`, `{"a":[]}`, false},
		{"an empty map is something: a selector of all is not no selector", `{}`, `{"a":{}}`, false},
		{"a number is no text", `{"a":"1"}`, `{"a":1}`, false},
	} {
		var present, desired map[string]any
		require.NoError(t, json.Unmarshal([]byte(c.present), &present))
		require.NoError(t, json.Unmarshal([]byte(c.desired), &desired))
		require.Equal(t, c.want, contains(present, desired), c.why)
	}
}

// defaulted is the Bundle as Fleet leaves it: with its defaults in the spec, and its own labels and finalizers.
func defaulted(t *testing.T, image *v1.ManagedOSImage) *fleetv1.Bundle {
	t.Helper()
	out, err := render(input{image: image})
	require.NoError(t, err)
	spec, err := toMap(out.bundle.Spec)
	require.NoError(t, err)
	digest, err := digestOf(spec)
	require.NoError(t, err)
	bundle := out.bundle
	bundle.ResourceVersion, bundle.Generation = "7", 1
	bundle.Annotations = map[string]string{v1.AnnotationApplied: digest, "theirs": "kept"}
	bundle.Labels["fleet.cattle.io/created-by"] = "kept"
	bundle.Finalizers = []string{"fleet.cattle.io/bundle-finalizer"}
	bundle.Spec.Paused = false
	bundle.Spec.CorrectDrift = &fleetv1.CorrectDrift{Enabled: true}
	bundle.Spec.IgnoreOptions = &fleetv1.IgnoreOptions{}
	for i := range bundle.Spec.Targets {
		bundle.Spec.Targets[i].DefaultNamespace = "cattle-system"
	}
	return bundle
}

func TestBundlePatch(t *testing.T) {
	image := newImage()
	existing := defaulted(t, image)
	out, err := render(input{image: newImage(func(s *v1.ManagedOSImageSpec) { s.OSImage = "rancher/os2:v2" })})
	require.NoError(t, err)
	out.bundle.Annotations = map[string]string{v1.AnnotationApplied: "new"}
	present, err := toMap(existing.Spec)
	require.NoError(t, err)
	spec, err := toMap(out.bundle.Spec)
	require.NoError(t, err)
	body, err := bundlePatch(existing, out.bundle, present, spec)
	require.NoError(t, err)

	var patch struct {
		Metadata metav1.ObjectMeta
		Spec     map[string]any
	}
	require.NoError(t, json.Unmarshal(body, &patch))
	require.Equal(t, "7", patch.Metadata.ResourceVersion, "not over a newer one")
	require.Equal(t, out.bundle.Labels, patch.Metadata.Labels, "ours alone: a merge keeps the others")
	require.Equal(t, map[string]string{v1.AnnotationApplied: "new"}, patch.Metadata.Annotations)
	require.Empty(t, patch.Metadata.Finalizers)
	require.ElementsMatch(t, []string{"resources", "targets", "correctDrift", "ignore"}, keysOf(patch.Spec), "what differs")
	require.Nil(t, patch.Spec["correctDrift"], "what we do not say is taken out when we say something else")
}

func keysOf(fields map[string]any) []string {
	var keys []string
	for key := range fields {
		keys = append(keys, key)
	}
	return keys
}

// A field that is taken out of the image is taken out of the Bundle, though a Bundle with it still contains all we say.
func TestRemovedFieldIsRemoved(t *testing.T) {
	with, err := render(input{image: newImage(func(s *v1.ManagedOSImageSpec) {
		s.ClusterRolloutStrategy = &fleetv1.RolloutStrategy{AutoPartitionThreshold: pointer(5)}
	})})
	require.NoError(t, err)
	without, err := render(input{image: newImage()})
	require.NoError(t, err)
	present, err := toMap(with.bundle.Spec)
	require.NoError(t, err)
	spec, err := toMap(without.bundle.Spec)
	require.NoError(t, err)
	require.True(t, contains(present, spec), "hence the digest")
	body, err := bundlePatch(with.bundle, without.bundle, present, spec)
	require.NoError(t, err)
	require.Contains(t, string(body), `"spec":{"rolloutStrategy":null}`)
}

// Fleet before 0.16 drops downstreamResources: writing it again and again would change nothing.
func TestDropped(t *testing.T) {
	spec := map[string]any{"defaultNamespace": "cattle-system", "downstreamResources": []any{map[string]any{"kind": "Secret"}}}
	for why, test := range map[string]struct {
		present map[string]any
		want    bool
	}{
		"an old Fleet":                {map[string]any{"defaultNamespace": "cattle-system"}, true},
		"another difference as well":  {map[string]any{"defaultNamespace": "default"}, false},
		"somebody changed the Secret": {map[string]any{"defaultNamespace": "cattle-system", "downstreamResources": []any{}}, false},
	} {
		require.Equal(t, test.want, dropped(test.present, spec), why)
	}
	delete(spec, "downstreamResources")
	require.False(t, dropped(map[string]any{}, spec), "nothing was asked for")
}
