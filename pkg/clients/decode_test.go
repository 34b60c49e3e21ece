package clients

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/rancher/wrangler/v3/pkg/schemes"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	jsonserializer "k8s.io/apimachinery/pkg/runtime/serializer/json"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// inventoryJSON is an inventory as the API server writes it.
const inventoryJSON = `{"apiVersion":"rancheros.cattle.io/v1","kind":"MachineInventory","metadata":{"creationTimestamp":"2026-11-20T10:00:00Z","generation":2,` +
	`"labels":{"rancheros.cattle.io/assurance":"FirstUse"},"managedFields":[{"apiVersion":"rancheros.cattle.io/v1","fieldsType":"FieldsV1",` +
	`"fieldsV1":{"f:spec":{".":{},"f:smbios":{},"f:tpmHash":{}}},"manager":"rancheros-operator","operation":"Update","time":"2026-11-20T10:00:00Z"}],` +
	`"name":"m-1","namespace":"fleet-default","resourceVersion":"18446744073709551615","uid":"0c8f"},` +
	`"spec":{"smbios":{"System Information":{"Serial Number":"é<1>"}},"tpmHash":"ab","Config":{"role":"server"}},` +
	`"status":{"conditions":[{"lastTransitionTime":"2026-11-20T10:00:01Z","message":"}","reason":"NoCluster","status":"False","type":"Ready"}],"observedGeneration":9007199254740993}}`

func serializers(t testing.TB) (fast, standard runtime.Serializer) {
	t.Helper()
	require.NoError(t, v1.AddToScheme(schemes.All))
	standard = jsonserializer.NewSerializerWithOptions(jsonserializer.DefaultMetaFactory, schemes.All, schemes.All, jsonserializer.SerializerOptions{})
	return fastSerializer{standard}, standard
}

// decodeEvent is what client-go does with a line of a watch.
func decodeEvent(decoder runtime.Decoder, line string) (kind string, object runtime.Object, err error) {
	var event metav1.WatchEvent
	if _, _, err := decoder.Decode([]byte(line), nil, &event); err != nil {
		return "", nil, err
	}
	object, err = runtime.Decode(decoder, event.Object.Raw)
	return event.Type, object, err
}

func TestFastIsAsKubernetesDecodes(t *testing.T) {
	fast, standard := serializers(t)
	for _, c := range []struct{ why, line string }{
		{"a new one", `{"type":"ADDED","object":` + inventoryJSON + "}\n"},
		{"one that is gone", `{"type":"DELETED","object":` + inventoryJSON + "}"},
		{"spaces", `{"type": "MODIFIED", "object": ` + inventoryJSON + ` }`},
		{"another order", `{"object":` + inventoryJSON + `,"type":"ADDED"}`},
		{"a bookmark, of which there is little", `{"type":"BOOKMARK","object":{"apiVersion":"rancheros.cattle.io/v1","kind":"MachineInventory","metadata":{"resourceVersion":"7"}}}`},
		{"the end of a watch", `{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old","reason":"Expired","code":410}}`},
		{"another kind", `{"type":"ADDED","object":{"apiVersion":"rancheros.cattle.io/v1","kind":"MachineRegistration","metadata":{"name":"r"}}}`},
		{"a kind that nobody knows", `{"type":"ADDED","object":{"apiVersion":"rancheros.cattle.io/v1","kind":"MachineInventoryish","metadata":{}}}`},
		{"half of one", `{"type":"ADDED","object":` + inventoryJSON[:len(inventoryJSON)/2] + "}"},
		{"one and a half", `{"type":"ADDED","object":` + inventoryJSON + inventoryJSON + "}"},
		{"more than an event", `{"type":"ADDED","object":` + inventoryJSON + `},{"more":{}}`},
		{"a field of another type", `{"type":"ADDED","object":` + strings.Replace(inventoryJSON, `"ab"`, `7`, 1) + "}"},
		{"nothing", ""},
	} {
		wantKind, want, wantErr := decodeEvent(standard, c.line)
		kind, got, err := decodeEvent(fast, c.line)
		require.Equal(t, wantErr == nil, err == nil, "%s: %v, %v", c.why, wantErr, err)
		if err == nil {
			require.Equal(t, wantKind, kind, c.why)
			require.Equal(t, withoutManagers(want), got, c.why)
		}
	}
}

// withoutManagers is what is left when it does not matter who wrote which field.
func withoutManagers(object runtime.Object) runtime.Object {
	switch object := object.(type) {
	case *v1.MachineInventory:
		object.ManagedFields = nil
	case *v1.MachineInventoryList:
		for i := range object.Items {
			object.Items[i].ManagedFields = nil
		}
	}
	return object
}

func TestFastInto(t *testing.T) {
	fast, standard := serializers(t)
	list := `{"apiVersion":"rancheros.cattle.io/v1","kind":"MachineInventoryList","metadata":{"continue":"c","resourceVersion":"9"},"items":[` + inventoryJSON + "," + inventoryJSON + `]}`
	failure := `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","reason":"AlreadyExists","code":409}`
	for _, c := range []struct {
		why, data string
		into      func() runtime.Object
	}{
		{"one", inventoryJSON, func() runtime.Object { return &v1.MachineInventory{} }},
		{"many", list, func() runtime.Object { return &v1.MachineInventoryList{} }},
		{"none", `{"apiVersion":"rancheros.cattle.io/v1","kind":"MachineInventoryList","metadata":{},"items":[]}`, func() runtime.Object { return &v1.MachineInventoryList{} }},
		{"a refusal in the place of one", failure, func() runtime.Object { return &v1.MachineInventory{} }},
		{"one where many are expected", inventoryJSON, func() runtime.Object { return &v1.MachineInventoryList{} }},
		{"half", list[:len(list)/2], func() runtime.Object { return &v1.MachineInventoryList{} }},
	} {
		want, wantKind, wantErr := standard.Decode([]byte(c.data), nil, c.into())
		got, kind, err := fast.Decode([]byte(c.data), nil, c.into())
		require.Equal(t, wantErr == nil, err == nil, "%s: %v, %v", c.why, wantErr, err)
		if err == nil {
			if list, isList := got.(*v1.MachineInventoryList); isList && len(list.Items) > 0 {
				require.Nil(t, list.Items[0].ManagedFields, c.why)
			}
			require.Equal(t, withoutManagers(want), withoutManagers(got), c.why)
			require.Equal(t, wantKind, kind, c.why)
		}
	}
}

// The buffer of a watch is used again for the next event.
func TestFastCopies(t *testing.T) {
	fast, _ := serializers(t)
	line := []byte(`{"type":"ADDED","object":` + inventoryJSON + "}\n")
	var event metav1.WatchEvent
	_, _, err := fast.Decode(line, nil, &event)
	require.NoError(t, err)
	object, err := runtime.Decode(fast, event.Object.Raw)
	require.NoError(t, err)
	before, err := json.Marshal(object)
	require.NoError(t, err)
	clear(line)
	after, err := json.Marshal(object)
	require.NoError(t, err)
	require.Equal(t, string(before), string(after))
	require.Equal(t, "ADDED", event.Type)
}

func BenchmarkEvent(b *testing.B) {
	fast, standard := serializers(b)
	for name, decoder := range map[string]runtime.Decoder{"kubernetes": standard, "fast": fast} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := decodeEvent(decoder, `{"type":"ADDED","object":`+inventoryJSON+"}\n"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
