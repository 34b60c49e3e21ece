package client_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/client"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	pretend "github.com/rancher/rancheros-operator/tests/machine"
)

const assigned = `{"role":"server","nodeName":"n1","labels":["a=b"],"taints":["k=v:NoSchedule"],"token":"TTT"}` + "\n"

func foreignChallenge(t *testing.T) []byte {
	t.Helper()
	proof, err := newTPM(t).NewProof()
	require.NoError(t, err)
	session, err := attestation.Begin(proof.Token(), attestation.Policy{})
	require.NoError(t, err)
	frame, err := session.Challenge().Encode()
	require.NoError(t, err)
	return frame
}

func TestInventory(t *testing.T) {
	server := newServer(t, pretend.Script{Inventory: []byte(assigned), SharedToken: "a shared token of this machine"})
	at := client.Endpoint{URL: server.URL, CA: server.CAPEM()}
	want := &protocol.InventoryAnswer{Role: "server", NodeName: "n1", Labels: []string{"a=b"}, Taints: []string{"k=v:NoSchedule"}, Token: "TTT"}

	got, err := client.Inventory(t.Context(), client.InventoryRequest{Endpoint: at, Token: client.TPMToken, Prover: newTPM(t)})
	require.NoError(t, err)
	require.Equal(t, want, got)
	got, err = client.Inventory(t.Context(), client.InventoryRequest{Endpoint: at, Token: "a shared token of this machine"})
	require.NoError(t, err)
	require.Equal(t, want, got)

	_, err = client.Inventory(t.Context(), client.InventoryRequest{Endpoint: at, Token: "another"})
	require.Contains(t, requireCause(t, client.CauseRefused, err, "an unknown shared token").Hint, "rancheros-register register")
	_, err = client.Inventory(t.Context(), client.InventoryRequest{Endpoint: at})
	requireCause(t, client.CauseConfig, err, "no token")
	_, err = client.Inventory(t.Context(), client.InventoryRequest{Endpoint: at, Token: client.TPMToken})
	requireCause(t, client.CauseConfig, err, "no TPM")

	server.Set(func(s *pretend.Script) { s.Inventory = []byte(`{"token":"TTT","motd":"hi"}`) })
	roleless := client.InventoryRequest{Endpoint: at, Token: client.TPMToken, Prover: newTPM(t)}
	_, err = client.Inventory(t.Context(), roleless)
	require.Contains(t, requireCause(t, client.CauseNotYet, err, "no machine joins with a role that nobody chose").Message, "no role")
	roleless.Role, roleless.Prover = "worker", newTPM(t)
	got, err = client.Inventory(t.Context(), roleless)
	require.NoError(t, err)
	require.Equal(t, &protocol.InventoryAnswer{Role: "worker", Token: "TTT", Extra: map[string]any{"motd": "hi"}}, got)

	for _, text := range []string{"cluster not assigned\n", `{"role":"server"}`, "cluster token not assigned{}\n", "{}"} {
		server.Set(func(s *pretend.Script) { s.Inventory = []byte(text) })
		_, err = client.Inventory(t.Context(), client.InventoryRequest{Endpoint: at, Token: client.TPMToken, Prover: newTPM(t)})
		requireCause(t, client.CauseNotYet, err, text)
	}
}

func TestCACerts(t *testing.T) {
	const token = "a shared token of this machine"
	server := newServer(t, pretend.Script{SharedToken: token})
	server.Set(func(s *pretend.Script) { s.CACerts = string(server.CAPEM()) })
	at := client.Endpoint{URL: server.URL}

	ca, err := client.CACerts(t.Context(), at, token)
	require.NoError(t, err, "an unknown CA, vouched for by the shared secret")
	require.Equal(t, server.CAPEM(), ca)
	pinned := client.Endpoint{URL: server.URL, CA: ca}
	ca, err = client.CACerts(t.Context(), pinned, token)
	require.NoError(t, err)
	require.Nil(t, ca, "what is trusted already needs no CA")
	server.Set(func(s *pretend.Script) {
		s.Raw = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	})
	ca, err = client.CACerts(t.Context(), pinned, token)
	require.NoError(t, err, "a refusal over a trusted connection is no question of trust")
	require.Nil(t, ca)
	server.Set(func(s *pretend.Script) { s.Raw = nil })
	ca, err = client.TrustedCACerts(t.Context(), pinned)
	require.NoError(t, err)
	require.Equal(t, server.CAPEM(), ca)

	for _, c := range []struct {
		why   string
		token string
		at    client.Endpoint
		say   func(*pretend.Script)
	}{
		{"a server that does not know the token", "another", at, nil},
		{"a TPM machine shares no secret: its hash is public", client.TPMToken, at, nil},
		{"no token", "", at, nil},
		{"a CA that is given is not replaced by one that is handed out", token, client.Endpoint{URL: server.URL, CA: newCA(t)}, nil},
		{"an empty CA", token, at, func(s *pretend.Script) { s.CACerts = "" }},
		{"a CA that is none", token, at, func(s *pretend.Script) { s.CACerts = "x" }},
	} {
		if c.say != nil {
			server.Set(c.say)
		}
		_, err := client.CACerts(t.Context(), c.at, c.token)
		requireCause(t, client.CauseUntrusted, err, c.why)
	}
	_, err = client.TrustedCACerts(t.Context(), at)
	requireCause(t, client.CauseUntrusted, err, "never over a connection that is not trusted")
}

func TestInstall(t *testing.T) {
	server := newServer(t, pretend.Script{InstallScript: "#!/bin/sh\n"})
	at := client.Endpoint{URL: server.URL + "/", CA: server.CAPEM()}
	script, err := client.InstallScript(t.Context(), at)
	require.NoError(t, err)
	require.Equal(t, "#!/bin/sh\n", string(script))
	server.Set(func(s *pretend.Script) { s.InstallScript = "<html>" })
	_, err = client.InstallScript(t.Context(), at)
	requireCause(t, client.CauseBadAnswer, err, "G39: a captive portal's page must not be run")
	_, err = client.InstallScript(t.Context(), client.Endpoint{URL: server.URL})
	requireCause(t, client.CauseUntrusted, err, "what is run as root comes from a trusted server")
}

func TestInstallArguments(t *testing.T) {
	at := client.Endpoint{URL: "https://rancher.example.com/v1-rancheros/registration/x"}
	args, err := client.InstallArguments(at, []byte("ca\n"), &protocol.InventoryAnswer{Role: "server", NodeName: "n1", Address: "10.0.0.1",
		InternalAddress: "10.1.0.1", Labels: []string{"a=b", "c=d e"}, Taints: []string{"k=v:NoSchedule"}, Token: "T"})
	require.NoError(t, err)
	require.Equal(t, []string{"--server", "https://rancher.example.com",
		"--ca-checksum", "314a01b67979d4ecc6667666046246e726d9848903e33d0e63fab1165aea9d94", "--etcd", "--controlplane", "--worker",
		"--label", "a=b", "--label", "c=d e", "--taints", "k=v:NoSchedule", "--address", "10.0.0.1", "--internal-address", "10.1.0.1", "--node-name", "n1"}, args)

	for role, want := range map[string][]string{
		"agent": {"--worker"}, "worker": {"--worker"}, "cluster-init": {"--etcd", "--controlplane", "--worker"}, "etcd": {"--etcd"},
		"control-plane": {"--controlplane"}, "controlplane,etcd": {"--etcd", "--controlplane"}, "ETCD, Worker": {"--etcd", "--worker"},
	} {
		args, err := client.InstallArguments(at, nil, &protocol.InventoryAnswer{Role: role, Token: "T"})
		require.NoError(t, err)
		require.Equal(t, append([]string{"--server", "https://rancher.example.com"}, want...), args, role)
	}
	for why, bad := range map[string]*protocol.InventoryAnswer{
		"G41: an unknown role":            {Role: "king", Token: "T"},
		"no role":                         {Token: "T"},
		"a label that looks like a flag":  {Role: "agent", Token: "T", Labels: []string{"--token"}},
		"a node name with a line break":   {Role: "agent", Token: "T", NodeName: "a\nb"},
		"an address that looks like flag": {Role: "agent", Token: "T", Address: "-x"},
	} {
		_, err := client.InstallArguments(at, nil, bad)
		requireCause(t, client.CauseBadAnswer, err, why)
	}
	for _, token := range []string{"", "--server", "a\nb"} {
		_, err := client.InstallEnvironment(nil, &protocol.InventoryAnswer{Token: token})
		requireCause(t, client.CauseBadAnswer, err, "a token that is none")
	}
	environment, err := client.InstallEnvironment([]string{"PATH=/bin", "CATTLE_TOKEN=old", "CATTLE_ROLE_ETCD=true", "CATTLE_AGENT_VAR_DIR=/x", "CATTLE_LABELS=a=b"},
		&protocol.InventoryAnswer{Token: "T"})
	require.NoError(t, err)
	require.Equal(t, []string{"PATH=/bin", "CATTLE_AGENT_VAR_DIR=/x", "CATTLE_TOKEN=T"}, environment, "what says what arguments say is left out")
	require.Equal(t, `sh -s - --label 'a=b c' --x 'it'\''s' '' --taints k=v:NoSchedule '$(x)'`,
		client.ShellQuote([]string{"sh", "-s", "-", "--label", "a=b c", "--x", "it's", "", "--taints", "k=v:NoSchedule", "$(x)"}))
}
