package chart

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/rancher/rancheros-operator/tests/golden"
)

func TestLint(t *testing.T) {
	t.Parallel()
	for _, name := range []string{operator, operator + "-crd"} {
		for _, values := range []string{"", read(t, name+".everything.values.yaml")} {
			output, err := helm(t, values, "lint", "--strict", chart(name))
			require.NoError(t, err, output)
		}
	}
}

// What people read before they install: without any values, with everything on, and in a data centre without a way out.
func TestRendered(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"default", "everything", "airgapped"} {
		values := read(t, operator+"."+name+".values.yaml")
		golden.Equal(t, operator+"."+name+".yaml", []byte(render(t, values)))
		for range 3 {
			require.Equal(t, render(t, values), render(t, values), "the same every time")
		}
	}
}

// X27: selectors cannot be changed by an upgrade, so nothing that anybody may set is in them.
func TestSelectorsAreConstant(t *testing.T) {
	t.Parallel()
	one := deployment(t, render(t, ""))
	other := deployment(t, render(t, read(t, operator+".everything.values.yaml"), "--set", "podLabels.app\\.kubernetes\\.io/name=mine"))
	for _, fields := range [][]string{{"spec", "selector", "matchLabels"}, {"metadata", "name"}} {
		before, found, err := unstructured.NestedFieldNoCopy(one, fields...)
		require.NoError(t, err)
		require.True(t, found)
		after, _, err := unstructured.NestedFieldNoCopy(other, fields...)
		require.NoError(t, err)
		require.Equal(t, before, after)
	}
	labels, _, err := unstructured.NestedStringMap(other, "spec", "template", "metadata", "labels")
	require.NoError(t, err)
	require.Equal(t, operator, labels["app.kubernetes.io/name"], "and nobody's label gets in their place")
}

// The CRD chart installs the very CRDs that the tests work with: the same source wrote both.
func TestCRDChartHasTheGeneratedCRDs(t *testing.T) {
	t.Parallel()
	generated, err := filepath.Glob(filepath.Join(root, "pkg", "crds", "*.yaml"))
	require.NoError(t, err)
	charted, err := filepath.Glob(filepath.Join(chart(operator+"-crd"), "files", "*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, generated)
	require.Len(t, charted, len(generated))
	output, err := helm(t, "", "template", operator+"-crd", chart(operator+"-crd"))
	require.NoError(t, err, output)
	rendered := map[string]map[string]any{}
	for _, object := range objects(t, output) {
		require.Equal(t, "keep", (&unstructured.Unstructured{Object: object}).GetAnnotations()["helm.sh/resource-policy"])
		rendered[(&unstructured.Unstructured{Object: object}).GetName()] = object
	}
	for _, file := range generated {
		body, err := os.ReadFile(file)
		require.NoError(t, err)
		copied, err := os.ReadFile(filepath.Join(chart(operator+"-crd"), "files", filepath.Base(file)))
		require.NoError(t, err)
		require.Equal(t, string(body), string(copied), "run `make generate`")
		var want map[string]any
		require.NoError(t, yaml.Unmarshal(body, &want))
		require.Equal(t, want["spec"], rendered[strings.TrimSuffix(filepath.Base(file), ".yaml")]["spec"], file)
	}
	// X26: whoever wants the kinds to go says so.
	output, err = helm(t, "crds: {keep: false}", "template", operator+"-crd", chart(operator+"-crd"))
	require.NoError(t, err)
	require.NotContains(t, output, "resource-policy")
}

func read(t *testing.T, name string) string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return string(body)
}

// objects are the documents of a rendering.
func objects(t *testing.T, rendered string) []map[string]any {
	t.Helper()
	var all []map[string]any
	for _, document := range strings.Split("\n"+rendered, "\n---\n") {
		var object map[string]any
		require.NoError(t, yaml.Unmarshal([]byte(document), &object))
		if len(object) > 0 {
			all = append(all, object)
		}
	}
	require.NotEmpty(t, all)
	return all
}

func deployment(t *testing.T, rendered string) map[string]any {
	t.Helper()
	for _, object := range objects(t, rendered) {
		if u := (&unstructured.Unstructured{Object: object}); u.GetKind() == "Deployment" && u.GetName() == operator {
			return object
		}
	}
	t.Fatal("there is no Deployment")
	return nil
}
