package channel

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// childCA tells the test that it runs as its own child, and whom to trust.
const childCA = "CHANNEL_TEST_CA"

// V40: a proxy of the environment is used with its password, for a server that can be reached through it alone, and the
// password is told to nobody: not in what is printed, and not in a failure. Go reads the environment once in a
// process, so the asking is done by a child.
func TestProxyOfTheEnvironment(t *testing.T) {
	if ca := os.Getenv(childCA); ca != "" {
		askThroughProxy(t, []byte(ca))
		return
	}
	server, options := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/broken" {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = io.WriteString(w, list(version("v1.0.0")))
	})
	asked := make(chan string, 10)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.Host + " " + r.Header.Get("Proxy-Authorization")
		connect(t, w, server.Listener.Addr().String())
	}))
	t.Cleanup(proxy.Close)

	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProxyOfTheEnvironment$", "-test.v")
	child.Env = append(os.Environ(), childCA+"="+string(options.CABundle), "NO_PROXY=", "no_proxy=",
		"HTTPS_PROXY="+strings.Replace(proxy.URL, "http://", "http://ann:"+canary+"@", 1))
	printed, err := child.CombinedOutput()
	require.NoError(t, err, string(printed))
	require.Contains(t, string(printed), "--- PASS: TestProxyOfTheEnvironment")
	require.NotContains(t, string(printed), canary)
	expected := httptest.NewRequest(http.MethodGet, "/", nil)
	expected.SetBasicAuth("ann", canary)
	require.Equal(t, "CONNECT example.com:443 "+expected.Header.Get("Authorization"), <-asked)
}

// connect is the proxy's half of a connection to the server.
func connect(t *testing.T, w http.ResponseWriter, server string) {
	t.Helper()
	upstream, err := net.Dial("tcp", server)
	if err != nil {
		t.Error(err)
		return
	}
	defer upstream.Close()
	client, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	defer client.Close()
	_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
	go func() { _, _ = io.Copy(upstream, client) }()
	_, _ = io.Copy(client, upstream)
}

func askThroughProxy(t *testing.T, ca []byte) {
	t.Helper()
	options := Options{Timeout: time.Minute, CABundle: ca}
	answer, err := JSON{URI: "https://example.com/versions.json", Options: options}.Fetch(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, []string{"v1.0.0"}, names(answer))
	_, err = JSON{URI: "https://example.com/broken", Options: options}.Fetch(t.Context(), nil)
	failure := requireFailure(t, "behind the proxy", ReasonRequestRefused, err)
	t.Log(failure.Message)
}
