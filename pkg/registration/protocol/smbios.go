package protocol

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// cutMark ends a value that was longer than it may be.
const cutMark = "..."

// EncodeSMBIOSHeader is the value of X-Cattle-Smbios for what the machine's firmware says about itself:
// dmidecode's names in nested objects, {"System Information": {"Manufacturer": ...}}.
func EncodeSMBIOSHeader(smbios map[string]any) (string, error) {
	data, err := json.Marshal(smbios)
	if err != nil {
		return "", fmt.Errorf("encoding SMBIOS data: %w", err)
	}
	if len(data) > MaxSMBIOS {
		return "", refuse(CodeTooLarge, "the SMBIOS data is too large", "%d bytes, limit %d", len(data), MaxSMBIOS)
	}
	return base64.StdEncoding.EncodeToString(data), nil
}

// ParseSMBIOSHeader reads the header. No header, `null` and `{}` mean the same: nil, no error.
func ParseSMBIOSHeader(header string) (map[string]any, error) {
	if header == "" {
		return nil, nil
	}
	if len(header) > base64.StdEncoding.EncodedLen(MaxSMBIOS) {
		return nil, refuse(CodeTooLarge, "the SMBIOS data is too large", "header of %d bytes", len(header))
	}
	data, err := decodeBase64(header)
	if err != nil {
		return nil, badSMBIOS("%v", err)
	}
	return ParseSMBIOS(data)
}

// ParseSMBIOS reads the JSON of a machine's SMBIOS data and makes it fit to be stored and shown: numbers become their
// own text (1e400 is a legal number and no float), long values are cut with a mark, characters that a terminal or a browser would act on
// (control, bidirectional overrides, zero width) are written as \uXXXX.
func ParseSMBIOS(data []byte) (map[string]any, error) {
	if len(data) > MaxSMBIOS {
		return nil, refuse(CodeTooLarge, "the SMBIOS data is too large", "%d bytes, limit %d", len(data), MaxSMBIOS)
	}
	value, err := decodeStrict(data)
	if err != nil {
		return nil, badSMBIOS("%v", err)
	}
	if value == nil {
		return nil, nil
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, badSMBIOS("a JSON %s where an object is expected", kindOf(value))
	}
	if len(object) == 0 {
		return nil, nil
	}
	return cleanObject(object)
}

func cleanObject(object map[string]any) (map[string]any, error) {
	clean := make(map[string]any, len(object))
	for key, value := range object {
		key = escapeUnprintable(key)
		if len(key) > MaxSMBIOSString {
			return nil, badSMBIOS("a key of %d bytes, limit %d", len(key), MaxSMBIOSString)
		}
		if _, twice := clean[key]; twice {
			return nil, badSMBIOS("key %s twice", quoteShort(key))
		}
		cleaned, err := cleanValue(value)
		if err != nil {
			return nil, err
		}
		clean[key] = cleaned
	}
	return clean, nil
}

func cleanValue(value any) (any, error) {
	switch v := value.(type) {
	case map[string]any:
		return cleanObject(v)
	case []any:
		for i := range v {
			cleaned, err := cleanValue(v[i])
			if err != nil {
				return nil, err
			}
			v[i] = cleaned
		}
		return v, nil
	case json.Number:
		return cutString(v.String(), MaxSMBIOSString), nil
	case string:
		return cutString(escapeUnprintable(v), MaxSMBIOSString), nil
	default:
		return v, nil
	}
}

// escapeUnprintable keeps what a person can see, in any script, and spells out the rest.
func escapeUnprintable(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

func cutString(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	cut := limit - len(cutMark)
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + cutMark
}

func badSMBIOS(format string, args ...any) *Error {
	return refuse(CodeBadRequest, "the SMBIOS data cannot be read", format, args...)
}
