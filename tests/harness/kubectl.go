package harness

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
)

// Kubectl runs the real kubectl as the administrator, and returns what it prints without the last newline.
func (w *World) Kubectl(ctx context.Context, args ...string) (string, error) {
	return w.kubectl(ctx, w.Kubeconfig, nil, args...)
}

// Apply applies manifests as a user would, and refuses unknown fields as the API server does under strict validation.
func (w *World) Apply(ctx context.Context, manifests string, args ...string) (string, error) {
	return w.kubectl(ctx, w.Kubeconfig, strings.NewReader(manifests), append([]string{"apply", "--validate=strict", "-f", "-"}, args...)...)
}

func (w *World) kubectl(ctx context.Context, kubeconfig string, stdin io.Reader, args ...string) (string, error) {
	command := exec.CommandContext(ctx, filepath.Join(w.Bin(), "kubectl"), append([]string{"--kubeconfig", kubeconfig}, args...)...)
	var stdout, stderr bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = stdin, &stdout, &stderr
	if err := command.Run(); err != nil {
		return stdout.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimRight(stdout.String(), "\n"), nil
}
