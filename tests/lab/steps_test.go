package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/tests/harness"
)

func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	output, err := world.Kubectl(t.Context(), args...)
	require.NoError(t, err)
	return output
}

// namespace makes one with a registration in it, which wants certificates of TPMs, and gives machines the disk that is theirs.
func namespace(t *testing.T, name string) (registrationURL string) {
	t.Helper()
	kubectl(t, "create", "namespace", name)
	certificates := ""
	for _, file := range []string{"issuercert.pem", "swtpm-localca-rootca-cert.pem"} {
		content, err := os.ReadFile(filepath.Join(folder, "tpm-ca", file))
		require.NoError(t, err)
		certificates += string(content)
	}
	bundle := filepath.Join(t.TempDir(), "tls.crt")
	require.NoError(t, os.WriteFile(bundle, []byte(certificates), 0o600))
	kubectl(t, "create", "secret", "generic", "tpm-ca", "-n", name, "--from-file="+bundle)
	_, err := world.Apply(t.Context(), `
apiVersion: rancheros.cattle.io/v1
kind: MachineRegistration
metadata: {name: edge, namespace: `+name+`}
spec:
  machineName: "lab-${System Information/Serial Number}"
  admission: {endorsement: Certificate}
  cloudConfig:
    rancheros: {install: {device: /dev/vda}}
`)
	require.NoError(t, err)
	kubectl(t, "wait", "--for=condition=Ready", "--timeout=60s", "machineregistration/edge", "-n", name)
	return kubectl(t, "get", "machineregistration", "edge", "-n", name, "-o", "jsonpath={.status.registrationURL}")
}

// seedImage makes one of a base in bin/live, and returns its download's URL.
func seedImage(t *testing.T, namespace, base string) string {
	t.Helper()
	file, err := os.Open(filepath.Join(world.Bin(), "live", base))
	require.NoError(t, err)
	defer file.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, file)
	require.NoError(t, err)
	_, err = world.Apply(t.Context(), fmt.Sprintf(`
apiVersion: rancheros.cattle.io/v1
kind: SeedImage
metadata: {name: usb, namespace: %s}
spec: {registrationName: edge, type: both, baseImage: "%s/%s", baseChecksum: "sha256:%x"}
`, namespace, media.URL, base, sum.Sum(nil)))
	require.NoError(t, err)
	kubectl(t, "wait", "--for=condition=Ready", "--timeout=120s", "seedimage/usb", "-n", namespace)
	return kubectl(t, "get", "seedimage", "usb", "-n", namespace, "-o", "jsonpath={.status.downloadURL}")
}

// download fetches a medium as a person would, and compares it with the checksum that the SeedImage tells.
func download(t *testing.T, namespace, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	response, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: world.TLS()}}).Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	path := filepath.Join(folder, namespace+".iso")
	file, err := os.Create(path)
	require.NoError(t, err)
	defer file.Close()
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(file, sum), response.Body)
	require.NoError(t, err)
	require.NoError(t, harness.Eventually(t.Context(), time.Minute, func() error {
		told, err := world.Kubectl(t.Context(), "get", "seedimage", "usb", "-n", namespace, "-o", "jsonpath={.status.checksum}")
		if want := "sha256:" + hex.EncodeToString(sum.Sum(nil)); err == nil && told != want {
			return fmt.Errorf("status.checksum is %q, and the medium's %q", told, want)
		}
		return err
	}))
	return path
}

// report is what a journey took.
type report struct {
	title string
	lines []string
	last  time.Duration
}

func (r *report) add(stage string, at time.Duration) {
	r.lines = append(r.lines, fmt.Sprintf("lab: %-10s %6.1f s  +%5.1f s  %s", r.title, at.Seconds(), (at-r.last).Seconds(), stage))
	r.last = at
}

func (r *report) print() {
	fmt.Fprintln(os.Stderr, strings.Join(r.lines, "\n"))
}

// journey is a machine's way from the first start to one from its own disk.
type journey struct {
	namespace, registrationURL string
	hardware                   *Hardware
	// loader is what is seen before the kernel, in its order.
	loader []string
	// interrupted tells of an installation that was begun before.
	interrupted bool
	// starts is how often it was switched on.
	starts int
}

// stages are what every machine says on its way, in this order. The first group of the second is its name.
const (
	sayKernel     = `LAB \S+ kernel \S+ is up`
	sayIdentity   = `Proving this machine \(TPM hash ([0-9a-f]{64})\)`
	sayRegistered = `Registered\. This machine is (\S+)\.$`
	sayInstalled  = `Installed to /dev/vda `
	sayRestart    = `LAB \S+ started from the disk as (\S+)`
	sayCalled     = `LAB \S+ called home`
)

// travel lets the machine run and holds what it says against what the cluster knows. A machine that hangs before its kernel is up, as
// emulated processors do now and then, is switched off and on once.
func (j *journey) travel(t *testing.T) (name string) {
	t.Helper()
	guest, r := j.start(t)
	defer func() { require.NoError(t, guest.Stop()) }()
	defer r.print()
	expect := func(pattern, stage string) []string {
		ctx, cancel := context.WithTimeout(t.Context(), bootPatience)
		defer cancel()
		match, at, err := guest.Expect(ctx, pattern)
		require.NoError(t, err)
		r.add(stage, at)
		return match
	}
	hash := expect(sayIdentity, "registering")[1]
	name = expect(sayRegistered, "registered, by its TPM")[1]
	require.Regexp(t, "^lab-"+strings.ToLower(j.hardware.Name)+"-", name)
	inventory := func(field string) string {
		return kubectl(t, "get", "machineinventory", name, "-n", j.namespace, "-o", "jsonpath="+field)
	}
	require.Equal(t, hash, inventory("{.spec.tpm}{.spec.tpmHash}"))
	require.Equal(t, "Certificate", inventory("{.status.assurance}"), "its TPM's certificate was asked for")
	if j.interrupted {
		expect(`An installation to /dev/vda was begun and not finished; beginning anew\.`, "begins anew")
	}
	expect(sayInstalled, "installed to its disk")
	require.Equal(t, name, expect(sayRestart, "started from its disk, with its name")[1])
	expect(sayCalled, "called home")
	ctx, cancel := context.WithTimeout(t.Context(), bootPatience)
	defer cancel()
	require.NoError(t, guest.Off(ctx))
	require.NoError(t, harness.Eventually(t.Context(), 30*time.Second, func() error {
		told, err := world.Kubectl(t.Context(), "get", "machineinventory", name, "-n", j.namespace, "-o", "jsonpath={.status.hostname} {.status.osImage}")
		if want := name + " RancherOS lab"; err == nil && told != want {
			return fmt.Errorf("the inventory says %q, want %q", told, want)
		}
		return err
	}))
	require.NoError(t, j.hardware.Bystander())
	j.checkDisk(t, name)
	return name
}

// powerFails lets the machine run until its disk is half written, and pulls the plug. Then the medium begins anew.
func (j *journey) powerFails(t *testing.T) {
	t.Helper()
	guest, r := j.start(t)
	defer r.print()
	ctx, cancel := context.WithTimeout(t.Context(), bootPatience)
	defer cancel()
	_, at, err := guest.Expect(ctx, `install-to-disk: writes the system`)
	if err == nil {
		r.add("power fails in the middle of the installation", at)
	}
	require.NoError(t, errors.Join(err, guest.Stop()))
	disk, err := os.ReadFile(j.hardware.path("disk"))
	require.NoError(t, err)
	require.Contains(t, string(disk), "has begun and not ended")
	j.interrupted = true
}

// start returns once the kernel is up.
func (j *journey) start(t *testing.T) (*Guest, *report) {
	t.Helper()
	for attempt := 1; ; attempt++ {
		guest, err := j.hardware.Start(t.Context())
		require.NoError(t, err)
		j.starts++
		r := &report{title: j.hardware.Name}
		err = j.untilKernel(t, guest, r)
		if err == nil {
			return guest, r
		}
		require.NoError(t, guest.Stop())
		require.Less(t, attempt, 2, "twice: %v", err)
		fmt.Fprintf(os.Stderr, "lab: %s is switched off and on: %v\n", j.hardware.Name, err)
	}
}

func (j *journey) untilKernel(t *testing.T, guest *Guest, r *report) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bootPatience)
	defer cancel()
	for _, pattern := range append(j.loader, sayKernel) {
		match, at, err := guest.Expect(ctx, pattern)
		if err != nil {
			return err
		}
		r.add(strings.TrimSpace(match[0]), at)
	}
	return nil
}

// checkDisk reads the machine's disk from outside: its cloud-config is there, and the right to register others is not.
func (j *journey) checkDisk(t *testing.T, name string) {
	t.Helper()
	config, err := exec.CommandContext(t.Context(), "mtype", "-i", j.hardware.path("disk")+"@@1M", "::oem/99_rancheros.yaml").CombinedOutput()
	require.NoError(t, err, "%s", config)
	require.Contains(t, string(config), "hostname: "+name+"\n")
	require.Contains(t, string(config), "server: "+world.Rancher.URL()+"\n")
	require.Contains(t, string(config), "token: tpm://\n")
	require.Contains(t, string(config), "BEGIN CERTIFICATE", "by which the installed machine trusts the server")
	token := j.registrationURL[strings.LastIndex(j.registrationURL, "/")+1:]
	require.NotContains(t, string(config), token)
	disk, err := os.ReadFile(j.hardware.path("disk"))
	require.NoError(t, err)
	require.NotContains(t, string(disk), "has begun and not ended", "the mark is gone")
}
