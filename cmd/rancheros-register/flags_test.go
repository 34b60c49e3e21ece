package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"
)

// Every flag says what it is for, and can be set in a unit file's environment. The same flag is the same in every command.
func TestEveryFlag(t *testing.T) {
	seen := map[string]string{}
	for _, command := range newApp(&console{}).Commands {
		for _, flag := range command.Flags {
			name := flag.Names()[0]
			documented, ok := flag.(cli.DocGenerationFlag)
			require.True(t, ok, name)
			require.Greater(t, len(documented.GetUsage()), 10, "--%s of %s has no usage", name, command.Name)
			require.Len(t, documented.GetEnvVars(), 1, "--%s of %s has one variable", name, command.Name)
			variable := documented.GetEnvVars()[0]
			require.Regexp(t, "^RANCHEROS_[A-Z_]+$", variable)
			require.True(t, strings.HasSuffix(variable, strings.ToUpper(strings.ReplaceAll(name, "-", "_"))), "--%s is set by its own name, not by %s", name, variable)
			if before := seen[variable]; before != "" {
				require.Equal(t, before, name, variable)
			}
			seen[variable] = name
			// F30: a secret on a command line is in every process list.
			require.NotContains(t, name, "password")
			require.True(t, !strings.Contains(name, "token") || name == flagTokenFile, name)
		}
	}
	require.Greater(t, len(seen), 8)
}

// F2, F12, F28, F29, F33, F42: what is wrong with the command line itself, all at once. TestExitCodes has the rest.
func TestBadFlags(t *testing.T) {
	for _, c := range []struct {
		id          string
		environment map[string]string
		args        []string
		want        []string
	}{
		{"F2 a slip", nil, []string{"register", "--urll=https://rancher.example.com"}, []string{"there is no flag --urll; did you mean --url?"}},
		{"F12", nil, []string{"register", "--once=maybe"}, []string{`--once must be true or false, not "maybe"`}},
		{"F12 in the environment", map[string]string{"RANCHEROS_ONCE": "maybe"}, []string{"register"}, []string{`--once, set by RANCHEROS_ONCE, must be true or false, not "maybe"`}},
		{"F28", nil, []string{"register", "--url=https://a", "--url=https://b"}, []string{"--url is given twice"}},
		{"F29", nil, []string{"register", "--url"}, []string{"--url has no value"}},
		{"F33", map[string]string{"RANCHEROS_ROOT": "\xff"}, []string{"tpm-hash"}, []string{`--root, set by RANCHEROS_ROOT, must be text in UTF-8`}},
		{"F42 spaces", nil, []string{"register", "--once", "--url", "https://rancher.example.com/v1 rancheros"}, []string{"malformed"}},
		{"all at once", map[string]string{"RANCHEROS_ALLOW_HTTP": "no thanks"}, []string{"join", "--onc", "--role"}, []string{"there is no flag --onc", "--role has no value", "RANCHEROS_ALLOW_HTTP"}},
	} {
		for name, value := range c.environment {
			t.Setenv(name, value)
		}
		result := runHere(t, nil, c.args...)
		require.Equal(t, exitConfig, result.ExitCode, "%s: %s", c.id, result.Stderr)
		for _, want := range c.want {
			require.Contains(t, result.Stderr, want, c.id)
		}
		require.Equal(t, len(c.want), strings.Count(result.Stderr, "What to do: "), "%s: %s", c.id, result.Stderr)
		require.Empty(t, result.Stdout, c.id)
		for name := range c.environment {
			t.Setenv(name, "")
		}
	}
	require.Contains(t, runHere(t, nil, "register", "--help", "--nope").Stdout, "--tpm-device", "whoever asks for help gets it")
}
