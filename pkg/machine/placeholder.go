package machine

import "strings"

// IsPlaceholder tells whether an SMBIOS value is what a maker's factory left in place of a real one. Such values are shared by thousands of
// machines: as a name or a label they say nothing, and as an identity they would be dangerous.
func IsPlaceholder(value string) bool {
	normal := strings.ToLower(strings.Join(strings.Fields(value), " "))
	switch strings.Trim(normal, " .") {
	case "", "0", "none", "n/a", "na", "unknown", "default", "default string", "not specified", "not available", "not applicable",
		"not settable", "not present", "not set", "invalid", "empty", "oem", "o.e.m", "undefined", "null",
		"to be filled by o.e.m", "to be filled by oem", "to be filled by the o.e.m", "tobefilledbyo.e.m",
		"system manufacturer", "system product name", "system version", "system serial number", "system name",
		"system sku number", "system sku", "sku", "sku number", "chassis serial number", "chassis manufacture",
		"base board serial number", "baseboard serial number", "board serial number", "serial number", "type1sku0", "type1family",
		"empty serial number", "123456789", "0123456789", "1234567890", "xxxxxxx", "03000200-0400-0500-0006-000700080009":
		return true
	}
	return oneCharacter(normal)
}

// oneCharacter recognises 00000000-0000-..., FFFFFFFF-FFFF-..., 000000, xxxxxxxx and "........": one character over and over. Short runs
// may be a version.
func oneCharacter(value string) bool {
	value = strings.NewReplacer("-", "", " ", "", ".", "", "_", "", ":", "").Replace(value)
	if value == "" {
		return true
	}
	return len(value) >= 6 && strings.Trim(value, value[:1]) == "" && strings.ContainsAny(value[:1], "0fx*")
}
