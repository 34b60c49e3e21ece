package supportbundle

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rancher/rancheros-operator/pkg/crds"
	"github.com/rancher/rancheros-operator/tests/golden"
)

// filled is an object of the schema with a word at every leaf: the leaf's own path.
func filled(schema apiextensionsv1.JSONSchemaProps, path string) any {
	switch {
	case schema.XPreserveUnknownFields != nil && *schema.XPreserveUnknownFields && len(schema.Properties) == 0:
		return map[string]any{"anything": map[string]any{"at all": "canary " + path + ".*"}}
	case len(schema.Properties) > 0:
		object := map[string]any{}
		for name, below := range schema.Properties {
			object[name] = filled(below, path+"."+name)
		}
		if schema.XPreserveUnknownFields != nil && *schema.XPreserveUnknownFields {
			object["anything"] = "canary " + path + ".*"
		}
		return object
	case schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil:
		return map[string]any{"key": filled(*schema.AdditionalProperties.Schema, path+"{}")}
	case schema.Items != nil && schema.Items.Schema != nil:
		return []any{filled(*schema.Items.Schema, path+"[]")}
	}
	return "canary " + path
}

func leaves(value any) []string {
	var all []string
	switch value := value.(type) {
	case map[string]any:
		for _, below := range value {
			all = append(all, leaves(below)...)
		}
	case []any:
		for _, below := range value {
			all = append(all, leaves(below)...)
		}
	case string:
		if path, found := strings.CutPrefix(value, "canary "); found {
			all = append(all, path)
		}
	}
	return all
}

// Of every field that our kinds have: what is shown is in testdata, for somebody to look at when it changes. A field that is new is
// not shown until somebody says so.
func TestWhatIsShown(t *testing.T) {
	objects, err := crds.Objects()
	require.NoError(t, err)
	require.NotEmpty(t, objects)
	var shown strings.Builder
	for _, crd := range objects {
		var r redactor
		at := slices.IndexFunc(kinds(), func(k kind) bool {
			return k.resource.Resource == crd.Spec.Names.Plural && k.resource.Group == crd.Spec.Group
		})
		require.GreaterOrEqual(t, at, 0, "%s is packed", crd.Spec.Names.Kind)
		content, ok := filled(*crd.Spec.Versions[0].Schema.OpenAPIV3Schema, crd.Spec.Names.Kind).(map[string]any)
		require.True(t, ok)
		all := leaves(content)
		content["metadata"] = map[string]any{"name": "n", "managedFields": "canary annotation-managed",
			"annotations": map[string]any{"kubectl.kubernetes.io/last-applied-configuration": "canary annotation-last", "rancheros.cattle.io/claimed": "canary annotation-of-a-claim"}}
		kept := leaves(r.object(unstructured.Unstructured{Object: content}, kinds()[at].shown))
		slices.Sort(kept)
		require.Less(t, len(kept), len(all), crd.Spec.Names.Kind)
		for _, path := range slices.Compact(kept) {
			fmt.Fprintln(&shown, path)
			for _, never := range []string{"cloudConfig", "registrationToken", "URL", "caBundle", ".uri", "args", "command", "env[].value", "arguments", "anything", ".*", "annotation-"} {
				require.NotContains(t, path, never)
			}
		}
	}
	golden.Equal(t, "shown.txt", []byte(shown.String()))
}

// An object that is not as its schema says, of another version for example, is shown no more of.
func TestNothingBesideTheSchema(t *testing.T) {
	var r redactor
	for _, kind := range slices.Concat(kinds(), operatorKinds()) {
		for _, spec := range []any{"canary", []any{"canary"}, map[string]any{"unheardOf": "canary"}} {
			object := map[string]any{"spec": spec, "data": map[string]any{"k": "canary"}, "stringData": "canary", "metadata": "canary"}
			body, err := json.Marshal(r.object(unstructured.Unstructured{Object: object}, kind.shown))
			require.NoError(t, err)
			if below, shown := kind.shown["spec"]; !shown || below != nil {
				require.NotContains(t, string(body), "canary", kind.resource)
			}
		}
	}
}

// Fleet shows what somebody has changed in a cluster as patches, in the middle of its statuses.
func TestNoPatchesOfFleet(t *testing.T) {
	var r redactor
	modified := []any{map[string]any{"kind": "Plan", "patch": `{"args":["canary"]}`}}
	object := map[string]any{"status": map[string]any{"display": map[string]any{"state": "Modified"}, "modifiedStatus": modified, "resources": modified,
		"partitions": []any{map[string]any{"summary": modified}}, "summary": map[string]any{"modified": 1, "nonReadyResources": []any{
			map[string]any{"name": "c", "message": "changed", "modifiedStatus": modified}}}}}
	for _, kind := range kinds() {
		if kind.resource.Group != "fleet.cattle.io" {
			continue
		}
		body, err := json.Marshal(r.object(unstructured.Unstructured{Object: object}, kind.shown))
		require.NoError(t, err)
		require.NotContains(t, string(body), "canary", kind.resource)
		require.Contains(t, string(body), "Modified", kind.resource)
	}
}

func TestTexts(t *testing.T) {
	r := redactor{}
	r.learn(unstructured.Unstructured{Object: map[string]any{"status": map[string]any{
		"registrationURL": "https://rancher.example.com/v1-rancheros/registration/canary0123456789abcdef"}}})
	require.Equal(t, []string{"canary0123456789abcdef"}, r.known)
	texts := map[string]string{
		"known wherever it is canary0123456789abcdef.":                      "known wherever it is REDACTED.",
		"GET https://user:canary@example.com/list.json":                     "GET https://REDACTEDexample.com/list.json",
		"asking https://example.com/list.json?key=canary for versions":      "asking https://example.com/list.json?REDACTED for versions",
		"path /v1-rancheros/seedimage/canary/image.iso":                     "path /v1-rancheros/seedimage/REDACTED/image.iso",
		"Authorization: Bearer canarycanary":                                "Authorization: Bearer REDACTED",
		`{"password":"canary-password"}`:                                    `{"password":"REDACTED"}`,
		"token=canarycanary, and more":                                      "token=REDACTED, and more",
		"hash $6$canary$abcdefghijklmnop.":                                  "hash REDACTED",
		"eyJjYW5hcnkxMjM0.eyJjYW5hcnkxMjM0NTY3ODkw.c2lnbmF0dXJl is a token": "REDACTED is a token",
	}
	for text, want := range texts {
		got := r.text(text)
		require.NotContains(t, got, "canary", text)
		require.Equal(t, want, got)
	}
	key := "-----BEGIN EC PRIVATE KEY-----\ncanary\n-----END EC PRIVATE KEY-----"
	require.Equal(t, "a REDACTED b", r.text("a "+key+" b"))
	require.Equal(t, "a REDACTED", r.text("a "+key[:40]), "cut off")
	for _, harmless := range []string{"tokenSecretName default-registration-token", "the Secret ns/name has no key token",
		"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "https://rancher.example.com:443/path", "3 machines wait for approval"} {
		require.Equal(t, harmless, r.text(harmless))
	}
	require.Equal(t, []string{"a", "b"}, slices.Sorted(maps.Keys(some("b", "a"))))
}
