package clients

import (
	"bytes"
	"fmt"
	"net/http"
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
// bytes of an event ten times: to find its end, to learn its kind, to cut the object out, to learn its kind, and to decode
// it, most of them after having looked whether it is JSON at all. The API server writes the kind first, always, and an event to a line
// (frames.go); so both can be read off, and the bytes are walked over twice. Whatever begins otherwise is left to Kubernetes' decoder.
//
// Who wrote which field, managedFields, is half of an inventory's bytes, and nobody here asks. It is skipped, and not kept in memory.

// fastInventories hands out a client of inventories that decodes so, and the clients of all else as ever.
type fastInventories struct {
	client.SharedClientFactory
	client *client.Client
}

func newFastInventories(shared client.SharedClientFactory, config *rest.Config) (client.SharedClientFactory, error) {
	usual := shared.ForResourceKind(inventoryResource, inventoryKind.Kind, true)
	fast := usual.Config
	fast.NegotiatedSerializer = fastNegotiator{fast.NegotiatedSerializer}
	fast.RateLimiter = usual.RESTClient.GetRateLimiter()
	transport, err := newWatchesApart(&fast)
	if err != nil {
		return nil, err
	}
	rest, err := rest.UnversionedRESTClientForConfigAndClient(&fast, &http.Client{Transport: transport, Timeout: fast.Timeout})
	if err != nil {
		return nil, fmt.Errorf("making client of inventories: %w", err)
	}
	// Without a kind lasso does not write it into each object that comes, which takes a goroutine between every watch and its cache.
	inventories := client.NewClient(inventoryResource, "", true, rest, config.Timeout)
	inventories.Config = fast
	return fastInventories{shared, inventories}, nil
}

// ForResourceKind is client.SharedClientFactory's.
func (f fastInventories) ForResourceKind(resource schema.GroupVersionResource, kind string, namespaced bool) *client.Client {
	if resource == inventoryResource {
		return f.client
	}
	return f.SharedClientFactory.ForResourceKind(resource, kind, namespaced)
}

// fastNegotiator decodes JSON fast, and encodes as ever.
type fastNegotiator struct{ runtime.NegotiatedSerializer }

// DecoderToVersion is runtime.NegotiatedSerializer's. There is one version, and objects keep the kind that they come with.
func (fastNegotiator) DecoderToVersion(decoder runtime.Decoder, _ runtime.GroupVersioner) runtime.Decoder {
	return decoder
}

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
			stream.Framer = fastFramer{stream.Framer}
			infos[i].StreamSerializer = &stream
		}
	}
	return infos
}

type fastSerializer struct{ runtime.Serializer }

var (
	inventoryResource = v1.SchemeGroupVersion.WithResource(v1.MachineInventoryResourceName)

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
	var err error
	switch object := object.(type) {
	case nil:
		return s.Serializer.Decode(data, defaults, into)
	case *v1.MachineInventory:
		err = decodeOne(data, object)
	case *v1.MachineInventoryList:
		err = decodeMany(data, object)
	}
	if err != nil {
		return nil, &kind, fmt.Errorf("decoding %s: %w", kind.Kind, err)
	}
	return object, &kind, nil
}

// lean is an inventory as far as we keep it.
type lean struct {
	metav1.TypeMeta
	Metadata leanMeta                  `json:"metadata"`
	Spec     v1.MachineInventorySpec   `json:"spec"`
	Status   v1.MachineInventoryStatus `json:"status"`
}

// leanMeta has managedFields twice: the outer one is what is decoded to.
type leanMeta struct {
	metav1.ObjectMeta
	ManagedFields skipped `json:"managedFields"`
}

// skipped is for what is walked over.
type skipped struct{}

// UnmarshalJSON is json.Unmarshaler's.
func (*skipped) UnmarshalJSON([]byte) error { return nil }

// into hands the inventory over, smaller than it came: what most inventories have in common is kept once.
func (l *lean) into(inventory *v1.MachineInventory) {
	*inventory = v1.MachineInventory{TypeMeta: l.TypeMeta, ObjectMeta: l.Metadata.ObjectMeta, Spec: l.Spec, Status: l.Status}
	inventory.APIVersion, inventory.Kind = common.share(inventory.APIVersion), common.share(inventory.Kind)
	inventory.Namespace = common.share(inventory.Namespace)
	for _, marks := range []map[string]string{inventory.Labels, inventory.Annotations} {
		for name, value := range marks {
			marks[common.share(name)] = value // A map takes the key that it was last given, equal as it is.
		}
	}
	for _, label := range []string{v1.LabelRegistration, v1.LabelAssurance} {
		if value, has := inventory.Labels[label]; has {
			inventory.Labels[label] = common.share(value)
		}
	}
	pack(&inventory.Name, (*string)(&inventory.UID), &inventory.ResourceVersion, &inventory.Spec.TPM, &inventory.Spec.TPMHash)
	status := &inventory.Status
	status.Assurance = common.share(status.Assurance)
	if status.TPMHash == inventory.Spec.TPM {
		status.TPMHash = inventory.Spec.TPM
	}
	// A decoder makes room for more to come.
	status.Conditions = slices.Clone(status.Conditions)
	for i := range status.Conditions {
		condition := &status.Conditions[i]
		for _, word := range []*string{&condition.Type, &condition.Reason, &condition.Message} {
			*word = common.share(*word)
		}
		condition.Status = metav1.ConditionStatus(common.share(string(condition.Status)))
	}
}

func decodeOne(data []byte, into *v1.MachineInventory) error {
	var one lean
	if err := json.UnmarshalCaseSensitivePreserveInts(data, &one); err != nil {
		return err
	}
	one.into(into)
	return nil
}

func decodeMany(data []byte, into *v1.MachineInventoryList) error {
	var many struct {
		metav1.TypeMeta
		metav1.ListMeta `json:"metadata"`
		Items           []lean `json:"items"`
	}
	if err := json.UnmarshalCaseSensitivePreserveInts(data, &many); err != nil {
		return err
	}
	*into = v1.MachineInventoryList{TypeMeta: many.TypeMeta, ListMeta: many.ListMeta}
	if many.Items != nil {
		into.Items = make([]v1.MachineInventory, len(many.Items))
	}
	for i := range many.Items {
		many.Items[i].into(&into.Items[i])
	}
	return nil
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
	eventEnd    = []byte("}\n")
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
