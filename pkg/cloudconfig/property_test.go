package cloudconfig

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"
)

// Whatever the user's config holds: it is refused with a conflict and nothing is sent, or our keys are ours, every other
// key is as it was, and asking again gives the same bytes.
func TestMachineProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := anyConfig().Draw(t, "config")
		config, err := json.Marshal(in)
		require.NoError(t, err)
		before := bytes.Clone(config)
		got, err := machineFor(config, serverURL, hostname)
		require.Equal(t, before, config, "the input is only read")
		var conflict *ConflictError
		if errors.As(err, &conflict) {
			require.Nil(t, got)
			return
		}
		require.NoError(t, err)

		var out map[string]any
		require.NoError(t, json.Unmarshal(got, &out))
		rancherd := out["rancherd"].(map[string]any)
		install := out["rancheros"].(map[string]any)["install"].(map[string]any)
		require.Equal(t, serverURL, rancherd["server"])
		require.Equal(t, "tpm://", rancherd["token"])
		require.Equal(t, true, install["automatic"])
		require.NotNil(t, out["hostname"])

		delete(rancherd, "server")
		delete(rancherd, "token")
		delete(install, "automatic")
		var rest map[string]any
		require.NoError(t, json.Unmarshal(config, &rest))
		forgetOurs(rest)
		if rest["hostname"] == nil {
			delete(out, "hostname")
			delete(rest, "hostname")
		}
		require.Equal(t, rest, out, "nothing else changes")

		again, err := machineFor(got, serverURL, hostname)
		require.NoError(t, err)
		require.Equal(t, string(got), string(again))
	})
}

// forgetOurs takes our keys away, and makes the maps that hold them.
func forgetOurs(config map[string]any) {
	inner := func(of map[string]any, key string) map[string]any {
		made, ok := of[key].(map[string]any)
		if !ok {
			made = map[string]any{}
			of[key] = made
		}
		return made
	}
	rancherd := inner(config, "rancherd")
	delete(rancherd, "server")
	delete(rancherd, "token")
	delete(inner(inner(config, "rancheros"), "install"), "automatic")
}

// What an upgrade finds on the node is what the user wrote.
func TestUpgradeProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := anyConfig().Draw(t, "config")
		config, err := json.Marshal(in)
		require.NoError(t, err)
		got, err := Upgrade(config)
		require.NoError(t, err)
		again, err := Upgrade(config)
		require.NoError(t, err)
		require.Equal(t, string(got), string(again))
		if len(in) == 0 {
			require.Nil(t, got)
			return
		}
		require.True(t, bytes.HasPrefix(got, []byte("#cloud-config\n")))
		var out map[string]any
		require.NoError(t, yaml.Unmarshal(got, &out))
		read, err := json.Marshal(out)
		require.NoError(t, err)
		require.JSONEq(t, string(config), string(read))
	})
}

// anyConfig holds keys of ours often, and in all shapes.
func anyConfig() *rapid.Generator[map[string]any] {
	key := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"rancherd", "rancheros", "install", "server", "token", "automatic", "hostname", "on", "~", "1e3"}))
	return rapid.MapOfN(key, anyValue(key, 3), 0, 5)
}

func anyValue(key *rapid.Generator[string], depth int) *rapid.Generator[any] {
	kinds := []*rapid.Generator[any]{rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.Int32().AsAny(), rapid.String().AsAny(),
		rapid.StringOfN(rapid.RuneFrom([]rune(" \n\t\ra-:#|>'\"&*!%@`{}[],?~=<\u0085\u2028\ufeff")), 0, 8, -1).AsAny(),
		rapid.SampledFrom([]string{"on", "no", "~", "null", "1e3", "0777", "12:30:45", "2026-11-20", "a\nb\n", " ", ""}).AsAny()}
	if depth > 0 {
		inner := rapid.Deferred(func() *rapid.Generator[any] { return anyValue(key, depth-1) })
		kinds = append(kinds, rapid.SliceOfN(inner, 0, 3).AsAny(), rapid.MapOfN(key, inner, 0, 4).AsAny(), rapid.MapOfN(key, inner, 1, 4).AsAny())
	}
	return rapid.OneOf(kinds...)
}
