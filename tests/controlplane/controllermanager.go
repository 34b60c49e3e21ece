package main

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	"k8s.io/kubernetes/cmd/kube-controller-manager/names"
)

// controllers are those that need nothing but the API. The others work on
// nodes, volumes or clouds, which do not exist here, or on workloads, whose
// Pods would never run.
var controllers = []string{
	names.GarbageCollectorController,                // ownerReferences
	names.NamespaceController,                       // deletion of namespaces
	names.ServiceAccountController,                  // the ServiceAccount default
	names.ServiceAccountTokenController,             // Secrets of type service-account-token
	names.RootCACertificatePublisherController,      // the ConfigMap kube-root-ca.crt
	names.ClusterRoleAggregationController,          // admin, edit, view
	names.ValidatingAdmissionPolicyStatusController, // type checks of policies
	names.JobController,
	names.CronJobController,
	names.TTLAfterFinishedController,
}

func (p *plane) controllerManagerArguments() []string {
	c := p.certificates
	return []string{
		"--kubeconfig=" + p.layout.controllerManagerKubeconfig,
		"--controllers=" + strings.Join(controllers, ","),
		"--leader-elect=false", // there is one
		// Each controller is a ServiceAccount with rights of its own, as in
		// production; the controller manager itself may do little.
		"--use-service-account-credentials=true",
		"--service-account-private-key-file=" + c.serviceAccountKey(),
		"--root-ca-file=" + c.authorityFile(),

		"--bind-address=127.0.0.1",
		"--tls-cert-file=" + c.certificateFile(servingName),
		"--tls-private-key-file=" + c.keyFile(servingName),
		"--authentication-skip-lookup=true",

		// The defaults are meant to protect an API server that others share.
		"--kube-api-qps=500",
		"--kube-api-burst=1000",
		"--controller-shutdown-timeout=2s",
	}
}

// startControllerManager starts kube-controller-manager against server.
func (p *plane) startControllerManager(server string) error {
	content, err := kubeconfig(p.certificates, server, controllerManagerName)
	if err != nil {
		return err
	}
	if err := writeFile(p.layout.controllerManagerKubeconfig, content); err != nil {
		return err
	}
	o, err := controllermanager.NewKubeControllerManagerOptions()
	if err != nil {
		return fmt.Errorf("making options: %w", err)
	}
	known, disabled, aliases := app.KnownControllers(), app.ControllersDisabledByDefault(), app.ControllerAliases()
	flags := o.Flags(known, disabled, aliases)
	if err := parseComponentFlags("kube-controller-manager", flags, p.controllerManagerArguments()); err != nil {
		return err
	}
	o.SecureServing.Listener = p.listeners.controllerManager

	p.components.start("kube-controller-manager", func(ctx context.Context) error {
		config, err := o.Config(ctx, known, disabled, aliases)
		if err != nil {
			return fmt.Errorf("completing options: %w", err)
		}
		return app.Run(ctx, config.Complete())
	})
	return nil
}
