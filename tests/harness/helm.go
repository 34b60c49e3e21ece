package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// OperatorChart and CRDChart are the names of the charts, their folders in chart/, and their releases.
const (
	OperatorChart = "rancheros-operator"
	CRDChart      = "rancheros-operator-crd"
)

// Chart is the folder of a chart.
func (w *World) Chart(name string) string {
	return filepath.Join(w.Root, "chart", name)
}

// Helm runs the real Helm as the administrator, in the operator's namespace, and returns what it prints. Values, which may
// be nil, are handed over as a file would be.
func (w *World) Helm(ctx context.Context, values map[string]any, args ...string) (string, error) {
	var stdin io.Reader
	if values != nil {
		body, err := yaml.Marshal(values)
		if err != nil {
			return "", fmt.Errorf("encoding values: %w", err)
		}
		stdin, args = bytes.NewReader(body), append(args, "--values", "-")
	}
	command := exec.CommandContext(ctx, filepath.Join(w.Bin(), "helm"), append([]string{"--kubeconfig", w.Kubeconfig, "--namespace", Namespace}, args...)...)
	home := filepath.Join(w.Dir, "helm")
	command.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	var stdout, stderr bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = stdin, &stdout, &stderr
	if err := command.Run(); err != nil {
		return stdout.String(), fmt.Errorf("helm %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// installCharts installs both as an administrator does. Nothing runs pods here: the Deployment says how the operator is to be
// run, and StartReplica does it.
func (w *World) installCharts(ctx context.Context) error {
	if _, err := w.Helm(ctx, nil, "install", CRDChart, w.Chart(CRDChart), "--create-namespace", "--wait", "--timeout", "90s"); err != nil {
		return err
	}
	values := w.options.Values
	if values == nil {
		// Scenarios make namespaces as they go, and ask replicas one by one.
		values = map[string]any{
			"replicas":            max(1, w.options.Replicas),
			"secretNamespaces":    []string{"*"},
			"registration":        map[string]any{"listener": map[string]any{"enabled": true}},
			"media":               map[string]any{"enabled": true},
			"podDisruptionBudget": map[string]any{"enabled": false},
		}
	}
	_, err := w.Helm(ctx, values, "install", OperatorChart, w.Chart(OperatorChart), "--timeout", "90s")
	return err
}

// container is the operator's container as the chart's Deployment has it.
func (w *World) container(ctx context.Context) (corev1.Container, error) {
	deployment, err := w.Kube.AppsV1().Deployments(Namespace).Get(ctx, OperatorChart, metav1.GetOptions{})
	if err != nil {
		return corev1.Container{}, fmt.Errorf("reading Deployment: %w", err)
	}
	return containerOf(deployment)
}

func containerOf(deployment *appsv1.Deployment) (corev1.Container, error) {
	containers := deployment.Spec.Template.Spec.Containers
	if len(containers) != 1 {
		return corev1.Container{}, fmt.Errorf("the Deployment has %d containers", len(containers))
	}
	return containers[0], nil
}

// environment is that of the container, with what differs between a pod and a process of this machine: addresses are free
// ones, and folders are below ours. A variable of instead that the chart does not set is left out, but for those that are
// there to be set in any case.
func environment(container corev1.Container, instead map[string]string) ([]string, error) {
	var environment []string
	for _, variable := range container.Env {
		value, replaced := instead[variable.Name]
		switch {
		case replaced:
		case variable.ValueFrom == nil:
			value = variable.Value
		case variable.ValueFrom.FieldRef != nil && variable.ValueFrom.FieldRef.FieldPath == "metadata.namespace":
			value = Namespace
		default:
			return nil, errors.New("the harness does not know where " + variable.Name + " comes from")
		}
		environment = append(environment, variable.Name+"="+value)
	}
	return environment, nil
}

// settle is how long the API server may take until it knows what an installation has brought.
const settle = 30 * time.Second

// waitForRights returns when the authorizer knows the operator's roles, which it follows at a small distance.
func (w *World) waitForRights(ctx context.Context) error {
	return Eventually(ctx, settle, func() error {
		answer, err := w.Kubectl(ctx, "auth", "can-i", "list", "machineregistrations.rancheros.cattle.io", "--all-namespaces", "--as", OperatorUser)
		if answer != "yes" {
			return fmt.Errorf("the operator has no rights yet: %s: %w", answer, err)
		}
		return nil
	})
}
