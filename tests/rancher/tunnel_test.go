package rancher

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
	"github.com/rancher/steve/pkg/aggregation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/dynamic/fake"
)

// aggregated is a Rancher with one APIService, of which only the HTTPS side runs: its caches hold what the test puts
// there.
func aggregated(t *testing.T, park time.Duration) (*Rancher, *httptest.Server) {
	t.Helper()
	client := fake.NewSimpleDynamicClient(runtime.NewScheme())
	a := &api{client: client, informers: dynamicinformer.NewDynamicSharedInformerFactory(client, 0)}
	service := manifest("management.cattle.io/v3", "APIService", key{Name: "operator"}, map[string]any{"spec": map[string]any{
		"pathPrefixes": []any{"/v1-rancheros/"}, "paths": []any{"/exactly"},
	}})
	service.SetUID("uid")
	ca := manifest("management.cattle.io/v3", "Setting", key{Name: settingCACerts}, map[string]any{"value": "CA"})
	if err := a.informer(apiServicesGVR).GetStore().Add(service); err != nil {
		t.Fatal(err)
	}
	if err := a.informer(settingsGVR).GetStore().Add(ca); err != nil {
		t.Fatal(err)
	}
	r := &Rancher{opts: Options{}.withDefaults(), api: a, apiServices: newAPIServices(a), nodes: &nodes{api: a, tokens: newTokens(a, Options{}, nil)}}
	r.apiServices.remember("operator", "secret", "stv-uid")
	r.tunnel = newTunnel(r.apiServices.authorize, park)
	server := httptest.NewTLSServer(r.handler())
	t.Cleanup(func() {
		r.tunnel.drop()
		server.Close()
	})
	return r, server
}

// dial serves handler through the tunnel, as the operator does, until the test ends.
func dial(t *testing.T, server *httptest.Server, token string, handler http.Handler) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	go aggregation.ListenAndServe(ctx, server.URL+"/v3/connect", ca, token, handler)
}

func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited for %s in vain", what)
		case <-tick.C:
		}
	}
}

func get(t *testing.T, server *httptest.Server, path string, header http.Header) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header = header
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// seen is what an aggregated server finds in a request.
type seen struct {
	URI, User, Group, Bearer string
}

var report = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	h := r.Header
	_ = json.NewEncoder(w).Encode(seen{r.RequestURI, strings.Join(h["Impersonate-User"], ","), strings.Join(h["Impersonate-Group"], ","), h.Get("Authorization")})
})

func TestProxyPassesWholePathsAndSaysWhoCalled(t *testing.T) {
	r, server := aggregated(t, time.Second)
	dial(t, server, "secret", report)
	waitFor(t, "the tunnel", func() bool { return r.Tunnels() == 1 })

	tests := []struct {
		reason, path string
		header       http.Header
		want         seen
	}{
		{
			reason: "an anonymous caller is impersonated", path: "/v1-rancheros/registration/abc?x=1",
			want: seen{URI: "/v1-rancheros/registration/abc?x=1", User: anonymous, Group: anonymous},
		},
		{
			reason: "escapes arrive as they were sent", path: "/v1-rancheros/a%2Fb%20c",
			want: seen{URI: "/v1-rancheros/a%2Fb%20c", User: anonymous, Group: anonymous},
		},
		{
			reason: "nobody makes himself an administrator", path: "/v1-rancheros/x",
			header: http.Header{"Impersonate-User": {"admin"}, "Impersonate-Group": {"system:masters"}},
			want:   seen{URI: "/v1-rancheros/x", User: anonymous, Group: anonymous},
		},
		{
			reason: "a bearer token passes, and nobody is impersonated then", path: "/v1-rancheros/inventory",
			header: http.Header{"Authorization": {"Bearer TPMabc"}, "Impersonate-User": {"admin"}},
			want:   seen{URI: "/v1-rancheros/inventory", Bearer: "Bearer TPMabc"},
		},
		{reason: "an exact path", path: "/exactly", want: seen{URI: "/exactly", User: anonymous, Group: anonymous}},
		{reason: "an untidy path is redirected to the tidy one", path: "//v1-rancheros/./x?y", want: seen{URI: "/v1-rancheros/x?y", User: anonymous, Group: anonymous}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			status, body := get(t, server, test.path, test.header)
			var got seen
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatalf("status %d, body %q: %v", status, body, err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOwnPaths(t *testing.T) {
	_, server := aggregated(t, time.Second)
	for path, want := range map[string]string{"/ping": "pong", "/healthz": "ok", "/cacerts": "CA\n", "/system-agent-install.sh": installScript} {
		if status, body := get(t, server, path, nil); status != http.StatusOK || body != want {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	for path, want := range map[string]int{"/nothing": 404, "/exactly/more": 404, "/v3/connect": 401, "/v3/connect/agent": 401, "/": 404} {
		if status, body := get(t, server, path, nil); status != want {
			t.Errorf("%s: %d %q, want %d", path, status, body, want)
		}
	}
}

func TestWebsocketsPassBothWays(t *testing.T) {
	r, server := aggregated(t, time.Second)
	upgrader := websocket.Upgrader{}
	dial(t, server, "secret", http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		conn, err := upgrader.Upgrade(w, request, nil)
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_ = conn.WriteMessage(websocket.BinaryMessage, []byte("challenge")) // as the operator does, the server speaks first
		kind, answer, err := conn.ReadMessage()
		if err == nil {
			_ = conn.WriteMessage(kind, append([]byte("got "), answer...))
		}
	}))
	waitFor(t, "the tunnel", func() bool { return r.Tunnels() == 1 })

	dialer := websocket.Dialer{TLSClientConfig: server.Client().Transport.(*http.Transport).TLSClientConfig}
	conn, _, err := dialer.DialContext(t.Context(), "wss"+strings.TrimPrefix(server.URL, "https")+"/v1-rancheros/registration/t", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, first, err := conn.ReadMessage(); err != nil || string(first) != "challenge" {
		t.Fatalf("first frame %q, %v", first, err)
	}
	large := strings.Repeat("x", 200_000)
	if err := conn.WriteMessage(websocket.BinaryMessage, []byte(large)); err != nil {
		t.Fatal(err)
	}
	if _, last, err := conn.ReadMessage(); err != nil || string(last) != "got "+large {
		t.Fatalf("last frame of %d bytes, %v", len(last), err)
	}
}

func TestRequestsWaitForATunnel(t *testing.T) {
	r, server := aggregated(t, 200*time.Millisecond)
	began := time.Now()
	status, body := get(t, server, "/v1-rancheros/x", nil)
	if status != http.StatusServiceUnavailable || body != "Handler disconnected\n" {
		t.Errorf("without a tunnel: %d %q", status, body)
	}
	if waited := time.Since(began); waited < 200*time.Millisecond {
		t.Errorf("refused after %v already", waited)
	}

	r.tunnel.park = 10 * time.Second
	answer := make(chan int, 1)
	go func() {
		response, err := server.Client().Get(server.URL + "/v1-rancheros/x")
		if err != nil {
			answer <- 0
			return
		}
		_ = response.Body.Close()
		answer <- response.StatusCode
	}()
	waitFor(t, "the request to park", func() bool { return r.Parked() == 1 })
	dial(t, server, "secret", report)
	if status := <-answer; status != http.StatusOK {
		t.Errorf("a parked request got %d when the tunnel came", status)
	}
	if r.Parked() != 0 {
		t.Errorf("%d requests still parked", r.Parked())
	}
}

func TestTunnelWantsItsToken(t *testing.T) {
	r, server := aggregated(t, time.Millisecond)
	for _, header := range []http.Header{nil, {"Authorization": {"Bearer wrong"}}, {"Authorization": {"Bearer "}}} {
		if status, _ := get(t, server, "/v3/connect", header); status != http.StatusUnauthorized {
			t.Errorf("with %v: %d", header, status)
		}
	}
	r.apiServices.remember("operator", "rotated", "stv-uid")
	if status, _ := get(t, server, "/v3/connect", http.Header{"Authorization": {"Bearer secret"}}); status != http.StatusUnauthorized {
		t.Errorf("the token from before the rotation: %d", status)
	}
	// With the right one, the request only lacks a websocket.
	if status, _ := get(t, server, "/v3/connect", http.Header{"Authorization": {"Bearer rotated"}}); status != http.StatusBadRequest {
		t.Errorf("the token from after the rotation: %d", status)
	}
}

func TestDropAndFreeze(t *testing.T) {
	r, server := aggregated(t, 50*time.Millisecond)
	dial(t, server, "secret", report)
	waitFor(t, "the tunnel", func() bool { return r.Tunnels() == 1 })

	thaw := r.FreezeTunnels()
	answer := make(chan int, 1)
	go func() {
		response, err := server.Client().Get(server.URL + "/v1-rancheros/x")
		if err != nil {
			answer <- 0
			return
		}
		_ = response.Body.Close()
		answer <- response.StatusCode
	}()
	select {
	case status := <-answer:
		t.Errorf("a frozen tunnel answered %d", status)
	case <-time.After(200 * time.Millisecond):
	}
	if r.Tunnels() != 1 {
		t.Errorf("a frozen tunnel closed")
	}
	thaw()
	if status := <-answer; status != http.StatusOK {
		t.Errorf("after the thaw: %d", status)
	}

	if dropped := r.DropTunnels(); dropped != 1 {
		t.Errorf("dropped %d tunnels", dropped)
	}
	waitFor(t, "the session to end", func() bool { return !r.tunnel.server.HasSession("stv-uid") })
	if status, _ := get(t, server, "/v1-rancheros/x", nil); status != http.StatusServiceUnavailable {
		t.Errorf("after the drop: %d", status)
	}
	waitFor(t, "steve's client to dial again", func() bool { return r.Tunnels() == 1 })
}

func TestCleanPath(t *testing.T) {
	for untidy, want := range map[string]string{
		"/a/b": "/a/b", "/a/b/": "/a/b/", "//a//b": "/a/b", "/a/./b/../c": "/a/c", "/../a": "/a", "/": "/", "/a%2F..%2Fb": "/a%2F..%2Fb",
	} {
		if got := cleanPath(untidy); got != want {
			t.Errorf("%s becomes %s, want %s", untidy, got, want)
		}
	}
}
