package operator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// maxKubeconfig is far more than any has.
const maxKubeconfig = 1 << 20

func (o *Options) validateKubeconfig() error {
	if o.Kubeconfig == "" {
		if o.KubeContext != "" {
			return errors.New("--kube-context must be given with --kubeconfig, whose contexts it names")
		}
		return nil
	}
	info, err := os.Stat(o.Kubeconfig)
	if err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("--kubeconfig must be a file that can be read, and %q is not", o.Kubeconfig)
	}
	if info.Size() > maxKubeconfig {
		return fmt.Errorf("--kubeconfig must be a file of at most %d bytes, and %q has %d", maxKubeconfig, o.Kubeconfig, info.Size())
	}
	loaded, err := clientcmd.LoadFromFile(o.Kubeconfig)
	if err != nil {
		return fmt.Errorf("--kubeconfig %q cannot be read: %w", o.Kubeconfig, err)
	}
	if _, found := loaded.Contexts[o.KubeContext]; o.KubeContext != "" && !found {
		return fmt.Errorf("--kube-context must be a context of %s, and %q is none", o.Kubeconfig, o.KubeContext)
	}
	config, err := o.RESTConfig()
	if err != nil {
		return fmt.Errorf("--kubeconfig %q: %w", o.Kubeconfig, err)
	}
	if config.ExecProvider != nil && !o.KubeconfigExec {
		return fmt.Errorf("--kubeconfig %q runs the program %q for its credentials: give --kubeconfig-exec if it may",
			o.Kubeconfig, config.ExecProvider.Command)
	}
	return nil
}

// RESTConfig reaches the API server, as often as QPS and Burst allow where they are given.
func (o *Options) RESTConfig() (*rest.Config, error) {
	config, err := o.cluster()
	if err != nil {
		return nil, err
	}
	if o.QPS > 0 {
		config.QPS, config.Burst = float32(o.QPS), o.Burst
	}
	config.UserAgent = "rancheros-operator"
	return config, nil
}

func (o *Options) cluster() (*rest.Config, error) {
	if o.Kubeconfig == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("this is no pod with a ServiceAccount (%w): give --kubeconfig", err)
		}
		return config, nil
	}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: o.Kubeconfig}, &clientcmd.ConfigOverrides{CurrentContext: o.KubeContext}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig: %w", err)
	}
	return config, nil
}

// The API server may learn of a new ServiceAccount's token a moment later than its pod.
const (
	acceptedWithin = 30 * time.Second
	askEvery       = 2 * time.Second
)

// accepted is an error once the API server has refused our credentials for so long: caches would ask for ever. That it
// does not answer is something else, which they wait for.
func accepted(ctx context.Context, config *rest.Config, within time.Duration) error {
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return fmt.Errorf("making client: %w", err)
	}
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	for deadline := time.Now().Add(within); ; {
		err := client.RESTClient().Get().AbsPath("/version").Do(ctx).Error()
		if !apierrors.IsUnauthorized(err) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the API server at %s does not accept our token; is it expired, or of another cluster? %w", config.Host, err)
		}
		logrus.Warnf("the API server at %s does not accept our token; asking again", config.Host)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}
