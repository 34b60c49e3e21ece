package server

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	"github.com/rancher/rancheros-operator/pkg/settings"
)

const nonce = "bcdfghjklmnpqrst"

func (w world) cacerts(t *testing.T, token string) answer {
	t.Helper()
	return w.get(t, "/v1-rancheros/cacerts", "X-Cattle-Nonce: "+nonce, "Authorization: "+protocol.CACertsAuthorization(token))
}

func TestCACerts(t *testing.T) {
	w := newWorld(t)
	got := w.get(t, "/v1-rancheros/cacerts")
	require.Equal(t, http.StatusOK, got.status)
	require.Empty(t, got.body, "H53: a publicly trusted Rancher has none")
	require.Equal(t, "text/plain; charset=utf-8", got.header.Get("Content-Type"))

	w.Settings[settings.InternalCACerts] = ca
	require.Equal(t, ca, w.get(t, "/v1-rancheros/cacerts").body)
	w.Settings[settings.CACerts] = "other"
	require.Equal(t, "other\n", w.get(t, "/v1-rancheros/cacerts").body, "newline-terminated")
}

// The machines of before insist on an HMAC over just the bytes that are sent.
func TestCACertsHash(t *testing.T) {
	client := newMachine(t)
	hash := client.TPM.EndorsementHash()
	// The digest of this token begins with the letters TPM in base64, which is also how a proof begins.
	const likeAProof = "shared-token-of-a-machine-212097"
	require.True(t, strings.HasPrefix(protocol.CACertsAuthorization(likeAProof), "Bearer TPM"))
	w := newWorld(t, inventory("tpm", v1.MachineInventorySpec{TPM: hash}),
		inventory("shared", v1.MachineInventorySpec{MachineTokenSecretName: "shared"}), sharedSecret("shared", sharedToken),
		inventory("like", v1.MachineInventorySpec{MachineTokenSecretName: "like"}), sharedSecret("like", likeAProof))
	for _, body := range []string{ca, ""} {
		w.Settings[settings.CACerts] = body
		for _, token := range []string{hash, sharedToken, likeAProof} {
			got := w.cacerts(t, token)
			require.Equal(t, body, got.body)
			require.True(t, protocol.VerifyCACertsHash(got.header.Get("X-Cattle-Hash"), token, nonce, []byte(got.body)), "H53: over the empty body, too")
		}
	}
	body, err := client.CACerts(t.Context(), w.url, hash)
	require.NoError(t, err)
	require.Empty(t, body)
}

// H50, H52: no hash is sent, and nothing else is different.
func TestCACertsWithoutHash(t *testing.T) {
	digest := protocol.CACertsAuthorization(sharedToken)
	plain := newWorld(t).get(t, "/v1-rancheros/cacerts")
	there := func(objects ...runtime.Object) world {
		return newWorld(t, append(objects, inventory("m", v1.MachineInventorySpec{MachineTokenSecretName: "shared"}))...)
	}
	for _, c := range []struct {
		why   string
		world world
		lines []string
	}{
		{"H50: no nonce", there(sharedSecret("shared", sharedToken)), []string{"Authorization: " + digest}},
		{"no digest", there(sharedSecret("shared", sharedToken)), []string{"X-Cattle-Nonce: " + nonce}},
		{"H52: an unknown token", there(), []string{"X-Cattle-Nonce: " + nonce, "Authorization: " + digest}},
		{"no digest at all", there(sharedSecret("shared", sharedToken)), []string{"X-Cattle-Nonce: " + nonce, "Authorization: Bearer !!!"}},
		{"a digest of another length", there(sharedSecret("shared", sharedToken)), []string{"X-Cattle-Nonce: " + nonce, "Authorization: Bearer " + base64.StdEncoding.EncodeToString([]byte("short"))}},
		{"the token itself, which has no business here", there(sharedSecret("shared", sharedToken)), []string{"X-Cattle-Nonce: " + nonce, protocol.SharedTokenAuthorization(sharedToken)}},
		{"two Secrets of one token", there(sharedSecret("shared", sharedToken), sharedSecret("copy", sharedToken)), []string{"X-Cattle-Nonce: " + nonce, "Authorization: " + digest}},
		{"a token that can be guessed is no oracle (B22)", there(sharedSecret("shared", "abc")), []string{"X-Cattle-Nonce: " + nonce, "Authorization: " + protocol.CACertsAuthorization("abc")}},
	} {
		for i, line := range c.lines {
			if strings.HasPrefix(line, "Bearer ") {
				c.lines[i] = "Authorization: " + line
			}
		}
		require.Equal(t, plain, c.world.get(t, "/v1-rancheros/cacerts", c.lines...), c.why)
	}
	two := there().get(t, "/v1-rancheros/cacerts", "X-Cattle-Nonce: "+nonce, "Authorization: "+digest, "Authorization: "+digest)
	require.Equal(t, http.StatusBadRequest, two.status, "H23: two digests, whatever they are")
}

// H51.
func TestNonces(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		why, nonce string
		status     int
	}{
		{"one byte", "x", http.StatusBadRequest},
		{"15", strings.Repeat("x", 15), http.StatusBadRequest},
		{"16", strings.Repeat("x", 16), http.StatusOK},
		{"256", strings.Repeat("x", 256), http.StatusOK},
		{"257", strings.Repeat("x", 257), http.StatusBadRequest},
		{"1 KiB", strings.Repeat("x", 1024), http.StatusBadRequest},
		{"spaces within", "xxxxxxxx yyyyyyyy", http.StatusBadRequest},
		{"not ASCII", strings.Repeat("ü", 16), http.StatusBadRequest},
	} {
		got := w.get(t, "/v1-rancheros/cacerts", "X-Cattle-Nonce: "+c.nonce)
		require.Equal(t, c.status, got.status, c.why)
	}
}
