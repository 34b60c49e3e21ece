package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The 44 bad flags of the list that this product is held to (F1-F44), on the program as it ships. Rows that are not below:
//
//	F3, F4    there is no --sync-interval: how often a channel is asked is its own spec.pollInterval, which the API server
//	          checks. The same values are tried on --lease-duration.
//	F5        a namespace that does not exist: scenario 25 waits there with the real program.
//	F6        there is no --operator-image: the operator runs no pod of its own image.
//	F7        there is no --sync-namespaces: the operator looks after all namespaces. The same lists are tried on --channel-networks.
//	F11       a token that the API server refuses: pkg/operator's TestRefusedToken. Unauthorized is retried for 30 s, then it is exit code 1.
//	F13       a lease that another replica holds: scenario 25.
//	F15, F16  CATTLE_DEV_MODE and CATTLE_ELECTION_* are those of Wrangler's leader election, which is not used here: they are
//	          ignored, with a warning (TestForeignVariablesAndSignals). The variables of ours are tried below.
//	F21, F22  there is no --max-frame-bytes and no --registration-timeout: both are constants of pkg/registration/protocol,
//	          with tests of their own (C and W rows).
//	F23       there is no --rate; what is no number is tried on --qps.
//	F24       there is no --trust: whom to trust is said by each MachineRegistration's spec.admission, and by nothing else.
//	F25       there is no --tpm-ca-file: CAs are in a Secret beside their registration. pkg/operator tries the same files on
//	          --tls-cert-file and --tls-key-file.
//	F30       there is no flag for a secret: TestEveryFlag.
//	F35       the command display does not exist here.
//	F36       scenario 16 has what is under way when SIGTERM comes, and a second one; SIGQUIT is Go's own.
//	F39       the wrong architecture and a seccomp profile that kills: the kernel ends the program, which has no say in it.
//	F40       a clock of 1970: no clock of a test's own without root. The client says so of a machine's clock (exit code 12).
//	F42       rancheros-register: its own TestBadFlags.
//	F43, F44  rancheros-register: its TestTPMExitCodes and TestExitCodes, and the tests of pkg/registration/client.

// shipped is the program as it ships, built once.
var shipped = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "rancheros-operator-")
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "rancheros-operator")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, output)
	}
	return binary, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if binary, err := shipped(); err == nil {
		_ = os.RemoveAll(filepath.Dir(binary))
	}
	os.Exit(code)
}

// program is the program with nothing in its environment but what is given.
func program(t *testing.T, environment []string, args ...string) *exec.Cmd {
	t.Helper()
	binary, err := shipped()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	command := exec.CommandContext(ctx, binary, args...)
	command.Env = append([]string{}, environment...)
	return command
}

type badFlag struct {
	id          string
	environment []string
	args        []string
	// want are the problems, in their order, one on each line.
	want []string
}

// listen is what makes a call right but for what is tried.
const listen = "--listen-addr=127.0.0.1:0"

func badFlags(t *testing.T) []badFlag {
	dir := t.TempDir()
	empty, huge, fifo := filepath.Join(dir, "empty"), filepath.Join(dir, "huge"), filepath.Join(dir, "fifo")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	require.NoError(t, os.WriteFile(huge, nil, 0o600))
	require.NoError(t, os.Truncate(huge, 1<<30))
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	run := func(args ...string) []string { return append([]string{"run", listen}, args...) }
	return []badFlag{
		{"F2 a command", nil, []string{"rum"}, []string{`there is no command "rum"; see --help. Did you mean "run"?`}},
		{"F2 a flag", nil, run("--lease-durations=15s"), []string{"there is no flag --lease-durations; did you mean --lease-duration?"}},
		{"F2 a flag like no other", nil, run("--colour", "blue"), []string{"there is no flag --colour; see --help"}},
		{"F2 an argument", nil, run("now"), []string{`there is nothing to do with "now"`}},
		{"F2 of version", nil, []string{"version", "--shirt"}, []string{"there is no flag --shirt"}},
		{"F2, F16, F17, F26, F27 all at once", []string{"BURST=many"}, run("--qsp=5", "--workers=0", "--log-level=loud", "--lease-duration=15"),
			[]string{"there is no flag --qsp; did you mean --qps?", `--lease-duration must be a duration`, `--burst, set by BURST, must be a whole number, not "many"`,
				`--log-level must be error`, "--workers must be from 1 to 100, not 0"}},
		{"F3 zero", nil, run("--lease-duration=0s"), []string{"must hold, and the lease be at most 5m; not 0s, 10s, 2s"}},
		{"F4 negative", nil, run("--lease-duration=-5m"), []string{"not -5m0s, 10s, 2s"}},
		{"F4 no unit", nil, run("--lease-duration", "60"), []string{`--lease-duration must be a duration with its unit, such as 15s or 5m, not "60"`}},
		{"F4 half a unit", nil, run("--lease-duration=1h2"), []string{`not "1h2"`}},
		{"F4 too long for a duration", nil, run("--lease-duration=999999999h"), []string{`not "999999999h"`}},
		{"F4 nothing", nil, run("--lease-duration="), []string{`--lease-duration must be a duration with its unit, such as 15s or 5m, not ""`}},
		{"F4 no value", nil, run("--lease-duration"), []string{"--lease-duration has no value"}},
		{"F5 no namespace", nil, run("--namespace="), []string{"--namespace must name the namespace of the lease"}},
		{"F5 capitals", nil, run("--namespace=Cattle"), []string{`not "Cattle"`}},
		{"F5 64 characters", nil, run("--namespace=" + strings.Repeat("a", 64)), []string{"--namespace must be a name in Kubernetes"}},
		{"F7 every network", nil, run("--channel-networks=*"), []string{`--channel-networks must be networks such as 127.0.0.0/8, not "*"`}},
		{"F8 missing", nil, run("--kubeconfig=/no/such"), []string{`--kubeconfig must be a file that can be read, and "/no/such" is not`}},
		{"F8 missing, by the environment", []string{"KUBECONFIG=/no/such"}, run(), []string{`--kubeconfig, set by KUBECONFIG, must be a file that can be read`}},
		{"F8 a folder", nil, run("--kubeconfig=" + dir), []string{"--kubeconfig must be a file that can be read"}},
		{"F8 a pipe", nil, run("--kubeconfig=" + fifo), []string{"--kubeconfig must be a file that can be read"}},
		{"F8 empty", nil, run("--kubeconfig=" + empty), []string{"--kubeconfig"}},
		{"F8 a gibibyte", nil, run("--kubeconfig=" + huge), []string{"--kubeconfig must be a file of at most 1048576 bytes"}},
		{"F10 a context of no file", nil, run("--kube-context=c"), []string{"--kube-context must be given with --kubeconfig"}},
		{"F12", nil, run("--leader-elect=maybe"), []string{`--leader-elect must be true or false, not "maybe"`}},
		{"F12 in the environment", []string{"LEADER_ELECT=maybe"}, run(), []string{`--leader-elect, set by LEADER_ELECT, must be true or false, not "maybe"`}},
		{"F14 renewing for as long as it lasts", nil, run("--renew-deadline=15s"), []string{"--lease-duration > --renew-deadline > --retry-period >= 1s must hold"}},
		{"F14 trying for as long", nil, run("--retry-period=10s"), []string{"not 15s, 10s, 10s"}},
		{"F14, F15 45 hours", nil, run("--lease-duration=45h"), []string{"the lease be at most 5m; not 45h0m0s"}},
		{"F16 the variable is named", []string{"LEASE_DURATION=abc"}, run(), []string{"--lease-duration, set by LEASE_DURATION, must be a duration"}},
		{"F17 a level", nil, run("--log-level", "loud"), []string{`--log-level must be error, warn, info or debug, not "loud"`}},
		{"F17 a format", nil, run("--log-format", "xml"), []string{`--log-format must be text or json, not "xml"`}},
		{"F18 a port beyond the last", nil, run("--health-addr=:99999"), []string{`--health-addr must be host:port or :port, not ":99999"`}},
		{"F18 no port", nil, run("--health-addr=abc"), []string{`not "abc"`}},
		{"F19 one port for two", nil, []string{"run", "--listen-addr=:9000", "--health-addr=127.0.0.1:9000"}, []string{`--health-addr must differ from --listen-addr, which is ":9000"`}},
		{"F20 none", nil, run("--max-in-flight=0"), []string{"--max-in-flight must be from 1 to 65536, not 0"}},
		{"F20 negative", nil, run("--max-in-flight=-1"), []string{"not -1"}},
		{"F20 with an exponent", nil, run("--max-in-flight=1e12"), []string{`--max-in-flight must be a whole number, not "1e12"`}},
		{"F20 a word", []string{"MAX_IN_FLIGHT=many"}, run(), []string{`--max-in-flight, set by MAX_IN_FLIGHT, must be a whole number, not "many"`}},
		{"F23 no number", nil, run("--qps=NaN"), []string{`--qps must be a whole number, not "NaN"`}},
		{"F23 endless", nil, run("--qps=Inf"), []string{`not "Inf"`}},
		{"F23 more than a number holds", nil, run("--qps=99999999999999999999"), []string{"--qps must be a whole number"}},
		{"F26 none", nil, run("--qps=0"), []string{"--qps must be from 1 to 10000, not 0"}},
		{"F26 a burst below the average", nil, run("--qps=100", "--burst=50"), []string{"--burst must be from 100 to 20000, not 50"}},
		{"F27 none", nil, run("--workers=0"), []string{"--workers must be from 1 to 100, not 0"}},
		{"F27 ten thousand", nil, run("--workers=10000"), []string{"not 10000"}},
		{"F28 twice", nil, run("--qps=5", "--qps=6"), []string{"--qps is given twice"}},
		{"F28 twice the same", nil, run("--qps", "5", "-qps", "5"), []string{"--qps is given twice"}},
		{"F29 a space before the sign", nil, run("--qps", "=5"), []string{`--qps must be a whole number, not "=5"`}},
		{"F29 spaces around the sign", nil, run("--qps", "=", "5"), []string{`--qps must be a whole number, not "="`, `there is nothing to do with "5"`}},
		{"F30", nil, run("--token=x"), []string{"there is no flag --token"}},
		{"F33 no text", []string{"NAMESPACE=\xff\xfe"}, run(), []string{`--namespace, set by NAMESPACE, must be text in UTF-8, not "\xff\xfe"`}},
		{"F33 on the command line", nil, run("--namespace=\xff"), []string{`--namespace must be text in UTF-8, not "\xff"`}},
		{"a folder without the other", nil, run("--media-folder=/mnt"), []string{"--media-dir must be given with --media-folder"}},
		{"nobody could reach us", nil, []string{"run"}, []string{"--listen-addr or --tunnel-secret-name must be given"}},
	}
}

func TestBadFlags(t *testing.T) {
	for _, c := range badFlags(t) {
		command := program(t, c.environment, c.args...)
		var stdout, stderr bytes.Buffer
		command.Stdout, command.Stderr = &stdout, &stderr
		_ = command.Run()
		require.Equal(t, 2, command.ProcessState.ExitCode(), "%s: %s", c.id, stderr.String())
		require.Empty(t, stdout.String(), c.id)
		lines := strings.Split(strings.TrimSuffix(stderr.String(), "\n"), "\n")
		require.Len(t, lines, len(c.want), "%s: one line for each problem: %s", c.id, stderr.String())
		for i, line := range lines {
			require.True(t, strings.HasPrefix(line, "rancheros-operator: "), c.id)
			require.Contains(t, line, c.want[i], c.id)
		}
		// What other programs take of the machine is not ours.
		require.Less(t, command.ProcessState.UserTime()+command.ProcessState.SystemTime(), time.Second, c.id)
	}
}

// printed is what --print-config says, by flag.
func printed(t *testing.T, environment []string, args ...string) map[string]string {
	t.Helper()
	output, err := program(t, environment, append([]string{"run", "--print-config"}, args...)...).CombinedOutput()
	require.NoError(t, err, "%s", output)
	values := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(string(output)), "\n") {
		name, value, _ := strings.Cut(line, ": ")
		values[name] = value
	}
	require.Len(t, values, len(runCommand().Flags))
	return values
}

// The command line wins over the environment, and that over the default; both mean the same.
func TestPrintConfig(t *testing.T) {
	got := printed(t, []string{"QPS=20\n", "BURST= 30", "WORKERS=", "LEADER_ELECT=TRUE", "TUNNEL_SECRET_NAME=t", "TUNNEL_SECRET_NAMESPACE=from-environment", "MEDIA_FOLDER="},
		"--qps=25", "--tunnel-secret-namespace", "from-flag", "--channel-networks=127.0.0.0/8,,10.0.0.0/8", "--channel-networks=127.0.0.0/8")
	require.Equal(t, "25 # command line", got["qps"])
	require.Equal(t, "30 # environment, BURST", got["burst"], "F31")
	require.Equal(t, "5 # default", got["workers"], "F32")
	require.Equal(t, "true # environment, LEADER_ELECT", got["leader-elect"])
	require.Equal(t, `"t" # environment, TUNNEL_SECRET_NAME`, got["tunnel-secret-name"])
	require.Equal(t, `"from-flag" # command line`, got["tunnel-secret-namespace"])
	require.Equal(t, "15s # default", got["lease-duration"])
	require.Equal(t, `"" # default`, got["media-folder"])
	require.Equal(t, "true # command line", got["print-config"])

	// A wrong variable does no harm where it does not count.
	require.Equal(t, "7 # command line", printed(t, []string{"WORKERS=many"}, listen, "--workers=7")["workers"])
	masked := printed(t, []string{"LISTEN_ADDR=:0", "MEDIA_DIR=https://user:canary@example.com/dir"})
	require.NotContains(t, masked["media-dir"], "canary")
	require.Contains(t, masked["media-dir"], "user")

	many := []string{"LISTEN_ADDR=:0"}
	for i := range 20_000 {
		many = append(many, fmt.Sprintf("VARIABLE_%d=x", i))
	}
	require.Equal(t, `":0" # environment, LISTEN_ADDR`, printed(t, many)["listen-addr"], "F34: as many as the kernel lets through")
	require.Equal(t, "5 # default", printed(t, []string{"GOMAXPROCS=0", "GOMEMLIMIT=1", "LISTEN_ADDR=:0"})["workers"], "F41")
}

// F15, F36, F38: variables of other programs, signals, and nowhere to write to. The API server answers, and knows us not.
func TestForeignVariablesAndSignals(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusUnauthorized) }))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(file, []byte(`{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: k, user: u}}],
		clusters: [{name: k, cluster: {server: "`+server.URL+`"}}], users: [{name: u, user: {token: t}}]}`), 0o600))
	command := program(t, []string{"CATTLE_DEV_MODE=1", "CATTLE_ELECTION_LEASE_DURATION=abc", "TMPDIR=/no/such", "HOME=/no/such"},
		"run", listen, "--health-addr=127.0.0.1:0", "--kubeconfig", file)
	command.Dir = "/proc"
	stderr, err := command.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	wait := func(words string) (before string) {
		for line := bufio.NewScanner(stderr); line.Scan(); before += line.Text() + "\n" {
			if strings.Contains(line.Text(), words) {
				return before
			}
		}
		t.Fatalf("it never said %q, but:\n%s", words, before)
		return ""
	}
	said := wait("does not accept our token; asking again")
	require.Contains(t, said, "the variable CATTLE_DEV_MODE has no effect here")
	require.Contains(t, said, "the variable CATTLE_ELECTION_LEASE_DURATION has no effect here")
	require.NoError(t, command.Process.Signal(syscall.SIGHUP))
	require.NoError(t, command.Process.Signal(syscall.SIGPIPE))
	wait("does not accept our token; asking again")
	require.NoError(t, command.Process.Signal(syscall.SIGTERM))
	require.NoError(t, command.Wait())
}

// F37: the three standard files may be closed, or lead nowhere.
func TestClosedFiles(t *testing.T) {
	binary, err := shipped()
	require.NoError(t, err)
	for _, redirection := range []string{"<&- >&- 2>&-", ">&-", "2>&-", "2>/dev/full >/dev/full"} {
		shell := exec.CommandContext(t.Context(), "sh", "-c", `exec "$0" run --workers=0 `+redirection, binary)
		require.Error(t, shell.Run(), redirection)
		require.Equal(t, 2, shell.ProcessState.ExitCode(), redirection)
	}
}
