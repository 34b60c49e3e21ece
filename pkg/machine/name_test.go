package machine_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/machine"
)

const identity = "d68795c6000000000000000000000000000000000000000000000000000000aa"

// smbiosOf has the given texts as manufacturer, product and serial number.
func smbiosOf(manufacturer, product, serial any) map[string]any {
	return map[string]any{"System Information": map[string]any{
		"Manufacturer": manufacturer, "Product Name": product, "Serial Number": serial}}
}

func TestRenderName(t *testing.T) {
	for _, c := range []struct {
		id, why, template string
		smbios            map[string]any
		want              string
	}{
		{"-", "the default template", "", smbiosOf("Dell Inc.", "PowerEdge R650", "ABC1234"), "m-dell-inc-poweredge-r650-abc1234-d68795c600"},
		{"S1", "no SMBIOS at all", "", nil, "m-d68795c600"},
		{"S4", "an empty object", "", map[string]any{}, "m-d68795c600"},
		{"S10", "a path with a slash in a key leads nowhere", "${a/b}", map[string]any{"a/b": "x"}, "m-d68795c600"},
		{"S11", "a template in the data is not looked at", "${a}", map[string]any{"a": "${b}", "b": "x"}, "m-b-d68795c600"},
		{"S12", "what the factory left", "", smbiosOf("To Be Filled By O.E.M.", "Default string", "System Serial Number"), "m-d68795c600"},
		{"S13", "a UUID of zeros", "u-${System Information/UUID}",
			map[string]any{"System Information": map[string]any{"UUID": "00000000-0000-0000-0000-000000000000"}}, "u-d68795c600"},
		{"S15", "a path", "${a}", map[string]any{"a": "../../etc/passwd"}, "m-etc-passwd-d68795c600"},
		{"S16", "line break, NUL, escape, override", "${a}", map[string]any{"a": "a\nb\x00c\x1bd\u202ee"}, "a-b-c-d-e-d68795c600"},
		{"S17", "other scripts", "${a}", map[string]any{"a": "漢字😀é"}, "m-d68795c600"},
		{"S18", "not UTF-8", "${a}", map[string]any{"a": "a\xffb"}, "a-b-d68795c600"},
		{"S19", "ten thousand letters", "${a}", map[string]any{"a": strings.Repeat("y", 10_000)}, strings.Repeat("y", 52) + "-d68795c600"},
		{"S20", "nothing but signs", "${a}", map[string]any{"a": "!!!"}, "m-d68795c600"},
		{"S21", "dashes and dots at both ends", "${a}", map[string]any{"a": "-.a.-"}, "m-a-d68795c600"},
		{"S22", "a dash where it is cut", "${a}", map[string]any{"a": strings.Repeat("x", 51) + "-yyy"}, strings.Repeat("x", 51) + "-d68795c600"},
		{"S24", "a reserved word is just a prefix", "localhost", nil, "localhost-d68795c600"},
		{"S25", "digits only", "${a}", map[string]any{"a": "12345"}, "m12345-d68795c600"},
		{"S26", "capitals", "${a}", map[string]any{"a": "ABC"}, "abc-d68795c600"},
		{"S27", "an unclosed template", "a-${b", map[string]any{"b": "x"}, "a-b-d68795c600"},
		{"S27", "an empty one", "a-${}-b", nil, "a-b-d68795c600"},
		{"S27", "a closing brace only", "a}b", nil, "a-b-d68795c600"},
		{"S28", "an object", "a-${System Information}", smbiosOf("x", "y", "z"), "a-d68795c600"},
		{"S28", "a list", "a-${l}", map[string]any{"l": []any{"x"}}, "a-d68795c600"},
		{"S28", "numbers and booleans", "a-${n}-${f}-${i}-${b}", map[string]any{"n": json.Number("42"), "f": 1.5, "i": int64(7), "b": true}, "a-42-1-5-7-true-d68795c600"},
		{"S29", "ten thousand templates", strings.Repeat("${a}", 10_000), map[string]any{"a": strings.Repeat("y", 1024)}, strings.Repeat("y", 52) + "-d68795c600"},
		{"S31", "a name that means something elsewhere", "${__proto__}", map[string]any{"__proto__": "p"}, "p-d68795c600"},
	} {
		require.Equal(t, c.want, machine.RenderName(c.template, c.smbios, identity), "%s %s", c.id, c.why)
	}
}

// S14, S23: a name is one machine's, and cannot be had by saying the same about oneself.
func TestNamesAreTheMachines(t *testing.T) {
	smbios := smbiosOf("Dell", "R650", "SAME")
	seen := map[string]bool{}
	for i := range 1000 {
		hash := fmt.Sprintf("%x", sha256.Sum256([]byte{byte(i), byte(i >> 8)}))
		seen[machine.RenderName("", smbios, hash)] = true
		seen[machine.RenderName("", smbios, "a machine with shared token "+hash)] = true
	}
	require.Equal(t, 2000, len(seen)) //nolint:testifylint // Len would print them all
	forged := machine.RenderName("${a}", map[string]any{"a": "m-dell-r650-same-d68795c600"}, strings.Repeat("b", 64))
	require.NotEqual(t, machine.RenderName("", smbios, identity), forged)
}

func TestRenderLabelValue(t *testing.T) {
	for _, c := range []struct {
		id, why, template string
		smbios            map[string]any
		want              string
		left              bool
	}{
		{"-", "a constant", "rack-1_A.b", nil, "rack-1_A.b", true},
		{"-", "capitals stay", "${a}", map[string]any{"a": "PowerEdge R650"}, "PowerEdge-R650", true},
		{"S42", "illegal at both ends", "${a}", map[string]any{"a": "(x) "}, "x", true},
		{"S42", "64 characters", "${a}", map[string]any{"a": strings.Repeat("x", 62) + "-yy"}, strings.Repeat("x", 62), true},
		{"S42", "nothing left: no label", "${a}", map[string]any{"a": "漢字"}, "", false},
		{"S42", "missing: no label", "${a}", nil, "", false},
		{"S12", "what the factory left: no label", "${a}", map[string]any{"a": "Not Specified"}, "", false},
	} {
		value, left := machine.RenderLabelValue(c.template, c.smbios)
		require.Equal(t, c.want, value, "%s %s", c.id, c.why)
		require.Equal(t, c.left, left, "%s %s", c.id, c.why)
	}
}

func TestRenderValue(t *testing.T) {
	require.Equal(t, "serial Ü 1 ${} ${x", machine.RenderValue("serial ${a} ${} ${x", map[string]any{"a": "Ü 1"}), "annotations keep everything")
	long := machine.RenderValue(strings.Repeat("${a}", 1000), map[string]any{"a": strings.Repeat("漢", 340)})
	require.LessOrEqual(t, len(long), 64<<10)
	require.True(t, utf8.ValidString(long))
}

func TestIsPlaceholder(t *testing.T) {
	for _, value := range []string{"", " ", "0", "None", "NONE", "N/A", "Not Specified", "To Be Filled By O.E.M.", "to be filled by o.e.m.", "Default string",
		"System Serial Number", "System Product Name", "............", "00000000", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "xxxxxxxxxxx",
		"00000000-0000-0000-0000-000000000000", "03000200-0400-0500-0006-000700080009", "O.E.M.", "Chassis Serial Number", "0123456789", "-", "Unknown"} {
		require.True(t, machine.IsPlaceholder(value), value)
	}
	for _, value := range []string{"ABC1234", "1", "v0", "PowerEdge", "System x3650", "00000001", "4c4c4544-0042-3010-8054-b7c04f4e3532", "F", "OEM Server 9000", "Default Model 3"} {
		require.False(t, machine.IsPlaceholder(value), value)
	}
}

// Whatever goes in, the name is a DNS label that ends in the identity's digest.
func checkName(t *testing.T, template, value, identity string) {
	t.Helper()
	smbios := map[string]any{"System Information": map[string]any{"Manufacturer": value, "Serial Number": value}, value: value}
	name := machine.RenderName(template, smbios, identity)
	require.Regexp(t, regexp.MustCompile(`^[a-z]([a-z0-9-]*[a-z0-9])?$`), name)
	require.LessOrEqual(t, len(name), 63)
	require.NotContains(t, name, "--")
	require.Regexp(t, regexp.MustCompile(`-[0-9a-f]{10}$`), name)
	require.Equal(t, name, machine.RenderName(template, smbios, identity), "the same on every run")

	label, left := machine.RenderLabelValue(template, smbios)
	require.Equal(t, left, label != "")
	require.Regexp(t, regexp.MustCompile(`^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$`), label)
	require.LessOrEqual(t, len(label), 63)
}

func TestNameProperties(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const alphabet = "aZ09-._/${} \x00\n漢é\xff"
	text := func() string {
		out := make([]byte, random.IntN(80))
		for i := range out {
			out[i] = alphabet[random.IntN(len(alphabet))]
		}
		return string(out)
	}
	for range 5000 {
		checkName(t, text(), text(), text())
	}
}

func FuzzRenderName(f *testing.F) {
	f.Add(machine.DefaultNameTemplate, "Dell Inc.", identity)
	f.Add("${", "${a}", "")
	f.Fuzz(checkName)
}
