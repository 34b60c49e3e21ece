package client_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/machine"
	"github.com/rancher/rancheros-operator/pkg/registration/client"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	pretend "github.com/rancher/rancheros-operator/tests/machine"
)

func TestRegisterV2(t *testing.T) {
	server := newServer(t, pretend.Script{V2: true, Final: []byte(answer)})
	prover := newTPM(t)
	smbios := map[string]any{"System Information": map[string]any{"Serial Number": "1"}, "OEM Strings": map[string]any{}}
	for _, letter := range strings.Split("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456", "") {
		smbios["OEM Strings"].(map[string]any)[letter] = strings.Repeat("x", 1000)
	}
	facts := machine.Facts{Hostname: "n1", Addresses: []string{"10.0.0.1"}}
	got, err := client.Register(t.Context(), client.Registration{Endpoint: endpoint(server), Prover: prover, SMBIOS: smbios, Facts: facts})
	require.NoError(t, err)
	require.Equal(t, "m-dell-1", got.Hostname)
	require.Equal(t, []pretend.Asked{{Path: protocol.RegistrationPath(pretend.RegistrationToken), Identity: prover.EndorsementHash(), SMBIOS: smbios,
		Report: &protocol.Report{SMBIOS: smbios, Facts: facts}}}, server.Asked(), "60 kB arrive")

	smbios["More OEM Strings"] = strings.Repeat("x", 10<<10)
	_, err = client.Register(t.Context(), client.Registration{Endpoint: endpoint(server), Prover: prover, SMBIOS: smbios})
	require.NoError(t, err)
	require.Equal(t, map[string]any{"System Information": smbios["System Information"]}, server.Asked()[1].SMBIOS, "of what is too much, the best")
}

func TestInventoryV2(t *testing.T) {
	server := newServer(t, pretend.Script{V2: true, Inventory: []byte(assigned)})
	request := client.InventoryRequest{Endpoint: client.Endpoint{URL: server.URL, CA: server.CAPEM()}, Token: client.TPMToken, Prover: newTPM(t)}
	got, err := client.Inventory(t.Context(), request)
	require.NoError(t, err)
	require.Equal(t, "TTT", got.Token)
	for _, text := range []string{`{"role":"server"}`, `{}`, `null`} {
		server.Set(func(s *pretend.Script) { s.Inventory = []byte(text) })
		_, err = client.Inventory(t.Context(), request)
		requireCause(t, client.CauseNotYet, err, text)
	}
}

// Whatever comes in the place of the answer, it is no answer.
func TestBadServersV2(t *testing.T) {
	config := protocol.TypeConfig
	for _, c := range []struct {
		id, why string
		instead map[protocol.MessageType][]byte
		refusal *protocol.Error
		want    client.Cause
		message string
	}{
		{"W44", "no last message", nil, nil, client.CauseNotYet, "without an answer"},
		{"W44", "an empty one", map[protocol.MessageType][]byte{config: {}}, nil, client.CauseNotYet, "cannot be read"},
		{"B2", "a config without config", map[protocol.MessageType][]byte{config: []byte(`{"type":"config"}`)}, nil, client.CauseNotYet, "cannot be read"},
		{"-", "a config that is null", map[protocol.MessageType][]byte{config: []byte(`{"type":"config","config":null}`)}, nil, client.CauseNotYet, "cannot be read"},
		{"-", "a config as version 1 sends it", map[protocol.MessageType][]byte{config: []byte(answer)}, nil, client.CauseNotYet, "cannot be read"},
		{"-", "an assignment to a registration", map[protocol.MessageType][]byte{config: []byte(`{"type":"assignment","state":"assigned"}`)}, nil, client.CauseNotYet, "cannot be read"},
		{"G40", "a truncated config", map[protocol.MessageType][]byte{config: []byte(`{"type":"config","config":{"a":`)}, nil, client.CauseNotYet, "cannot be read"},
		{"-", "a duplicate key", map[protocol.MessageType][]byte{config: []byte(`{"type":"config","config":{"a":1,"a":2}}`)}, nil, client.CauseNotYet, "cannot be read"},
		{"-", "more than 1 MiB", map[protocol.MessageType][]byte{config: make([]byte, 2<<20)}, nil, client.CauseBadAnswer, "too large"},
		{"-", "an error without code", map[protocol.MessageType][]byte{config: []byte(`{"type":"error"}`)}, nil, client.CauseNotYet, "cannot be read"},
		{"-", "another message for the challenge", map[protocol.MessageType][]byte{protocol.TypeChallenge: []byte(`{"type":"proven"}`)}, nil, client.CauseNotYet, "cannot be read"},
		{"-", "a challenge that is none", map[protocol.MessageType][]byte{protocol.TypeChallenge: []byte(`{"type":"challenge"}`)}, nil, client.CauseNotYet, "cannot be read"},
		{"-", "a challenge of 1 MiB", map[protocol.MessageType][]byte{protocol.TypeChallenge: make([]byte, 1<<20)}, nil, client.CauseBadAnswer, "too large"},
		{"-", "a config before the facts", map[protocol.MessageType][]byte{protocol.TypeProven: []byte(`{"type":"config","config":{}}`)}, nil, client.CauseNotYet, "cannot be read"},
		{"-", "a refusal in the challenge's place", map[protocol.MessageType][]byte{protocol.TypeChallenge: []byte(`{"type":"error","code":"forbidden","message":"no"}`)}, nil, client.CauseRefused, "says: no"},
		{"-", "a refusal of the proof", map[protocol.MessageType][]byte{protocol.TypeProven: []byte(`{"type":"error","code":"attestation-failed","message":"attestation failed"}`)}, nil, client.CauseRefused, "attestation failed"},
		{"-", "full", nil, &protocol.Error{Code: protocol.CodeFull, Message: "full"}, client.CauseNotYet, "full"},
	} {
		server := newServer(t, pretend.Script{V2: true, Messages: c.instead, Refusal: c.refusal})
		if c.instead != nil {
			server.Set(func(s *pretend.Script) { s.Final = []byte(answer) })
		}
		at := endpoint(server)
		at.Timeout = 2 * time.Second
		_, err := client.Register(t.Context(), client.Registration{Endpoint: at, Prover: newTPM(t)})
		failure := requireCause(t, c.want, err, c.id+" "+c.why)
		require.Contains(t, failure.Message, c.message, "%s %s", c.id, c.why)
	}
}

// The server says when to come back, and what is shown is fit for a console.
func TestTypedErrors(t *testing.T) {
	server := newServer(t, pretend.Script{V2: true, Refusal: &protocol.Error{Code: protocol.CodePending, Message: "not\x1b[31m approved", Hint: "ask\nsomebody", RetryAfter: 90 * time.Second}})
	_, err := client.Register(t.Context(), client.Registration{Endpoint: endpoint(server), Prover: newTPM(t)})
	failure := requireCause(t, client.CauseNotYet, err, "pending")
	require.Equal(t, "waiting for approval by an administrator: not[31m approved", failure.Message)
	require.Equal(t, "ask somebody", failure.Hint)
	require.Equal(t, 90*time.Second, failure.RetryAfter)
}

// A server that picks a protocol which nobody has offered is none of ours.
func TestForeignSubprotocol(t *testing.T) {
	server := newServer(t, pretend.Script{Raw: func(w http.ResponseWriter, r *http.Request) {
		upgrader := websocket.Upgrader{}
		conn, err := upgrader.Upgrade(w, r, http.Header{"Sec-Websocket-Protocol": {"v9.rancheros.cattle.io"}})
		if err == nil {
			conn.Close()
		}
	}})
	_, err := client.Register(t.Context(), client.Registration{Endpoint: endpoint(server), Prover: newTPM(t)})
	require.Contains(t, requireCause(t, client.CauseBadAnswer, err, "W29").Message, "another protocol")
}
