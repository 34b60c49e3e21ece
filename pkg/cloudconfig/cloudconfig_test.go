package cloudconfig

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/rancher/rancheros-operator/tests/golden"
)

const (
	serverURL = "https://rancher.example.com"
	// quickStart is the cloudConfig of the first seed.
	quickStart = `{"rancheros":{"install":{"device":"/dev/nvme0n1"}},"users":[{"name":"root","passwd":"root"}]}`
	pem        = "-----BEGIN CERTIFICATE-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA\n-----END CERTIFICATE-----\n"
)

const hostname = "m-edge-0123456789"

// machineFor is both steps at once.
func machineFor(config []byte, serverURL, hostname string) ([]byte, error) {
	template, err := Machine(config, serverURL)
	if err != nil {
		return nil, err
	}
	return template.For(hostname)
}

func TestSample(t *testing.T) {
	const url = serverURL + "/v1-rancheros/registration/bcdfghjklmnpqrstvwxz2456789bcdfghjklmnpqrstvwxz2456789"
	public, err := Sample(url, "")
	require.NoError(t, err)
	require.Equal(t, "#cloud-config\nrancheros:\n    install:\n        registrationURL: "+url+"\n", string(public))

	private, err := Sample(url, pem)
	require.NoError(t, err)
	golden.Equal(t, "sample-private-ca.yaml", private)
}

func TestMachine(t *testing.T) {
	for _, c := range []struct{ file, config string }{
		{"machine-quick-start.json", quickStart},
		{"machine-empty.json", ""},
		// C14: what the operator says wins, whatever it is written over, and everything beside it stays.
		{"machine-overridden.json", `{"hostname":"mine","rancherd":{"server":"https://evil","token":"stolen","role":"server"},
			"rancheros":{"install":{"automatic":false,"isoUrl":"https://example.com/os.iso"},"other":1},"n":18446744073709551616,"f":1.50}`},
	} {
		t.Run(c.file, func(t *testing.T) {
			got, err := machineFor([]byte(c.config), serverURL, hostname)
			require.NoError(t, err)
			golden.Equal(t, c.file, append(got, '\n'))
		})
	}
}

func TestOverridden(t *testing.T) {
	for config, want := range map[string][]string{
		"": nil, "[1]": nil, `{"rancherd":"x"}`: nil, `{"rancherd":{"server":null,"role":"server"}}`: nil,
		`{"rancherd":{"server":"` + serverURL + `","token":"tpm://"},"rancheros":{"install":{"automatic":true}}}`:     nil,
		`{"rancherd":{"server":"https://evil","token":["t"]},"rancheros":{"install":{"automatic":"true","other":1}}}`: {"rancherd.server", "rancherd.token", "rancheros.install.automatic"},
	} {
		require.Equal(t, want, Overridden([]byte(config), serverURL), config)
	}
}

func TestMachineIsOneLineOfSortedJSON(t *testing.T) {
	got, err := machineFor([]byte(`{"users":[],"a":1}`), serverURL, "")
	require.NoError(t, err)
	require.Equal(t, `{"a":1,"rancherd":{"server":"https://rancher.example.com","token":"tpm://"},"rancheros":{"install":{"automatic":true}},"users":[]}`, string(got))
}

func TestMachineHostname(t *testing.T) {
	for _, c := range []struct{ why, config, want string }{
		{"the machine's name", `{}`, `"m-edge-0123456789"`},
		{"the user's own", `{"hostname":"mine"}`, `"mine"`},
		{"null counts as absent", `{"hostname":null}`, `"m-edge-0123456789"`},
	} {
		got, err := machineFor([]byte(c.config), serverURL, hostname)
		require.NoError(t, err, c.why)
		require.Contains(t, string(got), `"hostname":`+c.want, c.why)
	}
	got, err := machineFor(nil, "", "")
	require.NoError(t, err)
	require.NotContains(t, string(got), "hostname", "a check without a machine names none")
}

// C12, C13, C15.
func TestMachineRefuses(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200)
	for _, c := range []struct{ why, config, want string }{
		{"a list", `["a"]`, "cloudConfig must be a map, but is a list"},
		{"a string", `"a"`, "cloudConfig must be a map, but is a string"},
		{"a number", `7`, "cloudConfig must be a map, but is a number"},
		{"a boolean", `true`, "cloudConfig must be a map, but is true or false"},
		{"a string where our map goes", `{"rancherd":"x"}`, "cloudConfig.rancherd must be a map to hold the operator's settings, but is a string"},
		{"a list where our map goes", `{"rancheros":[1]}`, "cloudConfig.rancheros must be a map to hold the operator's settings, but is a list"},
		{"a number further in", `{"rancheros":{"install":5}}`, "cloudConfig.rancheros.install must be a map to hold the operator's settings, but is a number"},
		{"a boolean further in", `{"rancheros":{"install":true}}`, "cloudConfig.rancheros.install must be a map to hold the operator's settings, but is true or false"},
		{"too deep", deep, "cloudConfig must not nest deeper than 64 levels"},
		{"too deep in lists", `{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "}", "cloudConfig must not nest deeper than 64 levels"},
		{"deeper than the decoder goes", `{"a":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + "}", "reading cloudConfig: "},
		{"no JSON", `{`, "reading cloudConfig: "},
	} {
		got, err := machineFor([]byte(c.config), serverURL, hostname)
		require.Nil(t, got, c.why+": no config is sent")
		require.ErrorContains(t, err, c.want, c.why)
		require.NotContains(t, err.Error(), "interface {}", c.why+": no word of Go")
	}
	for _, config := range []string{`{"rancherd":null}`, `{"rancheros":{"install":null}}`, `null`, ``} {
		_, err := machineFor([]byte(config), serverURL, hostname)
		require.NoError(t, err, "null counts as absent: %s", config)
	}
	wide := `{"a":[` + strings.Repeat("1,", 1e5) + "1]}"
	_, err := machineFor([]byte(wide), serverURL, hostname)
	require.NoError(t, err, "100,000 entries are the schema's business; they do no harm here")
}

func TestConflictErrorSaysWhere(t *testing.T) {
	_, err := machineFor([]byte(`{"rancheros":{"install":"x"}}`), serverURL, hostname)
	var conflict *ConflictError
	require.ErrorAs(t, err, &conflict)
	require.Equal(t, ConflictError{Path: "rancheros.install", Kind: "a string"}, *conflict)
}

func TestUpgrade(t *testing.T) {
	got, err := Upgrade([]byte(`{"write_files":[{"path":"/etc/motd","content":"one\ntwo\n","permissions":"0644"}],"n":18446744073709551616,"f":0.5,"on":"yes"}`))
	require.NoError(t, err)
	golden.Equal(t, "upgrade.yaml", got)
	for _, config := range []string{``, `null`, `{}`} {
		got, err := Upgrade([]byte(config))
		require.NoError(t, err)
		require.Nil(t, got, "nothing is no document: %q", config)
	}
	_, err = Upgrade([]byte(`[]`))
	require.ErrorContains(t, err, "must be a map")
}

// C17: keys and values that YAML 1.1 or 1.2 would read as something else come back as the strings that they are, and
// numbers as numbers.
func TestYAMLKeepsTypes(t *testing.T) {
	in := map[string]any{"numbers": []any{0, -1, 1.5, 1e21, 123456789012345}}
	for _, tricky := range []string{"on", "off", "yes", "no", "y", "n", "Y", "N", "true", "True", "~", "null", "Null", "", "1e3", "0x1F", "0o17", "0777",
		"1_000", "12:30:45", "1:30", "2026-11-20", "2026-11-20T10:00:00Z", ".inf", "-.Inf", ".nan", "=", "<<", "!tag", "&a", "*a", "- a", "a: b", "a #b",
		"@a", "`a", "%a", "{a", "[a", "|", ">", "'", "\"", " a ", "a\n", "\n", "\ta", "a\r\nb", "\u0085", "\u2028", "\x7f", "\U0001F600", "#cloud-config"} {
		in[tricky] = tricky
	}
	config, err := json.Marshal(in)
	require.NoError(t, err)
	out, err := Upgrade(config)
	require.NoError(t, err)
	var decoded map[string]any
	require.NoError(t, yaml.Unmarshal(out, &decoded))
	for key, value := range in {
		if key != "numbers" {
			require.Equal(t, value, decoded[key], "key %q", key)
		}
	}
	require.Equal(t, []any{0, -1, 1.5, 1e21, 123456789012345}, decoded["numbers"])
	// What YAML 1.1 takes for a boolean must be quoted for cloud-init, whose parser is of that version.
	for _, word := range []string{"on", "off", "yes", "no", "y", "n"} {
		require.Contains(t, string(out), `"`+word+`": "`+word+`"`+"\n")
	}
}

// The bytes that a caller holds are an informer's cache. Nothing is written to them, and what is returned shares none.
func TestPurity(t *testing.T) {
	for _, f := range []func([]byte) ([]byte, error){
		func(config []byte) ([]byte, error) { return machineFor(config, serverURL, hostname) },
		Upgrade,
	} {
		config := []byte(quickStart)
		first, err := f(config)
		require.NoError(t, err)
		require.Equal(t, quickStart, string(config))
		kept := string(first)
		for i := range first {
			first[i] = '!'
		}
		require.Equal(t, quickStart, string(config), "no aliasing")
		again, err := f(config)
		require.NoError(t, err)
		require.Equal(t, kept, string(again))
	}
}

// What killed the first operator: registrations at the same time, with the documented cloudConfig.
func TestAtTheSameTime(t *testing.T) {
	config := []byte(quickStart)
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 200 {
				if _, err := machineFor(config, serverURL, hostname); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	require.Equal(t, quickStart, string(config))
}
