package machine

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// DefaultNameTemplate names a machine after what is printed on it.
const DefaultNameTemplate = "m-${System Information/Manufacturer}-${System Information/Product Name}-${System Information/Serial Number}-"

const (
	// maxLabel is the longest DNS label, and the longest value of a Kubernetes label.
	maxLabel = 63
	// digestLength is how much of the identity ends a name: with 20,000 machines of one model and no serial number, two share
	// it with a probability of 1 in 5,000, and then the server tells them apart.
	digestLength = 10
)

// RenderName is the name of a machine's inventory: the rendered template, made a DNS label, and a digest of the machine's
// identity. It depends on nothing else, so a retry, a reinstall and another replica arrive at the same name; and a machine
// cannot choose a name that is another's. The result is a valid RFC 1123 label whatever goes in.
//
// Before the digest, the label is made as the first operator made it: what is not a letter or digit of ASCII becomes a
// dash, runs of dashes become one, an "m" is put before anything but a letter, all is lower case.
func RenderName(template string, smbios map[string]any, identityHash string) string {
	if template == "" {
		template = DefaultNameTemplate
	}
	name := sanitizeLabel(RenderValue(template, smbios))
	if room := maxLabel - 1 - digestLength; len(name) > room {
		name = name[:room]
	}
	return strings.TrimRight(name, "-") + "-" + shortDigest(identityHash)
}

// sanitizeLabel returns at least "m".
func sanitizeLabel(s string) string {
	var out strings.Builder
	for i := 0; i < len(s) && out.Len() <= maxLabel; i++ {
		c := s[i]
		letter := c >= 'a' && c <= 'z'
		switch {
		case c >= 'A' && c <= 'Z':
			c, letter = c-'A'+'a', true
		case letter, c >= '0' && c <= '9':
		default:
			c = '-'
		}
		if out.Len() == 0 && !letter {
			out.WriteByte('m')
		}
		if c == '-' && strings.HasSuffix(out.String(), "-") {
			continue
		}
		out.WriteByte(c)
	}
	if out.Len() == 0 {
		return "m"
	}
	return out.String()
}

// shortDigest is the beginning of an endorsement hash, so that a person can match the two by eye; any other identity is hashed first.
func shortDigest(identity string) string {
	if len(identity) == 2*sha256.Size && strings.Trim(identity, "0123456789abcdef") == "" {
		return identity[:digestLength]
	}
	sum := sha256.Sum256([]byte(identity))
	return hex.EncodeToString(sum[:])[:digestLength]
}

// RenderLabelValue is RenderValue made a valid Kubernetes label value: letters, digits, '-', '_' and '.', at most 63, with a letter
// or digit at both ends. It is false when nothing is left: then the label is left out, because a label without a value says that
// the machine has none, which nobody knows.
func RenderLabelValue(template string, smbios map[string]any) (string, bool) {
	value := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
			return r
		}
		return '-'
	}, RenderValue(template, smbios))
	value = strings.Trim(value, "-_.")
	value = strings.Trim(cut(value, maxLabel), "-_.")
	return value, value != ""
}
