package why

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	fleetv1 "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/crds"
	"github.com/rancher/rancheros-operator/pkg/index"
)

// Resource is the kind of ours that people call by this name: the kind itself, its plural, or one of its short names, in whatever
// case, perhaps with its group behind it.
func Resource(name string) (kind string, resource schema.GroupVersionResource, err error) {
	objects, err := crds.Objects()
	if err != nil {
		return "", resource, err
	}
	wanted, _, _ := strings.Cut(strings.ToLower(name), ".")
	var known []string
	for _, crd := range objects {
		names := crd.Spec.Names
		if slices.Contains(append(names.ShortNames, names.Plural, names.Singular, strings.ToLower(names.Kind)), wanted) {
			return names.Kind, v1.SchemeGroupVersion.WithResource(names.Plural), nil
		}
		known = append(known, strings.ToLower(names.Kind)+" ("+strings.Join(names.ShortNames, ", ")+")")
	}
	return "", resource, fmt.Errorf("there is no kind %q; those that can be explained are %s", name, strings.Join(known, ", "))
}

// gathering reads for one set of facts.
type gathering struct {
	ctx    context.Context //nolint:containedctx // it lives for one call of Gather
	client dynamic.Interface
	facts  Facts
}

// Gather reads the object and those around it. That one of these cannot be read is a fact, too; of the object itself, an error.
func Gather(ctx context.Context, config *rest.Config, kind, namespace, name string) (Facts, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return Facts{}, fmt.Errorf("making client: %w", err)
	}
	kind, resource, err := Resource(kind)
	if err != nil {
		return Facts{}, err
	}
	object, err := client.Resource(resource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return Facts{}, fmt.Errorf("reading %s %s/%s: %w", kind, namespace, name, err)
	}
	g := &gathering{ctx: ctx, client: client, facts: Facts{Kind: kind, Now: time.Now()}}
	if err := g.around(object); err != nil {
		return Facts{}, err
	}
	g.facts.Events = all[corev1.Event](g, schema.GroupVersionResource{Version: "v1", Resource: "events"}, namespace,
		metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(object.GetUID())})
	return g.facts, nil
}

func (g *gathering) around(object *unstructured.Unstructured) (err error) {
	f := &g.facts
	switch f.Kind {
	case "MachineInventory":
		if f.Machine, err = decode[v1.MachineInventory](object); err == nil {
			g.aroundMachine()
		}
	case "MachineRegistration":
		if f.Registration, err = decode[v1.MachineRegistration](object); err == nil {
			g.aroundRegistration()
		}
	case "MachineClaim":
		if f.Claim, err = decode[v1.MachineClaim](object); err == nil {
			f.Cluster = g.cluster(f.Claim.Namespace, f.Claim.Spec.ClusterName)
		}
	case "ManagedOSImage":
		if f.Image, err = decode[v1.ManagedOSImage](object); err == nil {
			g.aroundImage()
		}
	case "ManagedOSVersion":
		if f.Version, err = decode[v1.ManagedOSVersion](object); err == nil {
			g.followers(object.GetNamespace(), func(spec v1.ManagedOSImageSpec) string { return spec.ManagedOSVersionName }, object.GetName())
		}
	case "ManagedOSVersionChannel":
		if f.Channel, err = decode[v1.ManagedOSVersionChannel](object); err == nil {
			g.followers(object.GetNamespace(), func(spec v1.ManagedOSImageSpec) string { return spec.ManagedOSVersionChannelName }, object.GetName())
		}
	case "SeedImage":
		if f.Seed, err = decode[v1.SeedImage](object); err == nil {
			f.Registration = one[v1.MachineRegistration](g, v1.SchemeGroupVersion.WithResource("machineregistrations"), f.Seed.Namespace, f.Seed.Spec.RegistrationName)
		}
	}
	return err
}

func (g *gathering) aroundMachine() {
	f, machine := &g.facts, g.facts.Machine
	if name := machine.Labels[v1.LabelRegistration]; name != "" {
		f.Registration = one[v1.MachineRegistration](g, v1.SchemeGroupVersion.WithResource("machineregistrations"), machine.Namespace, name)
	}
	namespace := machine.Spec.ClusterNamespace
	if namespace == "" {
		namespace = machine.Namespace
	}
	f.Cluster = g.cluster(namespace, machine.Spec.ClusterName)
	if status := machine.Status; status.ClusterRegistrationTokenName != "" {
		f.Token = g.token(status.ClusterRegistrationTokenNamespace, status.ClusterRegistrationTokenName)
	}
}

func (g *gathering) aroundRegistration() {
	f, registration := &g.facts, g.facts.Registration
	f.Machines = all[v1.MachineInventory](g, v1.SchemeGroupVersion.WithResource("machineinventories"), registration.Namespace,
		metav1.ListOptions{LabelSelector: v1.LabelRegistration + "=" + registration.Name})
	for _, seed := range all[v1.SeedImage](g, v1.SchemeGroupVersion.WithResource("seedimages"), registration.Namespace, metav1.ListOptions{}) {
		if seed.Spec.RegistrationName == registration.Name {
			f.Seeds = append(f.Seeds, seed.Name)
		}
	}
}

func (g *gathering) aroundImage() {
	f, image := &g.facts, g.facts.Image
	fleet := schema.GroupVersion{Group: "fleet.cattle.io", Version: "v1alpha1"}
	f.Bundle = &Bundle{Name: index.BundleName(image)}
	bundle, err := g.read(fleet.WithResource("bundles"), image.Namespace, f.Bundle.Name)
	if err != nil {
		f.Bundle = nil
	} else {
		f.Bundle.Found = bundle != nil
	}
	for _, deployment := range all[fleetv1.BundleDeployment](g, fleet.WithResource("bundledeployments"), "",
		metav1.ListOptions{LabelSelector: v1.LabelRollout + "=" + image.Name + ",fleet.cattle.io/bundle-namespace=" + image.Namespace}) {
		f.Deployments = append(f.Deployments, deploymentOf(deployment))
	}
	slices.SortFunc(f.Deployments, func(a, b Deployment) int { return strings.Compare(a.Cluster, b.Cluster) })
}

func deploymentOf(deployment fleetv1.BundleDeployment) Deployment {
	d := Deployment{Cluster: deployment.Labels["fleet.cattle.io/cluster"], Ready: deployment.Status.Ready}
	for _, condition := range deployment.Status.Conditions {
		if condition.Status != corev1.ConditionTrue && condition.Message != "" {
			d.Message = condition.Message
		}
	}
	return d
}

// followers are the images of a namespace that name the object.
func (g *gathering) followers(namespace string, named func(v1.ManagedOSImageSpec) string, name string) {
	for _, image := range all[v1.ManagedOSImage](g, v1.SchemeGroupVersion.WithResource("managedosimages"), namespace, metav1.ListOptions{}) {
		if named(image.Spec) == name {
			g.facts.Images = append(g.facts.Images, image.Name)
		}
	}
}

func (g *gathering) cluster(namespace, name string) *Cluster {
	if name == "" {
		return nil
	}
	object, err := g.read(schema.GroupVersionResource{Group: "provisioning.cattle.io", Version: "v1", Resource: "clusters"}, namespace, name)
	if err != nil {
		return nil
	}
	cluster := &Cluster{Namespace: namespace, Name: name, Found: object != nil}
	if object == nil {
		return cluster
	}
	cluster.Management, _, _ = unstructured.NestedString(object.Object, "status", "clusterName")
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, condition := range conditions {
		fields, _ := condition.(map[string]any)
		if message, _ := fields["message"].(string); message != "" && fields["status"] != "True" {
			cluster.Trouble = message
		}
	}
	return cluster
}

func (g *gathering) token(namespace, name string) *Token {
	object, err := g.read(schema.GroupVersionResource{Group: "management.cattle.io", Version: "v3", Resource: "clusterregistrationtokens"}, namespace, name)
	if err != nil {
		return nil
	}
	token := &Token{Namespace: namespace, Name: name, Found: object != nil}
	if object != nil {
		status, _, _ := unstructured.NestedMap(object.Object, "status")
		token.Filled = status["token"] != nil && status["token"] != "" || status["tokenSecretName"] != nil && status["tokenSecretName"] != ""
	}
	return token
}

// read is nil without an error for what does not exist, and for a kind that does not.
func (g *gathering) read(resource schema.GroupVersionResource, namespace, name string) (*unstructured.Unstructured, error) {
	object, err := g.client.Resource(resource).Namespace(namespace).Get(g.ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err), meta.IsNoMatchError(err):
		return nil, nil
	case err != nil:
		g.unseen(resource, err)
		return nil, err
	}
	return object, nil
}

func (g *gathering) unseen(resource schema.GroupVersionResource, err error) {
	why := err.Error()
	if apierrors.IsForbidden(err) {
		why = "you may not read them"
	}
	sentence := fmt.Sprintf("What its %s have to do with it cannot be seen: %s", resource.Resource, why)
	if !slices.Contains(g.facts.Unseen, sentence) {
		g.facts.Unseen = append(g.facts.Unseen, sentence)
	}
}

// one is nil for what does not exist or cannot be read.
func one[T any](g *gathering, resource schema.GroupVersionResource, namespace, name string) *T {
	object, err := g.read(resource, namespace, name)
	if err != nil || object == nil {
		return nil
	}
	decoded, err := decode[T](object)
	if err != nil {
		g.unseen(resource, err)
	}
	return decoded
}

// pageSize bounds what the API server answers at once.
const pageSize = 500

func all[T any](g *gathering, resource schema.GroupVersionResource, namespace string, options metav1.ListOptions) []T {
	var found []T
	options.Limit = pageSize
	for {
		page, err := g.client.Resource(resource).Namespace(namespace).List(g.ctx, options)
		if err != nil {
			if !apierrors.IsNotFound(err) {
				g.unseen(resource, err)
			}
			return found
		}
		for i := range page.Items {
			decoded, err := decode[T](&page.Items[i])
			if err != nil {
				g.unseen(resource, err)
				continue
			}
			found = append(found, *decoded)
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return found
		}
	}
}

func decode[T any](object *unstructured.Unstructured) (*T, error) {
	body, err := object.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", object.GetKind(), err)
	}
	decoded := new(T)
	if err := json.Unmarshal(body, decoded); err != nil {
		return nil, fmt.Errorf("decoding %s %s: %w", object.GetKind(), object.GetName(), err)
	}
	return decoded, nil
}
