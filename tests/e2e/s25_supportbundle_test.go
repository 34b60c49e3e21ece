package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/tests/harness"
)

// unpack returns the archive's files, by their names within its folder.
func unpack(t *testing.T, archive string) map[string]string {
	t.Helper()
	compressed, err := gzip.NewReader(strings.NewReader(archive))
	require.NoError(t, err)
	files := map[string]string{}
	for reader := tar.NewReader(compressed); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		require.NoError(t, err)
		body, err := io.ReadAll(reader)
		require.NoError(t, err)
		folder, name, _ := strings.Cut(header.Name, "/")
		require.True(t, strings.HasPrefix(folder, "rancheros-support-"))
		require.Equal(t, path.Clean(name), name)
		files[name] = string(body)
	}
}

// careless is a secret where everybody may read it, and which the operator hands on as it must: an upgrade's container is in its
// Bundle, password and all.
const careless = "careless-9b3e71"

// Secrets wherever a user may put one, and others wherever the operator and Rancher do: none is in the archive.
const withCanaries = `
apiVersion: rancheros.cattle.io/v1
kind: MachineInventory
metadata: {name: shared, annotations: {note: CANARY}}
spec: {machineTokenSecretName: shared, config: {role: agent, write_files: [{content: CANARY}]}}
---
apiVersion: rancheros.cattle.io/v1
kind: ManagedOSImage
metadata: {name: image}
spec:
  osImage: registry.example.com/os:v1
  cloudConfig: {users: [{name: a, passwd: CANARY}]}
  upgradeContainer: {image: registry.example.com/up:v1, args: [--password, CANARY], command: [CANARY], env: [{name: PASSWORD, value: CANARY}]}
  clusterTargets: [{clusterName: nobody}]
---
apiVersion: rancheros.cattle.io/v1
kind: ManagedOSVersion
metadata: {name: v1.0.0}
spec: {version: v1.0.0, metadata: {upgradeImage: "registry.example.com/os:v1", password: CANARY}}
---
apiVersion: rancheros.cattle.io/v1
kind: ManagedOSVersionChannel
metadata: {name: channel}
spec: {type: json, suspend: true, options: {uri: "https://example.com/list.json?key=CANARY"}}
---
apiVersion: rancheros.cattle.io/v1
kind: SeedImage
metadata: {name: seed}
spec: {registrationName: machines, baseImage: "https://127.0.0.1:1/base.iso?key=CANARY", cloudConfig: {password: CANARY}, netboot: {arguments: "password=CANARY"}}
---
apiVersion: rancheros.cattle.io/v1
kind: MachineClaim
metadata: {name: claim}
spec: {clusterName: nobody, pools: [{name: p, replicas: 1, role: agent, selector: {matchLabels: {none: "true"}}, config: {password: CANARY}}]}
---
apiVersion: v1
kind: Secret
metadata: {name: shared}
type: rancheros.cattle.io/token
stringData: {token: CANARY-0123456789abcdef0123456789abcdef}
`

func Test25SupportBundle(t *testing.T) {
	ns := namespace(t, "s25-bundle")
	url := registration(t, ns, "machines", `{cloudConfig: {users: [{name: root, passwd: `+canary+`}]}}`)
	apply(t, strings.ReplaceAll(withCanaries, "CANARY", careless), "-n", ns)
	// Somebody gives the operator's Deployment a proxy by hand, password and all.
	kubectl(t, "set", "env", "deployment/rancheros-operator", "-n", harness.Namespace, "HTTPS_PROXY=https://user:"+careless+"@proxy.example.com")
	t.Cleanup(func() {
		kubectl(t, "set", "env", "deployment/rancheros-operator", "-n", harness.Namespace, "HTTPS_PROXY-")
	})
	waitFor(t, ns, "seedimage/seed", "Ready", "BaseUnavailable")
	kubectl(t, "annotate", "machineregistration/machines", "-n", ns, "note="+url)

	file := filepath.Join(t.TempDir(), "support.tar.gz")
	code, stdout, stderr := diagnose(t, "rancheros-operator", "support-bundle", "--file", file)
	require.Zero(t, code, stderr)
	require.Equal(t, file+"\n", stdout)
	code, _, stderr = diagnose(t, "rancheros-operator", "support-bundle", "--file", file)
	require.Equal(t, 2, code, "what is there stays")
	require.Contains(t, stderr, "--file must be a file that does not exist")
	code, _, stderr = diagnose(t, "rancheros-operator", "support-bundle", "--file", "/no/such/folder/x.tar.gz")
	require.Equal(t, 2, code)
	require.Contains(t, stderr, "/no/such/folder")

	code, archive, stderr := diagnose(t, "rancheros-operator", "support-bundle", "--file", "-")
	require.Zero(t, code, stderr)
	files := unpack(t, archive)
	for problem := range strings.Lines(files["errors.txt"]) {
		require.Contains(t, problem, "more than 5000: the others are left out", "an administrator may read all of it")
	}
	for name, want := range map[string]string{
		"README.txt": "Secrets were not read", "version.json": `"version":`, "check.txt": "API server", "check.json": `"findings"`, "events.yaml": "involvedObject",
		"objects/machineregistrations.rancheros.cattle.io.yaml": "tokenSecretName: machines-registration-token", "objects/settings.management.cattle.io.yaml": "server-url",
		"objects/machineinventories.rancheros.cattle.io.yaml": "machineTokenSecretName: shared", "objects/managedosimages.rancheros.cattle.io.yaml": "osImage: registry.example.com/os:v1",
		"objects/managedosversionchannels.rancheros.cattle.io.yaml": "uri: REDACTED", "objects/seedimages.rancheros.cattle.io.yaml": "reason: BaseUnavailable",
		"objects/apiservices.management.cattle.io.yaml": "/v1-rancheros/", "operator/deployments.apps.yaml": "image: rancher/rancheros-operator:", "operator/leases.coordination.k8s.io.yaml": "holderIdentity",
	} {
		require.Contains(t, files[name], want, name)
	}
	requireNoSecrets(t, files)

	// Whoever may read nothing gets an archive that says so.
	code, archive, stderr = diagnose(t, "rancheros-operator", "support-bundle", "--file", "-", "--impersonate", "nobody")
	require.Zero(t, code, stderr)
	files = unpack(t, archive)
	require.Contains(t, files["errors.txt"], `cannot list resource "machineregistrations"`)
	require.Contains(t, files["check.txt"], "problem")
}

func requireNoSecrets(t *testing.T, files map[string]string) {
	t.Helper()
	needles := secrets.soFar()
	needles[careless] = "what a user was careless with"
	require.Greater(t, len(needles), 3)
	for name, body := range files {
		for needle, what := range needles {
			if at := bytes.Index([]byte(body), []byte(needle)); at >= 0 {
				t.Errorf("%s is in %s: %s", what, name, body[max(0, at-200):at])
			}
		}
	}
}
