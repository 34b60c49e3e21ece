package chart

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/rancher/rancheros-operator/tests/harness"
	"github.com/rancher/rancheros-operator/tests/machine"
)

// patience bounds each wait; a busy machine gets its time.
const patience = 60 * time.Second

// served is a namespace in which the chart, as it ships, lets registrations be made.
const served = "fleet-default"

type world struct{ *harness.World }

func (w world) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	output, err := w.Kubectl(context.WithoutCancel(t.Context()), args...)
	require.NoError(t, err)
	return output
}

// helm runs Helm on the cluster and returns what it prints.
func (w world) helm(t *testing.T, values map[string]any, args ...string) string {
	t.Helper()
	output, err := w.Helm(t.Context(), values, args...)
	require.NoError(t, err)
	return output
}

func (w world) refused(t *testing.T, want string, values map[string]any, args ...string) {
	t.Helper()
	_, err := w.Helm(t.Context(), values, args...)
	require.ErrorContains(t, err, want)
}

func (w world) waitFor(t *testing.T, namespace, object, reason string) {
	t.Helper()
	require.NoError(t, harness.Eventually(t.Context(), patience, func() error {
		got, err := w.Kubectl(t.Context(), "get", object, "-n", namespace, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].reason}`)
		if err == nil && got != reason {
			err = fmt.Errorf("%s is %q, not %q", object, got, reason)
		}
		return errors.Join(err, w.Died())
	}))
}

// TestInstalled takes the charts through their life, on one control plane. Its steps build on each other: install as they ship,
// work, upgrade, roll back, uninstall, install again.
func TestInstalled(t *testing.T) {
	logrus.SetLevel(logrus.WarnLevel)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	// No values: what an administrator gets who gives none, but for a listener to ask one replica at.
	started, err := harness.Start(ctx, harness.Options{Dir: t.TempDir(), Replicas: 2, Values: map[string]any{}})
	require.NoError(t, err)
	w := world{started}
	t.Cleanup(func() { require.NoError(t, w.Stop()) })

	w.kubectl(t, "create", "namespace", "elsewhere")
	for _, step := range []struct {
		name string
		run  func(*testing.T, world)
	}{
		{"MachinesRegister", machinesRegister},
		{"OtherNamespacesAreNotServed", otherNamespacesAreNotServed},
		{"OperatorMay", operatorMay},
		{"UsersMay", usersMay},
		{"Notes", notesAreSaid},
		{"RefusedByTheCluster", refusedByTheCluster},
		{"EverythingIsValid", everythingIsValid},
		{"PodsAreRestricted", podsAreRestricted},
		{"UpgradeAndRollback", upgradeAndRollback},
		{"CRDUpgradeKeepsEveryByte", crdUpgradeKeepsEveryByte},
		{"NamespaceGoes", namespaceGoes},
		{"UninstallAndReturn", uninstallAndReturn},
		{"KindsOfSomebodyElse", kindsOfSomebodyElse},
		{"RightsWereEnough", rightsWereEnough},
		{"EverythingGoes", everythingGoes},
		{"WithoutRancher", withoutRancher},
	} {
		if !t.Run(step.name, func(t *testing.T) { step.run(t, w) }) {
			return
		}
	}
}

func (w world) registrationURL(t *testing.T) string {
	t.Helper()
	w.waitFor(t, served, "machineregistration/edge", "Ready")
	return w.kubectl(t, "get", "machineregistration", "edge", "-n", served, "-o", "jsonpath={.status.registrationURL}")
}

func (w world) register(t *testing.T, serial, url string) {
	t.Helper()
	m, err := machine.New(t.TempDir(), filepath.Join(w.Bin(), "rancheros-register"), machine.Hardware{Manufacturer: "Example", Product: "Rack", Serial: serial})
	require.NoError(t, err)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, w.Rancher.CACert(), 0o600))
	result, err := m.Register(t.Context(), url, ca)
	require.NoError(t, err)
	require.Zero(t, result.ExitCode, result.Stderr)
}

// machinesRegister goes through Rancher's tunnel, to replicas with the rights of a chart without values.
func machinesRegister(t *testing.T, w world) {
	_, err := w.Apply(t.Context(), "apiVersion: rancheros.cattle.io/v1\nkind: MachineRegistration\nmetadata: {name: edge, namespace: "+served+"}\nspec: {}\n")
	require.NoError(t, err)
	w.register(t, "CHART-1", w.registrationURL(t))
	require.NotEmpty(t, w.kubectl(t, "get", "machineinventories", "-n", served, "-o", "name"))
}

// What takes a Secret in a namespace that is not served says so, and the way out, and nothing is tried again and again.
func otherNamespacesAreNotServed(t *testing.T, w world) {
	_, err := w.Apply(t.Context(), `
apiVersion: rancheros.cattle.io/v1
kind: MachineRegistration
metadata: {name: edge, namespace: elsewhere}
spec: {}
---
apiVersion: rancheros.cattle.io/v1
kind: SeedImage
metadata: {name: usb, namespace: elsewhere}
spec: {registrationName: edge, baseImage: "https://media.example.com/base.iso"}
---
apiVersion: rancheros.cattle.io/v1
kind: ManagedOSImage
metadata: {name: os, namespace: elsewhere}
spec:
  osImage: registry.example.com/os:v1
  cloudConfig: {users: []}
  clusterTargets: [{clusterName: site}]
`)
	require.NoError(t, err)
	for _, object := range []string{"machineregistration/edge", "seedimage/usb"} {
		w.waitFor(t, "elsewhere", object, "NamespaceNotServed")
		message := w.kubectl(t, "get", object, "-n", "elsewhere", "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].message}`)
		require.Contains(t, message, "fleet-default, fleet-local; add it to secretNamespaces of the operator's chart")
	}
	require.NoError(t, harness.Eventually(t.Context(), patience, func() error {
		got, err := w.Kubectl(t.Context(), "get", "managedosimage", "os", "-n", "elsewhere", "-o", `jsonpath={.status.conditions[?(@.type=="Delivered")].reason}`)
		if err == nil && got != "NamespaceNotServed" {
			err = fmt.Errorf("the image says %q", got)
		}
		return err
	}))
	w.kubectl(t, "delete", "mosimage,seed,mreg", "--all", "-n", "elsewhere")
}

// What needs a hand of the administrator is said after the installation.
func notesAreSaid(t *testing.T, w world) {
	for _, c := range []struct{ id, values, want string }{
		{"always", `{}`, "Registrations work in these namespaces: fleet-default, fleet-local"},
		{"X7", `replicas: 0`, "NOTE: replicas is 0: no machine is answered"},
		{"X11", `proxy: "http://proxy.example.com"`, ".svc"},
		{"X17", `serviceAccount: {create: false, name: mine}`, "create ServiceAccount mine in namespace " + namespace},
		{"X18", `rbac: {create: false}`, "resources: [clusterregistrationtokens]"},
		{"X37", `podAnnotations: {a: b}`, "256 KiB"},
		{"X44", `priorityClassName: mine`, "PriorityClass mine must exist"},
		{"all namespaces", `secretNamespaces: ["*"]`, "WARNING: secretNamespaces is \"*\""},
	} {
		output := w.helm(t, values(t, c.values), "upgrade", operator, w.Chart(operator), "--dry-run=server")
		_, notes, found := strings.Cut(output, "\nNOTES:\n")
		require.True(t, found)
		require.Contains(t, notes, c.want, c.id)
		if c.id == "always" {
			require.NotContains(t, notes, "WARNING")
		}
	}
}

// refusedByTheCluster are the rows of the threat model that only a cluster can answer.
func refusedByTheCluster(t *testing.T, w world) {
	// X20
	w.refused(t, "the operator is installed already, as release rancheros-operator in namespace "+namespace, nil, "install", "second", w.Chart(operator))
	// X22: the later --namespace counts.
	w.refused(t, "not found", map[string]any{"registration": map[string]any{"tunnel": map[string]any{"enabled": false}, "listener": map[string]any{"enabled": true}},
		"secretNamespaces": []string{"*"}, "rbac": map[string]any{"create": false}, "userRoles": map[string]any{"create": false}},
		"install", "second", w.Chart(operator), "--namespace", "nowhere", "--take-ownership")
	// Roles cannot be made in a namespace that is not there.
	w.refused(t, "there is no namespace nowhere", map[string]any{"secretNamespaces": []string{"nowhere"}}, "upgrade", operator, w.Chart(operator))
	// X37
	w.refused(t, "annotations", map[string]any{"podAnnotations": map[string]any{"a": strings.Repeat("x", 200<<10), "b": strings.Repeat("x", 100<<10)}}, "upgrade", operator, w.Chart(operator))
	w.helm(t, nil, "upgrade", operator, w.Chart(operator), "--reset-values")
}

// With everything on, the API server knows every field and takes every value. Prometheus' own kinds are not here; and the account
// stays, since with another the operators that run would be nobody.
func everythingIsValid(t *testing.T, w world) {
	revision := w.revision(t)
	w.helm(t, values(t, read(t, operator+".everything.values.yaml")), "upgrade", operator, w.Chart(operator), "--set",
		"serviceAccount.name="+operator+",monitoring.serviceMonitor.enabled=false,monitoring.prometheusRule.enabled=false,monitoring.dashboard.namespace=elsewhere")
	for _, object := range []string{"ingress/" + operator, "daemonset/" + operator + "-netboot", "poddisruptionbudget/" + operator} {
		w.kubectl(t, "get", object, "-n", namespace)
	}
	w.kubectl(t, "get", "flowschema/"+operator, "clusterrole/"+operator+"-secrets")
	// The program that gets it says that nothing is wrong with netboot's configuration.
	config := filepath.Join(t.TempDir(), "netboot.yaml")
	encoded := w.kubectl(t, "get", "secret", operator+"-netboot", "-n", namespace, "-o", `jsonpath={.data.netboot\.yaml}`)
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(config, decoded, 0o600))
	output, err := exec.CommandContext(t.Context(), filepath.Join(w.Bin(), operator), "netboot", "--config", config, "--check").CombinedOutput()
	require.NoError(t, err, string(output))
	w.helm(t, nil, "rollback", operator, revision)
}

// The operator's pods are let in where Kubernetes lets in the most harmless only.
func podsAreRestricted(t *testing.T, w world) {
	w.kubectl(t, "create", "namespace", "restricted")
	w.kubectl(t, "label", "namespace", "restricted", "pod-security.kubernetes.io/enforce=restricted")
	w.kubectl(t, "create", "serviceaccount", operator, "-n", "restricted")
	var template map[string]any
	require.NoError(t, json.Unmarshal([]byte(w.kubectl(t, "get", "deployment", operator, "-n", namespace, "-o", "jsonpath={.spec.template}")), &template))
	pod := map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "operator", "namespace": "restricted"}, "spec": template["spec"]}
	manifest, err := yaml.Marshal(pod)
	require.NoError(t, err)
	_, err = w.Apply(t.Context(), string(manifest), "--dry-run=server")
	require.NoError(t, err)
	// The namespace does refuse what is not.
	delete(template["spec"].(map[string]any), "securityContext")
	manifest, err = yaml.Marshal(pod)
	require.NoError(t, err)
	_, err = w.Apply(t.Context(), string(manifest), "--dry-run=server")
	require.ErrorContains(t, err, "violates PodSecurity")
	w.kubectl(t, "delete", "namespace", "restricted", "--timeout=60s")
}

// upgradeAndRollback changes what may be changed; the operator's objects are none of Helm's, and stay as they are.
func upgradeAndRollback(t *testing.T, w world) {
	before := w.ourObjects(t)
	secret := w.kubectl(t, "get", "secret", "rancheros-operator-tunnel", "-n", namespace, "-o", "jsonpath={.data}")
	revision := w.revision(t)
	w.helm(t, values(t, `{replicas: 3, logLevel: debug, podDisruptionBudget: {minAvailable: 2}, flowControl: {enabled: true}, secretNamespaces: [fleet-default, elsewhere],
		netboot: {enabled: true, config: {interfaces: [eth1]}}, media: {enabled: true}, registration: {listener: {enabled: true, ingress: {enabled: true, host: a.example.com}}}}`),
		"upgrade", operator, w.Chart(operator))
	require.Equal(t, "3", w.kubectl(t, "get", "deployment", operator, "-n", namespace, "-o", "jsonpath={.spec.replicas}"))
	require.NotEmpty(t, w.kubectl(t, "get", "role", operator+"-secrets", "-n", "elsewhere", "-o", "name"))
	_, err := w.Kubectl(t.Context(), "get", "role", operator+"-secrets", "-n", "fleet-local")
	require.ErrorContains(t, err, "NotFound", "a right that is not granted any more is taken away")

	w.helm(t, nil, "rollback", operator, revision)
	require.Equal(t, "2", w.kubectl(t, "get", "deployment", operator, "-n", namespace, "-o", "jsonpath={.spec.replicas}"))
	require.NotEmpty(t, w.kubectl(t, "get", "role", operator+"-secrets", "-n", "fleet-local", "-o", "name"))
	_, err = w.Kubectl(t.Context(), "get", "role", operator+"-secrets", "-n", "elsewhere")
	require.ErrorContains(t, err, "NotFound")
	require.Equal(t, before, w.ourObjects(t))
	require.Equal(t, secret, w.kubectl(t, "get", "secret", "rancheros-operator-tunnel", "-n", namespace, "-o", "jsonpath={.data}"))
}

func (w world) revision(t *testing.T) string {
	t.Helper()
	var history []struct {
		Revision int `json:"revision"`
	}
	require.NoError(t, json.Unmarshal([]byte(w.helm(t, nil, "history", operator, "-o", "json")), &history))
	return fmt.Sprint(history[len(history)-1].Revision)
}

// ourObjects are all objects of our kinds, whole, as the API server has them.
func (w world) ourObjects(t *testing.T) string {
	t.Helper()
	objects := w.kubectl(t, "get", "rancheros", "--all-namespaces", "-o", "json", "--show-managed-fields")
	require.Contains(t, objects, "MachineRegistration")
	require.Contains(t, objects, "MachineInventory")
	return objects
}

// A new version of the CRD chart, with a field more, and the way back: no byte of an object changes, its resourceVersion included.
func crdUpgradeKeepsEveryByte(t *testing.T, w world) {
	require.NoError(t, w.StopOperator(), "so that nobody else writes")
	before := w.ourObjects(t)
	next := filepath.Join(t.TempDir(), operator+"-crd")
	require.NoError(t, os.CopyFS(next, os.DirFS(w.Chart(operator+"-crd"))))
	replace(t, filepath.Join(next, "Chart.yaml"), "\nversion: 0.1.0\n", "\nversion: 0.2.0\n")
	file := filepath.Join(next, "files", "machineregistrations.rancheros.cattle.io.yaml")
	body, err := os.ReadFile(file)
	require.NoError(t, err)
	var crd map[string]any
	require.NoError(t, yaml.Unmarshal(body, &crd))
	version := crd["spec"].(map[string]any)["versions"].([]any)[0].(map[string]any)
	spec := version["schema"].(map[string]any)["openAPIV3Schema"].(map[string]any)["properties"].(map[string]any)["spec"].(map[string]any)
	spec["properties"].(map[string]any)["fieldOfTheNextVersion"] = map[string]any{"type": "string"}
	body, err = yaml.Marshal(crd)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, body, 0o600))

	w.helm(t, nil, "upgrade", operator+"-crd", next, "--wait", "--timeout", "90s")
	require.NoError(t, harness.Eventually(t.Context(), patience, func() error {
		_, err := w.Kubectl(t.Context(), "explain", "machineregistration.spec.fieldOfTheNextVersion")
		return err
	}))
	require.Equal(t, before, w.ourObjects(t))
	w.helm(t, nil, "rollback", operator+"-crd", "--wait", "--timeout", "90s")
	require.Equal(t, before, w.ourObjects(t))
	require.NoError(t, w.StartOperator(t.Context()))
	require.NoError(t, w.WaitForTunnel(t.Context()))
	w.register(t, "CHART-2", w.registrationURL(t))
}

// A served namespace that is deleted takes the operator's Role with it. That holds up nobody else's machines, not even after a
// restart.
func namespaceGoes(t *testing.T, w world) {
	w.kubectl(t, "create", "namespace", "passing")
	w.helm(t, map[string]any{"secretNamespaces": []string{served, "fleet-local", "passing"}}, "upgrade", operator, w.Chart(operator))
	w.kubectl(t, "delete", "namespace", "passing", "--timeout=60s")
	require.NoError(t, w.StopOperator())
	require.NoError(t, w.StartOperator(t.Context()))
	require.NoError(t, w.WaitForTunnel(t.Context()))
	log, err := w.Log()
	require.NoError(t, err)
	require.Contains(t, log, "the operator has no right to list the Secrets of namespace passing")
	w.register(t, "CHART-3", w.registrationURL(t))
	w.helm(t, nil, "upgrade", operator, w.Chart(operator), "--reset-values")
	require.NoError(t, w.StopOperator())
	require.NoError(t, w.StartOperator(t.Context()))
	require.NoError(t, w.WaitForTunnel(t.Context()))
}

// X26: uninstalling both charts leaves every object as it is, and what is installed again goes on with them: the same URL, the
// same machines.
func uninstallAndReturn(t *testing.T, w world) {
	url := w.registrationURL(t)
	require.NoError(t, w.StopOperator())
	before := w.ourObjects(t)
	w.helm(t, nil, "uninstall", operator, "--wait")
	for _, kind := range []string{"deployment", "role", "rolebinding", "networkpolicy", "poddisruptionbudget", "serviceaccount"} {
		require.NotContains(t, w.kubectl(t, "get", kind, "-A", "-o", "name"), "/"+operator, kind)
	}
	for _, kind := range []string{"clusterrole", "clusterrolebinding", "validatingadmissionpolicy", "apiservices.management.cattle.io"} {
		left := w.kubectl(t, "get", kind, "-l", "app.kubernetes.io/part-of=rancheros", "-o", "name")
		require.Empty(t, left, kind)
	}
	w.helm(t, nil, "uninstall", operator+"-crd", "--wait")
	require.Equal(t, before, w.ourObjects(t))

	w.helm(t, nil, "install", operator+"-crd", w.Chart(operator+"-crd"), "--wait", "--timeout", "90s")
	w.helm(t, map[string]any{}, "install", operator, w.Chart(operator))
	require.NoError(t, w.StartOperator(t.Context()))
	require.NoError(t, w.WaitForTunnel(t.Context()))
	require.Equal(t, url, w.registrationURL(t))
	w.register(t, "CHART-4", url)
}

// X25: kinds that no release of ours has made, as an older operator left them, are taken over on purpose only, with their objects.
func kindsOfSomebodyElse(t *testing.T, w world) {
	require.NoError(t, w.StopOperator())
	before := w.ourObjects(t)
	w.helm(t, nil, "uninstall", operator+"-crd", "--wait")
	w.kubectl(t, "annotate", "crd", "-l", "app.kubernetes.io/name="+operator+"-crd", "meta.helm.sh/release-name-", "meta.helm.sh/release-namespace-")
	w.kubectl(t, "label", "crd", "-l", "app.kubernetes.io/name="+operator+"-crd", "app.kubernetes.io/managed-by-")
	w.refused(t, "invalid ownership metadata", nil, "install", operator+"-crd", w.Chart(operator+"-crd"))
	w.helm(t, nil, "install", operator+"-crd", w.Chart(operator+"-crd"), "--take-ownership", "--wait", "--timeout", "90s")
	require.Equal(t, before, w.ourObjects(t))
	require.NoError(t, w.StartOperator(t.Context()))
	require.NoError(t, w.WaitForTunnel(t.Context()))
}

// X26, the other half: whoever wants the kinds to go as well says so.
func everythingGoes(t *testing.T, w world) {
	w.kubectl(t, "delete", "machineinventories,machineregistrations", "--all", "-n", served, "--timeout=60s")
	w.helm(t, map[string]any{"crds": map[string]any{"keep": false}}, "upgrade", operator+"-crd", w.Chart(operator+"-crd"))
	require.NoError(t, w.StopOperator())
	w.helm(t, nil, "uninstall", operator, "--wait")
	w.helm(t, nil, "uninstall", operator+"-crd", "--wait")
	require.NotContains(t, w.kubectl(t, "get", "crd", "-o", "name"), "rancheros.cattle.io")
	w.refused(t, "install the chart rancheros-operator-crd first", nil, "install", operator, w.Chart(operator))
}

// X23: the last step, since it takes Rancher away.
func withoutRancher(t *testing.T, w world) {
	w.kubectl(t, "delete", "crd", "settings.management.cattle.io", "--timeout=60s")
	w.refused(t, "the kinds of management.cattle.io/v3 are not there: install Rancher in this cluster first", nil, "install", operator, w.Chart(operator))
}

func values(t *testing.T, text string) map[string]any {
	t.Helper()
	decoded := map[string]any{}
	require.NoError(t, yaml.Unmarshal([]byte(text), &decoded))
	return decoded
}

func replace(t *testing.T, file, old, now string) {
	t.Helper()
	body, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Contains(t, string(body), old)
	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(string(body), old, now, 1)), 0o600))
}
