package main

import (
	"context"
	"fmt"
	"net"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// readyCheckInterval is short because a test waits for it, and the questions
// are cheap.
const readyCheckInterval = 50 * time.Millisecond

// waitForAPIServer waits until /readyz says that the API server has finished
// everything it does at its start, the roles of RBAC included.
func waitForAPIServer(ctx context.Context, config *rest.Config) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making client: %w", err)
	}
	return waitFor(ctx, "/readyz of kube-apiserver", func(ctx context.Context) error {
		_, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err
	})
}

// waitForControllerManager waits until it says that it is well and its work is
// there to be seen: a Pod, a token or a Role can only be made in a namespace
// that has been furnished.
func waitForControllerManager(ctx context.Context, config *rest.Config, address net.Addr) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making client: %w", err)
	}
	// Its certificate is that of the API server.
	own := rest.AnonymousClientConfig(config)
	own.Host = "https://" + address.String()
	controllerManager, err := kubernetes.NewForConfig(own)
	if err != nil {
		return fmt.Errorf("making client: %w", err)
	}
	err = waitFor(ctx, "/healthz of kube-controller-manager", func(ctx context.Context) error {
		_, err := controllerManager.Discovery().RESTClient().Get().AbsPath("/healthz").DoRaw(ctx)
		return err
	})
	if err != nil {
		return err
	}
	return waitFor(ctx, "the namespace default and its ServiceAccount", func(ctx context.Context) error {
		if _, err := client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceDefault, metav1.GetOptions{}); err != nil {
			return err
		}
		_, err := client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

// waitFor asks until check has nothing to complain about. When ctx ends first,
// the error has the reason and the last complaint.
func waitFor(ctx context.Context, what string, check func(context.Context) error) error {
	ticker := time.NewTicker(readyCheckInterval)
	defer ticker.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w (last answer: %v)", what, context.Cause(ctx), err)
		}
	}
}
