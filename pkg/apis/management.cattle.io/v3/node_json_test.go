package v3

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNodeKeepsWhatIsRead(t *testing.T) {
	const document = `{
		"metadata": {"name": "m-1", "namespace": "c-1", "resourceVersion": "7", "annotations": {"big": "x"}, "labels": {"cattle.io/creator": "norman"},
			"managedFields": [{"manager": "rancher"}], "finalizers": ["x"]},
		"spec": {"internalNodeSpec": {"unschedulable": true, "podCIDR": "10.42.0.0/24", "taints": [{"key": "a", "timeAdded": "2026-11-20T11:00:00Z"}]}},
		"status": {"nodeName": "n", "nodeAnnotations": {"big": "x"}, "nodeLabels": {"kubernetes.io/hostname": "n"},
			"internalNodeStatus": {"images": [{"names": ["a"]}], "nodeInfo": {"osImage": "RancherOS v1.0.0", "bootID": "x"},
				"conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "True"}]}}}`
	var node Node
	require.NoError(t, json.Unmarshal([]byte(document), &node))
	kept, err := json.Marshal(node)
	require.NoError(t, err)
	require.JSONEq(t, `{
		"metadata": {"name": "m-1", "namespace": "c-1", "resourceVersion": "7"},
		"spec": {"internalNodeSpec": {"unschedulable": true, "taints": [{"key": "a", "timeAdded": "2026-11-20T11:00:00Z"}]}},
		"status": {"nodeName": "n", "nodeLabels": {"kubernetes.io/hostname": "n"},
			"internalNodeStatus": {"nodeInfo": {"osImage": "RancherOS v1.0.0"}, "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": null}]}}}`,
		string(kept))
}

// A watch ends its first list with a bookmark, an object that has nothing but this annotation.
func TestNodeKeepsTheBookmark(t *testing.T) {
	var node Node
	require.NoError(t, json.Unmarshal([]byte(`{"metadata": {"annotations": {"k8s.io/initial-events-end": "true"}}}`), &node))
	require.Equal(t, map[string]string{"k8s.io/initial-events-end": "true"}, node.Annotations)
	require.Error(t, json.Unmarshal([]byte(`{"status": {"nodeName": 1}}`), &node))
}
