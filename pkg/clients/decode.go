package clients

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/rancher/lasso/pkg/client"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/json"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// Of inventories there are very many, and each change of one reaches every replica. Kubernetes' own decoder walks over the
// bytes of an event eight times: to learn the kind of the event, to cut the object out, to learn its kind, and to decode
// it, each time looking first whether it is JSON at all. The API server writes the kind first, always; so it can be read
// off, and the bytes are walked over twice. Whatever begins otherwise is left to Kubernetes' decoder.

// decodeInventoriesFast makes the shared client of inventories decode so. It must be called before anybody uses that.
func decodeInventoriesFast(shared client.SharedClientFactory) error {
	inventories := shared.ForResourceKind(v1.SchemeGroupVersion.WithResource(v1.MachineInventoryResourceName), "MachineInventory", true)
	config := inventories.Config
	config.NegotiatedSerializer = fastNegotiator{config.NegotiatedSerializer}
	config.RateLimiter = inventories.RESTClient.GetRateLimiter()
	fast, err := rest.UnversionedRESTClientFor(&config)
	if err != nil {
		return fmt.Errorf("making client of inventories: %w", err)
	}
	inventories.RESTClient, inventories.Config = fast, config
	return nil
}

// fastNegotiator decodes JSON fast, and encodes as ever.
type fastNegotiator struct{ runtime.NegotiatedSerializer }

// SupportedMediaTypes is runtime.NegotiatedSerializer's.
func (n fastNegotiator) SupportedMediaTypes() []runtime.SerializerInfo {
	infos := slices.Clone(n.NegotiatedSerializer.SupportedMediaTypes())
	for i := range infos {
		if infos[i].MediaType != runtime.ContentTypeJSON {
			continue
		}
		infos[i].Serializer = fastSerializer{infos[i].Serializer}
		if infos[i].StreamSerializer != nil {
			stream := *infos[i].StreamSerializer
			stream.Serializer = fastSerializer{stream.Serializer}
			infos[i].StreamSerializer = &stream
		}
	}
	return infos
}

type fastSerializer struct{ runtime.Serializer }

var (
	inventoryKind = v1.SchemeGroupVersion.WithKind("MachineInventory")
	listKind      = v1.SchemeGroupVersion.WithKind("MachineInventoryList")

	inventoryStart = startOf(inventoryKind)
	listStart      = startOf(listKind)
)

// startOf is how an object of that kind begins.
func startOf(kind schema.GroupVersionKind) []byte {
	version, name := kind.ToAPIVersionAndKind()
	return fmt.Appendf(nil, `{"apiVersion":%q,"kind":%q,`, version, name)
}

// Decode is runtime.Decoder's.
func (s fastSerializer) Decode(data []byte, defaults *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	if event, isEvent := into.(*metav1.WatchEvent); isEvent && cutEvent(data, event) {
		return event, &schema.GroupVersionKind{}, nil
	}
	object, kind := target(data, into)
	if object == nil {
		return s.Serializer.Decode(data, defaults, into)
	}
	if err := json.UnmarshalCaseSensitivePreserveInts(data, object); err != nil {
		return nil, &kind, fmt.Errorf("decoding %s: %w", kind.Kind, err)
	}
	return object, &kind, nil
}

// target is what to decode data into; nil when that is not for us to say.
func target(data []byte, into runtime.Object) (runtime.Object, schema.GroupVersionKind) {
	switch into.(type) {
	case nil:
		if bytes.HasPrefix(data, inventoryStart) {
			return &v1.MachineInventory{}, inventoryKind
		}
	case *v1.MachineInventory:
		if bytes.HasPrefix(data, inventoryStart) {
			return into, inventoryKind
		}
	case *v1.MachineInventoryList:
		if bytes.HasPrefix(data, listStart) {
			return into, listKind
		}
	}
	return nil, schema.GroupVersionKind{}
}

var (
	eventStart  = []byte(`{"type":"`)
	objectStart = []byte(`","object":`)
)

// cutEvent takes an event apart, if it looks as the API server writes it. The object shares the bytes of data: what decodes
// it copies, and looks whether it is JSON.
func cutEvent(data []byte, into *metav1.WatchEvent) bool {
	rest, starts := bytes.CutPrefix(data, eventStart)
	kind, rest, hasObject := bytes.Cut(rest, objectStart)
	object, ends := bytes.CutSuffix(bytes.TrimSpace(rest), []byte("}"))
	if !starts || !hasObject || !ends || !bytes.HasPrefix(object, inventoryStart) {
		return false
	}
	into.Type, into.Object.Raw = string(kind), object
	return true
}
