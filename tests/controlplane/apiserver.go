package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app/options"
)

// serviceRange is for the cluster IPs of Services; nothing is ever sent there.
const serviceRange = "10.96.0.0/16"

// apiServerArguments are the flags of kube-apiserver as one knows them from a
// static Pod's manifest. Admission is left at its defaults, which include
// ValidatingAdmissionPolicy and both kinds of webhooks.
func (p *plane) apiServerArguments() ([]string, error) {
	c := p.certificates
	audit, err := p.auditArguments()
	if err != nil {
		return nil, err
	}
	return append([]string{
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		"--tls-cert-file=" + c.certificateFile(servingName),
		"--tls-private-key-file=" + c.keyFile(servingName),

		"--etcd-servers=" + p.etcdEndpoint(),

		// Who may come in, and what they may do. As in RKE2 and K3s, somebody
		// without credentials gets 401 everywhere.
		"--client-ca-file=" + c.authorityFile(),
		"--anonymous-auth=false",
		"--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + c.serviceAccountKey(),
		"--service-account-signing-key-file=" + c.serviceAccountKey(),

		"--service-cluster-ip-range=" + serviceRange,
		// A loopback address cannot be an endpoint of the Service
		// kubernetes.default, and there is no Pod that would use it.
		"--endpoint-reconciler-type=none",
		"--allow-privileged=true", // what Rancher's clusters allow

		// A watch ends with the server, or the server would wait a minute for
		// its clients to end it.
		"--shutdown-watch-termination-grace-period=1s",
	}, audit...), nil
}

// startAPIServer starts kube-apiserver on the open listener. It goes past
// kube-apiserver's own cobra command, because that takes the signals of the
// process for itself.
func (p *plane) startAPIServer() error {
	arguments, err := p.apiServerArguments()
	if err != nil {
		return err
	}
	o := apiserver.NewServerRunOptions()
	if err := parseComponentFlags("kube-apiserver", o.Flags(), arguments); err != nil {
		return err
	}
	if err := o.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return fmt.Errorf("setting feature gates: %w", err)
	}
	o.SecureServing.Listener = p.listeners.apiServer

	p.components.start("kube-apiserver", func(ctx context.Context) error {
		completed, err := o.Complete(ctx)
		if err != nil {
			return fmt.Errorf("completing options: %w", err)
		}
		if err := errors.Join(completed.Validate()...); err != nil {
			return fmt.Errorf("validating options: %w", err)
		}
		return app.Run(ctx, completed)
	})
	return nil
}

// parseComponentFlags fills in the options of a component from its flags.
func parseComponentFlags(name string, sets cliflag.NamedFlagSets, arguments []string) error {
	flags := pflag.NewFlagSet(name, pflag.ContinueOnError)
	for _, set := range sets.FlagSets {
		flags.AddFlagSet(set)
	}
	if err := flags.Parse(arguments); err != nil {
		return fmt.Errorf("parsing flags of %s: %w", name, err)
	}
	return nil
}
