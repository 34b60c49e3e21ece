package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOfAProgram(t *testing.T) {
	program := filepath.Join(t.TempDir(), "rancheros-register")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", program, "../../cmd/rancheros-register")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	output, err := build.CombinedOutput()
	require.NoError(t, err, "%s", output)
	var first, second bytes.Buffer
	require.NoError(t, run(program, "rancheros-register", "v1.2.3+x", &first))
	require.NoError(t, run(program, "rancheros-register", "v1.2.3+x", &second))
	require.Equal(t, first.String(), second.String(), "the same of the same bytes")
	var d document
	require.NoError(t, json.Unmarshal(first.Bytes(), &d))
	require.Equal(t, "pkg:golang/github.com/rancher/rancheros-operator@v1.2.3%2Bx", d.Metadata.Component.PURL)
	require.Len(t, d.Metadata.Component.Hashes[0].Content, 64)
	require.Regexp(t, `^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, d.SerialNumber)
	names := map[string]component{}
	for _, c := range d.Components {
		require.NotEmpty(t, c.Version, c.Name)
		names[c.Name] = c
	}
	require.Regexp(t, `^1\.\d+`, names["stdlib"].Version)
	require.NotContains(t, names, "k8s.io/client-go", "what is not linked is not in it")
	require.Contains(t, names["github.com/google/go-tpm"].Properties[0].Value, "h1:")
	require.Len(t, d.Dependencies[0].DependsOn, len(d.Components))
}

func TestOfNoProgram(t *testing.T) {
	require.ErrorContains(t, run("main.go", "n", "v", &bytes.Buffer{}), "reading what main.go was built of")
}
