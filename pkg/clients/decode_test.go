package clients

import (
	"encoding/json"
	"fmt"
	goruntime "runtime"
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

// registeredJSON is the inventory of a machine that has registered, as the API server wrote it.
const registeredJSON = `{"apiVersion":"rancheros.cattle.io/v1","kind":"MachineInventory","metadata":{"creationTimestamp":"2026-11-28T23:21:58Z","generation":1,"labels":{"ranc` +
	`heros.cattle.io/assurance":"FirstUse","rancheros.cattle.io/registration":"bench"},"managedFields":[{"apiVersion":"rancheros.cattle.io/v1","fieldsType"` +
	`:"FieldsV1","fieldsV1":{"f:metadata":{"f:labels":{".":{},"f:rancheros.cattle.io/assurance":{},"f:rancheros.cattle.io/registration":{}}},"f:spec":{".":` +
	`{},"f:tpm":{}}},"manager":"rancheros-operator","operation":"Update","time":"2026-11-28T23:21:58Z"},{"apiVersion":"rancheros.cattle.io/v1","fieldsType"` +
	`:"FieldsV1","fieldsV1":{"f:status":{".":{},"f:assurance":{},"f:conditions":{".":{},"k:{\"type\":\"Approved\"}":{".":{},"f:lastTransitionTime":{},"f:me` +
	`ssage":{},"f:observedGeneration":{},"f:reason":{},"f:status":{},"f:type":{}},"k:{\"type\":\"ClusterAssigned\"}":{".":{},"f:lastTransitionTime":{},"f:m` +
	`essage":{},"f:observedGeneration":{},"f:reason":{},"f:status":{},"f:type":{}},"k:{\"type\":\"Ready\"}":{".":{},"f:lastTransitionTime":{},"f:message":{` +
	`},"f:observedGeneration":{},"f:reason":{},"f:status":{},"f:type":{}}},"f:observedGeneration":{},"f:tpmHash":{}}},"manager":"rancheros-operator","opera` +
	`tion":"Update","subresource":"status","time":"2026-11-28T23:21:58Z"}],"name":"m-00083274a5","namespace":"default","resourceVersion":"568","uid":"686f7` +
	`579-38bf-496f-838f-d1d1dba1c13a"},"spec":{"tpm":"00083274a5336a186cdd8c7f798fe430f412a123795a66a2209e0674aa9468a0"},"status":{"assurance":"FirstUse","` +
	`conditions":[{"lastTransitionTime":"2026-11-28T23:21:58Z","message":"not assigned to a cluster; set spec.clusterName and spec.config.role when it is t` +
	`o join one","observedGeneration":1,"reason":"NoCluster","status":"False","type":"ClusterAssigned"},{"lastTransitionTime":"2026-11-28T23:21:58Z","messa` +
	`ge":"the machine may have its configuration and a cluster","observedGeneration":1,"reason":"Approved","status":"True","type":"Approved"},{"lastTransit` +
	`ionTime":"2026-11-28T23:21:58Z","message":"not assigned to a cluster; set spec.clusterName and spec.config.role when it is to join one","observedGener` +
	`ation":1,"reason":"NoCluster","status":"True","type":"Ready"}],"observedGeneration":1,"tpmHash":"00083274a5336a186cdd8c7f798fe430f412a123795a66a2209e0` +
	`674aa9468a0"}}`

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

// What a replica keeps of each inventory is what its garbage collector walks over, and there may be a hundred thousand.
func BenchmarkKept(b *testing.B) {
	fast, standard := serializers(b)
	for name, decoder := range map[string]runtime.Decoder{"kubernetes": standard, "fast": fast} {
		b.Run(name, func(b *testing.B) {
			kept := make([]runtime.Object, 0, b.N)
			before := heap()
			for i := range b.N {
				_, object, err := decodeEvent(decoder, strings.ReplaceAll(`{"type":"ADDED","object":`+registeredJSON+"}\n", "00083274a5", fmt.Sprintf("%010x", i)))
				if err != nil {
					b.Fatal(err)
				}
				kept = append(kept, object)
			}
			after := heap()
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(b.N), "B/inventory")
			b.ReportMetric(float64(after.HeapObjects-before.HeapObjects)/float64(b.N), "objects/inventory")
			goruntime.KeepAlive(kept)
		})
	}
}

func heap() (stats goruntime.MemStats) {
	goruntime.GC()
	goruntime.ReadMemStats(&stats)
	return stats
}
