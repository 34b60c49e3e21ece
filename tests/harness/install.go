package harness

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// install installs our charts with Helm, where Rancher runs already.
func (w *World) install(ctx context.Context) error {
	if err := w.installCharts(ctx); err != nil {
		return err
	}
	return w.waitForRights(ctx)
}

// operatorKubeconfig writes a kubeconfig with a token of the operator's ServiceAccount.
func (w *World) operatorKubeconfig(ctx context.Context, options ReplicaOptions) (string, error) {
	file := filepath.Join(w.Dir, options.Name+".kubeconfig")
	token, err := w.Kubectl(ctx, "create", "token", "rancheros-operator", "-n", Namespace, "--duration", "24h")
	if err != nil {
		return "", err
	}
	admin, err := os.ReadFile(w.Kubeconfig)
	if err != nil {
		return "", fmt.Errorf("reading kubeconfig: %w", err)
	}
	if err := os.WriteFile(file, admin, 0o600); err != nil {
		return "", fmt.Errorf("writing kubeconfig: %w", err)
	}
	commands := [][]string{
		{"config", "set-credentials", "operator", "--token", token},
		{"config", "set-context", "--current", "--user", "operator"},
		{"config", "delete-user", "admin"},
	}
	if options.APIServer != "" {
		ca := file + ".ca"
		if err := os.WriteFile(ca, options.APIServerCA, 0o600); err != nil {
			return "", fmt.Errorf("writing CA: %w", err)
		}
		commands = append(commands, []string{"config", "set-cluster", "rancheros-test", "--server", options.APIServer,
			"--certificate-authority", ca, "--embed-certs"})
	}
	for _, args := range commands {
		if _, err := w.kubectl(ctx, file, nil, args...); err != nil {
			return "", err
		}
	}
	return file, nil
}
