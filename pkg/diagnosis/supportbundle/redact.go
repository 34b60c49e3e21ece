package supportbundle

import (
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// redacted stands where something was.
const redacted = "REDACTED"

// redactor takes out what must not leave the cluster.
type redactor struct {
	// known are tokens that were seen where they are shown on purpose; they go wherever else they turn up.
	known []string
}

// learn remembers the tokens of an object of ours that shows them to its users.
func (r *redactor) learn(object unstructured.Unstructured) {
	for _, field := range []string{"registrationToken", "registrationURL", "downloadURL", "ipxeURL"} {
		value, _, _ := unstructured.NestedString(object.Object, "status", field)
		if strings.Contains(value, "://") {
			value = tokenIn(value)
		}
		if len(value) >= 16 && !slices.Contains(r.known, value) {
			r.known = append(r.known, value)
		}
	}
}

// tokenIn is the longest part of an address's path: the others are words.
func tokenIn(address string) string {
	parsed, err := url.Parse(address)
	if err != nil {
		return ""
	}
	longest := ""
	for _, part := range strings.Split(path.Clean(parsed.Path), "/") {
		if len(part) > len(longest) {
			longest = part
		}
	}
	return longest
}

// object is the object with nothing but the fields that are shown.
func (r *redactor) object(object unstructured.Unstructured, shown fields) map[string]any {
	with := shown.and(fields{"apiVersion": nil, "kind": nil, "metadata": metadata})
	without := map[string]any{}
	for key, value := range object.Object {
		without[key] = value
	}
	if meta, ok := without["metadata"].(map[string]any); ok {
		copied := map[string]any{}
		for key, value := range meta {
			if key != "managedFields" {
				copied[key] = value
			}
		}
		without["metadata"] = copied
	}
	kept, _ := r.value(without, with).(map[string]any)
	return kept
}

func (r *redactor) value(value any, shown fields) any {
	switch value := value.(type) {
	case map[string]any:
		kept := make(map[string]any, len(value))
		for key, below := range value {
			part, named := shown[key]
			if below == nil {
				continue
			}
			if !named && shown != nil {
				kept[key] = redacted
				continue
			}
			kept[r.text(key)] = r.value(below, part)
		}
		return kept
	case []any:
		kept := make([]any, len(value))
		for i := range value {
			kept[i] = r.value(value[i], shown)
		}
		return kept
	case string:
		if shown != nil {
			return redacted // It was to be an object, and is not: it may be anything.
		}
		return r.text(value)
	default:
		return value
	}
}

// What is a secret wherever it stands: in a log, an event, a message of somebody else's. The first group stays.
var suspicious = []*regexp.Regexp{
	// User and password, and the query, of an address; what follows /v1-rancheros/ and a word.
	regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://)[^/@\s"']+@`),
	regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://[^\s"'?]+\?)[^\s"']+`),
	regexp.MustCompile(`(/v1-rancheros/[a-z-]+/)[^\s"'/?]+`),
	regexp.MustCompile(`(?i)\b((?:bearer|basic)\s+)[A-Za-z0-9+/=._:~-]{8,}`),
	regexp.MustCompile(`(?i)((?:password|passwd|passphrase|token|secret|api-?key|credential)s?["']?\s*[=:]\s*["']?)[^\s"',;}]{6,}`),
	regexp.MustCompile(`()-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|$)`),
	// Tokens of Kubernetes, and those of Rancher.
	regexp.MustCompile(`()eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*`),
	regexp.MustCompile(`()\b[a-z0-9]{54}\b`),
	// The hash of a password, as in a cloud-config.
	regexp.MustCompile(`()\$(?:1|2[aby]?|5|6|y)\$[./A-Za-z0-9$]{8,}`),
}

// text is the text without what is known to be, or looks like, a secret.
func (r *redactor) text(text string) string {
	for _, token := range r.known {
		text = strings.ReplaceAll(text, token, redacted)
	}
	for _, pattern := range suspicious {
		text = pattern.ReplaceAllString(text, "${1}"+redacted)
	}
	return text
}
