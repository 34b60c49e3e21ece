package chart

import (
	"bytes"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	operator  = "rancheros-operator"
	namespace = "cattle-rancheros-operator-system"
)

// root is the repository's, seen from this folder.
var root = filepath.Join("..", "..")

func chart(name string) string { return filepath.Join(root, "chart", name) }

// helm runs Helm without a cluster and returns both outputs together; err is for how it ended. Values are YAML.
func helm(t *testing.T, values string, args ...string) (string, error) {
	t.Helper()
	program, err := filepath.Abs(filepath.Join(root, "bin", "helm"))
	require.NoError(t, err)
	command := exec.CommandContext(t.Context(), program, append(args, "--values", "-")...)
	home := t.TempDir()
	// A cluster that may be configured on this machine is none of our business.
	command.Env = []string{"HOME=" + home, "KUBECONFIG=" + filepath.Join(home, "none")}
	var output bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(values), &output, &output
	err = command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err, "`make build-test` puts helm into bin/")
	}
	return output.String(), err
}

// render is what the chart makes of values.
func render(t *testing.T, values string, args ...string) string {
	t.Helper()
	output, err := helm(t, values, append([]string{"template", operator, chart(operator), "--namespace", namespace}, args...)...)
	require.NoError(t, err, output)
	return output
}
