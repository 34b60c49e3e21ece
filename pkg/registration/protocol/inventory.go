package protocol

import (
	"encoding/json"
)

// InventoryAnswer is what a machine gets once it is assigned to a cluster. Empty fields are left out on the wire.
type InventoryAnswer struct {
	// Role is `server`, `agent`, or rancherd's other words, comma-joined.
	Role string `json:"role,omitempty"`
	// NodeName, Address and InternalAddress are the node's identity in the cluster, when the inventory sets them.
	NodeName        string `json:"nodeName,omitempty"`
	Address         string `json:"address,omitempty"`
	InternalAddress string `json:"internalAddress,omitempty"`
	// Taints are `key=value:Effect`.
	Taints []string `json:"taints,omitempty"`
	// Labels are `key=value`.
	Labels []string `json:"labels,omitempty"`
	// Token is the cluster's registration token: a secret.
	Token string `json:"token,omitempty"`
}

// Encode is the final frame, or the body of the plain answer: one line of JSON.
func (a *InventoryAnswer) Encode() ([]byte, error) {
	data, err := json.Marshal(a)
	return append(data, '\n'), err
}

// ParseInventoryAnswer reads a server's answer. Servers of old send their refusals as plain text in the place of the
// answer: text that does not start an object is returned as an Error with that text, and so is nothing at all, because
// silence is what the first server sent when it had failed.
func ParseInventoryAnswer(data []byte) (*InventoryAnswer, error) {
	object, err := ParseAnswer(data)
	if err != nil {
		return nil, err
	}
	canonical, err := json.Marshal(object)
	if err != nil {
		return nil, refuse(CodeInternal, "the server's answer cannot be read", "%v", err)
	}
	answer := &InventoryAnswer{}
	if err := json.Unmarshal(canonical, answer); err != nil {
		return nil, refuse(CodeInternal, "the server's answer cannot be read", "%v", err)
	}
	return answer, nil
}
