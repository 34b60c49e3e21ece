package crds

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

func objects(t *testing.T) []*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	objects, err := Objects()
	require.NoError(t, err)
	return objects
}

func TestKinds(t *testing.T) {
	var got []string
	for _, crd := range objects(t) {
		names := crd.Spec.Names
		got = append(got, fmt.Sprintf("%s %s %s", names.Kind, names.Plural, strings.Join(names.ShortNames, ",")))

		require.Equal(t, names.Plural+".rancheros.cattle.io", crd.Name)
		require.Equal(t, "rancheros.cattle.io", crd.Spec.Group)
		require.Equal(t, apiextensionsv1.NamespaceScoped, crd.Spec.Scope)
		require.Equal(t, []string{"rancheros"}, names.Categories, "`kubectl get rancheros` shows all")
		require.Len(t, crd.Spec.Versions, 1)
		version := crd.Spec.Versions[0]
		require.Equal(t, "v1", version.Name)
		require.True(t, version.Served && version.Storage)
		require.NotNil(t, version.Subresources.Status, "a user's write of the spec does not reach the status")
	}
	require.Equal(t, []string{
		"MachineClaim machineclaims mclaim",
		"MachineInventory machineinventories machine",
		"MachineRegistration machineregistrations mreg",
		"ManagedOSImage managedosimages mosimage",
		"ManagedOSVersionChannel managedosversionchannels moschannel",
		"ManagedOSVersion managedosversions mosversion",
		"SeedImage seedimages seed",
	}, got)
}

// `kubectl get` is the first dashboard: each kind answers the question that its user has.
func TestColumns(t *testing.T) {
	got := map[string]string{}
	for _, crd := range objects(t) {
		var columns []string
		for _, column := range crd.Spec.Versions[0].AdditionalPrinterColumns {
			name := column.Name
			if column.Priority > 0 {
				name += " (wide)"
			}
			columns = append(columns, name)
			require.True(t, pathExists(crd, column.JSONPath), "%s: column %s shows %s, which the schema does not have", crd.Name, column.Name, column.JSONPath)
		}
		got[crd.Spec.Names.Kind] = strings.Join(columns, ", ")
	}
	require.Empty(t, cmp.Diff(map[string]string{
		"MachineClaim":            "Ready, Cluster, Claimed, Status, Age",
		"MachineInventory":        "Ready, Cluster, Role, Assurance, Hostname (wide), OS (wide), Seen, Status, Address (wide), TPM (wide), Age",
		"MachineRegistration":     "Ready, Machines, Pending, Expires, Status, URL (wide), Age",
		"ManagedOSImage":          "Ready, Image, Progress, Failed, Delivered (wide), Status, Age",
		"ManagedOSVersionChannel": "Ready, Type, Latest, Versions, Synced, Status, Age",
		"SeedImage":               "Ready, State, Registration, Downloads, Expires, Status, URL (wide), Age",
		"ManagedOSVersion":        "Version, Image, Minimum, Type (wide), Age",
	}, got))
}

// pathExists follows a column's path through the schema as far as that says anything.
func pathExists(crd *apiextensionsv1.CustomResourceDefinition, path string) bool {
	schema := *crd.Spec.Versions[0].Schema.OpenAPIV3Schema
	for _, name := range strings.Split(strings.TrimPrefix(path, "."), ".") {
		if name == "metadata" || schema.XPreserveUnknownFields != nil && len(schema.Properties) == 0 {
			return true
		}
		name, _, _ = strings.Cut(name, "[")
		property, ok := schema.Properties[name]
		if !ok {
			return false
		}
		if schema = property; name == "conditions" {
			return true
		}
	}
	return true
}

// `kubectl explain` and the editor of Rancher's UI have something to say about every field.
func TestEveryFieldIsDescribed(t *testing.T) {
	for _, crd := range objects(t) {
		walk(crd, func(path string, schema apiextensionsv1.JSONSchemaProps) {
			if strings.HasSuffix(path, "[]") || strings.HasSuffix(path, "{}") {
				return // The list or map says it.
			}
			require.NotEmpty(t, strings.TrimSpace(schema.Description), "%s: %s has no description", crd.Spec.Names.Kind, path)
			require.NotContains(t, schema.Description, "+kubebuilder", "%s: %s shows a marker", crd.Spec.Names.Kind, path)
		})
	}
}

// What a user writes is bounded, so that neither an object nor the cost of its rules grows without end (C3).
func TestEverySpecFieldIsBounded(t *testing.T) {
	for _, crd := range objects(t) {
		walk(crd, func(path string, schema apiextensionsv1.JSONSchemaProps) {
			if !strings.HasPrefix(path, "spec.") || ofOthers(path) {
				return
			}
			where := crd.Spec.Names.Kind + ": " + path
			switch schema.Type {
			case "string":
				bounded := schema.MaxLength != nil || len(schema.Enum) > 0 || schema.Format == "date-time"
				require.True(t, bounded, "%s has neither a greatest length nor a list of values", where)
			case "array":
				require.NotNil(t, schema.MaxItems, "%s has no greatest number of items", where)
			case "object":
				open := schema.AdditionalProperties != nil || schema.XPreserveUnknownFields != nil && len(schema.Properties) == 0
				require.True(t, !open || schema.MaxProperties != nil, "%s has no greatest number of keys", where)
			}
		})
	}
}

// ofOthers tells of fields whose types are Kubernetes', Fleet's or system-upgrade-controller's, and words of a
// container's command line, whose number is bounded.
func ofOthers(path string) bool {
	for _, part := range []string{".env[]", ".envFrom[]", ".volumes[]", ".securityContext", "elector.", ".clusterRolloutStrategy.", ".imagePullSecrets[]"} {
		if strings.Contains(path, part) {
			return true
		}
	}
	return strings.HasSuffix(path, ".command[]") || strings.HasSuffix(path, ".args[]")
}

// What a rule refuses, it explains: the message names the field, and says what to write instead.
func TestEveryRuleHasAMessage(t *testing.T) {
	for _, crd := range objects(t) {
		rules := 0
		walk(crd, func(path string, schema apiextensionsv1.JSONSchemaProps) {
			for _, rule := range schema.XValidations {
				rules++
				require.Greater(t, len(rule.Message), 30, "%s: %s: rule %s has no sentence", crd.Spec.Names.Kind, path, rule.Rule)
			}
			if strings.HasPrefix(path, "spec.") && !ofOthers(path) {
				require.Empty(t, schema.Pattern, "%s: %s has a pattern, whose refusal shows the expression; write a rule with a message", crd.Spec.Names.Kind, path)
			}
		})
		if crd.Spec.Names.Kind != "ManagedOSVersion" {
			require.NotZero(t, rules, crd.Name)
		}
	}
}

// The conditions merge by type, so that two writers do not undo one another.
func TestConditionsAreAMap(t *testing.T) {
	for _, crd := range objects(t) {
		conditions := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["status"].Properties["conditions"]
		require.Equal(t, "map", *conditions.XListType, crd.Name)
		require.Equal(t, []string{"type"}, conditions.XListMapKeys, crd.Name)
	}
}

func TestFreeFormFieldsKeepEverything(t *testing.T) {
	free := map[string]bool{}
	for _, crd := range objects(t) {
		walk(crd, func(path string, schema apiextensionsv1.JSONSchemaProps) {
			if schema.XPreserveUnknownFields != nil && *schema.XPreserveUnknownFields {
				free[crd.Spec.Names.Kind+" "+path] = true
			}
		})
	}
	require.Equal(t, []string{
		"MachineClaim spec.pools[].config", "MachineInventory spec.config", "MachineInventory spec.smbios", "MachineRegistration spec.cloudConfig",
		"ManagedOSImage spec.cloudConfig", "ManagedOSVersion spec.metadata",
		"SeedImage spec.cloudConfig",
	}, slices.Sorted(maps.Keys(free)), "and no other field: a typing error is refused")
}

// walk visits every field, item of a list (path[]) and value of a map (path{}).
func walk(crd *apiextensionsv1.CustomResourceDefinition, visit func(path string, schema apiextensionsv1.JSONSchemaProps)) {
	var descend func(path string, schema apiextensionsv1.JSONSchemaProps)
	descend = func(path string, schema apiextensionsv1.JSONSchemaProps) {
		if path != "" {
			visit(path, schema)
		}
		for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
			inner := strings.TrimPrefix(path+"."+name, ".")
			if inner != "metadata" && inner != "apiVersion" && inner != "kind" {
				descend(inner, schema.Properties[name])
			}
		}
		if schema.Items != nil && schema.Items.Schema != nil {
			descend(path+"[]", *schema.Items.Schema)
		}
		if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
			descend(path+"{}", *schema.AdditionalProperties.Schema)
		}
	}
	descend("", *crd.Spec.Versions[0].Schema.OpenAPIV3Schema)
}
