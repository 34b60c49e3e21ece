package client_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/pkg/registration/client"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	pretend "github.com/rancher/rancheros-operator/tests/machine"
)

const answer = `{"hostname":"m-dell-1","rancherd":{"server":"https://r","token":"tpm://"},"rancheros":{"install":{"automatic":true}},"n":7}`

func newServer(t *testing.T, say pretend.Script) *pretend.Server {
	t.Helper()
	server := pretend.NewServer(say)
	t.Cleanup(server.Close)
	return server
}

func newTPM(t *testing.T) *tpm.Software {
	t.Helper()
	software, err := tpm.GenerateSoftware(tpm.ECCP256)
	require.NoError(t, err)
	return software
}

func endpoint(server *pretend.Server) client.Endpoint {
	return client.Endpoint{URL: server.RegistrationURL(), CA: server.CAPEM(), Timeout: 10 * time.Second}
}

func requireCause(t *testing.T, want client.Cause, err error, why string) *client.Failure {
	t.Helper()
	var failure *client.Failure
	require.ErrorAs(t, err, &failure, why)
	require.Equal(t, want, failure.Cause, "%s: %s (%v)", why, failure.Message, failure.Err)
	require.NotEmpty(t, failure.Message, why)
	require.NotContains(t, failure.Message+failure.Hint, pretend.RegistrationToken, "%s: the token is in no sentence", why)
	return failure
}

func TestRegister(t *testing.T) {
	server := newServer(t, pretend.Script{Final: []byte(answer)})
	prover := newTPM(t)
	smbios := map[string]any{"System Information": map[string]any{"Serial Number": "1"}}
	got, err := client.Register(t.Context(), client.Registration{Endpoint: endpoint(server), Prover: prover, SMBIOS: smbios})
	require.NoError(t, err)
	require.Equal(t, "m-dell-1", got.Hostname)
	require.Equal(t, map[string]any{"server": "https://r", "token": "tpm://"}, got.Config["rancherd"])
	require.Equal(t, []pretend.Asked{{Path: protocol.RegistrationPath(pretend.RegistrationToken), Identity: prover.EndorsementHash(), SMBIOS: smbios}}, server.Asked())

	big := map[string]any{"System Information": smbios["System Information"], "OEM Strings": strings.Repeat("x", 5000)}
	_, err = client.Register(t.Context(), client.Registration{Endpoint: endpoint(server), Prover: prover, SMBIOS: big})
	require.NoError(t, err, "what does not fit a proxy's header limit is left at home")
	require.Equal(t, smbios, server.Asked()[1].SMBIOS)
}

func TestRegisterRefusals(t *testing.T) {
	for _, c := range []struct {
		why    string
		refuse *protocol.Error
		want   client.Cause
	}{
		{"401", &protocol.Error{Code: protocol.CodeUnauthorized, Message: "MachineRegistration does not exist"}, client.CauseRefused},
		{"404", &protocol.Error{Code: protocol.CodeNotFound, Message: "not found"}, client.CauseRefused},
		{"403", &protocol.Error{Code: protocol.CodeForbidden, Message: "not listed"}, client.CauseRefused},
		{"no certificate", &protocol.Error{Code: protocol.CodeCertificateRequired, Message: "EK certificate required"}, client.CauseRefused},
		{"paused", &protocol.Error{Code: protocol.CodePaused, Message: "paused"}, client.CauseNotYet},
		{"pending", &protocol.Error{Code: protocol.CodePending, Message: "waiting for approval"}, client.CauseNotYet},
		{"429", &protocol.Error{Code: protocol.CodeRateLimited, Message: "slow down"}, client.CauseNotYet},
		{"503", &protocol.Error{Code: protocol.CodeUnavailable, Message: "starting"}, client.CauseNotYet},
	} {
		c.refuse.RetryAfter = 7 * time.Second
		server := newServer(t, pretend.Script{Refuse: c.refuse})
		_, err := client.Register(t.Context(), client.Registration{Endpoint: endpoint(server), Prover: newTPM(t)})
		failure := requireCause(t, c.want, err, c.why)
		require.Contains(t, failure.Message, c.refuse.Message, "the server's sentence is shown")
		require.Equal(t, 7*time.Second, failure.RetryAfter, c.why)
		require.Equal(t, c.refuse.Code, protocol.AsError(failure.Err).Code, c.why)
	}
}

func TestRegisterBadServers(t *testing.T) {
	redirect := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://example.com/", http.StatusFound)
	}
	portal := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>please log in</html>")) }
	endless := func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	hangUp := func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			conn.Close()
		}
	}
	for _, c := range []struct {
		id, why string
		say     pretend.Script
		want    client.Cause
		message string
	}{
		{"B2", "an empty last frame, as the first server sent when it had failed", pretend.Script{Final: []byte{}}, client.CauseNotYet, "without an answer"},
		{"W44", "no last frame", pretend.Script{}, client.CauseNotYet, "without an answer"},
		{"B4", "an error in the place of the answer", pretend.Script{Final: []byte("cannot save machine")}, client.CauseNotYet, "cannot save machine"},
		{"G39", "a web page in the place of the answer", pretend.Script{Final: []byte("<html>")}, client.CauseNotYet, "web page"},
		{"G40", "a truncated answer", pretend.Script{Final: []byte(answer[:50])}, client.CauseNotYet, "cannot be read"},
		{"G40", "an answer of 2 MiB", pretend.Script{Final: make([]byte, 2<<20)}, client.CauseBadAnswer, "too large"},
		{"-", "a challenge that is none", pretend.Script{Challenge: []byte(`{"EC":{}}`)}, client.CauseRefused, "challenge cannot be read"},
		{"-", "a refusal in its place", pretend.Script{Challenge: []byte("machine not found")}, client.CauseNotYet, "machine not found"},
		{"-", "a typed refusal in its place", pretend.Script{Challenge: []byte(`{"error":{"code":"forbidden","message":"no"}}`)}, client.CauseRefused, "no"},
		{"G42", "a challenge for another machine", pretend.Script{Challenge: foreignChallenge(t)}, client.CauseBadAnswer, "cannot read"},
		{"-", "a challenge of 1 MiB", pretend.Script{Challenge: make([]byte, 1<<20)}, client.CauseBadAnswer, "too large"},
		{"-", "a redirect: the token must not travel on", pretend.Script{Raw: redirect}, client.CauseBadAnswer, "does not upgrade"},
		{"G39", "a captive portal", pretend.Script{Raw: portal}, client.CauseBadAnswer, "does not upgrade"},
		{"P23", "a server that is being replaced: the machine comes back", pretend.Script{Raw: hangUp}, client.CauseUnreachable, "before the answer"},
		{"G40", "a server that never answers", pretend.Script{Raw: endless}, client.CauseUnreachable, "in time"},
		{"G40", "a server that never finishes", pretend.Script{Final: []byte(answer), Delay: 3 * time.Second}, client.CauseUnreachable, "in time"},
	} {
		server := newServer(t, c.say)
		at := endpoint(server)
		at.Timeout = time.Second
		start := time.Now()
		_, err := client.Register(t.Context(), client.Registration{Endpoint: at, Prover: newTPM(t)})
		failure := requireCause(t, c.want, err, c.id+" "+c.why)
		require.Contains(t, failure.Message, c.message, "%s %s", c.id, c.why)
		require.Less(t, time.Since(start), 3*time.Second, "%s %s: one deadline for all", c.id, c.why)
	}
}

func TestRegisterTrust(t *testing.T) {
	server, other := newServer(t, pretend.Script{Final: []byte(answer)}), newCA(t)
	refused, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, refused.Close())
	plain := strings.Replace(server.RegistrationURL(), "https", "http", 1)
	path := protocol.RegistrationPath(pretend.RegistrationToken)

	for _, c := range []struct {
		id, why string
		at      client.Endpoint
		want    client.Cause
	}{
		{"-", "no CA: the system does not know this one", client.Endpoint{URL: server.RegistrationURL()}, client.CauseUntrusted},
		{"-", "another CA: it replaces, it does not add", client.Endpoint{URL: server.RegistrationURL(), CA: other}, client.CauseUntrusted},
		{"-", "a CA that is none: no way back to the system's", client.Endpoint{URL: server.RegistrationURL(), CA: []byte("x")}, client.CauseConfig},
		{"-", "another name", client.Endpoint{URL: strings.Replace(server.RegistrationURL(), "127.0.0.1", "localhost", 1), CA: server.CAPEM()}, client.CauseUntrusted},
		{"F42", "http", client.Endpoint{URL: plain, CA: server.CAPEM()}, client.CauseConfig},
		{"-", "http where TLS is spoken", client.Endpoint{URL: plain, AllowHTTP: true}, client.CauseRefused},
		{"F42", "no URL", client.Endpoint{}, client.CauseConfig},
		{"F42", "no token", client.Endpoint{URL: server.URL + "/v1-rancheros/registration/"}, client.CauseConfig},
		{"F42", "half a token", client.Endpoint{URL: server.URL + path[:60]}, client.CauseConfig},
		{"F42", "spaces", client.Endpoint{URL: server.URL + path + " "}, client.CauseConfig},
		{"F42", "another path", client.Endpoint{URL: server.URL + "/v3"}, client.CauseConfig},
		{"F42", "a query", client.Endpoint{URL: server.URL + path + "?debug=1"}, client.CauseConfig},
		{"F42", "a user name", client.Endpoint{URL: "https://u:p@localhost" + path}, client.CauseConfig},
		{"F42", "another scheme", client.Endpoint{URL: "ftp://localhost" + path}, client.CauseConfig},
		{"F42", "no host", client.Endpoint{URL: "https:///x" + path}, client.CauseConfig},
		{"-", "nobody listens", client.Endpoint{URL: "https://" + refused.Addr().String() + path}, client.CauseUnreachable},
		{"-", "no such name", client.Endpoint{URL: "https://name.invalid" + path}, client.CauseUnreachable},
	} {
		c.at.Timeout = 5 * time.Second
		_, err := client.Register(t.Context(), client.Registration{Endpoint: c.at, Prover: newTPM(t)})
		failure := requireCause(t, c.want, err, c.id+" "+c.why)
		require.True(t, failure.Hint != "" || c.why == "no URL", "%s %s: says what to do", c.id, c.why)
	}
	require.Empty(t, server.Asked(), "nobody has proven anything to a server that is not trusted")
}

func TestRegisterIsInterrupted(t *testing.T) {
	server := newServer(t, pretend.Script{Final: []byte(answer), Delay: 5 * time.Second})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(300*time.Millisecond, cancel)
	start := time.Now()
	_, err := client.Register(ctx, client.Registration{Endpoint: endpoint(server), Prover: newTPM(t)})
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, time.Since(start), 3*time.Second)
}

// newCA is the CA of a server that is gone.
func newCA(t *testing.T) []byte {
	t.Helper()
	maker, err := pretend.NewMakerCA("Other")
	require.NoError(t, err)
	return maker.RootPEM()
}
