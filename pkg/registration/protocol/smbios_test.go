package protocol

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestBadSMBIOS(t *testing.T) {
	keys := make([]string, 513)
	for i := range keys {
		keys[i] = fmt.Sprintf(`"k%d":1`, i)
	}
	for _, c := range []struct {
		id, why, data string
		code          Code
	}{
		{"S3", "an array", `[]`, CodeBadRequest},
		{"S3", "a string", `"x"`, CodeBadRequest},
		{"S3", "a number", `7`, CodeBadRequest},
		{"S3", "a boolean", `true`, CodeBadRequest},
		{"S5", "64 KiB and one byte", `{"a":"` + strings.Repeat("x", MaxSMBIOS) + `"}`, CodeTooLarge},
		{"S6", "nine levels", strings.Repeat(`{"a":`, 9) + `1` + strings.Repeat(`}`, 9), CodeBadRequest},
		{"S6", "10001 levels", strings.Repeat(`[`, 10001), CodeBadRequest},
		{"S7", "513 keys", `{` + strings.Join(keys, ",") + `}`, CodeBadRequest},
		{"S8", "a key of 1025 bytes", `{"` + strings.Repeat("k", 1025) + `":1}`, CodeBadRequest},
		{"S9", "duplicate keys", `{"a":1,"a":2}`, CodeBadRequest},
		{"S9", "duplicate keys, deeper", `{"b":{"a":1,"a":2}}`, CodeBadRequest},
		{"S9", "two keys that look alike once they can be shown", "{\"a\x7f\":1,\"a\\\\u007f\":2}", CodeBadRequest},
		{"S18", "not UTF-8", "{\"a\":\"\xff\"}", CodeBadRequest},
		{"S35", "gzip", "\x1f\x8b\x08\x00", CodeBadRequest},
		{"S36", "UTF-16", "\xff\xfe{\x00}\x00", CodeBadRequest},
		{"S36", "a byte order mark", "\ufeff{}", CodeBadRequest},
		{"S37", "YAML", "System Information:\n  UUID: x\n", CodeBadRequest},
		{"S38", "a comment", `{"a":1} // x`, CodeBadRequest},
		{"S38", "a comma too many", `{"a":1,}`, CodeBadRequest},
		{"W41", "NaN", `{"a":NaN}`, CodeBadRequest},
		{"W43", "bytes after the end", `{"a":1}{}`, CodeBadRequest},
		{"-", "nothing", ``, CodeBadRequest},
	} {
		object, err := ParseSMBIOS([]byte(c.data))
		require.Nil(t, object, "%s %s", c.id, c.why)
		var refusal *Error
		require.ErrorAs(t, err, &refusal, "%s %s", c.id, c.why)
		require.Equal(t, c.code, refusal.Code, "%s %s: %s", c.id, c.why, refusal.Reason)
		require.LessOrEqual(t, len(refusal.Reason), 256, "%s %s", c.id, c.why)
	}
	for _, header := range []string{"e30", "{}", "e30=\n", strings.Repeat("A", 100_000)} {
		_, err := ParseSMBIOSHeader(header)
		require.Error(t, err, "S34 %.10s", header)
	}
}

func TestGoodSMBIOS(t *testing.T) {
	for _, c := range []struct{ id, why, data, want string }{
		{"S2", "null", `null`, `null`},
		{"S4", "an empty object", `{}`, `null`},
		{"S6", "eight levels", strings.Repeat(`{"a":`, 8) + `"x"` + strings.Repeat(`}`, 8), strings.Repeat(`{"a":`, 8) + `"x"` + strings.Repeat(`}`, 8)},
		{"S10", "template characters in keys", `{"a/b":"1","${":"2","}":"3"}`, `{"a/b":"1","${":"2","}":"3"}`},
		{"S11", "a template as a value", `{"a":"${b}"}`, `{"a":"${b}"}`},
		{"S15", "a path", `{"a":"../../etc/passwd"}`, `{"a":"../../etc/passwd"}`},
		{"S16", "line break, NUL, ESC, right-to-left override, zero width", `{"a":"1\n2\u00003\u001b4\u202e5\u200b6"}`, `{"a":"1\\u000a2\\u00003\\u001b4\\u202e5\\u200b6"}`},
		{"S17", "emoji, CJK, combining marks", `{"a":"😀漢é"}`, `{"a":"😀漢é"}`},
		{"S18", "a lone surrogate", `{"a":"\ud800"}`, `{"a":"�"}`},
		{"S28", "other types stay", `{"a":[true,null,"x"]}`, `{"a":[true,null,"x"]}`},
		{"S30", "numbers are text", `{"a":[1e400,9223372036854775808,-0,0.1]}`, `{"a":["1e400","9223372036854775808","-0","0.1"]}`},
		{"S31", "names that mean something elsewhere", `{"__proto__":"x","constructor":"y"}`, `{"__proto__":"x","constructor":"y"}`},
		{"S32", "HTML is data", `{"a":"<script>"}`, `{"a":"<script>"}`},
	} {
		object, err := ParseSMBIOS([]byte(c.data))
		require.NoError(t, err, "%s %s", c.id, c.why)
		data, err := json.Marshal(object)
		require.NoError(t, err)
		require.JSONEq(t, c.want, string(data), "%s %s", c.id, c.why)
	}
	object, err := ParseSMBIOSHeader("")
	require.NoError(t, err, "S1: absent")
	require.Nil(t, object)

	header, err := EncodeSMBIOSHeader(map[string]any{"System Information": map[string]any{"UUID": "x"}})
	require.NoError(t, err)
	require.Equal(t, base64.StdEncoding.EncodeToString([]byte(`{"System Information":{"UUID":"x"}}`)), header)
	object, err = ParseSMBIOSHeader(header)
	require.NoError(t, err)
	require.Equal(t, map[string]any{"System Information": map[string]any{"UUID": "x"}}, object)
	_, err = EncodeSMBIOSHeader(map[string]any{"a": strings.Repeat("x", MaxSMBIOS)})
	require.Error(t, err)
}

// S8, S19: a long value is cut where a character ends, with a mark.
func TestLongSMBIOSValues(t *testing.T) {
	for _, text := range []string{strings.Repeat("x", 10_000), strings.Repeat("漢", 1000), strings.Repeat("\x7f", 1000), strings.Repeat("1", 2000)} {
		data, err := json.Marshal(map[string]any{"a": text})
		require.NoError(t, err)
		object, err := ParseSMBIOS(data)
		require.NoError(t, err)
		value, ok := object["a"].(string)
		require.True(t, ok)
		require.LessOrEqual(t, len(value), MaxSMBIOSString)
		require.True(t, strings.HasSuffix(value, "..."))
		require.True(t, utf8.ValidString(value))
	}
	exact := strings.Repeat("x", MaxSMBIOSString)
	object, err := ParseSMBIOS([]byte(`{"a":"` + exact + `"}`))
	require.NoError(t, err)
	require.Equal(t, exact, object["a"])
}
