// Package cloudconfig writes the three cloud-configs that we hand out, and nothing of Kubernetes:
//
//	Sample    what `curl <registration URL>` prints, to be put on an ISO
//	Machine   what a machine that has proven itself installs from
//	Upgrade   what an OS upgrade finds in /run/data/cloud-config
//
// Every function takes the user's config as JSON bytes and decodes it anew: nothing that a caller holds, least of all
// an informer's cache, is ever written to.
package cloudconfig

import (
	"bytes"
	"encoding/json"
	"fmt"

	"go.yaml.in/yaml/v3"
)

const header = "#cloud-config\n"

// maxDepth bounds how deep a user's config may nest; a cloud-config has a handful of levels.
const maxDepth = 64

// Sample is the cloud-config that makes a booted medium register at url; ca, a PEM bundle, is left out when empty.
func Sample(url, ca string) ([]byte, error) {
	install := map[string]any{"registrationURL": url}
	if ca != "" {
		install["registrationCaCert"] = ca
	}
	return encodeYAML(map[string]any{"rancheros": map[string]any{"install": install}})
}

// Answer is what the operator adds to the user's cloud-config for one machine.
type Answer struct {
	// ServerURL is Rancher's address.
	ServerURL string
	// Hostname is used unless the user's config names one.
	Hostname string
}

// ConflictError says that the user's config holds something else where the operator must put its own values.
type ConflictError struct{ Path, Kind string }

func (e *ConflictError) Error() string {
	return fmt.Sprintf("cloudConfig.%s must be a map to hold the operator's settings, but is %s", e.Path, e.Kind)
}

// Machine is the user's config, a JSON object or nothing, as JSON with rancherd.server, rancherd.token and
// rancheros.install.automatic set over whatever it holds there, and hostname set where it holds none.
func Machine(config []byte, answer Answer) ([]byte, error) {
	merged, err := decode(config)
	if err != nil {
		return nil, err
	}
	if err := put(merged, answer.ServerURL, "rancherd", "server"); err != nil {
		return nil, err
	}
	// The machine's TPM stands for a token: rancherd proves itself again instead of holding a secret.
	if err := put(merged, "tpm://", "rancherd", "token"); err != nil {
		return nil, err
	}
	if err := put(merged, true, "rancheros", "install", "automatic"); err != nil {
		return nil, err
	}
	if _, given := merged["hostname"]; !given && answer.Hostname != "" {
		merged["hostname"] = answer.Hostname
	}
	return json.Marshal(merged)
}

// Upgrade is the user's config, a JSON object, as a YAML document; nil when there is none.
func Upgrade(config []byte) ([]byte, error) {
	decoded, err := decode(config)
	if err != nil || len(decoded) == 0 {
		return nil, err
	}
	return encodeYAML(decoded)
}

func decode(config []byte) (map[string]any, error) {
	decoded := map[string]any{}
	if len(config) == 0 {
		return decoded, nil
	}
	// json.Number keeps large integers exact.
	decoder := json.NewDecoder(bytes.NewReader(config))
	decoder.UseNumber()
	if err := decoder.Decode(&decoded); err != nil {
		return nil, fmt.Errorf("cloudConfig must be a map: %w", err)
	}
	if decoded == nil {
		return map[string]any{}, nil
	}
	if deeper(decoded, maxDepth) {
		return nil, fmt.Errorf("cloudConfig must not nest deeper than %d levels", maxDepth)
	}
	return decoded, nil
}

func deeper(value any, levels int) bool {
	if levels == 0 {
		return true
	}
	switch value := value.(type) {
	case map[string]any:
		for _, inner := range value {
			if deeper(inner, levels-1) {
				return true
			}
		}
	case []any:
		for _, inner := range value {
			if deeper(inner, levels-1) {
				return true
			}
		}
	}
	return false
}

// put sets the value at path, making the maps on the way; null counts as absent.
func put(config map[string]any, value any, path ...string) error {
	at := ""
	for _, key := range path[:len(path)-1] {
		at += key
		switch next := config[key].(type) {
		case nil:
			made := map[string]any{}
			config[key] = made
			config = made
		case map[string]any:
			config = next
		default:
			return &ConflictError{Path: at, Kind: kindOf(next)}
		}
		at += "."
	}
	config[path[len(path)-1]] = value
	return nil
}

func kindOf(value any) string {
	switch value.(type) {
	case []any:
		return "a list"
	case string:
		return "a string"
	case bool:
		return "true or false"
	default:
		return "a number"
	}
}

// encodeYAML writes with four spaces and sorted keys; strings that YAML would read as something else are quoted.
func encodeYAML(config map[string]any) ([]byte, error) {
	var out bytes.Buffer
	out.WriteString(header)
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(4)
	if err := encoder.Encode(numbers(config)); err != nil {
		return nil, fmt.Errorf("encoding cloud-config: %w", err)
	}
	if err := encoder.Close(); err != nil {
		return nil, fmt.Errorf("encoding cloud-config: %w", err)
	}
	return out.Bytes(), nil
}

// numbers turns json.Number, a string to the YAML encoder, into a plain YAML number.
func numbers(value any) any {
	switch value := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(value))
		for key, inner := range value {
			out[key] = numbers(inner)
		}
		return out
	case []any:
		out := make([]any, len(value))
		for i, inner := range value {
			out[i] = numbers(inner)
		}
		return out
	case json.Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: value.String()}
	default:
		return value
	}
}
