package channel

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// canary is in every secret, and must be in no message.
const canary = "canary-5eCr3t"

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// serve is a server with a certificate, and the options to reach it with.
func serve(t *testing.T, handler http.HandlerFunc) (*httptest.Server, Options) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server, Options{Timeout: time.Minute, CABundle: caOf(server), Networks: loopback, Token: canary}
}

func caOf(server *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

// version is one good entry, with changes.
func version(name string, changes ...string) string {
	entry := `{"metadata":{"name":"` + name + `"},"spec":{"version":"` + name + `","type":"container","metadata":{"upgradeImage":"registry.example.com/rancher/os2:` + name + `"}}}`
	return strings.NewReplacer(changes...).Replace(entry)
}

func list(entries ...string) string { return "[" + strings.Join(entries, ",") + "]" }

func names(answer *Answer) []string {
	found := []string{}
	for _, release := range answer.Releases {
		found = append(found, release.Name)
	}
	return found
}

// requireFailure also holds what is true for every failure: its message is short and has no secret in it.
func requireFailure(t *testing.T, why string, want Reason, err error) *Failure {
	t.Helper()
	var failure *Failure
	require.ErrorAs(t, err, &failure, why)
	require.Equal(t, want, failure.Reason, "%s: %s", why, failure.Message)
	require.NotContains(t, failure.Message, canary, why)
	require.NotEmpty(t, failure.Message, why)
	require.Less(t, len(failure.Message), 512, why)
	return failure
}

func body(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

func manyVersions(count int) string {
	entries := make([]string, count)
	for i := range entries {
		entries[i] = version(fmt.Sprintf("v1.%d.0", i))
	}
	return list(entries...)
}

func isFailure(err error) bool {
	var failure *Failure
	return errors.As(err, &failure)
}
