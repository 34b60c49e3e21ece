package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// startTimeout is generous: a start takes two seconds on a quiet machine, and
// the machines of tests are not quiet.
const startTimeout = 2 * time.Minute

// plane is one control plane: what it needs before anything starts, and the
// parts that run.
type plane struct {
	options      options
	layout       layout
	certificates certificates
	listeners    listeners
	components   components

	kubernetesLog *logFile
	etcdLog       *logFile
	log           *narrator

	started  bool
	stopping atomic.Bool
}

// newPlane prepares all that can be wrong before anything has started.
func newPlane(o options, l layout, log *narrator, died context.CancelCauseFunc) (*plane, error) {
	p := &plane{options: o, layout: l, log: log, components: components{died: died}}
	var err error
	if p.kubernetesLog, err = openLog(l.kubernetesLog, o.verbose); err != nil {
		return nil, err
	}
	if p.etcdLog, err = openLog(l.etcdLog, o.verbose); err != nil {
		return nil, err
	}
	if err := logKubernetes(p.kubernetesLog, o.verbose, p.kubernetesExits); err != nil {
		return nil, err
	}
	if p.certificates, err = ensureCertificates(l.pki); err != nil {
		return nil, err
	}
	if p.listeners, err = openListeners(l.ports, log); err != nil {
		return nil, err
	}
	return p, nil
}

// start returns when the cluster can be used and the kubeconfig is written.
func (p *plane) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not ready after %s", startTimeout))
	defer cancel()

	p.log.sayf("starting etcd on %s", p.layout.etcdData)
	if err := p.startEtcd(ctx); err != nil {
		return fmt.Errorf("starting etcd (log: %s): %w", p.layout.etcdLog, err)
	}

	server := "https://" + p.listeners.apiServer.Addr().String()
	p.log.sayf("starting kube-apiserver on %s", server)
	admin, err := kubeconfig(p.certificates, server, adminName)
	if err != nil {
		return err
	}
	client, err := restConfig(admin)
	if err != nil {
		return err
	}
	if err := p.startAPIServer(); err != nil {
		return fmt.Errorf("starting kube-apiserver: %w", err)
	}
	if err := waitForAPIServer(ctx, client); err != nil {
		return fmt.Errorf("starting kube-apiserver (log: %s): %w", p.layout.kubernetesLog, err)
	}

	p.log.sayf("starting kube-controller-manager")
	if err := p.startControllerManager(server); err != nil {
		return fmt.Errorf("starting kube-controller-manager: %w", err)
	}
	if err := waitForControllerManager(ctx, client, p.listeners.controllerManager.Addr()); err != nil {
		return fmt.Errorf("starting kube-controller-manager (log: %s): %w", p.layout.kubernetesLog, err)
	}

	if err := writeFile(p.options.kubeconfig, admin); err != nil {
		return fmt.Errorf("writing the administrator's kubeconfig: %w", err)
	}
	p.log.sayf("ready; use it with --kubeconfig %s", p.options.kubeconfig)
	p.started = true
	return nil
}

// stop ends what start has started, also when start came to no good end.
func (p *plane) stop() error {
	p.stopping.Store(true)
	if !p.started {
		// Kubernetes takes an interrupted start for a fatal error and needs
		// seconds to say so. Nobody has used it yet: only the store has to be
		// closed, the rest ends with the process.
		p.components.leaveAllBut(etcdName)
	}
	return p.components.stop(stopGrace, p.log)
}

// kubernetesExits is called by Kubernetes in place of os.Exit. While we stop,
// an error of one part must not keep the store from being closed.
func (p *plane) kubernetesExits(code int) {
	if p.stopping.Load() {
		select {} // the process ends soon
	}
	p.log.sayf("Kubernetes ended the process with code %d; %s (see %s)",
		code, p.kubernetesLog.reason(), p.kubernetesLog.path)
	os.Exit(exitFailure)
}

// restConfig is for our own questions during the start, without client-go's
// default of five requests per second.
func restConfig(kubeconfig []byte) (*rest.Config, error) {
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading our own kubeconfig: %w", err)
	}
	config.QPS = -1
	return config, nil
}
