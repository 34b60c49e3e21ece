package rancher

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	fleet "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	upgrade "github.com/rancher/system-upgrade-controller/pkg/apis/upgrade.cattle.io/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	kubernetes "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

// largestResource bounds what a compressed resource may unpack to.
const largestResource = 16 << 20

// manifestReader turns the resources of a Bundle into objects.
//
// It is stricter than Fleet: a key that appears twice, or a field that a Plan or a kind of Kubernetes does not have, is
// an error and not a surprise on a node.
type manifestReader struct {
	strict runtime.Decoder
}

func newManifestReader() (*manifestReader, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{kubernetes.AddToScheme, upgrade.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("listing known kinds: %w", err)
		}
	}
	return &manifestReader{strict: serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()}, nil
}

func (m *manifestReader) read(resources []fleet.BundleResource) ([]unstructured.Unstructured, error) {
	var objects []unstructured.Unstructured
	for _, resource := range resources {
		content, err := decodeContent(resource)
		if err == nil {
			err = m.readDocuments(content, &objects)
		}
		if err != nil {
			return nil, fmt.Errorf("resource %q: %w", resource.Name, err)
		}
	}
	return objects, nil
}

func decodeContent(resource fleet.BundleResource) ([]byte, error) {
	switch resource.Encoding {
	case "":
		return []byte(resource.Content), nil
	case "base64+gz":
		unpacked, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(resource.Content)))
		if err != nil {
			return nil, fmt.Errorf("unpacking: %w", err)
		}
		content, err := io.ReadAll(io.LimitReader(unpacked, largestResource))
		if err != nil {
			return nil, fmt.Errorf("unpacking: %w", err)
		}
		return content, nil
	default:
		return nil, fmt.Errorf("unknown encoding %q", resource.Encoding)
	}
}

func (m *manifestReader) readDocuments(content []byte, objects *[]unstructured.Unstructured) error {
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading YAML: %w", err)
		}
		object, err := m.readObject(document)
		if err != nil {
			return err
		}
		if object != nil {
			*objects = append(*objects, *object)
		}
	}
}

// readObject returns nil for a document that holds nothing.
func (m *manifestReader) readObject(document []byte) (*unstructured.Unstructured, error) {
	encoded, err := yaml.YAMLToJSONStrict(document)
	if err != nil {
		return nil, fmt.Errorf("reading YAML: %w", err)
	}
	if string(bytes.TrimSpace(encoded)) == "null" {
		return nil, nil
	}
	object := &unstructured.Unstructured{}
	if err := json.Unmarshal(encoded, &object.Object); err != nil {
		return nil, fmt.Errorf("reading object: %w", err)
	}
	if object.GetAPIVersion() == "" || object.GetKind() == "" || object.GetName() == "" {
		return nil, errors.New("an object lacks its apiVersion, kind or name")
	}
	if _, _, err := m.strict.Decode(encoded, nil, nil); err != nil && !runtime.IsNotRegisteredError(err) {
		return nil, fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
	}
	return object, nil
}

// place gives every namespaced object its namespace, as Helm and Fleet do: defaultNamespace where the object names none;
// namespace (targetNamespace), which overrules the object and forbids cluster-scoped ones.
func place(objects []unstructured.Unstructured, options fleet.BundleDeploymentOptions, mapper meta.RESTMapper) error {
	for i := range objects {
		object := &objects[i]
		kind := object.GroupVersionKind()
		mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
		if err != nil {
			return fmt.Errorf("%s %s: %w", kind.Kind, object.GetName(), err)
		}
		namespaced := mapping.Scope.Name() == meta.RESTScopeNameNamespace
		switch {
		case !namespaced && options.TargetNamespace != "":
			return fmt.Errorf("invalid cluster scoped object [%s] found, consider using \"defaultNamespace\", not \"namespace\"", object.GetName())
		case !namespaced:
			object.SetNamespace("")
		case options.TargetNamespace != "" || object.GetNamespace() == "":
			object.SetNamespace(releaseNamespace(options))
		}
	}
	return nil
}

func releaseNamespace(options fleet.BundleDeploymentOptions) string {
	for _, namespace := range []string{options.TargetNamespace, options.DefaultNamespace} {
		if namespace != "" {
			return namespace
		}
	}
	return "default"
}
