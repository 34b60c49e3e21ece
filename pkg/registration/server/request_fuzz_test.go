package server

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/tools/record"

	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	"github.com/rancher/rancheros-operator/pkg/settings"
	"github.com/rancher/rancheros-operator/tests/memoryapi"
)

// FuzzRequest sends any bytes that net/http takes for a request: the answer is one that we know, nothing is
// written, and only who has the URL sees it again.
func FuzzRequest(f *testing.F) {
	api := memoryapi.New(f, edge(), tokenSecret("edge"))
	api.Settings[settings.ServerURL] = rancherURL
	server := New(Options{Indexes: index.Add(api.Clients()), Settings: settings.New(api.Settings), Inventories: api.Inventories,
		Secrets: api.Secrets, Events: &record.FakeRecorder{}})
	logrus.SetLevel(logrus.ErrorLevel)
	f.Cleanup(func() { logrus.SetLevel(logrus.InfoLevel) })

	key, err := attestationKey()
	require.NoError(f, err)
	prover, err := tpm.GenerateSoftware(tpm.ECCP256, tpm.WithAttestationKey(key))
	require.NoError(f, err)
	proof, err := prover.NewProof()
	require.NoError(f, err)
	authorization, err := proof.Token().EncodeAuthorization()
	require.NoError(f, err)
	for _, seed := range []string{
		hostile{}.request(),
		hostile{lines: "Authorization: " + authorization + "\r\n" + upgradeLines}.request(),
		hostile{lines: "Authorization: " + authorization + "\r\nX-Cattle-Smbios: e30=\r\n" + upgradeLines}.request(),
		hostile{path: protocol.PathInventory, lines: "Authorization: Bearer dG9rZW4=\r\n"}.request(),
		hostile{path: protocol.PathCACerts, lines: "X-Cattle-Nonce: abcdefghijklmnop\r\n" + "Authorization: " + protocol.CACertsAuthorization("t") + "\r\n"}.request(),
		hostile{path: protocol.PathRegistration + "%2e%2e/cacerts"}.request(),
		hostile{start: "OPTIONS * HTTP/1.1"}.request(),
	} {
		f.Add([]byte(seed))
	}
	known := []int{200, 400, 401, 403, 404, 405, 409, 413, 426, 429, 431, 500, 503}
	f.Fuzz(func(t *testing.T, data []byte) {
		request, err := http.ReadRequest(bufio.NewReader(strings.NewReader(string(data))))
		if err != nil {
			return
		}
		request.RemoteAddr = "192.0.2.1:1"
		answer := httptest.NewRecorder()
		server.ServeHTTP(answer, request)
		require.True(t, slices.Contains(known, answer.Code), "%d", answer.Code)
		if answer.Code == http.StatusInternalServerError {
			require.True(t, isUpgrade(request), "the recorder has no connection to upgrade; nothing else fails inside")
		}
		if strings.Contains(answer.Body.String(), goodToken) {
			require.Equal(t, registrationPath, request.URL.EscapedPath())
		}
		require.Empty(t, api.Inventories.Names())
		require.Len(t, server.limits.requests.taken, 0)
		require.Len(t, server.limits.exchanges.taken, 0)
	})
}
