package protocol

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// decodeStrict reads one JSON document into maps, slices, strings, json.Numbers, bools and nils.
//
// It is stricter than encoding/json: invalid UTF-8, duplicate keys, and anything but white space after the document are
// refused, and so is a document deeper or with more keys than our limits. Depth and keys are counted in a pass that
// allocates nothing, before any of it is decoded.
func decodeStrict(data []byte) (any, error) {
	if err := checkJSON(data, MaxJSONDepth, MaxJSONKeys); err != nil {
		return nil, err
	}
	return decodeAny(data)
}

// checkJSON looks at the whole document without decoding it.
func checkJSON(data []byte, depth, keys int) error {
	if !utf8.Valid(data) {
		return fmt.Errorf("not UTF-8")
	}
	if err := checkShape(data, depth, keys); err != nil {
		return err
	}
	if !json.Valid(data) {
		return fmt.Errorf("not JSON")
	}
	return nil
}

// decodeAny is for a document that was checked. Duplicate keys are found here.
func decodeAny(data []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	return decodeValue(dec)
}

// splitObject reads an object and leaves its members' values as they came, so that each can be held to limits of its own.
func splitObject(data []byte, depth, keys int) (map[string]json.RawMessage, error) {
	if err := checkJSON(data, depth, keys); err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if start, err := dec.Token(); err != nil || start != json.Delim('{') {
		return nil, fmt.Errorf("not an object")
	}
	members := map[string]json.RawMessage{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("not JSON: %w", err)
		}
		key, _ := token.(string)
		if _, twice := members[key]; twice {
			return nil, fmt.Errorf("key %s twice", quoteShort(key))
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, fmt.Errorf("not JSON: %w", err)
		}
		members[key] = value
	}
	return members, nil
}

// decodeObject is decodeStrict for documents that must be an object.
func decodeObject(data []byte) (map[string]any, error) {
	value, err := decodeStrict(data)
	if err != nil {
		return nil, err
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("a JSON %s where an object is expected", kindOf(value))
	}
	return object, nil
}

// checkShape counts nesting and keys. On input that is not JSON its counts mean nothing, but then the
// document is refused anyway.
func checkShape(data []byte, maxDepth, maxKeys int) error {
	depth, keys, inString := 0, 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return fmt.Errorf("nested deeper than %d", maxDepth)
			}
		case c == '}' || c == ']':
			depth--
		case c == ':':
			if keys++; keys > maxKeys {
				return fmt.Errorf("more than %d keys", maxKeys)
			}
		}
	}
	return nil
}

func decodeValue(dec *json.Decoder) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	switch token {
	case json.Delim('{'):
		return decodeMembers(dec)
	case json.Delim('['):
		return decodeElements(dec)
	default:
		return token, nil
	}
}

func decodeMembers(dec *json.Decoder) (map[string]any, error) {
	object := map[string]any{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("not JSON: %w", err)
		}
		key, ok := token.(string)
		if !ok {
			return nil, fmt.Errorf("a key that is not a string")
		}
		if _, twice := object[key]; twice {
			return nil, fmt.Errorf("key %s twice", quoteShort(key))
		}
		if object[key], err = decodeValue(dec); err != nil {
			return nil, err
		}
	}
	_, err := dec.Token()
	return object, err
}

func decodeElements(dec *json.Decoder) ([]any, error) {
	elements := []any{}
	for dec.More() {
		value, err := decodeValue(dec)
		if err != nil {
			return nil, err
		}
		elements = append(elements, value)
	}
	_, err := dec.Token()
	return elements, err
}

// kindOf names a decoded JSON value for an error message.
func kindOf(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case json.Number:
		return "number"
	case string:
		return "string"
	case []any:
		return "array"
	default:
		return "object"
	}
}

// quoteShort quotes foreign text for a reason: escaped, and short enough for one log line.
func quoteShort(s string) string {
	const limit = 64
	if len(s) > limit {
		s = s[:limit] + "..."
	}
	return strconv.QuoteToASCII(s)
}
