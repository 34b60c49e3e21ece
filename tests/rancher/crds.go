package rancher

import (
	"context"
	"fmt"
	"time"

	fleet "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	management "github.com/rancher/rancher/pkg/apis/management.cattle.io/v3"
	provisioning "github.com/rancher/rancher/pkg/apis/provisioning.cattle.io/v1"
	upgrade "github.com/rancher/system-upgrade-controller/pkg/apis/upgrade.cattle.io/v1"
	"github.com/rancher/wrangler/v3/pkg/crd"
	"github.com/rancher/wrangler/v3/pkg/schemas/openapi"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
)

var crdGVR = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// clusterRegistrationToken is Rancher 2.15's. The published Go type lacks the fields about the Secret and its rotation.
type clusterRegistrationToken struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   registrationTokenSpec   `json:"spec"`
	Status registrationTokenStatus `json:"status"`
}

type registrationTokenSpec struct {
	ClusterName string `json:"clusterName"`
	TTL         *int64 `json:"ttl,omitempty"`         // minutes
	GracePeriod *int64 `json:"gracePeriod,omitempty"` // minutes
}

type registrationTokenStatus struct {
	management.ClusterRegistrationTokenStatus `json:",inline"`

	TokenSecretName      string `json:"tokenSecretName,omitempty"`
	ExpiresAt            string `json:"expiresAt,omitempty"`
	GracePeriodExpiresAt string `json:"gracePeriodExpiresAt,omitempty"`
}

// Install creates the CRDs of all foreign kinds and returns once the API server serves them. Doing it again is fine.
func Install(ctx context.Context, cfg *rest.Config) error {
	a, err := newAPI(cfg)
	if err != nil {
		return err
	}
	definitions, err := customResourceDefinitions()
	if err != nil {
		return err
	}
	for _, definition := range definitions {
		if err := a.apply(ctx, crdGVR, definition); err != nil {
			return err
		}
	}
	for _, definition := range definitions {
		if err := a.waitEstablished(ctx, definition.GetName()); err != nil {
			return err
		}
	}
	return nil
}

func (a *api) waitEstablished(ctx context.Context, name string) error {
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		obj, err := a.get(ctx, crdGVR, key{Name: name})
		if err != nil || obj == nil {
			return false, err
		}
		definition, err := into[apiextensions.CustomResourceDefinition](obj)
		if err != nil {
			return false, err
		}
		for _, condition := range definition.Status.Conditions {
			if condition.Type == apiextensions.Established && condition.Status == apiextensions.ConditionTrue {
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for CRD %s: %w", name, err)
	}
	return nil
}

// customResourceDefinitions turns the kinds into objects to apply.
func customResourceDefinitions() ([]*unstructured.Unstructured, error) {
	kinds := append(managementKinds(), provisioningKind())
	for _, add := range []func() ([]crd.CRD, error){fleetKinds, planKind} {
		more, err := add()
		if err != nil {
			return nil, err
		}
		kinds = append(kinds, more...)
	}

	var definitions []*unstructured.Unstructured
	for _, kind := range kinds {
		obj, err := kind.ToCustomResourceDefinition()
		if err != nil {
			return nil, fmt.Errorf("making CRD of %s: %w", kind.GVK.Kind, err)
		}
		definition := obj.(*unstructured.Unstructured)
		unstructured.RemoveNestedField(definition.Object, "status") // wrangler writes an empty one
		definitions = append(definitions, definition)
	}
	return definitions, nil
}

// managementKinds are as Rancher defines them: no status subresource but for APIService, and no schema for Cluster and
// Node, which therefore keep any field.
func managementKinds() []crd.CRD {
	cluster := crd.NonNamespacedType("Cluster.management.cattle.io/v3").
		WithColumn("Display Name", ".spec.displayName")
	node := crd.NamespacedType("Node.management.cattle.io/v3").
		WithColumn("Node Name", ".status.nodeName")
	token := crd.NamespacedType("ClusterRegistrationToken.management.cattle.io/v3").
		WithSchemaFromStruct(clusterRegistrationToken{})
	setting := crd.NonNamespacedType("Setting.management.cattle.io/v3").
		WithSchemaFromStruct(management.Setting{}).WithColumn("Value", ".value")
	apiService := crd.NonNamespacedType("APIService.management.cattle.io/v3").
		WithSchemaFromStruct(management.APIService{}).WithStatus()
	return []crd.CRD{cluster, node, token, setting, apiService}
}

func provisioningKind() crd.CRD {
	return crd.NamespacedType("Cluster.provisioning.cattle.io/v1").
		WithSchemaFromStruct(provisioning.Cluster{}).WithStatus().WithCategories("provisioning").
		WithColumn("Version", ".spec.kubernetesVersion").
		WithColumn("Cluster Name", ".status.clusterName")
}

// fleetKinds adds to the Go types' shape what Fleet's CRDs say in markers and what matters here: a default that appears
// in every Bundle, and the release name's pattern.
func fleetKinds() ([]crd.CRD, error) {
	bundle, err := openapi.ToOpenAPIFromStruct(fleet.Bundle{})
	if err != nil {
		return nil, fmt.Errorf("making schema of Bundle: %w", err)
	}
	amend(bundle, func(mode *apiextensions.JSONSchemaProps) {
		mode.Nullable = false
		mode.Default = &apiextensions.JSON{Raw: []byte(`"FirstMatch"`)}
		mode.Enum = []apiextensions.JSON{{Raw: []byte(`"FirstMatch"`)}, {Raw: []byte(`"AllMatches"`)}}
	}, "spec", "targetCustomizationMode")
	amend(bundle, func(releaseName *apiextensions.JSONSchemaProps) {
		longest := int64(fleet.MaxHelmReleaseNameLen)
		releaseName.MaxLength = &longest
		releaseName.Pattern = `^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	}, "spec", "helm", "releaseName")

	const ready, message = ".status.display.readyClusters", `.status.conditions[?(@.type=="Ready")].message`
	return []crd.CRD{
		crd.NamespacedType("Bundle.fleet.cattle.io/v1alpha1").WithSchema(bundle).WithStatus().
			WithColumn("BundleDeployments-Ready", ready).WithColumn("Status", message),
		crd.NamespacedType("BundleDeployment.fleet.cattle.io/v1alpha1").
			WithSchemaFromStruct(fleet.BundleDeployment{}).WithStatus().
			WithColumn("Deployed", ".status.display.deployed").WithColumn("Status", message),
		crd.NamespacedType("Cluster.fleet.cattle.io/v1alpha1").
			WithSchemaFromStruct(fleet.Cluster{}).WithStatus().WithColumn("Status", message),
		crd.NamespacedType("ClusterGroup.fleet.cattle.io/v1alpha1").
			WithSchemaFromStruct(fleet.ClusterGroup{}).WithStatus().WithCategories("fleet"),
	}, nil
}

// planKind requires what system-upgrade-controller's CRD requires. drain.timeout takes any integer there too, even those
// that the controller then cannot decode.
func planKind() ([]crd.CRD, error) {
	plan, err := openapi.ToOpenAPIFromStruct(upgrade.Plan{})
	if err != nil {
		return nil, fmt.Errorf("making schema of Plan: %w", err)
	}
	require := func(fields ...string) func(*apiextensions.JSONSchemaProps) {
		return func(props *apiextensions.JSONSchemaProps) { props.Required = fields }
	}
	amend(plan, require("upgrade"), "spec")
	amend(plan, func(upgrade *apiextensions.JSONSchemaProps) { upgrade.Nullable = false }, "spec", "upgrade")
	for _, container := range []string{"upgrade", "prepare"} {
		amend(plan, require("image"), "spec", container)
		amend(plan, func(image *apiextensions.JSONSchemaProps) { image.Nullable = false }, "spec", container, "image")
	}
	amend(plan, func(seconds *apiextensions.JSONSchemaProps) { seconds.Format = "int32" }, "spec", "drain", "gracePeriod")
	return []crd.CRD{
		crd.NamespacedType("Plan.upgrade.cattle.io/v1").WithSchema(plan).WithStatus().
			WithColumn("Image", ".spec.upgrade.image").
			WithColumn("Version", ".spec.version").
			WithColumn("Complete", ".status.conditions[?(@.type=='Complete')].status"),
	}, nil
}

// amend changes the schema of one field in place.
func amend(props *apiextensions.JSONSchemaProps, change func(*apiextensions.JSONSchemaProps), path ...string) {
	if len(path) == 0 {
		change(props)
		return
	}
	field := props.Properties[path[0]]
	amend(&field, change, path[1:]...)
	props.Properties[path[0]] = field
}
