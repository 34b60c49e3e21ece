package machine

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// The witness itself: what it says has the sizes of wire.md, and our parsers understand it.
func TestOldClient(t *testing.T) {
	server := NewServer(Script{Final: []byte(`{"rancheros":{}}`), Inventory: []byte("{\"role\":\"agent\",\"token\":\"T\"}\n"), SharedToken: "shared", CACerts: "ca"})
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	software, err := tpm.GenerateSoftware(tpm.RSA2048)
	require.NoError(t, err)
	client := &OldClient{TLS: &tls.Config{RootCAs: roots}, TPM: software}

	registered, err := client.Register(t.Context(), server.RegistrationURL(), map[string]any{"System Information": map[string]any{"UUID": "x"}})
	require.NoError(t, err)
	require.Len(t, registered.Header, 2406)
	require.Len(t, registered.Challenge, 476)
	require.Len(t, registered.Answer, 58)
	require.JSONEq(t, `{"rancheros":{}}`, string(registered.Final))
	inventory, err := client.Inventory(t.Context(), server.URL)
	require.NoError(t, err)
	require.JSONEq(t, `{"role":"agent","token":"T"}`, string(inventory.Final))
	require.Equal(t, software.EndorsementHash(), server.Asked()[1].Identity)

	token, err := protocol.ParseAuthorization(registered.Header)
	require.NoError(t, err)
	ours, err := token.EncodeAuthorization()
	require.NoError(t, err)
	require.Equal(t, registered.Header, ours, "our client's header is theirs, byte by byte")

	body, err := client.InventoryWithToken(t.Context(), server.URL, "shared")
	require.NoError(t, err)
	require.True(t, json.Valid([]byte(body)))
	ca, err := client.CACerts(t.Context(), server.URL, "shared")
	require.NoError(t, err)
	require.Equal(t, "ca\n", ca)
	_, err = client.CACerts(t.Context(), server.URL, "another")
	require.ErrorContains(t, err, "X-Cattle-Hash")

	server.Set(func(s *Script) { s.Refuse = &protocol.Error{Code: protocol.CodeUnauthorized, Message: "no"} })
	_, err = client.Register(t.Context(), server.RegistrationURL(), nil)
	var refusal *Refusal
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, 401, refusal.Status)
	require.Equal(t, "no\n", refusal.Body)
}
