package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"
)

// Each flag can be set where there are only environment variables, and says what it is for.
func TestNetbootFlags(t *testing.T) {
	for _, command := range []*cli.Command{netbootCommand(), netbootStatusCommand()} {
		for _, flag := range command.Flags {
			documented, ok := flag.(cli.DocGenerationFlag)
			require.True(t, ok)
			require.Len(t, documented.GetEnvVars(), 1, "--%s", flag.Names()[0])
			require.Greater(t, len(documented.GetUsage()), 10, "--%s", flag.Names()[0])
		}
	}
	code, stdout, _ := call(t, nil, "netboot", "--help")
	require.Zero(t, code)
	require.Contains(t, stdout, "--config FILE")
	require.Contains(t, stdout, "CAP_NET_BIND_SERVICE")
}

func TestNetbootWrongCalls(t *testing.T) {
	file := filepath.Join(t.TempDir(), "netboot.yaml")
	require.NoError(t, os.WriteFile(file, []byte("colour: red\nregistrations: [{name: edge}]\n"), 0o600))
	for _, c := range []struct {
		environment map[string]string
		args        []string
		want        []string
	}{
		{nil, nil, []string{"--config must be given"}},
		{nil, []string{"now", "--log-level=loud"}, []string{`there is nothing to do with "now"`, "--config must be given"}},
		{nil, []string{"--log-level=loud"}, []string{"--config must be given", "--log-level must be"}},
		{nil, []string{"--config=/nowhere.yaml"}, []string{"reading the config", "/nowhere.yaml"}},
		{nil, []string{"--config=" + file}, []string{"line 1: there is no field colour here", "registrations[0] must have ipxeURL, downloadURL or both"}},
		{map[string]string{"NETBOOT_CONFIG": file}, []string{"--check"}, []string{"there is no field colour here"}},
		{nil, []string{"--configuration=x"}, []string{"-configuration"}},
		{nil, []string{"status", "now"}, []string{`there is nothing to do with "now"`}},
		{nil, []string{"status", "--output=xml"}, []string{`--output must be table or json, not "xml"`}},
	} {
		code, _, stderr := call(t, c.environment, append([]string{"netboot"}, c.args...)...)
		require.Equal(t, 2, code, c.args)
		for _, want := range c.want {
			require.Contains(t, stderr, want)
		}
	}
}

func TestNetbootCheckAndStatus(t *testing.T) {
	file := filepath.Join(t.TempDir(), "netboot.yaml")
	require.NoError(t, os.WriteFile(file, []byte("registrations: [{name: edge, downloadURL: 'https://rancher.example.com/v1-rancheros/seedimage/x/a.iso'}]\n"), 0o600))
	code, stdout, _ := call(t, nil, "netboot", "--config", file, "--check")
	require.Zero(t, code)
	require.Equal(t, file+": nothing is wrong with it\n", stdout)

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"version":"v1 (abc)","machines":[{"mac":"52:54:00:00:00:01","stage":"Sent","boots":1}]}`)
	}))
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")
	code, stdout, _ = call(t, nil, "netboot", "status", "--address", address)
	require.Zero(t, code)
	require.Regexp(t, `52:54:00:00:00:01 .* Sent`, stdout)
	code, stdout, _ = call(t, map[string]string{"NETBOOT_ADDRESS": address}, "netboot", "status", "-o", "json")
	require.Zero(t, code)
	require.Contains(t, stdout, `"mac": "52:54:00:00:00:01"`)
	server.Close()
	code, _, stderr := call(t, nil, "netboot", "status", "--address", address)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "does `rancheros-operator netboot` run there")
}
