package restore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/tests/harness"
	"github.com/rancher/rancheros-operator/tests/machine"
	"github.com/rancher/rancheros-operator/tests/medium"
	"github.com/rancher/rancheros-operator/tests/rancher"
)

const (
	// namespace is where everything is.
	namespace = "fleet"
	// patience bounds each wait; a busy machine gets its time.
	patience = time.Minute
	// shared is the token of a machine without a TPM.
	shared = "a-token-that-is-long-enough-to-be-shared"
)

// site is a world with one of everything in it, and the machines that it knows.
type site struct {
	store
	// alpha is assigned to a cluster, beta was approved by a person, gamma waits for one, old was replaced by spare.
	alpha, beta, gamma, old, spare *machine.Machine
	// certified has a certificate of its maker, single came through a URL for one machine, and its record was deleted.
	certified, single *tpm.Software
	// urls are the registration URLs by name.
	urls map[string]string
	ca   string
}

func (s *site) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	output, err := s.Kubectl(t.Context(), args...)
	require.NoError(t, err)
	return output
}

func (s *site) apply(t *testing.T, manifest string, args ...any) {
	t.Helper()
	_, err := s.Apply(t.Context(), fmt.Sprintf(manifest, args...))
	require.NoError(t, err)
}

func (s *site) eventually(t *testing.T, check func() error) {
	t.Helper()
	require.NoError(t, harness.Eventually(t.Context(), patience, check))
}

func (s *site) waitFor(t *testing.T, object, condition, reason string) {
	t.Helper()
	s.eventually(t, func() error {
		got, err := s.Kubectl(t.Context(), "get", object, "-n", namespace, "-o",
			fmt.Sprintf(`jsonpath={.status.conditions[?(@.type==%q)].reason}: {.status.conditions[?(@.type==%q)].message}`, condition, condition))
		if err == nil && !strings.HasPrefix(got, reason+":") {
			err = fmt.Errorf("%s is at %s, not at %s", object, got, reason)
		}
		return err
	})
}

func (s *site) register(t *testing.T, m *machine.Machine, url string, code int) string {
	t.Helper()
	result, err := m.Register(t.Context(), url, s.ca)
	require.NoError(t, err)
	require.Equal(t, code, result.ExitCode, result.Stderr)
	name, _ := m.Hostname()
	return name
}

// knock registers a TPM as the clients of 2022 do, and returns its name, or the words of the refusal.
func (s *site) knock(t *testing.T, device *tpm.Software, url string) string {
	t.Helper()
	conversation, err := (&machine.OldClient{TLS: s.TLS(), TPM: device}).Register(t.Context(), url, nil)
	if err != nil {
		return err.Error()
	}
	var config struct{ Hostname string }
	if err := json.Unmarshal(conversation.Final, &config); err != nil {
		return string(conversation.Final)
	}
	return config.Hostname
}

func newMachine(t *testing.T, bin, serial string) *machine.Machine {
	t.Helper()
	m, err := machine.New(t.TempDir(), filepath.Join(bin, "rancheros-register"), machine.Hardware{
		Manufacturer: "Edge Systems", Product: "NUC 12", Serial: serial, UUID: "3d3e8a40-1111-4000-8000-0000000000aa",
	})
	require.NoError(t, err)
	return m
}

func start(t *testing.T) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "rancheros-restore-")
	require.NoError(t, err)
	world, err := harness.Start(t.Context(), harness.Options{Dir: dir, Operator: "rancheros-operator-race", Args: []string{"--channel-networks", "127.0.0.0/8"}})
	require.NoError(t, err, "the programs in bin/ are built by `make build-test`; logs are in %s", dir)
	t.Cleanup(func() {
		if err := world.Stop(); err != nil || t.Failed() {
			t.Errorf("stopping: %v; logs are in %s", err, dir)
			return
		}
		_ = os.RemoveAll(dir)
	})
	s := &site{store: newStore(t, world), urls: map[string]string{}, ca: filepath.Join(t.TempDir(), "ca.pem")}
	require.NoError(t, os.WriteFile(s.ca, world.Rancher.CACert(), 0o600))
	s.kubectl(t, "create", "namespace", namespace)
	s.populate(t)
	return s
}

// populate makes one of everything that a restore must bring back.
func (s *site) populate(t *testing.T) {
	t.Helper()
	s.apply(t, "apiVersion: provisioning.cattle.io/v1\nkind: Cluster\nmetadata: {name: site, namespace: fleet}\nspec: {rkeConfig: {}}\n")
	maker, err := machine.NewMakerCA("maker")
	require.NoError(t, err)
	s.apply(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: maker, namespace: fleet}\nstringData: {tls.crt: %q}\n", string(maker.RootPEM())+string(maker.IntermediatePEM()))
	for name, spec := range map[string]string{
		"edge":   `{machineInventoryLabels: {site: berlin}, cloudConfig: {users: [{name: root}]}}`,
		"manual": `{admission: {approval: Manual}}`,
		"maker":  `{admission: {endorsement: Certificate, caSecretName: maker}}`,
		"single": `{admission: {maxMachines: 1}}`,
	} {
		s.apply(t, "apiVersion: rancheros.cattle.io/v1\nkind: MachineRegistration\nmetadata: {name: %s, namespace: fleet}\nspec: %s\n", name, spec)
		s.waitFor(t, "machineregistration/"+name, "Ready", "Ready")
		s.urls[name] = s.kubectl(t, "get", "machineregistration", name, "-n", namespace, "-o", "jsonpath={.status.registrationURL}")
	}
	s.machines(t, maker)
	s.apply(t, "apiVersion: v1\nkind: Secret\ntype: rancheros.cattle.io/token\nmetadata: {name: shared, namespace: fleet}\nstringData: {token: %q}\n", shared)
	s.apply(t, "apiVersion: rancheros.cattle.io/v1\nkind: MachineInventory\nmetadata: {name: shared, namespace: fleet}\n"+
		"spec: {clusterName: site, machineTokenSecretName: shared, config: {role: agent}}\n")
	s.waitFor(t, "machineinventory/shared", "ClusterAssigned", "TokenReady")
	s.apply(t, "apiVersion: rancheros.cattle.io/v1\nkind: MachineInventory\nmetadata: {name: listed, namespace: fleet, labels: {rack: a}}\nspec: {tpm: %q}\n", strings.Repeat("a", 64))
	s.apply(t, "apiVersion: rancheros.cattle.io/v1\nkind: MachineClaim\nmetadata: {name: claim, namespace: fleet}\n"+
		"spec: {clusterName: site, pools: [{name: workers, replicas: 1, role: agent, selector: {matchLabels: {rack: a}}}]}\n")
	s.waitFor(t, "machineclaim/claim", "Ready", "Ready")
	s.releases(t)
	s.media(t)
}

func (s *site) machines(t *testing.T, maker *machine.MakerCA) {
	t.Helper()
	for _, one := range []struct {
		into   **machine.Machine
		serial string
	}{{&s.alpha, "ALPHA"}, {&s.beta, "BETA"}, {&s.gamma, "GAMMA"}, {&s.old, "OLD"}, {&s.spare, "SPARE"}} {
		*one.into = newMachine(t, s.Bin(), one.serial)
	}
	alpha := s.register(t, s.alpha, s.urls["edge"], 0)
	s.patch(t, alpha, `{"spec":{"clusterName":"site","config":{"role":"server"}}}`)
	s.waitFor(t, "machineinventory/"+alpha, "ClusterAssigned", "TokenReady")

	s.register(t, s.beta, s.urls["manual"], 14)
	s.patch(t, s.named(t, "beta"), `{"spec":{"approved":true}}`)
	s.register(t, s.beta, s.urls["manual"], 0)
	s.register(t, s.gamma, s.urls["manual"], 14)

	old := s.register(t, s.old, s.urls["edge"], 0)
	s.register(t, s.spare, s.urls["manual"], 14)
	spare := s.named(t, "spare")
	s.patch(t, spare, fmt.Sprintf(`{"spec":{"replaces":%q,"approved":true}}`, old))
	s.waitFor(t, "machineinventory/"+spare, "Replacement", "Replaced")

	device, err := tpm.GenerateSoftware(tpm.RSA2048)
	require.NoError(t, err)
	certificate, err := maker.Certify(device.Public(), machine.EKCertificate{})
	require.NoError(t, err)
	s.certified, err = device.With(tpm.WithCertificate(certificate))
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(s.knock(t, s.certified, s.urls["maker"]), "m-"))

	s.single, err = tpm.GenerateSoftware(tpm.RSA2048)
	require.NoError(t, err)
	name := s.knock(t, s.single, s.urls["single"])
	s.kubectl(t, "delete", "machineinventory", name, "-n", namespace, "--timeout=30s")
	s.waitFor(t, "machineregistration/single", "Ready", "Full")
}

// named is the one inventory whose name holds the serial number.
func (s *site) named(t *testing.T, serial string) string {
	t.Helper()
	names := strings.Fields(s.kubectl(t, "get", "machineinventories", "-n", namespace, "-o", "jsonpath={.items[*].metadata.name}"))
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.Contains(name, serial) })
	require.Len(t, names, 1)
	return names[0]
}

func (s *site) patch(t *testing.T, inventory, change string) {
	t.Helper()
	s.kubectl(t, "patch", "machineinventory", inventory, "-n", namespace, "--type", "merge", "-p", change)
}

// releases makes a channel, and an image that follows it to nodes which have been upgraded. From then on an upgrade of these
// nodes would fail: one that is run again for no reason shows.
func (s *site) releases(t *testing.T) {
	t.Helper()
	const entry = `{"metadata":{"name":%q},"spec":{"version":%q,"type":"container","metadata":{"upgradeImage":"registry.example.com/rancher/os2:%s"}}}`
	document := "[" + fmt.Sprintf(entry, "v1.0.0", "v1.0.0", "v1.0.0") + "," + fmt.Sprintf(entry, "v1.1.0", "v1.1.0", "v1.1.0") + "]"
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, document) }))
	t.Cleanup(server.Close)
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	s.apply(t, "apiVersion: rancheros.cattle.io/v1\nkind: ManagedOSVersionChannel\nmetadata: {name: stable, namespace: fleet}\nspec: {type: json, options: {uri: %q}, caBundle: %q}\n",
		server.URL, ca)
	s.waitFor(t, "moschannel/stable", "Ready", "Synced")
	require.NoError(t, s.Rancher.AddNodes(t.Context(), namespace, "site", rancher.Node{Name: "a", OS: "RancherOS v1.0.0"}, rancher.Node{Name: "b", OS: "RancherOS v1.0.0"}))
	s.apply(t, "apiVersion: rancheros.cattle.io/v1\nkind: ManagedOSImage\nmetadata: {name: image, namespace: fleet}\n"+
		"spec: {managedOSVersionChannelName: stable, cloudConfig: {a: b}, drain: {force: true}, clusterTargets: [{clusterSelector: {}}]}\n")
	s.waitFor(t, "managedosimage/image", "Ready", "Ready")
	require.Equal(t, "2/2", s.kubectl(t, "get", "managedosimage", "image", "-n", namespace, "-o", "jsonpath={.status.summary}"))
	for _, node := range []string{"a", "b"} {
		require.NoError(t, s.Rancher.SetOutcome(namespace, "site", node, rancher.Fails))
	}
}

// media makes a boot medium that can be had without end, and one that was had as often as it may be.
func (s *site) media(t *testing.T) {
	t.Helper()
	content := medium.Bytes(medium.Options{RockRidge: true, Hybrid: true, Files: map[string][]byte{
		"boot/kernel": bytes.Repeat([]byte("kernel"), 50_000), "boot/initrd": bytes.Repeat([]byte("initrd"), 50_000),
		"boot/grub2/grub.cfg": []byte("linux /boot/kernel quiet\ninitrd /boot/initrd\n"),
	}})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}))
	t.Cleanup(server.Close)
	for name, more := range map[string]string{"usb": "", "once": ", maxDownloads: 1"} {
		s.apply(t, "apiVersion: rancheros.cattle.io/v1\nkind: SeedImage\nmetadata: {name: %s, namespace: fleet}\nspec: {registrationName: edge, type: both, baseImage: %q, baseChecksum: \"sha256:%x\"%s}\n",
			name, server.URL+"/base.iso", sha256.Sum256(content), more)
		s.waitFor(t, "seedimage/"+name, "Ready", "Ready")
		s.eventually(t, func() error {
			if s.seed(t, name, "checksum") == "" {
				return fmt.Errorf("%s has no checksum yet", name)
			}
			return nil
		})
	}
	require.Equal(t, http.StatusOK, s.download(t, "once"))
	s.waitFor(t, "seedimage/once", "Ready", "UsedUp")
}

func (s *site) seed(t *testing.T, name, field string) string {
	t.Helper()
	return s.kubectl(t, "get", "seedimage", name, "-n", namespace, "-o", "jsonpath={.status."+field+"}")
}

// download gets a medium, and returns the status of the answer.
func (s *site) download(t *testing.T, name string) int {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: s.TLS()}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.seed(t, name, "downloadURL"), nil)
	require.NoError(t, err)
	answer, err := (&http.Client{Transport: transport}).Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	require.NoError(t, err)
	return answer.StatusCode
}

// picture is all that a user can see of our kinds, and what was made of them, without what is new in every cluster: UIDs,
// times and resource versions.
func (s *site) picture(t *testing.T) []string {
	t.Helper()
	var lines []string
	for _, kind := range s.kinds(t) {
		lines = append(lines, s.pictures(t, kind.Resource+"."+kind.Group)...)
	}
	lines = append(lines, s.pictures(t, "clusterregistrationtokens.management.cattle.io")...)
	lines = append(lines, s.pictures(t, "bundles.fleet.cattle.io")...)
	for _, kind := range secretTypes {
		lines = append(lines, s.pictures(t, "secrets", "--field-selector", "type="+string(kind))...)
	}
	return lines
}

func (s *site) pictures(t *testing.T, args ...string) []string {
	t.Helper()
	var list unstructured.UnstructuredList
	require.NoError(t, json.Unmarshal([]byte(s.kubectl(t, append([]string{"get", "--all-namespaces", "-o", "json"}, args...)...)), &list))
	var lines []string
	for i := range list.Items {
		object := list.Items[i].Object
		forget(object)
		lines = append(lines, flat(fmt.Sprintf("%s %s", object["kind"], list.Items[i].GetName()), object)...)
	}
	return slices.DeleteFunc(lines, told.MatchString)
}

// told is what machines tell again when they come back, and a count that nothing depends on.
var told = regexp.MustCompile(`^MachineInventory \S+\.status\.(addresses|hostname|lastSeen|osImage|osVersion)|^SeedImage usb\.status\.downloads`)

// flat is a line for each value, with the path that leads to it.
func flat(path string, value any) []string {
	var lines []string
	switch value := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(value)) {
			lines = append(lines, flat(path+"."+key, value[key])...)
		}
	case []any:
		for i, inner := range value {
			lines = append(lines, flat(fmt.Sprintf("%s[%d]", path, i), inner)...)
		}
	default:
		lines = append(lines, fmt.Sprintf("%s = %v", path, value))
	}
	return lines
}

// forgotten are fields that a restore cannot and need not bring back: who made what when, and in which revision.
var forgotten = []string{"uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "observedGeneration", "lastTransitionTime",
	"lastSync", "startedAt", "time", "since", "expiresAt", "lastUpdateTime"}

func forget(value any) {
	switch value := value.(type) {
	case map[string]any:
		for _, field := range forgotten {
			delete(value, field)
		}
		for _, inner := range value {
			forget(inner)
		}
	case []any:
		for _, inner := range value {
			forget(inner)
		}
	}
}
