package v1

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	kubejson "k8s.io/apimachinery/pkg/util/json"
)

// plainMachineConfig is MachineConfig without its methods, so that the codec below does not call itself.
type plainMachineConfig MachineConfig

// documentedKeys are the JSON names of MachineConfig's own fields; every other key belongs to Extra.
var documentedKeys = func() map[string]bool {
	keys := map[string]bool{}
	for field := range reflect.TypeFor[MachineConfig]().Fields() {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "-" {
			keys[name] = true
		}
	}
	return keys
}()

// UnmarshalJSON reads the documented fields and keeps every other key in Extra. Keys are told apart by their case, as
// the schema does: encoding/json alone would take an unchecked "Role" for the role.
func (c *MachineConfig) UnmarshalJSON(data []byte) error {
	var plain plainMachineConfig
	if err := kubejson.Unmarshal(data, &plain); err != nil {
		return fmt.Errorf("reading machine config: %w", err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return fmt.Errorf("reading machine config: %w", err)
	}
	for key, value := range all {
		if documentedKeys[key] {
			continue
		}
		if plain.Extra == nil {
			plain.Extra = map[string]runtime.RawExtension{}
		}
		plain.Extra[key] = runtime.RawExtension{Raw: append([]byte(nil), value...)}
	}
	*c = MachineConfig(plain)
	return nil
}

// MarshalJSON writes the documented fields and Extra side by side, keys sorted; a documented field wins over a key of
// the same name in Extra.
func (c MachineConfig) MarshalJSON() ([]byte, error) {
	documented, err := json.Marshal(plainMachineConfig(c))
	if err != nil {
		return nil, fmt.Errorf("writing machine config: %w", err)
	}
	if len(c.Extra) == 0 {
		return documented, nil
	}
	all := map[string]json.RawMessage{}
	for key, value := range c.Extra {
		if documentedKeys[key] {
			continue
		}
		raw, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("writing machine config key %q: %w", key, err)
		}
		all[key] = raw
	}
	if err := json.Unmarshal(documented, &all); err != nil {
		return nil, fmt.Errorf("writing machine config: %w", err)
	}
	return json.Marshal(all)
}
