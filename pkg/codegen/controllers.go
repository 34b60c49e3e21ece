package main

import (
	fleetv1 "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	provisioningv1 "github.com/rancher/rancher/pkg/apis/provisioning.cattle.io/v1"
	controllergen "github.com/rancher/wrangler/v3/pkg/controller-gen"
	"github.com/rancher/wrangler/v3/pkg/controller-gen/args"

	managementv3 "github.com/rancher/rancheros-operator/pkg/apis/management.cattle.io/v3"
	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// generateControllers writes the typed controllers. Core kinds are not here: Wrangler ships those itself.
func generateControllers() {
	controllergen.Run(args.Options{
		OutputPackage: "github.com/rancher/rancheros-operator/pkg/generated",
		Boilerplate:   "scripts/boilerplate.go.txt",
		Groups: map[string]args.Group{
			"rancheros.cattle.io": {
				Types: []any{
					v1.MachineRegistration{},
					v1.MachineInventory{},
					v1.MachineClaim{},
					v1.ManagedOSImage{},
					v1.ManagedOSVersion{},
					v1.ManagedOSVersionChannel{},
					v1.SeedImage{},
				},
				GenerateTypes: true,
			},
			"management.cattle.io": {
				Types: []any{
					managementv3.Cluster{},
					managementv3.ClusterRegistrationToken{},
					managementv3.Node{},
					managementv3.Setting{},
				},
				GenerateTypes: true,
			},
			"provisioning.cattle.io": {
				Types: []any{provisioningv1.Cluster{}},
			},
			"fleet.cattle.io": {
				Types: []any{fleetv1.Bundle{}, fleetv1.BundleDeployment{}, fleetv1.Cluster{}, fleetv1.ClusterGroup{}},
			},
		},
	})
}
