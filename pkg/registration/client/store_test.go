package client

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

func TestSaveAnswer(t *testing.T) {
	config, err := protocol.ParseAnswer([]byte(`{"n":7,"f":1.5,"big":12345678901234567890,"write_files":[{"path":"/a","content":"x\ny\n"}],"hostname":"m-1","b":true,"z":null,"t":"7"}`))
	require.NoError(t, err)
	store := Store{Root: t.TempDir()}
	for range 3 {
		path, err := store.SaveAnswer(&Answer{Config: config, Hostname: "m-1"})
		require.NoError(t, err)
		require.Equal(t, filepath.Join(store.Root, "oem/99_rancheros.yaml"), path)
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, "#cloud-config\nb: true\nbig: 12345678901234567890\nf: 1.5\nhostname: m-1\n"+
			"\"n\": 7\nt: \"7\"\nwrite_files:\n    - content: |\n        x\n        y\n      path: /a\nz: null\n", string(data))
	}
	require.Equal(t, fs.FileMode(0o600), mode(t, filepath.Join(store.Root, ConfigFile)), "a cloud-config holds secrets")
	require.Equal(t, fs.FileMode(0o644), mode(t, filepath.Join(store.Root, HostnameFile)))
	hostname, err := os.ReadFile(filepath.Join(store.Root, HostnameFile))
	require.NoError(t, err)
	require.Equal(t, "m-1\n", string(hostname))
	left, err := filepath.Glob(filepath.Join(store.Root, "*/.rancheros-*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// A disk that cannot be written keeps what it had.
func TestSaveAnswerFails(t *testing.T) {
	store := Store{Root: t.TempDir()}
	require.NoError(t, os.WriteFile(filepath.Join(store.Root, "oem"), []byte("not a folder"), 0o600))
	_, err := store.SaveAnswer(&Answer{Config: map[string]any{}})
	var failure *Failure
	require.ErrorAs(t, err, &failure)
	require.Equal(t, CauseDisk, failure.Cause)
	require.NotEmpty(t, failure.Hint)
}

// G35: a state file that cannot be used is none.
func TestState(t *testing.T) {
	store := Store{Root: t.TempDir()}
	_, err := store.LoadState()
	require.ErrorIs(t, err, ErrNoState)
	state := State{Version: 1, Identity: "id", Hostname: "m-1", Server: "https://r", RegisteredAt: time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)}
	require.NoError(t, store.SaveState(state))
	got, err := store.LoadState()
	require.NoError(t, err)
	require.Equal(t, state, got)
	path := filepath.Join(store.Root, StateFile)
	require.Equal(t, fs.FileMode(0o600), mode(t, path))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	for why, broken := range map[string][]byte{"truncated": data[:len(data)/2], "empty": {}, "another version": []byte(`{"version":2,"identity":"id"}`)} {
		require.NoError(t, os.WriteFile(path, broken, 0o600))
		_, err := store.LoadState()
		require.ErrorIs(t, err, ErrNoState, why)
	}
}

func TestCA(t *testing.T) {
	store := Store{Root: t.TempDir()}
	ca, err := store.LoadCA()
	require.NoError(t, err)
	require.Nil(t, ca)
	require.NoError(t, store.SaveCA(nil), "none to forget")
	require.NoError(t, store.SaveCA([]byte("ca")))
	ca, err = store.LoadCA()
	require.NoError(t, err)
	require.Equal(t, "ca", string(ca))
	require.NoError(t, store.SaveCA(nil))
	ca, err = store.LoadCA()
	require.NoError(t, err)
	require.Nil(t, ca, "a server that moved to a public CA")
}

func TestValidHostname(t *testing.T) {
	for name, want := range map[string]bool{
		"m-dell-1": true, "m1.example.com": true, "M1": true, "": false, "localhost": false, "-a": false, "a-": false, "a..b": false, ".a": false,
		"a.": false, "a.-b": false, "a-.b": false, "a b": false, "a\n": false, "a/b": false, "ä": false,
		"123456789012345678901234567890123456789012345678901234567890123": true, "1234567890123456789012345678901234567890123456789012345678901234": false,
	} {
		require.Equal(t, want, validHostname(name), "%q", name)
	}
}

// Numbers arrive as they were sent.
func TestEncodeNumbers(t *testing.T) {
	data, err := encodeCloudConfig(map[string]any{"a": []any{json.Number("-1"), json.Number("0.50"), json.Number("1e3"), "7"}})
	require.NoError(t, err)
	require.Equal(t, "#cloud-config\na:\n    - -1\n    - 0.50\n    - 1e3\n    - \"7\"\n", string(data))
	data, err = encodeCloudConfig(map[string]any{})
	require.NoError(t, err)
	require.Equal(t, "#cloud-config\n{}\n", string(data), "nothing to configure is a cloud-config, too")
}

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info.Mode().Perm()
}

var errTest = errors.New("test")
