package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/diagnosis/check"
	"github.com/rancher/rancheros-operator/tests/harness"
)

// diagnose runs the shipped program with the administrator's kubeconfig, and returns what it printed.
func diagnose(t *testing.T, program string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), filepath.Join(world.Bin(), program), args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+world.Kubeconfig)
	var out, errs bytes.Buffer
	command.Stdout, command.Stderr = &out, &errs
	_ = command.Run()
	return command.ProcessState.ExitCode(), out.String(), errs.String()
}

func finding(t *testing.T, report check.Report, topic string, level check.Level) check.Finding {
	t.Helper()
	for _, finding := range report.Findings {
		if finding.Topic == topic && finding.Level == level {
			return finding
		}
	}
	t.Fatalf("no finding about %s is %s: %+v", topic, level, report.Findings)
	return check.Finding{}
}

func checked(t *testing.T, args ...string) (int, check.Report) {
	t.Helper()
	code, stdout, stderr := diagnose(t, "rancheros-operator", append([]string{"check", "-o", "json"}, args...)...)
	var report check.Report
	require.NoError(t, json.Unmarshal([]byte(stdout), &report), "%s%s", stdout, stderr)
	return code, report
}

// Test25Check reads a cluster in which all is well, as the administrator and as the operator, and then one that lacks things.
func Test25Check(t *testing.T) {
	code, report := checked(t)
	require.Zero(t, code, "%+v", report)
	for _, topic := range []string{"API server", "kinds", "admission policies", "server-url", "cacerts", "APIService", "tunnel", "Fleet", "kinds of Rancher", "rights", "leader"} {
		finding(t, report, topic, check.OK)
	}

	operator := []string{"--impersonate", "system:serviceaccount:" + harness.Namespace + ":rancheros-operator"}
	code, report = checked(t, operator...)
	require.Zero(t, code, "%+v", report)
	finding(t, report, "rights", check.OK)
	finding(t, report, "tunnel", check.OK)
	for _, topic := range []string{"APIService", "admission policies"} {
		require.Contains(t, finding(t, report, topic, check.Skipped).Action, "administrator")
	}

	code, stdout, _ := diagnose(t, "rancheros-operator", append([]string{"check", "--media-dir", t.TempDir(), "--tunnel-secret-name", "another"}, operator...)...)
	require.Equal(t, 1, code)
	require.Contains(t, stdout, "problem  tunnel: Rancher has not made the Secret "+harness.Namespace+"/another. What to do: wait a moment")
	require.Regexp(t, `(?m)^ok +media folder: .* can be written to$`, stdout)

	code, report = checked(t, "--impersonate", "nobody", "--media-dir", "/proc/nowhere")
	require.Equal(t, 1, code)
	require.Contains(t, finding(t, report, "rights", check.Problem).Message, "list machineregistrations.rancheros.cattle.io")
	require.Contains(t, finding(t, report, "media folder", check.Problem).Message, "/proc/nowhere")
	for _, topic := range []string{"tunnel", "leader", "server-url"} {
		finding(t, report, topic, check.Skipped)
	}
}

const brokenThings = `
apiVersion: v1
kind: Secret
metadata: {name: tunnel, namespace: NS}
stringData: {url: "wss://rancher.example.com/v3/connect"}
---
apiVersion: management.cattle.io/v3
kind: APIService
metadata: {name: s25-broken}
spec: {secretName: tunnel-of-another, secretNamespace: NS, pathPrefixes: [/v1-other/]}
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: rancheros-operator, namespace: NS}
spec: {holderIdentity: someone, leaseDurationSeconds: 15, renewTime: "2026-01-01T00:00:00.000000Z"}
`

// Test25CheckFindsWhatIsBroken looks at a cluster in which there is nearly everything, and nothing quite right.
func Test25CheckFindsWhatIsBroken(t *testing.T) {
	ns := namespace(t, "s25-broken")
	apply(t, strings.ReplaceAll(brokenThings, "NS", ns))
	t.Cleanup(func() { kubectl(t, "delete", "apiservices.management.cattle.io", "s25-broken") })
	const binding = "managedosversions.rancheros.cattle.io"
	kept := kubectl(t, "get", "validatingadmissionpolicybinding", binding, "-o", "json")
	kubectl(t, "delete", "validatingadmissionpolicybinding", binding)
	t.Cleanup(func() {
		object := decode(t, kept)
		delete(object["metadata"].(map[string]any), "resourceVersion")
		body, err := json.Marshal(object)
		require.NoError(t, err)
		_, err = world.Apply(context.WithoutCancel(t.Context()), string(body))
		require.NoError(t, err)
	})

	code, report := checked(t, "--namespace", ns, "--tunnel-secret-namespace", ns, "--tunnel-secret-name", "tunnel")
	require.Equal(t, 1, code)
	for topic, want := range map[string]string{
		"tunnel":             "the Secret " + ns + "/tunnel has no key token",
		"APIService":         "none names the Secret " + ns + "/tunnel",
		"leader":             "someone has not renewed its lease for",
		"admission policies": binding + " missing, or not bound",
	} {
		found := finding(t, report, topic, check.Problem)
		require.Contains(t, found.Message, want)
		require.NotEmpty(t, found.Action)
	}
	_, report = checked(t, "--namespace", ns, "--tunnel-secret-namespace", ns, "--tunnel-secret-name", "tunnel-of-another")
	require.Contains(t, finding(t, report, "APIService", check.Problem).Message, "s25-broken does not send /v1-rancheros/ to the operator")

	kubectl(t, "patch", "lease", "rancheros-operator", "-n", ns, "--type", "merge", "-p", `{"spec":{"holderIdentity":""}}`)
	_, report = checked(t, "--namespace", ns)
	finding(t, report, "leader", check.Warning)
	kubectl(t, "delete", "lease", "rancheros-operator", "-n", ns)
	_, report = checked(t, "--namespace", ns)
	require.Contains(t, finding(t, report, "leader", check.Warning).Message, "no replica has ever led")
}
