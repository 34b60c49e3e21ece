package machine

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxRendered bounds what a template can grow to. A template of the schema's largest size, with the largest values, stays below.
const maxRendered = 64 << 10

// RenderValue replaces each `${Path/To/Value}` in the template by what the SMBIOS data holds there: text, a number or a boolean.
// Objects, lists, values that firmware makers left blank ("To Be Filled By O.E.M.") and paths that lead nowhere become nothing. Anything
// that is not a complete `${...}` stays as it is, and what was inserted is never looked at again.
func RenderValue(template string, smbios map[string]any) string {
	var out strings.Builder
	for rest := template; ; {
		start := strings.Index(rest, "${")
		if start < 0 {
			out.WriteString(rest)
			break
		}
		length := strings.IndexByte(rest[start:], '}')
		if length < 0 {
			out.WriteString(rest)
			break
		}
		out.WriteString(rest[:start])
		if path := rest[start+2 : start+length]; path == "" {
			out.WriteString("${}")
		} else {
			out.WriteString(lookup(smbios, path))
		}
		rest = rest[start+length+1:]
		if out.Len() > maxRendered {
			break
		}
	}
	return cut(out.String(), maxRendered)
}

// lookup follows a path by exact names.
func lookup(smbios map[string]any, path string) string {
	var value any = smbios
	for name := range strings.SplitSeq(path, "/") {
		object, ok := value.(map[string]any)
		if !ok {
			return ""
		}
		value = object[name]
	}
	text := scalar(value)
	if IsPlaceholder(text) {
		return ""
	}
	return text
}

func scalar(value any) string {
	switch v := value.(type) {
	case string:
		return strings.ToValidUTF8(v, "\uFFFD")
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return v.String()
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	default:
		return ""
	}
}

// cut shortens to at most limit bytes and leaves no half character.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
