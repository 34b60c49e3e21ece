package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"
)

// decodeStrict reads one JSON document into maps, slices, strings, json.Numbers, bools and nils.
//
// It is stricter than encoding/json: invalid UTF-8, duplicate keys, and anything but white space after the document are
// refused, and so is a document deeper or with more keys than our limits. Depth and keys are counted in a pass that
// allocates nothing, before any of it is decoded.
func decodeStrict(data []byte) (any, error) { return decodeWithin(data, MaxJSONDepth, MaxJSONKeys) }

// decodeWithin is decodeStrict with other limits.
func decodeWithin(data []byte, depth, keys int) (any, error) {
	if !utf8.Valid(data) {
		return nil, errNotUTF8
	}
	written, err := checkShape(data, depth, keys)
	if err != nil {
		return nil, err
	}
	value, err := decodeOne(data, written.numbers)
	if err != nil {
		return nil, err
	}
	// Of two alike, decoding keeps the last.
	if countKeys(value) < written.keys {
		return nil, fmt.Errorf("a key twice")
	}
	return value, nil
}

// decodeOne keeps numbers as they were written. That takes a Decoder, which copies the document into buffers four times as large;
// what a machine sends to prove itself has no numbers.
func decodeOne(data []byte, numbers bool) (any, error) {
	var value any
	if !numbers && json.Unmarshal(data, &value) == nil {
		return value, nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(&value); err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("not JSON: more than one document")
	}
	return value, nil
}

func countKeys(value any) (keys int) {
	switch value := value.(type) {
	case map[string]any:
		keys = len(value)
		for _, member := range value {
			keys += countKeys(member)
		}
	case []any:
		for _, element := range value {
			keys += countKeys(element)
		}
	}
	return keys
}

var errNotUTF8 = errors.New("not UTF-8")

// splitObject reads an object and leaves its members' values as they came, so that each can be held to limits of its own.
func splitObject(data []byte, depth, keys int) (map[string]json.RawMessage, error) {
	if !utf8.Valid(data) {
		return nil, errNotUTF8
	}
	if _, err := checkShape(data, depth, keys); err != nil {
		return nil, err
	}
	if !json.Valid(data) {
		return nil, fmt.Errorf("not JSON")
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

// shape is how many keys a document has, and whether there are numbers outside strings.
type shape struct {
	keys    int
	numbers bool
}

// checkShape counts nesting and keys. On input that is not JSON its counts mean nothing, but then the document is refused
// anyway.
func checkShape(data []byte, maxDepth, maxKeys int) (s shape, err error) {
	depth, inString := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return s, fmt.Errorf("nested deeper than %d", maxDepth)
			}
		case c == '}' || c == ']':
			depth--
		case c == ':':
			if s.keys++; s.keys > maxKeys {
				return s, fmt.Errorf("more than %d keys", maxKeys)
			}
		case c >= '0' && c <= '9':
			s.numbers = true
		}
	}
	return s, nil
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
