package server

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/pkg/settings"
)

func TestSample(t *testing.T) {
	w := newWorld(t)
	got := w.get(t, registrationPath)
	require.Equal(t, http.StatusOK, got.status)
	require.Equal(t, "#cloud-config\nrancheros:\n    install:\n        registrationURL: https://rancher.example.com/v1-rancheros/registration/"+goodToken+"\n", got.body)
	require.Equal(t, "text/plain; charset=utf-8", got.header.Get("Content-Type"))
	require.Equal(t, "no-store", got.header.Get("Cache-Control"), "the URL is a secret of sorts")
	require.NotContains(t, got.body, "passwd", "the cloudConfig is for machines that have proven who they are")

	w.Settings[settings.CACerts] = strings.ReplaceAll(strings.TrimSpace(ca), "\n", "\r\n")
	require.Equal(t, "#cloud-config\nrancheros:\n    install:\n        registrationCaCert: |\n            -----BEGIN CERTIFICATE-----\n            AAAA\n"+
		"            -----END CERTIFICATE-----\n        registrationURL: https://rancher.example.com/v1-rancheros/registration/"+goodToken+"\n", w.get(t, registrationPath).body)
}

func TestRegistrationsThatDoNotAnswer(t *testing.T) {
	now := metav1.Now()
	for _, c := range []struct {
		why     string
		do      func(w world)
		status  int
		code    string
		message string
	}{
		{"H46 being deleted", func(w world) {
			deleting := edge()
			deleting.DeletionTimestamp, deleting.Finalizers = &now, []string{"x"}
			w.Put(deleting)
		}, http.StatusNotFound, "not-found", "not found"},
		{"deleted, and its Secret not yet", func(w world) { w.Registrations.Remove("ns", "edge") }, http.StatusNotFound, "not-found", "not found"},
		{"its Secret deleted: the URL is dead at once", func(w world) { w.Secrets.Remove("ns", "edge-registration-token") }, http.StatusNotFound, "not-found", "not found"},
		{"H47 no server-url", func(w world) { delete(w.Settings, settings.ServerURL) }, http.StatusServiceUnavailable, "unavailable", "Rancher's server-url is not set"},
		{"H47 a server-url that is none", func(w world) { w.Settings[settings.ServerURL] = "rancher" }, http.StatusServiceUnavailable, "unavailable", "Rancher's server-url is not set"},
		{"H49 two with one token", func(w world) {
			other := edge()
			other.Name = "other"
			w.Put(other, tokenSecret("other"))
		}, http.StatusServiceUnavailable, "unavailable", "two registrations share this URL"},
	} {
		t.Run(c.why, func(t *testing.T) {
			w := newWorld(t)
			c.do(w)
			check := func(status int, header http.Header, body string) {
				require.Equal(t, c.status, status)
				require.Equal(t, c.code, header.Get("X-Rancheros-Code"))
				require.Equal(t, c.message+"\n", body)
				require.NotEmpty(t, header.Get("X-Rancheros-Hint"), "what to do")
				require.Equal(t, c.status == http.StatusServiceUnavailable, header.Get("Retry-After") != "", "when to come back")
			}
			got := w.get(t, registrationPath)
			check(got.status, got.header, got.body)
			_, err := newMachine(t).Register(t.Context(), w.url+registrationPath, nil)
			refusal := refused(t, err)
			check(refusal.Status, refusal.Header, refusal.Body)
			require.Empty(t, w.Inventories.Names())
		})
	}
}

// C13: a cloudConfig that cannot hold what we add is refused before the machine has done anything for it.
func TestUnusableCloudConfig(t *testing.T) {
	w := newWorld(t)
	bad := edge()
	bad.Spec.CloudConfig = &runtime.RawExtension{Raw: []byte(`{"rancherd":"a-password"}`)}
	w.Put(bad)
	_, err := newMachine(t).Register(t.Context(), w.url+registrationPath, nil)
	refusal := refused(t, err)
	require.Equal(t, http.StatusServiceUnavailable, refusal.Status)
	require.Equal(t, "the registration's cloudConfig cannot be used\n", refusal.Body)
	require.Contains(t, refusal.Header.Get("X-Rancheros-Hint"), "kubectl describe machineregistration")
	require.Empty(t, w.Inventories.Names())
	require.Equal(t, http.StatusOK, w.get(t, registrationPath).status, "media can be made all the same")
}

// H33, S3 to S7, S34 to S38.
func TestBadSMBIOS(t *testing.T) {
	w := newWorld(t)
	proof, err := newTPM(t, tpm.ECCP256).NewProof()
	require.NoError(t, err)
	authorization, err := proof.Token().EncodeAuthorization()
	require.NoError(t, err)
	encode := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	for _, c := range []struct {
		id, header string
		status     int
	}{
		{"H33 no base64", "!!!", http.StatusBadRequest},
		{"H33 no JSON", encode("System Information:"), http.StatusBadRequest},
		{"S3 a list", encode("[]"), http.StatusBadRequest},
		{"S5 too large", strings.Repeat("A", 100<<10), http.StatusRequestEntityTooLarge},
		{"S6 too deep", encode(strings.Repeat(`{"a":`, 9) + "1" + strings.Repeat("}", 9)), http.StatusBadRequest},
		{"S9 a key twice", encode(`{"a":1,"a":2}`), http.StatusBadRequest},
	} {
		got := w.get(t, registrationPath, "Authorization: "+authorization, "X-Cattle-Smbios: "+c.header, "Connection: Upgrade", "Upgrade: websocket",
			"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
		require.Equal(t, c.status, got.status, c.id)
	}
}

func TestHostname(t *testing.T) {
	require.Equal(t, "m", hostname(inventory("m", v1.MachineInventorySpec{})))
	require.Equal(t, "m", hostname(inventory("m", v1.MachineInventorySpec{Config: &v1.MachineConfig{Role: "server"}})))
	require.Equal(t, "node-1", hostname(inventory("m", v1.MachineInventorySpec{Config: &v1.MachineConfig{NodeName: "node-1"}})), "what its node will be called")
}
