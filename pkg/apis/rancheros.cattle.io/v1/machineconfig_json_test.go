package v1

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"pgregory.net/rapid"
)

func TestMachineConfigRoundTrip(t *testing.T) {
	for _, c := range []struct {
		why, in, want string
		config        MachineConfig
	}{
		{"nothing", `{}`, `{}`, MachineConfig{}},
		{"the seed's labels: null", `{"labels":null,"role":"server"}`, `{"role":"server"}`, MachineConfig{Role: "server"}},
		{"every documented key may be null", `{"role":null,"nodeName":null,"address":null,"internalAddress":null,"labels":null,"taints":null}`,
			`{}`, MachineConfig{}},
		{"every documented key",
			`{"role":"etcd,worker","nodeName":"n1","address":"192.0.2.1","internalAddress":"::1","labels":{"a":"b"},"taints":[{"key":"k","effect":"NoExecute"}]}`,
			`{"role":"etcd,worker","nodeName":"n1","address":"192.0.2.1","internalAddress":"::1","labels":{"a":"b"},"taints":[{"key":"k","effect":"NoExecute"}]}`,
			MachineConfig{Role: "etcd,worker", NodeName: "n1", Address: "192.0.2.1", InternalAddress: "::1",
				Labels: map[string]NodeLabelValue{"a": "b"}, Taints: []NodeTaint{{Key: "k", Effect: corev1.TaintEffectNoExecute}}}},
		{"other keys are kept as they are written, null and large numbers too", `{"role":"agent","x":null,"n":18446744073709551616,"deep":{"b":[1,{"c":""}],"a":1.50}}`,
			`{"deep":{"b":[1,{"c":""}],"a":1.50},"n":18446744073709551616,"role":"agent","x":null}`,
			MachineConfig{Role: "agent", Extra: map[string]runtime.RawExtension{
				"x": {Raw: []byte("null")}, "n": {Raw: []byte("18446744073709551616")}, "deep": {Raw: []byte(`{"b":[1,{"c":""}],"a":1.50}`)}}}},
		{"a key of another case is another key: the schema has checked only the documented one", `{"Role":"root; id","ADDRESS":"--x"}`,
			`{"ADDRESS":"--x","Role":"root; id"}`,
			MachineConfig{Extra: map[string]runtime.RawExtension{"Role": {Raw: []byte(`"root; id"`)}, "ADDRESS": {Raw: []byte(`"--x"`)}}}},
		{"the Go name of Extra is a key like any other", `{"Extra":{"role":"x"}}`, `{"Extra":{"role":"x"}}`,
			MachineConfig{Extra: map[string]runtime.RawExtension{"Extra": {Raw: []byte(`{"role":"x"}`)}}}},
		{"an empty key", `{"":1}`, `{"":1}`, MachineConfig{Extra: map[string]runtime.RawExtension{"": {Raw: []byte("1")}}}},
	} {
		t.Run(c.why, func(t *testing.T) {
			var config MachineConfig
			require.NoError(t, json.Unmarshal([]byte(c.in), &config))
			require.Empty(t, cmp.Diff(c.config, config))
			out, err := json.Marshal(config)
			require.NoError(t, err)
			require.Equal(t, c.want, string(out))
		})
	}
}

func TestMachineConfigErrors(t *testing.T) {
	for _, c := range []struct{ why, in string }{
		{"a role that is no text", `{"role":7}`},
		{"labels that are no map", `{"labels":["a=b"]}`},
		{"no object", `["role"]`},
	} {
		var config MachineConfig
		require.ErrorContains(t, json.Unmarshal([]byte(c.in), &config), "reading machine config", c.why)
		require.Empty(t, config, c.why)
	}
	_, err := json.Marshal(MachineConfig{Extra: map[string]runtime.RawExtension{"x": {Raw: []byte("{")}}})
	require.ErrorContains(t, err, `machine config key "x"`, "bytes that are no JSON cannot have come from the API server")
}

func TestMachineConfigDocumentedKeyWins(t *testing.T) {
	config := MachineConfig{Role: "agent", Extra: map[string]runtime.RawExtension{
		"role": {Raw: []byte(`"server"`)}, "address": {Raw: []byte(`"192.0.2.1"`)}, "x": {Raw: []byte("1")}}}
	out, err := json.Marshal(config)
	require.NoError(t, err)
	require.Equal(t, `{"role":"agent","x":1}`, string(out), "nor does Extra fill in a documented key that is empty: nothing has checked it")
}

func TestMachineConfigNull(t *testing.T) {
	var spec MachineInventorySpec
	require.NoError(t, json.Unmarshal([]byte(`{"config":null}`), &spec))
	require.Nil(t, spec.Config)
	var config MachineConfig
	require.NoError(t, json.Unmarshal([]byte("null"), &config))
	require.Empty(t, config)
}

func TestMachineConfigKeepsNoBytesOfOthers(t *testing.T) {
	in := []byte(`{"x":"aaaa"}`)
	var config MachineConfig
	require.NoError(t, config.UnmarshalJSON(in))
	for i := range in {
		in[i] = '!'
	}
	require.Equal(t, `"aaaa"`, string(config.Extra["x"].Raw), "a decoder may use its buffer again")

	copied := config.DeepCopy()
	copied.Extra["x"].Raw[1] = 'b'
	require.Equal(t, `"aaaa"`, string(config.Extra["x"].Raw), "an object in the cache is safe from its copies")
}

// Whatever object is written, reading and writing it loses no key, invents none, and is the same when done again.
func TestMachineConfigProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := map[string]any{}
		for key, value := range rapid.MapOf(rapid.String(), anyJSON(3)).Draw(t, "others") {
			if !documentedKeys[key] {
				in[key] = value
			}
		}
		if rapid.Bool().Draw(t, "has role") {
			in["role"] = rapid.StringMatching("[a-z]{1,8}").Draw(t, "role")
		}
		if rapid.Bool().Draw(t, "has labels") {
			in["labels"] = map[string]any{"a": rapid.String().Draw(t, "label")}
		}
		written, err := json.Marshal(in)
		require.NoError(t, err)

		var config, again MachineConfig
		require.NoError(t, json.Unmarshal(written, &config))
		out, err := json.Marshal(config)
		require.NoError(t, err)
		require.JSONEq(t, string(written), string(out))

		require.NoError(t, json.Unmarshal(out, &again))
		twice, err := json.Marshal(again)
		require.NoError(t, err)
		require.Equal(t, string(out), string(twice))
	})
}

func anyJSON(depth int) *rapid.Generator[any] {
	scalars := []*rapid.Generator[any]{
		rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.Int32().AsAny(), rapid.String().AsAny(),
	}
	if depth == 0 {
		return rapid.OneOf(scalars...)
	}
	return rapid.OneOf(append(scalars,
		rapid.SliceOfN(rapid.Deferred(func() *rapid.Generator[any] { return anyJSON(depth - 1) }), 0, 3).AsAny(),
		rapid.MapOfN(rapid.String(), rapid.Deferred(func() *rapid.Generator[any] { return anyJSON(depth - 1) }), 0, 3).AsAny(),
	)...)
}
