package supportbundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"

	"github.com/rancher/rancheros-operator/pkg/diagnosis/check"
)

const token = "canary-of-a-registration-0123456789"

// answers are those of an API server of which most is broken: support bundles are made where something is.
func answers(t *testing.T) *rest.Config {
	t.Helper()
	mux := http.NewServeMux()
	say := func(path, body string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, body)
		})
	}
	say("/apis/rancheros.cattle.io/v1/machineregistrations", `{"kind":"MachineRegistrationList","apiVersion":"rancheros.cattle.io/v1","metadata":{},"items":[
		{"kind":"MachineRegistration","apiVersion":"rancheros.cattle.io/v1","metadata":{"name":"r","namespace":"n"},"status":{"registrationToken":"`+token+`"}}]}`)
	say("/api/v1/events", `{"kind":"EventList","apiVersion":"v1","metadata":{},"items":[{"kind":"Event","apiVersion":"v1","metadata":{"name":"e"},"message":"said `+token+`"}]}`)
	say("/api/v1/namespaces/ops/pods", `{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p","namespace":"ops"},
		"spec":{"containers":[{"name":"c","args":["run"],"env":[{"name":"PASSWORD","value":"canary"}]}]},"status":{"containerStatuses":[{"name":"c","restartCount":1}]}}]}`)
	mux.HandleFunc("/api/v1/namespaces/ops/pods/p/log", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "previous: %s; a machine came with %s, and Authorization: Bearer canarycanary\n", r.URL.Query().Get("previous"), token)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "secrets") {
			t.Errorf("Secrets were asked for: %s", r.URL)
		}
		http.Error(w, "broken", http.StatusInternalServerError)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return &rest.Config{Host: server.URL}
}

func TestWhereMuchIsBroken(t *testing.T) {
	var archive bytes.Buffer
	require.NoError(t, Write(t.Context(), answers(t), check.Options{Namespace: "ops"}, &archive))
	compressed, err := gzip.NewReader(&archive)
	require.NoError(t, err)
	files := map[string]string{}
	for reader := tar.NewReader(compressed); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		body, err := io.ReadAll(reader)
		require.NoError(t, err)
		_, name, _ := strings.Cut(header.Name, "/")
		files[name] = string(body)
		require.NotContains(t, string(body), "canary", name)
	}
	require.Contains(t, files["errors.txt"], "listing machineinventories: ")
	require.Contains(t, files["errors.txt"], "listing deployments: ")
	require.Contains(t, files["check.txt"], "does not answer")
	require.Contains(t, files["events.yaml"], "message: said REDACTED")
	require.Contains(t, files["operator/pods.yaml"], "- name: PASSWORD")
	require.Contains(t, files["operator/logs/p-c.log"], "a machine came with REDACTED, and Authorization: Bearer REDACTED")
	require.Contains(t, files["operator/logs/p-c.previous.log"], "previous: true")
}

// full takes so many bytes and no more, as a disk does.
type full struct{ left int }

func (f *full) Write(body []byte) (int, error) {
	if f.left -= len(body); f.left < 0 {
		return 0, errors.New("no space left on device")
	}
	return len(body), nil
}

func TestWhereNothingCanBeWritten(t *testing.T) {
	require.ErrorContains(t, Write(t.Context(), answers(t), check.Options{}, &full{left: 5}), "no space left on device")
}

func TestBounds(t *testing.T) {
	var archive bytes.Buffer
	b := &bundle{tar: tar.NewWriter(&archive), folder: "f"}
	require.NoError(t, b.add("large.log", make([]byte, maxFile+1)))
	for i := range maxArchive / maxFile {
		require.NoError(t, b.add(fmt.Sprintf("%d.log", i), make([]byte, maxFile)))
	}
	require.NoError(t, b.add("errors.txt", []byte("why\n")), "why something is missing is told in any case")
	require.NoError(t, b.tar.Close())
	require.Len(t, b.errors, 2)
	require.Contains(t, b.errors[0], "large.log: it has 16777217 bytes: its end is left out")
	require.Contains(t, b.errors[1], "7.log: it is left out: the archive is full")
	require.Less(t, archive.Len(), maxArchive+(1<<20))
}
