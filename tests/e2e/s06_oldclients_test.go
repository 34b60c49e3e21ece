package e2e

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/tests/machine"
)

// The clients of 2022, ros-installer and rancherd, whose bytes tests/machine's OldClient speaks, work through the tunnel.
func Test06OldClients(t *testing.T) {
	ns := namespace(t, "s06-old")
	url := registration(t, ns, "edge", `{cloudConfig: {rancheros: {install: {isoUrl: "https://example.com/os.iso"}}}}`)
	prover, err := tpm.GenerateSoftware(tpm.RSA2048)
	require.NoError(t, err)
	client := &machine.OldClient{TLS: world.TLS(), TPM: prover}

	sample, header, err := client.Sample(t.Context(), url)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(sample, "#cloud-config\nrancheros:\n    install:\n        registrationCaCert: |\n"), sample)
	require.Contains(t, sample, "        registrationURL: "+url+"\n")
	require.Contains(t, header.Get("Content-Type"), "text/plain")

	conversation, err := client.Register(t.Context(), url, map[string]any{"System Information": map[string]any{"Serial Number": "S06"}})
	require.NoError(t, err)
	config := decode(t, string(conversation.Final))
	require.Equal(t, map[string]any{"server": world.Rancher.URL(), "token": "tpm://"}, config["rancherd"])
	require.Equal(t, map[string]any{"install": map[string]any{"automatic": true, "isoUrl": "https://example.com/os.iso"}}, config["rancheros"])
	name := config["hostname"].(string)
	require.Equal(t, prover.EndorsementHash(), inventory(t, ns, name).Spec.TPM)

	// rancherd finds Rancher's CA before it trusts its certificate, and then asks for its cluster.
	ca, err := client.CACerts(t.Context(), world.Rancher.URL(), prover.EndorsementHash())
	require.NoError(t, err)
	require.Equal(t, string(world.Rancher.CACert()), ca)
	createCluster(t, ns, "site")
	assign(t, ns, name, "site", "server")
	waitFor(t, ns, "machineinventory/"+name, "ClusterAssigned", "TokenReady")
	conversation, err = client.Inventory(t.Context(), world.Rancher.URL())
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(string(conversation.Final), "\n"))
	answer := decode(t, string(conversation.Final))
	require.Equal(t, "server", answer["role"])
	require.True(t, world.Rancher.TokenIsGood(answer["token"].(string)))
}

// A machine without a TPM shares a secret; a secret that can be guessed, or that two machines share, opens nothing.
func Test06SharedSecrets(t *testing.T) {
	ns := namespace(t, "s06-shared")
	createCluster(t, ns, "site")
	secret := "apiVersion: v1\nkind: Secret\ntype: rancheros.cattle.io/token\nmetadata: {name: %s, namespace: %s}\nstringData: {token: %q}\n"
	machines := "apiVersion: rancheros.cattle.io/v1\nkind: MachineInventory\nmetadata: {name: %s, namespace: %s}\nspec: {clusterName: site, machineTokenSecretName: %s, config: {role: agent}}\n"
	good, short := canary+"-"+strings.Repeat("g", 32), "short"
	apply(t, fmt.Sprintf(secret, "good", ns, good))
	apply(t, fmt.Sprintf(secret, "short", ns, short))
	apply(t, fmt.Sprintf(machines, "with-good", ns, "good"))
	apply(t, fmt.Sprintf(machines, "with-short", ns, "short"))
	waitFor(t, ns, "machineinventory/with-good", "ClusterAssigned", "TokenReady")
	waitFor(t, ns, "machineinventory/with-short", "ClusterAssigned", "TokenReady")

	// What is wrong with the Secrets is told again by every operator that starts; the scenario of the unchanged world is
	// about a sound one.
	t.Cleanup(func() { kubectl(t, "delete", "secrets", "-n", ns, "--all") })

	client := &machine.OldClient{TLS: world.TLS()}
	answer, err := client.InventoryWithToken(t.Context(), world.Rancher.URL(), good)
	require.NoError(t, err)
	require.Contains(t, answer, `"role":"agent"`)
	ca, err := client.CACerts(t.Context(), world.Rancher.URL(), good)
	require.NoError(t, err)
	require.NotEmpty(t, ca)

	_, err = client.InventoryWithToken(t.Context(), world.Rancher.URL(), short)
	require.ErrorContains(t, err, "401")
	apply(t, fmt.Sprintf(secret, "copy", ns, good))
	eventually(t, func() error {
		_, err := client.InventoryWithToken(t.Context(), world.Rancher.URL(), good)
		switch {
		case err == nil:
			return errors.New("a token that stands in two Secrets still opens")
		case !strings.Contains(err.Error(), "401"):
			return err // Asking too often is refused, too, but with another status.
		}
		return nil
	})
}

// Everything else gets a clear no, through Rancher as directly.
func Test06Refusals(t *testing.T) {
	ns := namespace(t, "s06-refused")
	url := registration(t, ns, "edge", "{}")
	path := strings.TrimPrefix(url, world.Rancher.URL())
	for _, test := range []struct {
		method, path, authorization string
		want                        int
	}{
		{http.MethodGet, otherToken(path), "", http.StatusNotFound},
		{http.MethodGet, path + "/", "", http.StatusNotFound},
		{http.MethodGet, "/v1-rancheros/", "", http.StatusNotFound},
		{http.MethodGet, "/v1-rancheros/x" + strings.TrimPrefix(path, "/v1-rancheros"), "", http.StatusNotFound},
		{http.MethodPost, path, "", http.StatusMethodNotAllowed},
		{http.MethodGet, path, "Basic abc", http.StatusUnauthorized},
		{http.MethodGet, path, "Bearer TPM", http.StatusUnauthorized},
		{http.MethodGet, path, "Bearer PLAINabc", http.StatusUnauthorized},
		{http.MethodGet, "/v1-rancheros/inventory", "", http.StatusUnauthorized},
		{http.MethodGet, "/v1-rancheros/inventory", "Bearer " + base64.StdEncoding.EncodeToString([]byte("nobody's")), http.StatusUnauthorized},
		{http.MethodGet, "/v1-rancheros/cacerts", "", http.StatusOK},
		{http.MethodHead, path, "", http.StatusOK},
	} {
		for _, base := range []string{world.Rancher.URL(), "http://" + world.Operator.ListenAddr} {
			if strings.HasPrefix(test.authorization, "Basic") && base == world.Rancher.URL() {
				continue // Rancher takes it for a login of its own and does not pass it on.
			}
			request, err := http.NewRequestWithContext(t.Context(), test.method, base+test.path, nil)
			require.NoError(t, err)
			if test.authorization != "" {
				request.Header.Set("Authorization", test.authorization)
			}
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: world.TLS(), DisableKeepAlives: true}}
			response, err := client.Do(request)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			require.Equal(t, test.want, response.StatusCode, "%s %s at %s", test.method, test.path, base)
		}
	}
}
