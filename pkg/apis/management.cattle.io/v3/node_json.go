package v3

import (
	"encoding/json"
	"fmt"
	"slices"
	"unique"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// UnmarshalJSON keeps of a Node what is read of it, and of equal texts one copy: tens of thousands of them lie in the
// cache, and their labels are mostly the same.
func (n *Node) UnmarshalJSON(body []byte) error {
	type plain Node
	var decoded plain
	if err := json.Unmarshal(body, &decoded); err != nil {
		return fmt.Errorf("decoding Node: %w", err)
	}
	decoded.ManagedFields, decoded.Labels = nil, nil
	// On the bookmark of a watch stands in an annotation that all there is has been sent: without it, caches wait for ever.
	end, ended := decoded.Annotations[metav1.InitialEventsAnnotationKey]
	decoded.Annotations = nil
	if ended {
		decoded.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: end}
	}
	decoded.OwnerReferences, decoded.Finalizers = nil, nil
	interned := make(map[string]string, len(decoded.Status.NodeLabels))
	for key, value := range decoded.Status.NodeLabels {
		interned[one(key)] = one(value)
	}
	decoded.Status.NodeLabels = interned
	inner := &decoded.Status.InternalNodeStatus
	inner.NodeInfo.OSImage = one(inner.NodeInfo.OSImage)
	inner.Conditions = slices.DeleteFunc(inner.Conditions, func(c NodeCondition) bool { return c.Type != "Ready" })
	*n = Node(decoded)
	return nil
}

func one(text string) string { return unique.Make(text).Value() }
