package cloudconfig

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/tests/golden"
)

func TestMedium(t *testing.T) {
	const url = serverURL + "/v1-rancheros/registration/x"
	// With nothing of the user's own, it is the sample.
	own, err := Medium(nil, url, pem)
	require.NoError(t, err)
	sample, err := Sample(url, pem)
	require.NoError(t, err)
	require.Equal(t, string(sample), string(own))

	// What the operator says wins, and everything beside it stays; the same on every run.
	config := []byte(`{"rancheros":{"install":{"registrationURL":"https://evil","device":"/dev/sda"}},"users":[{"name":"edge"}],"n":18446744073709551616}`)
	for range 20 {
		got, err := Medium(config, url, pem)
		require.NoError(t, err)
		golden.Equal(t, "medium.yaml", got)
	}
	public, err := Medium(config, url, "")
	require.NoError(t, err)
	require.NotContains(t, string(public), "registrationCaCert")

	for _, bad := range []string{`{"rancheros":7}`, `{"rancheros":{"install":[]}}`, `[]`, `{`} {
		_, err := Medium([]byte(bad), url, pem)
		require.Error(t, err, bad)
	}
}
