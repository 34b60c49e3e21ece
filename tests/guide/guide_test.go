// Package guide runs every command of README.md and of the user guide as it stands there: with the real kubectl and Helm, on a
// real API server, and with rancheros-register on pretend machines. A page is one shell session; the pages run in the order of
// the guide's index, on one world. A command that cannot be run here says so, with the reason; these are printed and counted.
package guide

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/tests/harness"
	"github.com/rancher/rancheros-operator/tests/machine"
	"github.com/rancher/rancheros-operator/tests/medium"
)

// most is how many blocks may be left out: what cannot be tried had better be little.
const most = 14

func TestGuide(t *testing.T) {
	logrus.SetLevel(logrus.WarnLevel)
	all := map[string][]block{}
	machines := map[string]bool{}
	left := 0
	for _, page := range pages(t) {
		all[page] = blocks(t, page)
		for _, b := range all[page] {
			if b.machine != "" {
				machines[b.machine] = true
			}
			if b.kind == notRun {
				left++
				t.Logf("NOT RUN %s:%d: %s", page, b.line, b.reason)
			}
		}
	}
	require.LessOrEqual(t, left, most, "so many blocks are not run")
	w := startWorld(t, machines)
	for _, page := range pages(t) {
		program := script(t, page, all[page], w.values)
		if !t.Run(strings.TrimPrefix(page, ".github/guide/"), func(t *testing.T) { w.run(t, program) }) {
			return // What comes after a step that failed says nothing.
		}
	}
}

type world struct {
	*harness.World
	values map[string]string
	folder string
	env    []string
}

func startWorld(t *testing.T, machines map[string]bool) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "rancheros-guide-")
	require.NoError(t, err)
	started, err := harness.Start(t.Context(), harness.Options{Dir: dir, Args: []string{"--channel-networks", "127.0.0.0/8"}})
	require.NoError(t, err, "the programs in bin/ are built by `make build-test`; logs are in %s", dir)
	t.Cleanup(func() {
		if err := started.Stop(); err != nil || t.Failed() {
			t.Errorf("stopping: %v; logs are in %s", err, dir)
			return
		}
		_ = os.RemoveAll(dir)
	})
	w := &world{World: started, folder: t.TempDir(), values: map[string]string{}}
	// The pages name charts as somebody does who stands in the repository's folder.
	require.NoError(t, os.Symlink(filepath.Join(started.Root, "chart"), filepath.Join(w.folder, "chart")))
	hosts := filepath.Join(dir, "machines")
	for name := range machines {
		_, err := machine.New(filepath.Join(hosts, name), filepath.Join(started.Bin(), "rancheros-register"), machine.Hardware{
			Manufacturer: "Edge Systems", Product: "NUC 12", Serial: name, UUID: "3d3e8a40-1111-4000-8000-0000000000aa"})
		require.NoError(t, err)
	}
	w.env = []string{"PATH=" + started.Bin() + ":" + os.Getenv("PATH"), "HOME=" + w.folder, "KUBECONFIG=" + started.Kubeconfig,
		"MACHINES=" + hosts, "RANCHEROS_EMULATE_TPM=true"}
	w.serve(t)
	if _, err := w.Kubectl(t.Context(), "get", "namespace", "fleet-default"); err != nil {
		_, err = w.Kubectl(t.Context(), "create", "namespace", "fleet-default")
		require.NoError(t, err)
	}
	return w
}

// serve has what the reader has elsewhere: a base medium, a channel, the TPM maker's CA.
func (w *world) serve(t *testing.T) {
	t.Helper()
	base := medium.Bytes(medium.Options{RockRidge: true, Hybrid: true, Files: map[string][]byte{
		"boot/kernel": bytes.Repeat([]byte("kernel"), 50_000), "boot/initrd": bytes.Repeat([]byte("initrd"), 50_000),
		"boot/grub2/grub.cfg": []byte("linux /boot/kernel quiet\ninitrd /boot/initrd\n"),
	}})
	var releases []any
	for _, version := range []string{"v1.0.0", "v1.1.0"} {
		releases = append(releases, map[string]any{"metadata": map[string]any{"name": version}, "spec": map[string]any{
			"version": version, "type": "container", "metadata": map[string]any{"upgradeImage": "registry.example.com/rancher/os2:" + version}}})
	}
	document, err := json.Marshal(releases)
	require.NoError(t, err)
	plainServer := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		http.ServeContent(rw, r, "", time.Time{}, bytes.NewReader(base))
	}))
	t.Cleanup(plainServer.Close)
	channel := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(document) }))
	t.Cleanup(channel.Close)
	maker, err := machine.NewMakerCA("maker")
	require.NoError(t, err)
	w.values["BASE"] = plainServer.URL + "/base.iso"
	w.values["BASE_CHECKSUM"] = fmt.Sprintf("sha256:%x", sha256.Sum256(base))
	w.values["CHANNEL"] = channel.URL + "/versions.json"
	w.values["CHANNEL_CA"] = w.file(t, "channel-ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: channel.Certificate().Raw}))
	w.values["TPM_CA"] = w.file(t, "maker-ca.pem", append(maker.RootPEM(), maker.IntermediatePEM()...))
	w.values["OS_IMAGE"] = "registry.example.com/rancher/os2:v1.0.0"
	w.values["REGISTRY"] = "registry.example.com:5000"
}

func (w *world) file(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(w.folder, name)
	require.NoError(t, os.WriteFile(path, content, 0o600))
	return path
}

// run runs a page, and quotes the block that failed.
func (w *world) run(t *testing.T, program string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "bash", "-c", program)
	command.Dir, command.Env = w.folder, w.env
	command.WaitDelay = time.Second // What waits in the background holds the output open.
	output, err := command.CombinedOutput()
	if err == nil {
		return
	}
	headings := regexp.MustCompile(`(?m)^### .*$`).FindAllStringIndex(string(output), -1)
	last := string(output)
	if len(headings) > 0 {
		last = last[headings[len(headings)-1][0]:]
	}
	t.Fatalf("%v in %s", err, strings.TrimSpace(last))
}
