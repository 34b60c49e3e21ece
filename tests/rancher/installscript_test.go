package rancher

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// scriptServer answers what the install script asks, and keeps the last join.
type scriptServer struct {
	url, checksum, ca string
	joined            http.Header
	status            int
}

func newScriptServer(t *testing.T) *scriptServer {
	t.Helper()
	ca, _, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := ca.serving("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	s := &scriptServer{checksum: checksum(string(ca.pem)), ca: string(ca.pem), status: http.StatusOK}
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/cacerts", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(ca.pem) })
	mux.HandleFunc("/v3/connect/agent", func(w http.ResponseWriter, r *http.Request) {
		s.joined = r.Header
		w.WriteHeader(s.status)
		_, _ = w.Write([]byte("the answer"))
	})
	server := httptest.NewUnstartedServer(mux)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.Config.ErrorLog = quiet()
	server.StartTLS()
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// run pipes the script into sh, as the command in a token's status does.
func (s *scriptServer) run(t *testing.T, env []string, args ...string) (output string, ok bool) {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("the script needs curl")
	}
	s.joined = nil
	command := exec.CommandContext(t.Context(), "sh", append([]string{"-s", "-"}, args...)...)
	command.Stdin = strings.NewReader(installScript)
	command.Env = append([]string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + t.TempDir()}, env...)
	var buffer bytes.Buffer
	command.Stdout, command.Stderr = &buffer, &buffer
	err := command.Run()
	return buffer.String(), err == nil
}

// cattle picks what the script told about the machine.
func cattle(header http.Header) map[string]string {
	told := map[string]string{"token": strings.TrimPrefix(header.Get("Authorization"), "Bearer ")}
	for name := range header {
		if short, found := strings.CutPrefix(name, "X-Cattle-"); found && header.Get(name) != "" {
			told[short] = header.Get(name)
		}
	}
	return told
}

func TestInstallScriptJoins(t *testing.T) {
	s := newScriptServer(t)
	all := map[string]string{
		"token": "tok", "Id": "id-1", "Role-Etcd": "true", "Role-Control-Plane": "true", "Role-Worker": "true", "Node-Name": "n1",
		"Address": "1.2.3.4", "Internal-Address": "10.0.0.1", "Labels": "cattle.io/os=linux,a=b", "Taints": "k=v:NoSchedule,l:NoExecute",
	}
	worker := map[string]string{"token": "tok", "Id": "id-1", "Role-Etcd": "false", "Role-Control-Plane": "false", "Role-Worker": "true"}
	base := []string{"--server", s.url, "--token", "tok", "--ca-checksum", s.checksum}
	tests := []struct {
		reason string
		env    []string
		args   []string
		want   map[string]string
	}{
		{
			reason: "long arguments",
			args: append(base, "--etcd", "--controlplane", "--worker", "--node-name", "n1", "--address", "1.2.3.4", "--internal-address", "10.0.0.1",
				"--label", "cattle.io/os=linux", "--label", "a=b", "--taints", "k=v:NoSchedule", "--taint", "l:NoExecute"),
			want: all,
		},
		{
			reason: "short arguments",
			args: []string{"-s", s.url, "-t", "tok", "-c", s.checksum, "-a", "-n", "n1", "--address", "1.2.3.4", "-i", "10.0.0.1",
				"-l", "cattle.io/os=linux", "-l", "a=b", "--taint", "k=v:NoSchedule", "--taint", "l:NoExecute"},
			want: all,
		},
		{
			reason: "environment",
			env: []string{"CATTLE_SERVER=" + s.url, "CATTLE_TOKEN=tok", "CATTLE_CA_CHECKSUM=" + s.checksum, "CATTLE_ROLE_ETCD=true",
				"CATTLE_ROLE_CONTROLPLANE=true", "CATTLE_ROLE_WORKER=true", "CATTLE_NODE_NAME=n1", "CATTLE_ADDRESS=1.2.3.4",
				"CATTLE_INTERNAL_ADDRESS=10.0.0.1", "CATTLE_LABELS=cattle.io/os=linux,a=b", "CATTLE_TAINTS=k=v:NoSchedule,l:NoExecute"},
			want: all,
		},
		{reason: "a worker", args: append(base, "-w"), want: worker},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			output, ok := s.run(t, append(test.env, "CATTLE_ID=id-1"), test.args...)
			if !ok {
				t.Fatalf("failed:\n%s", output)
			}
			if diff := cmp.Diff(test.want, cattle(s.joined)); diff != "" {
				t.Errorf("told the server (-want +got):\n%s", diff)
			}
		})
	}
}

func TestInstallScriptRefuses(t *testing.T) {
	s := newScriptServer(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "https://" + listener.Addr().String()
	_ = listener.Close()
	tests := []struct {
		reason string
		args   []string
		want   string
	}{
		{"no server", []string{"--token", "tok", "--worker"}, "$CATTLE_SERVER was not set"},
		{"no token", []string{"--server", s.url, "--worker"}, "$CATTLE_TOKEN was not set."},
		{"no role", []string{"--server", s.url, "--token", "tok"}, "You must select at least one role."},
		{"an argument that Rancher's script does not know", []string{"--labels", "a=b"}, "Unknown argument passed in (--labels)"},
		{"an argument without its value", []string{"--server"}, "lacks its value"},
		{"another CA", []string{"--server", s.url, "--token", "tok", "--worker", "--ca-checksum", "00"}, "does not match given --ca-checksum (00)"},
		{"a private CA and no checksum", []string{"--server", s.url, "--token", "tok", "--worker"}, "Perhaps --ca-checksum needs to be set?"},
		{"nobody there", []string{"--server", nobody, "--token", "tok", "--worker", "--ca-checksum", s.checksum}, "Could not download the CA"},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			output, ok := s.run(t, nil, test.args...)
			if ok || !strings.Contains(output, test.want) {
				t.Errorf("ok %v, want failure with %q:\n%s", ok, test.want, output)
			}
			if s.joined != nil {
				t.Error("joined all the same")
			}
		})
	}

	s.status = http.StatusUnauthorized
	output, ok := s.run(t, nil, "--server", s.url, "--token", "old", "--worker", "--ca-checksum", s.checksum)
	if ok || !strings.Contains(output, "401 received") || !strings.Contains(output, "the answer") {
		t.Errorf("a token that the server refuses: ok %v\n%s", ok, output)
	}
}

func TestInstallScriptKeepsItsFoldersAndNoOthers(t *testing.T) {
	s := newScriptServer(t)
	config, state, temp := t.TempDir(), t.TempDir(), t.TempDir()
	env := []string{"CATTLE_AGENT_CONFIG_DIR=" + config, "CATTLE_AGENT_VAR_DIR=" + state, "TMPDIR=" + temp}
	args := []string{"--server", s.url, "--token", "tok", "--ca-checksum", s.checksum, "--worker"}
	if output, ok := s.run(t, env, args...); !ok {
		t.Fatal(output)
	}
	first := s.joined.Get("X-Cattle-Id")
	if output, ok := s.run(t, env, args...); !ok {
		t.Fatal(output)
	}
	if second := s.joined.Get("X-Cattle-Id"); first == "" || second != first {
		t.Errorf("the machine was %q and then %q", first, second)
	}
	if answer, err := os.ReadFile(filepath.Join(state, "rancher2_connection_info.json")); err != nil || string(answer) != "the answer" {
		t.Errorf("connection info %q, %v", answer, err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestAuthoritySurvivesARestart(t *testing.T) {
	ca, keyPEM, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	again, err := parseAuthority(ca.pem, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	if !again.certificate.Equal(ca.certificate) {
		t.Error("another CA came back")
	}
	if block, rest := pem.Decode(ca.pem); block == nil || len(rest) != 0 {
		t.Error("the CA is not one PEM block")
	}
	if _, err := parseAuthority(ca.pem, []byte("garbage")); err == nil {
		t.Error("garbage is a key")
	}
}
