package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset/typed/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rancher/rancheros-operator/pkg/crds"
	"github.com/rancher/rancheros-operator/tests/rancher"
)

// install does what the charts of Rancher, Fleet, system-upgrade-controller and ours would do.
func (w *World) install(ctx context.Context) error {
	if err := rancher.Install(ctx, w.Config); err != nil {
		return fmt.Errorf("installing Rancher's kinds: %w", err)
	}
	if err := w.installCRDs(ctx); err != nil {
		return err
	}
	files := filepath.Join(w.Root, "chart", "rancheros-operator", "files")
	if _, err := w.Kubectl(ctx, "create", "namespace", Namespace); err != nil {
		return err
	}
	for _, file := range []string{"cluster-role.yaml", "admission-policies.yaml", "apiservice.yaml"} {
		if _, err := w.Kubectl(ctx, "apply", "--server-side", "-f", filepath.Join(files, file)); err != nil {
			return err
		}
	}
	return w.createServiceAccount(ctx)
}

func (w *World) installCRDs(ctx context.Context) error {
	client, err := apiextensions.NewForConfig(w.Config)
	if err != nil {
		return fmt.Errorf("making client of CRDs: %w", err)
	}
	objects, err := crds.Objects()
	if err != nil {
		return err
	}
	for _, object := range objects {
		_, err := client.CustomResourceDefinitions().Create(ctx, object, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("creating CRD %s: %w", object.Name, err)
		}
	}
	for _, object := range objects {
		if err := Eventually(ctx, 30*time.Second, func() error { return established(ctx, client, object.Name) }); err != nil {
			return err
		}
	}
	return nil
}

func established(ctx context.Context, client *apiextensions.ApiextensionsV1Client, name string) error {
	crd, err := client.CustomResourceDefinitions().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, condition := range crd.Status.Conditions {
		if condition.Type == apiextensionsv1.Established && condition.Status == apiextensionsv1.ConditionTrue {
			return nil
		}
	}
	return fmt.Errorf("CRD %s is not established: %v", name, crd.Status.Conditions)
}

// createServiceAccount binds the chart's role to the account that the operator runs under.
func (w *World) createServiceAccount(ctx context.Context) error {
	account := Namespace + ":rancheros-operator"
	var errs []error
	for _, args := range [][]string{
		{"create", "serviceaccount", "rancheros-operator", "-n", Namespace},
		{"create", "clusterrolebinding", "rancheros-operator", "--clusterrole", "rancheros-operator", "--serviceaccount", account},
		{"create", "rolebinding", "rancheros-operator", "-n", Namespace, "--role", "rancheros-operator", "--serviceaccount", account},
	} {
		_, err := w.Kubectl(ctx, args...)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
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
