package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/rancher/rancheros-operator/tests/harness"
	"github.com/rancher/rancheros-operator/tests/swarm"
)

// anchorRate is how many objects of 500 bytes, of a kind with one CEL rule that nobody watches, the API server took per second
// from 16 clients on the machine that the targets in milliseconds were set on.
const anchorRate = 1077

const (
	anchorObjects = 2000
	anchorClients = 16
)

const anchorKind = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: anchors.bench.example.com}
spec:
  group: bench.example.com
  names: {kind: Anchor, listKind: AnchorList, plural: anchors, singular: anchor}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties: {value: {type: string, maxLength: 1000}}
            x-kubernetes-validations: [{rule: "self.value.size() > 0", message: "value must not be empty"}]
`

// anchor tells how much slower than that machine this one is now: what else runs on a shared core changes what a millisecond of
// CPU is worth from minute to minute, and what a system call costs differs more between machines than what arithmetic does.
type anchor struct {
	objects dynamic.ResourceInterface
	made    int
}

func newAnchor(ctx context.Context, world *harness.World) (*anchor, error) {
	if _, err := world.Apply(ctx, anchorKind); err != nil {
		return nil, err
	}
	if _, err := world.Kubectl(ctx, "wait", "--for=condition=Established", "crd/anchors.bench.example.com", "--timeout=30s"); err != nil {
		return nil, err
	}
	config := rest.CopyConfig(world.Config)
	config.QPS, config.Burst = 10*anchorRate, 10*anchorRate
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making client: %w", err)
	}
	return &anchor{objects: client.Resource(schema.GroupVersionResource{Group: "bench.example.com", Version: "v1", Resource: "anchors"}).Namespace("default")}, nil
}

// slower is 2 on a machine half as fast.
func (a *anchor) slower(ctx context.Context) (float64, error) {
	value := strings.Repeat("v", 300) // With its metadata, 500 bytes.
	first := a.made
	a.made += anchorObjects
	start := time.Now()
	errs := swarm.InParallel(anchorObjects, anchorClients, func(i int) error {
		_, err := a.objects.Create(ctx, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "bench.example.com/v1", "kind": "Anchor",
			"metadata": map[string]any{"name": fmt.Sprintf("anchor-%d", first+i)},
			"spec":     map[string]any{"value": value},
		}}, metav1.CreateOptions{})
		return err
	})
	if len(errs) > 0 {
		return 0, fmt.Errorf("measuring the anchor: %w", errs[0])
	}
	return anchorRate * time.Since(start).Seconds() / anchorObjects, nil
}
