// Package crds holds the CRDs of rancheros.cattle.io, generated from pkg/apis, as YAML and as objects.
//
// The chart installs them. The operator never writes CRDs: an old replica that restarts during an upgrade would put the
// old schema back, and with it prune the fields that the new one knows. Tests and the demo apply them from here.
package crds

import (
	"embed"
	"fmt"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

//go:embed *.yaml
var files embed.FS

// Objects returns the CRDs in the order of their file names.
func Objects() ([]*apiextensionsv1.CustomResourceDefinition, error) {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil, fmt.Errorf("listing CRDs: %w", err)
	}
	objects := make([]*apiextensionsv1.CustomResourceDefinition, 0, len(entries))
	for _, entry := range entries {
		body, err := files.ReadFile(entry.Name())
		if err != nil {
			return nil, fmt.Errorf("reading CRD: %w", err)
		}
		object := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(body, object); err != nil {
			return nil, fmt.Errorf("decoding CRD %s: %w", entry.Name(), err)
		}
		objects = append(objects, object)
	}
	return objects, nil
}
