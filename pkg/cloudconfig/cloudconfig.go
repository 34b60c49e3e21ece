// Package cloudconfig writes the four cloud-configs that we hand out, and nothing of Kubernetes:
//
//	Sample    what `curl <registration URL>` prints, to be put on an ISO
//	Medium    what a SeedImage puts on one
//	Machine   what a machine that has proven itself installs from
//	Upgrade   what an OS upgrade finds in /run/data/cloud-config
//
// Every function takes the user's config as JSON bytes and decodes it anew: nothing that a caller holds, least of all
// an informer's cache, is ever written to.
package cloudconfig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

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

// Medium is the user's config, a JSON object or nothing, with what makes a booted medium register at url; ca, a PEM bundle,
// is left out when empty.
func Medium(config []byte, url, ca string) ([]byte, error) {
	merged, err := decode(config)
	if err != nil {
		return nil, err
	}
	if err := put(merged, url, "rancheros", "install", "registrationURL"); err != nil {
		return nil, err
	}
	if ca != "" {
		if err := put(merged, ca, "rancheros", "install", "registrationCaCert"); err != nil {
			return nil, err
		}
	}
	return encodeYAML(merged)
}

// ConflictError says that the user's config holds something else where the operator must put its own values.
type ConflictError struct{ Path, Kind string }

func (e *ConflictError) Error() string {
	return fmt.Sprintf("cloudConfig.%s must be a map to hold the operator's settings, but is %s", e.Path, e.Kind)
}

// Template is the cloud-config of every machine of a registration, but for the machine's name.
type Template struct{ merged map[string]any }

// Machine is the user's config, a JSON object or nothing, with rancherd.server, Rancher's address, rancherd.token and
// rancheros.install.automatic set over whatever it holds there.
func Machine(config []byte, serverURL string) (*Template, error) {
	merged, err := decode(config)
	if err != nil {
		return nil, err
	}
	for _, own := range machineValues(serverURL) {
		if err := put(merged, own.value, own.path...); err != nil {
			return nil, err
		}
	}
	return &Template{merged}, nil
}

// ownValue is what a user's config cannot change.
type ownValue struct {
	path  []string
	value any
}

func machineValues(serverURL string) []ownValue {
	return []ownValue{
		{[]string{"rancherd", "server"}, serverURL},
		// The machine's TPM stands for a token: rancherd proves itself again instead of holding a secret.
		{[]string{"rancherd", "token"}, "tpm://"},
		{[]string{"rancheros", "install", "automatic"}, true},
	}
}

// Overridden names what of the user's config [Machine] sets to something else, such as rancherd.server.
func Overridden(config []byte, serverURL string) []string {
	decoded, err := decode(config)
	if err != nil {
		return nil
	}
	var paths []string
	for _, own := range machineValues(serverURL) {
		if theirs := lookUp(decoded, own.path); theirs != nil && theirs != own.value {
			paths = append(paths, strings.Join(own.path, "."))
		}
	}
	return paths
}

// lookUp is nil where there is nothing.
func lookUp(config map[string]any, path []string) any {
	var value any = config
	for _, key := range path {
		inner, _ := value.(map[string]any)
		value = inner[key]
	}
	return value
}

// For is the cloud-config of one machine, as JSON. Its name is used where the user's config holds none.
func (t *Template) For(hostname string) ([]byte, error) {
	merged := t.merged
	if merged["hostname"] == nil && hostname != "" {
		merged = maps.Clone(merged)
		merged["hostname"] = hostname
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
	if len(config) == 0 {
		return map[string]any{}, nil
	}
	// json.Number keeps large integers exact.
	decoder := json.NewDecoder(bytes.NewReader(config))
	decoder.UseNumber()
	var decoded any
	if err := decoder.Decode(&decoded); err != nil {
		return nil, fmt.Errorf("reading cloudConfig: %w", err)
	}
	switch decoded := decoded.(type) {
	case nil:
		return map[string]any{}, nil
	case map[string]any:
		if deeper(decoded, maxDepth) {
			return nil, fmt.Errorf("cloudConfig must not nest deeper than %d levels", maxDepth)
		}
		return decoded, nil
	default:
		return nil, fmt.Errorf("cloudConfig must be a map, but is %s", kindOf(decoded))
	}
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
	document, err := asNode(config)
	if err != nil {
		return nil, fmt.Errorf("encoding cloud-config: %w", err)
	}
	var out bytes.Buffer
	out.WriteString(header)
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(4)
	if err := errors.Join(encoder.Encode(document), encoder.Close()); err != nil {
		return nil, fmt.Errorf("encoding cloud-config: %w", err)
	}
	return out.Bytes(), nil
}

// asNode leaves the style of most values to the encoder. A json.Number, which it would take for a string, is written as it
// stands.
func asNode(value any) (*yaml.Node, error) {
	node := &yaml.Node{}
	switch value := value.(type) {
	case map[string]any:
		node.Kind = yaml.MappingNode
		for _, key := range slices.Sorted(maps.Keys(value)) {
			if err := appendNodes(node, key, value[key]); err != nil {
				return nil, err
			}
		}
		return node, nil
	case []any:
		node.Kind = yaml.SequenceNode
		return node, appendNodes(node, value...)
	case json.Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: value.String()}, nil
	case string:
		if mustQuote(value) {
			return &yaml.Node{Kind: yaml.ScalarNode, Style: yaml.DoubleQuotedStyle, Value: value}, nil
		}
	}
	return node, node.Encode(value)
}

// mustQuote tells of strings that the encoder would get wrong: << and =, to which YAML 1.1 gives a meaning, and lines of text
// of which it makes blocks that nobody can read, because they begin with white space or hold line breaks of other kinds.
func mustQuote(text string) bool {
	if !strings.Contains(text, "\n") {
		return text == "<<" || text == "="
	}
	return strings.ContainsAny(text[:1], " \t\n") || strings.ContainsFunc(text, func(r rune) bool {
		return r != '\n' && r != '\t' && !unicode.IsPrint(r)
	})
}

func appendNodes(to *yaml.Node, values ...any) error {
	for _, value := range values {
		node, err := asNode(value)
		if err != nil {
			return err
		}
		to.Content = append(to.Content, node)
	}
	return nil
}
