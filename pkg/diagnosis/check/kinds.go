package check

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/rancher/rancheros-operator/chart"
	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/crds"
)

// pageSize bounds what the API server answers at once.
const pageSize = 500

func listOptions() metav1.ListOptions { return metav1.ListOptions{Limit: pageSize} }

// openAPI is the little that is read of what the API server says of its kinds: everybody may read that, unlike CRDs.
type openAPI struct {
	Components struct {
		Schemas map[string]openAPISchema `json:"schemas"`
	} `json:"components"`
}

type openAPISchema struct {
	Kinds      []metav1.GroupVersionKind `json:"x-kubernetes-group-version-kind"`
	Properties map[string]openAPISchema  `json:"properties"`
	Items      *openAPISchema            `json:"items"`
}

// served are the kinds of a group and version, by name.
func (c *cluster) served(ctx context.Context, group, version string) (map[string]openAPISchema, error) {
	body, err := c.kube.Discovery().RESTClient().Get().AbsPath("/openapi/v3/apis/"+group+"/"+version).
		SetHeader("Accept", "application/json").Do(ctx).Raw()
	if err != nil {
		return nil, err
	}
	var document openAPI
	if err := json.Unmarshal(body, &document); err != nil {
		return nil, fmt.Errorf("decoding OpenAPI: %w", err)
	}
	kinds := map[string]openAPISchema{}
	for _, schema := range document.Components.Schemas {
		for _, kind := range schema.Kinds {
			if kind.Group == group && kind.Version == version {
				kinds[kind.Kind] = schema
			}
		}
	}
	return kinds, nil
}

// kinds are there, and have every field that this version knows. Fields that only a newer version knows do no harm.
func (c *cluster) kinds(ctx context.Context) []Finding {
	const topic = "kinds"
	served, err := c.served(ctx, v1.SchemeGroupVersion.Group, v1.SchemeGroupVersion.Version)
	if err != nil && !isMissing(err) {
		return []Finding{unseen(topic, "the kinds of the API server", err)}
	}
	wanted, err := crds.Objects()
	if err != nil {
		return []Finding{found(topic, "%v", err).at(Problem, "report this defect")}
	}
	var findings []Finding
	for _, crd := range wanted {
		kind := crd.Spec.Names.Kind
		schema, there := served[kind]
		if !there {
			findings = append(findings, found(topic, "there is no %s", kind).at(Problem, "install the chart rancheros-operator-crd of this version"))
			continue
		}
		if lacking := lacks(*crd.Spec.Versions[0].Schema.OpenAPIV3Schema, schema, ""); len(lacking) > 0 {
			findings = append(findings, found(topic, "%s lacks %s: its CRD is of another version, and drops them", kind, several(lacking, 5)).
				at(Problem, "upgrade the chart rancheros-operator-crd to this version"))
		}
	}
	if len(findings) == 0 {
		findings = append(findings, ok(topic, "all %d kinds are there, with every field of this version", len(wanted)))
	}
	return findings
}

// lacks are the paths of the fields that the schema has and the served one has not.
func lacks(schema apiextensionsv1.JSONSchemaProps, served openAPISchema, path string) []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		below, there := served.Properties[name]
		switch {
		case path == "" && name == "metadata":
		case !there:
			all = append(all, strings.TrimPrefix(path+"."+name, "."))
		default:
			all = append(all, lacks(schema.Properties[name], below, path+"."+name)...)
		}
	}
	if schema.Items != nil && schema.Items.Schema != nil && served.Items != nil {
		all = append(all, lacks(*schema.Items.Schema, *served.Items, path+"[]")...)
	}
	return all
}

// several are the first of them, and how many more there are.
func several(all []string, most int) string {
	if len(all) <= most {
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:most], ", "), len(all)-most)
}

// policies guard what runs as root on nodes.
func (c *cluster) policies(ctx context.Context) []Finding {
	const topic = "admission policies"
	var missing []string
	names, err := namesOf(chart.AdmissionPolicies, "ValidatingAdmissionPolicyBinding")
	if err != nil {
		return []Finding{found(topic, "%v", err).at(Problem, "report this defect")}
	}
	policies := c.kube.AdmissionregistrationV1()
	for _, name := range names {
		_, err := policies.ValidatingAdmissionPolicies().Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			_, err = policies.ValidatingAdmissionPolicyBindings().Get(ctx, name, metav1.GetOptions{})
		}
		switch {
		case isMissing(err):
			missing = append(missing, name)
		case err != nil:
			return []Finding{unseen(topic, "whether they are there", err)}
		}
	}
	if len(missing) > 0 {
		return []Finding{found(topic, "%s missing, or not bound: whoever may write these kinds is root on nodes", several(missing, 10)).
			at(Problem, "install the chart rancheros-operator of this version as it is")}
	}
	return []Finding{ok(topic, "all %d are there and bound", len(names))}
}

// namesOf are the names of the objects of a kind in YAML documents.
func namesOf(documents []byte, kind string) ([]string, error) {
	var names []string
	err := eachDocument(documents, func(object metav1.PartialObjectMetadata, _ []byte) error {
		if object.Kind == kind {
			names = append(names, object.Name)
		}
		return nil
	})
	return names, err
}

func eachDocument(documents []byte, do func(metav1.PartialObjectMetadata, []byte) error) error {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(documents), 4096)
	for {
		var raw json.RawMessage
		if err := decoder.Decode(&raw); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading the chart's file: %w", err)
		}
		var object metav1.PartialObjectMetadata
		if err := json.Unmarshal(raw, &object); err != nil {
			return fmt.Errorf("reading the chart's file: %w", err)
		}
		if err := do(object, raw); err != nil {
			return err
		}
	}
}
