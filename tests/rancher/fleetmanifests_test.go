package rancher

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	fleet "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const planManifest = `
apiVersion: upgrade.cattle.io/v1
kind: Plan
metadata: {name: os}
spec:
  concurrency: 2
  drain: {timeout: 5m, gracePeriod: 300}
  upgrade: {image: an/image, envs: [{name: A, value: b}]}
`

func packed(t *testing.T, content string) string {
	t.Helper()
	var buffer bytes.Buffer
	writer := gzip.NewWriter(&buffer)
	if _, err := writer.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(buffer.Bytes())
}

func TestReadManifests(t *testing.T) {
	role := "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: r}\n"
	tests := []struct {
		reason    string
		resources []fleet.BundleResource
		want      []string
		wantErr   string
	}{
		{reason: "several documents, some of them empty", resources: []fleet.BundleResource{
			{Content: planManifest + "---\n# nothing\n---\n" + role},
		}, want: []string{"Plan os", "ClusterRole r"}},
		{reason: "packed", resources: []fleet.BundleResource{{Encoding: "base64+gz", Content: packed(t, planManifest)}}, want: []string{"Plan os"}},
		{reason: "not packed at all", resources: []fleet.BundleResource{{Encoding: "base64+gz", Content: "%%"}}, wantErr: "unpacking"},
		{reason: "unknown packing", resources: []fleet.BundleResource{{Encoding: "rot13"}}, wantErr: "unknown encoding"},
		{reason: "a Plan's container has envs, not env", resources: []fleet.BundleResource{
			{Name: "plan.yaml", Content: strings.Replace(planManifest, "envs", "env", 1)},
		}, wantErr: `resource "plan.yaml": Plan os: strict decoding error: unknown field "spec.upgrade.env"`},
		{reason: "a drain timeout that system-upgrade-controller cannot decode", resources: []fleet.BundleResource{
			{Content: strings.Replace(planManifest, "timeout: 5m", "timeout: 60000000000", 1)},
		}, wantErr: "Plan os"},
		{reason: "a key twice", resources: []fleet.BundleResource{{Content: role + "kind: ClusterRole\n"}}, wantErr: "already set in map"},
		{reason: "a kind that nobody knows", resources: []fleet.BundleResource{
			{Content: "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: t}\nspec: {n: 1}\n"},
		}, want: []string{"Thing t"}},
		{reason: "no name", resources: []fleet.BundleResource{{Content: "apiVersion: v1\nkind: Secret\n"}}, wantErr: "lacks its"},
		{reason: "not an object", resources: []fleet.BundleResource{{Content: "- a\n"}}, wantErr: "reading object"},
	}
	reader, err := newManifestReader()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			objects, err := reader.read(test.resources)
			if test.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantErr) {
					t.Fatalf("got error %v, want one with %q", err, test.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, obj := range objects {
				got = append(got, obj.GetKind()+" "+obj.GetName())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("objects (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPlace(t *testing.T) {
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(schema.GroupVersionKind{Group: "upgrade.cattle.io", Version: "v1", Kind: "Plan"}, meta.RESTScopeNamespace)
	mapper.Add(schema.GroupVersionKind{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRole"}, meta.RESTScopeRoot)
	plan := func(namespace string) string {
		return "apiVersion: upgrade.cattle.io/v1\nkind: Plan\nmetadata: {name: os, namespace: " + namespace + "}\nspec: {upgrade: {image: i}}\n"
	}
	const role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: r}\n"
	tests := []struct {
		reason, manifest string
		options          fleet.BundleDeploymentOptions
		want, wantErr    string
	}{
		{reason: "its own namespace", manifest: plan("mine"), options: fleet.BundleDeploymentOptions{DefaultNamespace: "cattle-system"}, want: "mine"},
		{reason: "the default namespace", manifest: plan(`""`), options: fleet.BundleDeploymentOptions{DefaultNamespace: "cattle-system"}, want: "cattle-system"},
		{reason: "no namespace anywhere", manifest: plan(`""`), want: "default"},
		{reason: "a target namespace overrules", manifest: plan("mine"), options: fleet.BundleDeploymentOptions{TargetNamespace: "there"}, want: "there"},
		{reason: "cluster-scoped", manifest: role, options: fleet.BundleDeploymentOptions{DefaultNamespace: "cattle-system"}, want: ""},
		{
			reason: "cluster-scoped in a target namespace", manifest: role,
			options: fleet.BundleDeploymentOptions{TargetNamespace: "there"}, wantErr: "invalid cluster scoped object",
		},
		{reason: "a kind that the cluster does not serve", manifest: "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n", wantErr: "no matches for kind"},
	}
	reader, err := newManifestReader()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			objects, err := reader.read([]fleet.BundleResource{{Content: test.manifest}})
			if err != nil {
				t.Fatal(err)
			}
			err = place(objects, test.options, mapper)
			if test.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantErr) {
					t.Fatalf("got error %v, want one with %q", err, test.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := objects[0].GetNamespace(); got != test.want {
				t.Errorf("namespace %q, want %q", got, test.want)
			}
		})
	}
}
