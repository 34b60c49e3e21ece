// Command controlplane is a real Kubernetes control plane in one process:
// etcd, kube-apiserver and kube-controller-manager, started for a test or a
// demo and gone when it is over.
//
// The tests of rancheros-operator talk to it over HTTPS exactly as the
// operator talks to a cluster in production: real client certificates, real
// ServiceAccount tokens, real RBAC, real admission, real garbage collection
// and real namespace deletion. There is no node, no scheduler and no kubelet,
// so Pods are accepted and never run.
//
// It is a Go module of its own because it needs k8s.io/kubernetes, which drags
// some two hundred modules and a fixed version of every k8s.io library behind
// it. The product must never see those in its go.mod, and what the tests run
// must be the very binary that ships. Nothing of the main module is imported
// here, and nothing of this module there: the two meet at a kubeconfig.
//
// One directory holds everything a control plane remembers (see layout.go).
// Started again on the same directory it comes back with its objects, its
// certificates and its ports.
//
// Read on in the order of the start: options.go, layout.go, lock.go,
// certs.go, ports.go, plane.go, etcd.go, apiserver.go, controllermanager.go,
// ready.go, kubeconfig.go; components.go tells how it all stops again.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const (
	exitFailure = 1
	exitUsage   = 2
)

func main() {
	opts, err := parseOptions(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "controlplane: %v\nRun controlplane --help for the flags.\n", err)
		os.Exit(exitUsage)
	}

	log := newNarrator(os.Stderr)
	if err := run(opts, log); err != nil {
		log.sayf("failed: %v", err)
		os.Exit(exitFailure)
	}
	log.sayf("stopped")
}

// run keeps a control plane alive until something ends it. It returns nil when
// the end was asked for.
func run(opts options, log *narrator) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	stopOnSignal(cancel, log)
	if opts.exitWithParent {
		stopWithParent(ctx, cancel)
	}

	files := newLayout(opts.dir)
	if err := files.create(opts.kubeconfig, opts.auditLog); err != nil {
		return err
	}
	lock, err := acquireLock(files.lock)
	if err != nil {
		return err
	}
	defer lock.release()

	p, err := newPlane(opts, files, log, cancel)
	if err != nil {
		return err
	}

	err = p.start(ctx)
	if err == nil {
		fmt.Printf("READY %s\n", opts.kubeconfig)
		<-ctx.Done()
	}
	// Whatever ended ctx is the reason; an error of the start is then only
	// its echo.
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if errors.Is(err, errStopRequested) {
		log.sayf("%v", err)
		err = nil
	}
	return errors.Join(err, p.stop())
}

// errStopRequested marks an end that somebody asked for, so that it is no
// failure.
var errStopRequested = errors.New("asked to stop")

// stopOnSignal stops in good order on the first SIGTERM or SIGINT. A second
// one means that somebody has lost patience.
func stopOnSignal(cancel context.CancelCauseFunc, log *narrator) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		cancel(fmt.Errorf("%w by signal %q", errStopRequested, <-signals))
		log.sayf("second signal %q: leaving at once", <-signals)
		os.Exit(exitFailure)
	}()
}
