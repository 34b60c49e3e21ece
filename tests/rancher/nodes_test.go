package rancher

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestReadMachine(t *testing.T) {
	tests := []struct {
		reason  string
		header  map[string]string
		want    machine
		wantErr string
	}{
		{
			reason: "all there is",
			header: map[string]string{
				"X-Cattle-Id": "id", "X-Cattle-Node-Name": "n1", "X-Cattle-Role-Etcd": "true", "X-Cattle-Role-Worker": "false",
				"X-Cattle-Address": "1.2.3.4", "X-Cattle-Internal-Address": "10.0.0.1",
				"X-Cattle-Labels": "cattle.io/os=linux,empty=", "X-Cattle-Taints": "k=v:NoSchedule,k:NoExecute",
			},
			want: machine{
				id: "id", name: "n1", etcd: true, address: "1.2.3.4", internalAddress: "10.0.0.1",
				labels: map[string]string{"cattle.io/os": "linux", "empty": ""},
				taints: []taint{{"k", "v", "NoSchedule"}, {"k", "", "NoExecute"}},
			},
		},
		{reason: "the least there is", header: map[string]string{"X-Cattle-Id": "id"}, want: machine{id: "id", labels: map[string]string{}}},
		{reason: "no id", wantErr: "has no id"},
		{reason: "a name that is none", header: map[string]string{"X-Cattle-Id": "id", "X-Cattle-Node-Name": "Über Node"}, wantErr: "not a host name"},
		{reason: "a label with a space", header: map[string]string{"X-Cattle-Id": "id", "X-Cattle-Labels": "a b=c"}, wantErr: `label "a b=c"`},
		{reason: "a label value with a slash", header: map[string]string{"X-Cattle-Id": "id", "X-Cattle-Labels": "a=b/c"}, wantErr: "key=value"},
		{reason: "a taint without effect", header: map[string]string{"X-Cattle-Id": "id", "X-Cattle-Taints": "k=v"}, wantErr: `taint "k=v"`},
		{reason: "a taint with an effect of its own", header: map[string]string{"X-Cattle-Id": "id", "X-Cattle-Taints": "k=v:Never"}, wantErr: "Effect"},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			header := http.Header{}
			for name, value := range test.header {
				header.Set(name, value)
			}
			got, err := readMachine(header)
			if test.wantErr != "" {
				var refused *refusal
				if !errors.As(err, &refused) || refused.status != http.StatusBadRequest || !strings.Contains(err.Error(), test.wantErr) {
					t.Fatalf("got error %v, want a refusal with %q", err, test.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(machine{}, taint{})); diff != "" {
				t.Errorf("machine (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNodeShowsHowTheMachineJoined(t *testing.T) {
	m := machine{
		id: "id", name: "n1", etcd: true, works: true, address: "1.2.3.4", internalAddress: "10.0.0.1",
		labels: map[string]string{"a": "b"}, taints: []taint{{"k", "v", "NoSchedule"}},
	}
	node := m.node(key{Namespace: "c-m-1", Name: "m-1"})
	labels, _, err := unstructured.NestedStringMap(node.Object, "status", "nodeLabels")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"a": "b", "kubernetes.io/hostname": "n1", "kubernetes.io/os": "linux",
		"node-role.kubernetes.io/etcd": "true", "node-role.kubernetes.io/worker": "true",
	}
	if diff := cmp.Diff(want, labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	taints, _, _ := unstructured.NestedSlice(node.Object, "status", "nodeTaints")
	if diff := cmp.Diff([]any{map[string]any{"key": "k", "value": "v", "effect": "NoSchedule"}}, taints); diff != "" {
		t.Errorf("taints (-want +got):\n%s", diff)
	}
	addresses, _, _ := unstructured.NestedSlice(node.Object, "status", "internalNodeStatus", "addresses")
	if len(addresses) != 3 || text(node, "status", "nodeName") != "n1" || node.GetNamespace() != "c-m-1" {
		t.Errorf("node %+v", node.Object)
	}
}
