package harness

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rancher/rancheros-operator/pkg/clients"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/tests/rancher"
)

// Namespace is the operator's own.
const Namespace = "cattle-rancheros-operator-system"

// Options say what to start.
type Options struct {
	// Dir is where everything is kept; it is made when missing.
	Dir string
	// Operator is the name of the operator's binary in bin/; rancheros-operator by default.
	Operator string
	// Args are added to the operator's command line.
	Args []string
	// Replicas is how many operators to start; one by default.
	Replicas int
	// Values are the chart's, instead of those that scenarios need: all namespaces, a listener, and boot media.
	Values map[string]any
	// Rancher is which Rancher to pretend; its Config is filled in.
	Rancher rancher.Options
	// Quiet leaves the detectors of mistakes off, which cost time and memory: for measurements.
	Quiet bool
	// Narrate gets a line for each step, by default nobody.
	Narrate func(string)
}

// World is a running control plane, Rancher and operator.
type World struct {
	// Dir is Options.Dir.
	Dir string
	// Root is the repository's root folder.
	Root string
	// Kubeconfig is the file of the administrator's kubeconfig, and Config what it says.
	Kubeconfig string
	Config     *rest.Config
	// Kube is a client with the administrator's rights.
	Kube kubernetes.Interface
	// Clients are the operator's typed clients with the administrator's rights; their caches are not started.
	Clients *clients.Clients
	// Rancher is the pretend one.
	Rancher *rancher.Rancher
	// Operator is the first of those that are connected to Rancher; nil while they are stopped.
	Operator *Replica

	replicas     []*Replica
	options      Options
	cancel       context.CancelFunc
	controlPlane *process
}

// Start starts everything and returns when machines can register through Rancher.
func Start(ctx context.Context, options Options) (*World, error) {
	root, err := repositoryRoot()
	if err != nil {
		return nil, err
	}
	if options.Operator == "" {
		options.Operator = "rancheros-operator"
	}
	if options.Narrate == nil {
		options.Narrate = func(string) {}
	}
	if err := os.MkdirAll(options.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making folder: %w", err)
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w := &World{Dir: options.Dir, Root: root, options: options, cancel: cancel}
	if err := w.start(ctx, running); err != nil {
		return nil, errors.Join(err, w.Stop())
	}
	return w, nil
}

// start takes two contexts: what is started runs on the second, which the end of the first does not end.
func (w *World) start(ctx, running context.Context) error {
	w.options.Narrate("starting etcd, kube-apiserver and kube-controller-manager")
	var err error
	if w.controlPlane, w.Kubeconfig, err = startControlPlane(ctx, w.Bin(), filepath.Join(w.Dir, "controlplane")); err != nil {
		return err
	}
	if err := w.connect(running); err != nil {
		return err
	}
	w.options.Narrate("installing the kinds of Rancher, Fleet and system-upgrade-controller, and starting the pretend Rancher")
	if err := rancher.Install(ctx, w.Config); err != nil {
		return fmt.Errorf("installing Rancher's kinds: %w", err)
	}
	w.options.Rancher.Config = w.Config
	if w.Rancher, err = rancher.Start(running, w.options.Rancher); err != nil {
		return fmt.Errorf("starting Rancher: %w", err)
	}
	w.options.Narrate("installing our charts with Helm")
	if err := w.install(ctx); err != nil {
		return err
	}
	w.options.Narrate("starting the operator, and waiting for its tunnel to Rancher")
	if err := w.StartOperator(ctx); err != nil {
		return err
	}
	return w.WaitForTunnel(ctx)
}

func (w *World) connect(ctx context.Context) error {
	config, err := clientcmd.BuildConfigFromFlags("", w.Kubeconfig)
	if err != nil {
		return fmt.Errorf("reading kubeconfig: %w", err)
	}
	config.QPS, config.Burst = 1000, 2000
	w.Config = config
	if w.Kube, err = kubernetes.NewForConfig(config); err != nil {
		return fmt.Errorf("making client: %w", err)
	}
	if w.Clients, err = clients.New(ctx, clients.Options{Config: config}); err != nil {
		return err
	}
	return nil
}

// TLS trusts the pretend Rancher's certificate, and nothing else.
func (w *World) TLS() *tls.Config {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(w.Rancher.CACert())
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// ControlPlanePID is the process of etcd, API server and controller manager.
func (w *World) ControlPlanePID() int {
	return w.controlPlane.command.Process.Pid
}

// CollectGarbage makes the API server do so now.
func (w *World) CollectGarbage(ctx context.Context) error {
	_, err := w.Kubectl(ctx, "get", "--raw", "/debug/pprof/heap?gc=1")
	return err
}

// Bin is the folder of the programs.
func (w *World) Bin() string {
	return filepath.Join(w.Root, "bin")
}

// Indexes starts the caches of Clients and returns the lookups on them.
func (w *World) Indexes(ctx context.Context) (*index.Indexes, error) {
	indexes := index.Add(w.Clients)
	return indexes, w.Clients.StartCaches(ctx)
}

// WaitForTunnel returns when every replica is connected to Rancher, or one has died, or ctx ends.
func (w *World) WaitForTunnel(ctx context.Context) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for w.Rancher.Tunnels() < len(w.replicas) {
		if err := w.Died(); err != nil {
			return fmt.Errorf("waiting for the operator's tunnel: %w", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the operator's tunnel: %w", context.Cause(ctx))
		}
	}
	return nil
}

// Stop ends everything, the last started first. What ended badly is an error.
func (w *World) Stop() error {
	var errs []error
	if w.Operator != nil {
		errs = append(errs, w.StopOperator())
	}
	if w.Rancher != nil {
		w.Rancher.Close()
	}
	w.cancel()
	if w.controlPlane != nil {
		if err := w.controlPlane.stop(); err != nil {
			errs = append(errs, fmt.Errorf("stopping the control plane: %w", err))
		}
	}
	return errors.Join(errs...)
}

// Eventually calls check until it returns nil, and fails with its last error when that takes longer than timeout.
func Eventually(ctx context.Context, timeout time.Duration, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("still not so after %s: %w", timeout, err)
		}
	}
}

// repositoryRoot is the nearest folder above this one that holds the product's go.mod.
func repositoryRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the repository: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "pkg", "crds")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("finding the repository: no folder above this one is it")
		}
		dir = parent
	}
}
