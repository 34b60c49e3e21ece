package e2e

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// releases is a server from which a channel of type json gets its document.
type releases struct {
	*httptest.Server

	mutex     sync.Mutex
	status    int
	document  string
	requests  int
	unchanged int
}

func newReleases(t *testing.T) *releases {
	t.Helper()
	served := &releases{}
	served.Server = httptest.NewTLSServer(http.HandlerFunc(served.answer))
	t.Cleanup(served.Close)
	return served
}

func (r *releases) answer(w http.ResponseWriter, request *http.Request) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.requests++
	etag := fmt.Sprintf("%q", fmt.Sprint(len(r.document)))
	w.Header().Set("ETag", etag)
	if r.status == http.StatusOK && request.Header.Get("If-None-Match") == etag {
		r.unchanged++
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.WriteHeader(r.status)
	_, _ = io.WriteString(w, r.document)
}

// publish makes the document a list of the versions.
func (r *releases) publish(versions ...string) {
	entries := make([]string, len(versions))
	for i, version := range versions {
		entries[i] = fmt.Sprintf(`{"metadata":{"name":%q},"spec":{"version":%q,"type":"container","minVersion":"v0.1.0","metadata":{"upgradeImage":"registry.example.com/rancher/os2:%s"}}}`,
			version, version, version)
	}
	r.say(http.StatusOK, "["+strings.Join(entries, ",")+"]")
}

func (r *releases) say(status int, document string) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.status, r.document = status, document
}

func (r *releases) counts() (requests, unchanged int) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.requests, r.unchanged
}

// channel is a manifest of one that asks the server.
func (r *releases) channel(namespace, name, more string) string {
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw}))
	return fmt.Sprintf("apiVersion: rancheros.cattle.io/v1\nkind: ManagedOSVersionChannel\nmetadata: {name: %s, namespace: %s}\nspec: {type: json, options: {uri: %q}, caBundle: %q%s}\n",
		name, namespace, r.URL+"/versions.json", ca, more)
}

// syncNow asks the channel, and returns when it has been asked.
func syncNow(t *testing.T, namespace, name, value string) {
	t.Helper()
	kubectl(t, "annotate", "--overwrite", "moschannel", name, "-n", namespace, "rancheros.cattle.io/sync-channel="+value)
	eventually(t, func() error {
		got, err := world.Kubectl(t.Context(), "get", "moschannel", name, "-n", namespace, "-o", "jsonpath={.status.handledSync}")
		if err == nil && got != value {
			err = fmt.Errorf("channel %s has handled %q, not %q", name, got, value)
		}
		return err
	})
}

// versionsOf are the names of the namespace's versions with the label.
func versionsOf(t *testing.T, namespace string, labels ...string) []string {
	t.Helper()
	return strings.Fields(kubectl(t, append([]string{"get", "mosversion", "-n", namespace, "-o", "jsonpath={.items[*].metadata.name}"}, labels...)...))
}

// account makes a ServiceAccount that may do all with our kinds, and what else is given as verbs and resources.
func account(t *testing.T, namespace, name string, rights ...[2]string) string {
	t.Helper()
	kubectl(t, "create", "serviceaccount", name, "-n", namespace)
	rights = append(rights, [2]string{"*", "managedosimages.rancheros.cattle.io,managedosversions.rancheros.cattle.io,managedosversionchannels.rancheros.cattle.io"})
	for i, right := range rights {
		role := fmt.Sprintf("%s-%d", name, i)
		kubectl(t, "create", "role", role, "-n", namespace, "--verb", right[0], "--resource", right[1])
		kubectl(t, "create", "rolebinding", role, "-n", namespace, "--role", role, "--serviceaccount", namespace+":"+name)
	}
	return "system:serviceaccount:" + namespace + ":" + name
}

func requireRefused(t *testing.T, why, user, manifest, want string) {
	t.Helper()
	_, err := world.Apply(t.Context(), manifest, "--as", user)
	require.ErrorContains(t, err, want, why)
}
