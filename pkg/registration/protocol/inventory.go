package protocol

import (
	"encoding/json"
	"slices"
	"strings"
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

	// Extra is every other key that the machine was sent: cloud-config of the user's.
	Extra map[string]any `json:"-"`
}

// inventoryKeys are the fields of an InventoryAnswer on the wire.
var inventoryKeys = []string{"role", "nodeName", "address", "internalAddress", "taints", "labels", "token"}

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
	// Keys are told apart by their case, which encoding/json alone does not: what the schema has not checked must not become
	// the role. A documented one in another case is nobody's.
	documented, answer := map[string]any{}, &InventoryAnswer{}
	for key, value := range object {
		switch {
		case slices.Contains(inventoryKeys, key):
			documented[key] = value
		case !slices.ContainsFunc(inventoryKeys, func(documented string) bool { return strings.EqualFold(documented, key) }):
			if answer.Extra == nil {
				answer.Extra = map[string]any{}
			}
			answer.Extra[key] = value
		}
	}
	canonical, err := json.Marshal(documented)
	if err != nil {
		return nil, refuse(CodeInternal, "the server's answer cannot be read", "%v", err)
	}
	if err := json.Unmarshal(canonical, answer); err != nil {
		return nil, refuse(CodeInternal, "the server's answer cannot be read", "%v", err)
	}
	return answer, nil
}
