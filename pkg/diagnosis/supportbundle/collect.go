package supportbundle

import (
	"bytes"
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

const pageSize = 500

// fileOf is where the objects of a kind are.
func fileOf(folder string, resource schema.GroupVersionResource) string {
	name := resource.Resource
	if resource.Group != "" {
		name += "." + resource.Group
	}
	return folder + "/" + name + ".yaml"
}

// objects of all kinds. They are all read before the first is written: the messages of one may hold the token of another.
func (b *bundle) objects(ctx context.Context) error {
	all := kinds()
	read := make([][]unstructured.Unstructured, len(all))
	for i, kind := range all {
		read[i] = b.list(ctx, kind.resource, "", metav1.ListOptions{LabelSelector: kind.selector})
		for _, object := range read[i] {
			b.learn(object)
		}
	}
	for i, kind := range all {
		if err := b.write(fileOf("objects", kind.resource), read[i], kind.shown); err != nil {
			return err
		}
	}
	return nil
}

// list reads as many objects as go into an archive; what goes wrong is remembered, and what was read until then is kept.
func (b *bundle) list(ctx context.Context, resource schema.GroupVersionResource, namespace string, options metav1.ListOptions) []unstructured.Unstructured {
	var all []unstructured.Unstructured
	for options.Limit = pageSize; len(all) < maxObjects; {
		page, err := b.dynamic.Resource(resource).Namespace(namespace).List(ctx, options)
		if err != nil {
			b.fail("listing "+resource.Resource, err)
			return all
		}
		all = append(all, page.Items...)
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return all
		}
	}
	b.fail("listing "+resource.Resource, fmt.Errorf("there are more than %d: the others are left out", len(all)))
	return all
}

// write makes one file of the objects, as YAML documents.
func (b *bundle) write(name string, objects []unstructured.Unstructured, shown fields) error {
	if len(objects) == 0 {
		return nil
	}
	var file bytes.Buffer
	for _, object := range objects {
		body, err := yaml.Marshal(b.object(object, shown))
		if err != nil {
			b.fail(object.GetKind()+" "+object.GetName(), err)
			continue
		}
		file.WriteString("---\n")
		file.Write(body)
	}
	return b.add(name, file.Bytes())
}

func (b *bundle) settings(ctx context.Context) error {
	resource := schema.GroupVersionResource{Group: "management.cattle.io", Version: "v3", Resource: "settings"}
	var read []unstructured.Unstructured
	for _, name := range settingNames {
		object, err := b.dynamic.Resource(resource).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue // Not every Rancher has all of them.
		}
		if err != nil {
			b.fail("reading setting "+name, err)
			continue
		}
		read = append(read, *object)
	}
	return b.write(fileOf("objects", resource), read, setting)
}

// events about our kinds.
func (b *bundle) events(ctx context.Context) error {
	read := b.list(ctx, schema.GroupVersionResource{Version: "v1", Resource: "events"}, "",
		metav1.ListOptions{FieldSelector: "involvedObject.apiVersion=" + v1.SchemeGroupVersion.String()})
	return b.write("events.yaml", read, event)
}
