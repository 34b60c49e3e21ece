package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/pkg/registration/client"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	pretend "github.com/rancher/rancheros-operator/tests/machine"
)

const (
	secretPassword = "canary-password-7f3a"
	clusterToken   = "canary-cluster-token-91bc"
	sharedToken    = "canary-shared-token-of-this-machine"
	answer         = `{"hostname":"m-dell-1","rancherd":{"server":"SERVER","token":"tpm://"},"users":[{"password":"` + secretPassword + `"}]}`
	assigned       = `{"role":"server","nodeName":"n1","labels":["a=b c"],"taints":["k=v:NoSchedule"],"token":"` + clusterToken + `"}`
)

// buildBinary builds the program as it is released.
func buildBinary(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "rancheros-register")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X github.com/rancher/rancheros-operator/pkg/version.Version=v9.9.9", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	output, err := build.CombinedOutput()
	require.NoError(t, err, "%s", output)
	return binary
}

func newMachine(t *testing.T, binary string) *pretend.Machine {
	t.Helper()
	machine, err := pretend.New(t.TempDir(), binary, pretend.Hardware{Manufacturer: "Dell Inc.", Product: "R650", Serial: "S1"})
	require.NoError(t, err)
	return machine
}

func newServer(t *testing.T, say pretend.Script) (server *pretend.Server, caFile string) {
	t.Helper()
	server = pretend.NewServer(say)
	t.Cleanup(server.Close)
	server.Set(func(s *pretend.Script) { s.Final = []byte(strings.Replace(answer, "SERVER", server.URL, 1)) })
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(caFile, server.CAPEM(), 0o600))
	return server, caFile
}

// The life of a machine, with the real binary: identity, registration, waiting, joining.
func TestBinary(t *testing.T) {
	binary := buildBinary(t)
	info, err := os.Stat(binary)
	require.NoError(t, err)
	require.Less(t, info.Size(), int64(12_000_000), "machines download it before anything else")

	server, caFile := newServer(t, pretend.Script{Inventory: []byte("cluster not assigned\n"), CACerts: "ca"})
	machine := newMachine(t, binary)
	hash, err := machine.TPMHash(t.Context())
	require.NoError(t, err)
	require.Regexp(t, `^[0-9a-f]{64}$`, hash)

	result, err := machine.Register(t.Context(), server.RegistrationURL(), caFile)
	require.NoError(t, err)
	require.Zero(t, result.ExitCode, result.Stderr)
	require.Contains(t, result.Stdout, "This machine is m-dell-1.")
	require.Contains(t, result.Stdout, filepath.Join(machine.Root, "oem/99_rancheros.yaml"))
	require.Contains(t, result.Stderr, hash)
	hostname, err := machine.Hostname()
	require.NoError(t, err)
	require.Equal(t, "m-dell-1", hostname)
	config, err := machine.Config()
	require.NoError(t, err)
	require.Contains(t, config, "token: tpm://")
	require.Contains(t, config, secretPassword)
	require.Equal(t, hash, server.Asked()[0].Identity)
	require.Equal(t, "S1", server.Asked()[0].SMBIOS["System Information"].(map[string]any)["Serial Number"])

	waiting, err := machine.JoinCommand(t.Context())
	require.NoError(t, err)
	require.Equal(t, exitNotYet, waiting.ExitCode, waiting.Stderr)
	require.Contains(t, waiting.Stderr, "not assigned")

	server.Set(func(s *pretend.Script) { s.Inventory = []byte(assigned) })
	joined, err := machine.JoinCommand(t.Context())
	require.NoError(t, err)
	require.Zero(t, joined.ExitCode, joined.Stderr)
	require.Equal(t, "curl -fL --cacert "+filepath.Join(machine.Root, client.CAFile)+" "+server.URL+"/system-agent-install.sh | sh -s - --token "+clusterToken+" --server "+server.URL+
		" --ca-checksum 314a01b67979d4ecc6667666046246e726d9848903e33d0e63fab1165aea9d94"+
		" --etcd --controlplane --worker --label 'a=b c' --taints k=v:NoSchedule --node-name n1\n", joined.Stdout)

	again, err := machine.Register(t.Context(), server.RegistrationURL(), caFile)
	require.NoError(t, err)
	require.Zero(t, again.ExitCode, again.Stderr)
	require.Contains(t, again.Stderr, "registered before, as m-dell-1")

	for _, secret := range []string{secretPassword, clusterToken, pretend.RegistrationToken} {
		require.NotContains(t, result.Stdout+result.Stderr+again.Stdout+again.Stderr+waiting.Stdout+waiting.Stderr+joined.Stderr, secret)
	}
}

// A proxy that is down for a while is said by its name, without its password, and asked again.
func TestProxy(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	t.Cleanup(proxy.Close)
	machine := newMachine(t, buildBinary(t))
	host := strings.TrimPrefix(proxy.URL, "http://")
	machine.Environment = []string{"HTTPS_PROXY=http://admin:" + secretPassword + "@" + host}
	url := "https://r.example.com" + protocol.RegistrationPath(pretend.RegistrationToken)
	once, err := machine.Register(t.Context(), url, "")
	require.NoError(t, err)
	require.Equal(t, exitUnreachable, once.ExitCode, once.Stderr)
	require.Contains(t, once.Stderr, "Failed: the proxy "+host+" answered: Service Unavailable.\nWhat to do: ")
	require.NotContains(t, once.Stderr, secretPassword)

	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	patient, _ := machine.Run(ctx, "register", "--url", url)
	require.Contains(t, patient.Stderr, "answered: Service Unavailable. Asking again in ")
	require.Error(t, ctx.Err(), "it asks until it is told to end")
}

// runHere runs the program in this process, on a machine's root.
func runHere(t *testing.T, machine *pretend.Machine, args ...string) pretend.Result {
	t.Helper()
	var stdout, stderr strings.Builder
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	args = append([]string{"rancheros-register"}, args...)
	if machine != nil {
		args = append(args, "--root", machine.Root, "--emulate-tpm")
	}
	code := run(ctx, args, &stdout, &stderr)
	require.NotContains(t, stdout.String()+stderr.String(), pretend.RegistrationToken, "the token is never printed")
	require.NotContains(t, stdout.String()+stderr.String(), "goroutine")
	return pretend.Result{Stdout: stdout.String(), Stderr: stderr.String(), ExitCode: code}
}

func TestRegisterSources(t *testing.T) {
	server, _ := newServer(t, pretend.Script{})
	ca := "      " + strings.ReplaceAll(strings.TrimSpace(string(server.CAPEM())), "\n", "\n      ")
	config := "#cloud-config\nrancheros:\n  install:\n    registrationURL: " + server.RegistrationURL() + "\n    registrationCaCert: |\n" + ca + "\n"

	machine := newMachine(t, "")
	require.NoError(t, machine.WriteFile("oem/00_registration.yaml", config))
	result := runHere(t, machine, "register", "--once")
	require.Zero(t, result.ExitCode, result.Stderr)
	require.Contains(t, result.Stderr, "00_registration.yaml")

	machine = newMachine(t, "")
	require.NoError(t, machine.WriteFile("elsewhere.yaml", config))
	result = runHere(t, machine, "register", "--once", "--config", filepath.Join(machine.Root, "elsewhere.yaml"))
	require.Zero(t, result.ExitCode, result.Stderr)

	machine = newMachine(t, "")
	require.NoError(t, machine.WriteFile("ca.pem", string(server.CAPEM())))
	require.NoError(t, machine.WriteFile("proc/cmdline", "rancheros.install.registration_url="+server.RegistrationURL()+" rancheros.install.registration_ca_cert=/ca.pem\n"))
	result = runHere(t, machine, "register", "--once")
	require.Zero(t, result.ExitCode, result.Stderr)
	require.Contains(t, result.Stderr, "kernel command line")

	t.Setenv("RANCHEROS_REGISTRATION_URL", server.RegistrationURL()+"\n")
	t.Setenv("RANCHEROS_CA_FILE", filepath.Join(machine.Root, "ca.pem"))
	result = runHere(t, newMachine(t, ""), "register", "--once")
	require.Zero(t, result.ExitCode, "F31: %s", result.Stderr)
}

// F1, F2, F42-F44: one line that says what is wrong, one that says what to do, and a code for scripts.
func TestExitCodes(t *testing.T) {
	server, caFile := newServer(t, pretend.Script{})
	url := server.RegistrationURL()
	refuse := func(code protocol.Code) func(*pretend.Script) {
		return func(s *pretend.Script) { s.Refuse = &protocol.Error{Code: code, Message: "because"} }
	}
	good := []string{"register", "--once", "--url", url, "--ca-file", caFile}
	for _, c := range []struct {
		id, why string
		args    []string
		say     func(*pretend.Script)
		want    int
		message string
	}{
		{"F2", "an unknown flag", []string{"register", "--nope"}, nil, exitConfig, "nope"},
		{"F2", "an argument", []string{"register", "x"}, nil, exitConfig, "no argument"},
		{"F42", "no URL at all", []string{"register", "--once"}, nil, exitConfig, "no registration URL"},
		{"F42", "an http URL", []string{"register", "--once", "--url", strings.Replace(url, "https", "http", 1)}, nil, exitConfig, "http"},
		{"F42", "a URL without token", []string{"register", "--once", "--url", server.URL}, nil, exitConfig, "registration URL"},
		{"F42", "a CA file that is missing", []string{"register", "--once", "--url", url, "--ca-file", "/nowhere"}, nil, exitConfig, "/nowhere"},
		{"F25", "a CA file that is a folder", []string{"register", "--once", "--url", url, "--ca-file", "/"}, nil, exitConfig, "ca-file"},
		{"F42", "two TPMs", append(good, "--tpm-device", "/dev/tpm0"), nil, exitConfig, "exclude each other"},
		{"-", "a config file that is missing", []string{"register", "--config", "/nowhere.yaml"}, nil, exitConfig, "/nowhere.yaml"},
		{"-", "a server that is not trusted", []string{"register", "--once", "--url", url}, nil, exitUntrusted, "does not trust"},
		{"-", "a server that is not there", []string{"register", "--once", "--url", "https://127.0.0.1:1" + protocol.RegistrationPath(pretend.RegistrationToken)}, nil, exitUnreachable, "refuses connections"},
		{"F44", "404", good, refuse(protocol.CodeNotFound), exitRefused, "because"},
		{"F44", "403", good, refuse(protocol.CodeForbidden), exitRefused, "because"},
		{"F44", "429", good, refuse(protocol.CodeRateLimited), exitNotYet, "because"},
		{"F44", "503", good, refuse(protocol.CodeUnavailable), exitNotYet, "because"},
		{"F43", "a certificate is demanded", good, refuse(protocol.CodeCertificateRequired), exitCertificateRequired, "because"},
		{"-", "a folder that cannot be written", good, func(s *pretend.Script) { s.Refuse = nil }, exitDisk, "cannot be written"},
		{"-", "join without a registration", []string{"join", "--dry-run", "--once"}, nil, exitConfig, "no server"},
		{"F30", "join of another root for real", []string{"join"}, nil, exitConfig, "--dry-run"},
		{"-", "an empty token file", []string{"join", "--dry-run", "--server", server.URL, "--token-file", "/dev/null"}, nil, exitConfig, "token-file"},
	} {
		if c.say != nil {
			server.Set(c.say)
		}
		machine := newMachine(t, "")
		if c.want == exitDisk {
			require.NoError(t, os.WriteFile(filepath.Join(machine.Root, "oem"), nil, 0o600))
		}
		result := runHere(t, machine, c.args...)
		require.Equal(t, c.want, result.ExitCode, "%s %s: %s", c.id, c.why, result.Stderr)
		require.Contains(t, result.Stderr, c.message, "%s %s", c.id, c.why)
		require.Contains(t, result.Stderr, "What to do: ", "%s %s", c.id, c.why)
		require.Empty(t, result.Stdout, "%s %s", c.id, c.why)
	}
	require.Zero(t, runHere(t, nil).ExitCode, "F1: help")
	unknown := runHere(t, nil, "regster")
	require.Equal(t, exitConfig, unknown.ExitCode)
	require.Contains(t, unknown.Stderr, "register")
	require.Equal(t, exitTPMMissing, runHere(t, nil, "tpm-hash", "--tpm-device", "/nowhere").ExitCode, "F43")
	require.Equal(t, exitConfig, runHere(t, nil, "tpm-hash", "--emulated-tpm-file", "/x").ExitCode)
	require.NotEmpty(t, runHere(t, nil, "version").Stdout)
}

func TestTPMExitCodes(t *testing.T) {
	seen := map[int]bool{}
	for _, cause := range []tpm.Cause{tpm.Missing, tpm.Permission, tpm.Busy, tpm.OldVersion, tpm.LockedOut, tpm.PasswordSet} {
		seen[exitCode(&tpm.Error{Cause: cause})] = true
	}
	require.Equal(t, map[int]bool{3: true, 4: true, 5: true, 6: true, 7: true, 9: true}, seen, "F43: an exit code per cause")
	require.Equal(t, exitUnknown, exitCode(errors.New("defect")))
	require.Equal(t, exitClock, exitCode(&client.Failure{Cause: client.CauseClock}))
	require.Equal(t, exitBadAnswer, exitCode(&client.Failure{Cause: client.CauseBadAnswer}))
	require.Equal(t, exitInstall, exitCode(&client.Failure{Cause: client.CauseInstall}))
}

// G35: a disk that was cloned into another machine.
func TestClonedDisk(t *testing.T) {
	server, caFile := newServer(t, pretend.Script{})
	machine := newMachine(t, "")
	args := []string{"register", "--once", "--url", server.RegistrationURL(), "--ca-file", caFile}
	require.Zero(t, runHere(t, machine, args...).ExitCode)
	require.NoError(t, os.Remove(machine.TPMFile()))
	result := runHere(t, machine, args...)
	require.Zero(t, result.ExitCode)
	require.Contains(t, result.Stderr, "set up on another machine")
	require.NotEqual(t, server.Asked()[0].Identity, server.Asked()[1].Identity)
}

func TestJoinWithSharedToken(t *testing.T) {
	server, _ := newServer(t, pretend.Script{Inventory: []byte(assigned), SharedToken: sharedToken})
	server.Set(func(s *pretend.Script) { s.CACerts = string(server.CAPEM()) })
	machine := newMachine(t, "")
	require.NoError(t, machine.WriteFile("oem/rancherd.yaml", "rancherd:\n  server: "+server.URL+"\n  token: "+sharedToken+"\n"))
	result := runHere(t, machine, "join", "--once", "--dry-run")
	require.Zero(t, result.ExitCode, "the CA is learnt, vouched for by the shared token: %s", result.Stderr)
	require.Contains(t, result.Stdout, "--token "+clusterToken)
	require.NotContains(t, result.Stdout+result.Stderr, sharedToken)

	result = runHere(t, machine, "join", "--once", "--dry-run", "--role", "agent")
	require.Zero(t, result.ExitCode, result.Stderr)
	require.Contains(t, result.Stdout, "--token "+sharedToken+" --server", "told its role, a machine's token is the cluster's, as with rancherd")
	require.Contains(t, result.Stdout, " --worker")
}

// What runs on machines knows no Kubernetes, and imports nothing of Rancher's.
func TestDependencies(t *testing.T) {
	output, err := exec.Command("go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	for dependency := range strings.Lines(string(output)) {
		foreign := strings.HasPrefix(dependency, "github.com/rancher/") && !strings.HasPrefix(dependency, "github.com/rancher/rancheros-operator/")
		require.False(t, foreign || strings.HasPrefix(dependency, "k8s.io/") || strings.HasPrefix(dependency, "sigs.k8s.io/"), dependency)
	}
}
