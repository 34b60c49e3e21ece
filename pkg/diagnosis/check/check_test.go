package check

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/rancher/rancheros-operator/chart"
	"github.com/rancher/rancheros-operator/pkg/crds"
)

const roles = `
kind: ClusterRole
metadata: {name: a}
rules:
- {apiGroups: [rancheros.cattle.io], resources: [machineinventories, machineinventories/status], verbs: [get, patch]}
---
kind: Role
metadata: {name: b, namespace: operators}
rules:
- {apiGroups: [""], resources: [secrets], resourceNames: [tunnel], verbs: [watch]}
---
kind: Role
metadata: {name: c}
rules:
- {apiGroups: [""], resources: [secrets], verbs: [create]}
---
kind: ClusterRoleBinding
metadata: {name: a}
`

func TestGranted(t *testing.T) {
	all, err := granted([]byte(roles), "mine", []string{"fleet-default", "fleet-local"})
	require.NoError(t, err)
	var said []string
	for _, right := range all {
		said = append(said, right.String())
	}
	require.Equal(t, []string{
		"get machineinventories.rancheros.cattle.io", "patch machineinventories.rancheros.cattle.io",
		"get machineinventories/status.rancheros.cattle.io", "patch machineinventories/status.rancheros.cattle.io",
		"watch secrets tunnel in mine", "create secrets in fleet-default", "create secrets in fleet-local",
	}, said)
	_, err = granted([]byte("{"), "", nil)
	require.ErrorContains(t, err, "reading the chart's file")
}

// What the chart ships can be read, and is not next to nothing.
func TestTheChartsFiles(t *testing.T) {
	all, err := granted(chart.Roles, "mine", []string{"fleet-default"})
	require.NoError(t, err)
	require.Greater(t, len(all), 60)
	for _, right := range all {
		require.NotEqual(t, "*", right.verb)
		require.NotEqual(t, "*", right.resource)
	}
	names, err := namesOf(chart.AdmissionPolicies, "ValidatingAdmissionPolicyBinding")
	require.NoError(t, err)
	require.Contains(t, names, "managedosimages.rancheros.cattle.io")
	policies, err := namesOf(chart.AdmissionPolicies, "ValidatingAdmissionPolicy")
	require.NoError(t, err)
	require.ElementsMatch(t, policies, names)
}

func TestLacks(t *testing.T) {
	objects, err := crds.Objects()
	require.NoError(t, err)
	at := slices.IndexFunc(objects, func(crd *apiextensionsv1.CustomResourceDefinition) bool { return crd.Spec.Names.Kind == "MachineClaim" })
	schema := *objects[at].Spec.Versions[0].Schema.OpenAPIV3Schema
	body, err := json.Marshal(schema)
	require.NoError(t, err)
	served := func(old, new string) openAPISchema {
		var s openAPISchema
		require.NoError(t, json.Unmarshal([]byte(strings.ReplaceAll(string(body), old, new)), &s))
		return s
	}
	require.Empty(t, lacks(schema, served("", ""), ""))
	require.Equal(t, []string{"spec.pools[].replicas"}, lacks(schema, served(`"replicas":`, `"copies":`), ""), "another name of a field is another field")
	require.Contains(t, lacks(schema, openAPISchema{}, ""), "spec")
	require.Equal(t, "a, b and 2 more", several([]string{"a", "b", "c", "d"}, 2))
}

func certificate(t *testing.T, end time.Time) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: end, Subject: pkix.Name{CommonName: "ca"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestAuthorities(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	c := &cluster{now: now}
	good := certificate(t, now.AddDate(1, 0, 0))
	for _, k := range []struct {
		why, bundle string
		level       Level
		want        string
	}{
		{"publicly trusted", "", OK, "no CA of its own"},
		{"two", good + good, OK, "by 2 certificate(s)"},
		{"soon", good + certificate(t, now.AddDate(0, 0, 7)), Warning, "expires on 2026-11-27"},
		{"expired", certificate(t, now.AddDate(0, 0, -1)), Problem, "has expired on 2026-11-19"},
		{"no PEM", "hello", Problem, "no certificate in it"},
		{"a key", "-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n", Problem, "is no certificate"},
	} {
		got := c.authorities(k.bundle)
		require.Equal(t, k.level, got.Level, k.why)
		require.Contains(t, got.Message, k.want, k.why)
		require.Equal(t, k.level == OK, got.Action == "", k.why)
	}
}

func TestKeysOf(t *testing.T) {
	managed := []metav1.ManagedFieldsEntry{
		{FieldsV1: metav1.NewFieldsV1(`{"f:data":{".":{},"f:token":{},"f:url":{}}}`)}, {FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{}}`)}, {},
	}
	got := keysOf(managed)
	slices.Sort(got)
	require.Equal(t, []string{"token", "url"}, got)
	require.Empty(t, keysOf(nil))
}

func object(namespace, name string, labels map[string]string, status map[string]any) unstructured.Unstructured {
	o := unstructured.Unstructured{Object: map[string]any{"status": status}}
	o.SetNamespace(namespace)
	o.SetName(name)
	o.SetLabels(labels)
	return o
}

func TestUpgradersOf(t *testing.T) {
	fleet := func(name string) unstructured.Unstructured {
		return object("fleet-default", name, nil, map[string]any{"namespace": "cluster-" + name})
	}
	failing := func(message string) map[string]any {
		return map[string]any{"conditions": []any{map[string]any{"type": "Deployed", "status": "False", "message": message}}}
	}
	ours := map[string]string{"os-rollout": "up"}
	findings := upgradersOf(
		[]unstructured.Unstructured{fleet("brought"), fleet("planned"), fleet("without"), fleet("broken"), fleet("unknown"), fleet("other")},
		[]unstructured.Unstructured{
			object("cluster-brought", "mcc-brought-managed-system-upgrade-controller", nil, map[string]any{"ready": true}),
			object("cluster-planned", "mos-up", ours, map[string]any{"ready": true}),
			object("cluster-without", "mos-up", ours, failing(`no matches for kind "Plan" in version "upgrade.cattle.io/v1"`)),
			object("cluster-broken", "mcc-broken-managed-system-upgrade-controller", nil, failing("image cannot be pulled")),
			object("cluster-other", "fleet-agent-other", nil, map[string]any{"ready": true}),
		})
	var said []string
	for _, finding := range findings {
		said = append(said, string(finding.Level)+" "+finding.Message)
	}
	require.Equal(t, []string{
		"problem cluster fleet-default/without: it does not know the kind Plan, which system-upgrade-controller brings",
		"problem cluster fleet-default/broken: Fleet says of its system-upgrade-controller: image cannot be pulled",
		"ok 2 of 6 clusters have it, by what Fleet says of it or of the Plans that it was given",
		"skipped it cannot be seen from here whether the other 2 of 6 clusters have it: Fleet has brought neither it nor a Plan there",
	}, said)
	require.Equal(t, "there are no clusters yet", upgradersOf(nil, nil)[0].Message)
	var many, failed []unstructured.Unstructured
	for i := range 30 {
		name := "c" + string(rune('a'+i))
		many, failed = append(many, fleet(name)), append(failed, object("cluster-"+name, "mos-up", ours, failing("no matches for kind Plan in upgrade.cattle.io/v1")))
	}
	require.Len(t, upgradersOf(many, failed), most+1)
}

func TestReport(t *testing.T) {
	report := Report{Version: "v1", Findings: []Finding{ok("a", "it is %d", 1), found("b", "it is not").at(Warning, "look")}}
	require.False(t, report.Failed())
	report.Findings = append(report.Findings, found("c", "it is broken").at(Problem, "mend it"))
	require.True(t, report.Failed())
	var text strings.Builder
	require.NoError(t, report.Text(&text))
	require.Equal(t, "ok       a: it is 1\nwarning  b: it is not. What to do: look\nproblem  c: it is broken. What to do: mend it\n"+
		"1 ok, 1 warnings, 1 problems, 0 not visible with these rights\n", text.String())
}

// An API server that does not answer is one finding, not a failure of the program.
func TestWithoutAnAPIServer(t *testing.T) {
	report, err := Run(t.Context(), &rest.Config{Host: "https://127.0.0.1:1"}, Options{})
	require.NoError(t, err)
	require.Len(t, report.Findings, 1)
	require.True(t, report.Failed())
	require.Contains(t, report.Findings[0].Message, "https://127.0.0.1:1 does not answer")
}

func TestImpersonate(t *testing.T) {
	config := &rest.Config{}
	Impersonate(config, "")
	require.Empty(t, config.Impersonate.UserName)
	Impersonate(config, "system:serviceaccount:ns:name")
	require.Equal(t, []string{"system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"}, config.Impersonate.Groups)
	config = &rest.Config{}
	Impersonate(config, "jane")
	require.Empty(t, config.Impersonate.Groups)
}
