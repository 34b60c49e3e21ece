package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"
)

// call runs the program as a shell would, and returns its exit code, standard output and standard error.
func call(t *testing.T, environment map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	for name, value := range environment {
		t.Setenv(name, value)
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	require.NoError(t, err)
	errs, err := os.Create(filepath.Join(t.TempDir(), "err"))
	require.NoError(t, err)
	oldOut, oldErr := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = out, errs
	code = run(append([]string{"rancheros-operator"}, args...))
	os.Stdout, os.Stderr = oldOut, oldErr
	return code, content(t, out), content(t, errs)
}

func content(t *testing.T, file *os.File) string {
	t.Helper()
	defer file.Close()
	_, err := file.Seek(0, io.SeekStart)
	require.NoError(t, err)
	body, err := io.ReadAll(file)
	require.NoError(t, err)
	return string(body)
}

// Every flag of every command says what it is for, and can be set where there are only environment variables: in a chart.
func TestEveryFlag(t *testing.T) {
	require.Greater(t, len(runCommand().Flags), 20)
	eachCommand(newApp().Commands, func(command *cli.Command) {
		variables := map[string]string{}
		for _, flag := range command.Flags {
			name := flag.Names()[0]
			documented, ok := flag.(cli.DocGenerationFlag)
			require.True(t, ok, name)
			require.Greater(t, len(documented.GetUsage()), 10, "--%s has no usage", name)
			require.Len(t, documented.GetEnvVars(), 1, "--%s of %s has one variable", name, command.Name)
			variable := documented.GetEnvVars()[0]
			require.True(t, strings.HasSuffix(variable, strings.ToUpper(strings.ReplaceAll(name, "-", "_"))), "--%s is set by its own name in capitals, not by %s", name, variable)
			require.Empty(t, variables[variable])
			variables[variable] = name
			// F30: a password on a command line is in every process list.
			for _, word := range []string{"password", "token"} {
				require.NotContains(t, name, word)
			}
		}
	})
}

func eachCommand(commands []*cli.Command, do func(*cli.Command)) {
	for _, command := range commands {
		do(command)
		eachCommand(command.Subcommands, do)
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{nil, {"--help"}, {"-h"}} {
		code, stdout, _ := call(t, nil, args...)
		require.Zero(t, code, "F1")
		require.Contains(t, stdout, "run")
		require.Contains(t, stdout, "version")
	}
	code, stdout, _ := call(t, nil, "run", "--help")
	require.Zero(t, code)
	require.Contains(t, stdout, "--listen-addr HOST:PORT")
	require.Contains(t, stdout, "$LISTEN_ADDR")
}

func TestVersion(t *testing.T) {
	code, stdout, _ := call(t, nil, "version")
	require.Zero(t, code)
	require.Regexp(t, `^\S+ \(\S+\)\n$`, stdout)
	code, stdout, _ = call(t, nil, "version", "-o", "json")
	require.Zero(t, code)
	require.Regexp(t, `^\{"version":"[^"]+","commit":"[^"]+","go":"go1[^"]+"\}\n$`, stdout)
	code, _, stderr := call(t, nil, "version", "-o", "xml")
	require.Equal(t, 2, code)
	require.Contains(t, stderr, `--output must be text or json, not "xml"`)
}

func TestWrongCalls(t *testing.T) {
	for _, c := range []struct {
		id          string
		environment map[string]string
		args        []string
		want        string
	}{
		{"F2 an unknown command", nil, []string{"rum"}, `there is no command "rum"; see --help`},
		{"F2 an unknown flag", nil, []string{"--verbose"}, "-verbose"},
		{"F2 an unknown flag of run", nil, []string{"run", "--listen-adr=:1"}, "-listen-adr"},
		{"F2 something left over", nil, []string{"run", "--listen-addr=:1", "now"}, `there is nothing to do with "now"`},
		{"F12 a boolean that is none", nil, []string{"run", "--leader-elect=maybe"}, "maybe"},
		{"F12 in the environment", map[string]string{"LEADER_ELECT": "maybe"}, []string{"run"}, "LEADER_ELECT"},
		{"F4 a duration that is none", nil, []string{"run", "--lease-duration=15"}, "lease-duration"},
		{"F16 in the environment", map[string]string{"LEASE_DURATION": "abc"}, []string{"run"}, "LEASE_DURATION"},
		{"F17 a level that is none", nil, []string{"run", "--log-level=loud"}, `--log-level must be error, warn, info or debug, not "loud"`},
		{"F17 a level below error", nil, []string{"run", "--log-level=panic"}, `--log-level must be error, warn, info or debug, not "panic"`},
		{"F17 a level above debug", nil, []string{"run", "--log-level=trace"}, `not "trace"`},
		{"F17 a format that is none", nil, []string{"run", "--log-format=xml"}, `--log-format must be text or json, not "xml"`},
		{"F20 a number that is none", nil, []string{"run", "--max-in-flight=many"}, "max-in-flight"},
		{"F20 a number that is too large for one", nil, []string{"run", "--max-in-flight=1000000000000000000000"}, "max-in-flight"},
		{"F20 in the environment", map[string]string{"MAX_IN_FLIGHT": "1e12"}, []string{"run"}, "MAX_IN_FLIGHT"},
		{"F29 spaces for a flag", nil, []string{"run", "--", "--listen-addr=:1"}, "there is nothing to do with"},
		{"F30 there is no flag for a secret", nil, []string{"run", "--token=x"}, "-token"},
		{"no way for a machine to reach us", nil, []string{"run"}, "--listen-addr or --tunnel-secret-name must be given"},
	} {
		code, stdout, stderr := call(t, c.environment, c.args...)
		require.Equal(t, 2, code, c.id)
		require.Contains(t, stderr, c.want, c.id)
		require.True(t, strings.HasPrefix(stderr, "rancheros-operator: "), c.id)
		require.NotContains(t, stderr, "goroutine", c.id)
		require.Empty(t, stdout, "%s: what is wrong is not lost in a page of help", c.id)
		for name := range c.environment {
			require.NoError(t, os.Unsetenv(name))
		}
	}
}

// Whoever mends one problem does not want to meet the next.
func TestAllProblemsAtOnce(t *testing.T) {
	args := []string{"run", "--listen-addr=x", "--health-addr=y", "--qps=0", "--workers=0", "--log-format=xml", "--namespace=Upper", "--tls-key-file=k", "--kubeconfig=/no/such", "left-over"}
	code, _, first := call(t, nil, args...)
	require.Equal(t, 2, code)
	for _, problem := range []string{"--listen-addr", "--health-addr", "--qps", "--workers", "--log-format", "--namespace", "--tls-cert-file", "--kubeconfig", "left-over"} {
		require.Contains(t, first, problem)
	}
	_, _, again := call(t, nil, args...)
	require.Equal(t, first, again, "in the same order")
}

// The environment and the command line mean the same, and the command line wins.
func TestEnvironment(t *testing.T) {
	_, _, stderr := call(t, map[string]string{"LISTEN_ADDR": "from-environment"}, "run")
	require.Contains(t, stderr, `--listen-addr, set by LISTEN_ADDR, must be host:port or :port, not "from-environment"`)
	_, _, stderr = call(t, nil, "run", "--listen-addr", "from-flag")
	require.Contains(t, stderr, `not "from-flag"`)
	require.NotContains(t, stderr, "from-environment")
}

func TestEnvironmentOfCharts(t *testing.T) {
	empty, newline := map[string]string{}, map[string]string{"QPS": "20\n", "BURST": " 30", "LEASE_DURATION": "15s\n", "LEADER_ELECT": "true\n", "LOG_LEVEL": "info\n", "NAMESPACE": "ns\n"}
	for _, flag := range runCommand().Flags {
		empty[strings.ToUpper(strings.ReplaceAll(flag.Names()[0], "-", "_"))] = ""
	}
	for why, environment := range map[string]map[string]string{"F32: empty is as not set": empty, "F31: a newline at the end": newline} {
		code, _, stderr := call(t, environment, "run")
		require.Equal(t, 2, code, why)
		require.Equal(t, "rancheros-operator: --listen-addr or --tunnel-secret-name must be given: without both no machine can reach the operator\n", stderr, why)
	}
}

// F11, F18: a failure is no wrong call.
func TestFailureIsOne(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(file, []byte(`{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: k, user: u}}],
		clusters: [{name: k, cluster: {server: "https://127.0.0.1:1"}}], users: [{name: u, user: {token: t}}]}`), 0o600))
	code, _, stderr := call(t, nil, "run", "--kubeconfig", file, "--listen-addr=127.0.0.1:0", "--health-addr=256.256.256.256:1")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "listening for probes")
}
