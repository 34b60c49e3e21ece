package server

import (
	"bufio"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	rancherv3 "github.com/rancher/rancher/pkg/apis/management.cattle.io/v3"
	provisioningv1 "github.com/rancher/rancher/pkg/apis/provisioning.cattle.io/v1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"

	managementv3 "github.com/rancher/rancheros-operator/pkg/apis/management.cattle.io/v3"
	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/pkg/settings"
	"github.com/rancher/rancheros-operator/tests/machine"
	"github.com/rancher/rancheros-operator/tests/memoryapi"
)

const (
	goodToken        = "bcdfghjklmnpqrstvwxz2456789bcdfghjklmnpqrstvwxz2456789"
	registrationPath = "/v1-rancheros/registration/" + goodToken
	rancherURL       = "https://rancher.example.com"
	ca               = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
)

// world is the server over an API in memory, on a port of its own.
type world struct {
	*memoryapi.API
	server   *Server
	url      string
	recorder *record.FakeRecorder
}

// newWorld has the registration edge in the namespace ns, and what is given.
func newWorld(t *testing.T, objects ...runtime.Object) world {
	t.Helper()
	api := memoryapi.New(t, edge(), tokenSecret("edge"))
	api.Put(objects...)
	api.Settings[settings.ServerURL] = rancherURL
	recorder := record.NewFakeRecorder(1000)
	server := New(Options{
		Indexes:       index.Add(api.Clients()),
		Settings:      settings.New(api.Settings),
		Inventories:   api.Inventories,
		Registrations: api.Registrations,
		Secrets:       api.Secrets,
		Events:        recorder,
		// Tests ask faster than machines do.
		Limits: Limits{Machine: Rate{PerSecond: 1e6, Burst: 1e6}},
	})
	listener := httptest.NewServer(server)
	t.Cleanup(listener.Close)
	return world{API: api, server: server, url: listener.URL, recorder: recorder}
}

func edge() *v1.MachineRegistration {
	return &v1.MachineRegistration{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "edge"},
		Spec: v1.MachineRegistrationSpec{CloudConfig: &runtime.RawExtension{
			Raw: []byte(`{"rancheros":{"install":{"device":"/dev/nvme0n1"}},"users":[{"name":"root","passwd":"root"}]}`)}},
	}
}

func tokenSecret(registration string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: index.TokenSecretName(registration), Labels: map[string]string{v1.LabelRegistration: registration}},
		Type:       v1.SecretTypeRegistration,
		Data:       map[string][]byte{"token": []byte(goodToken)},
	}
}

// attestationKey is made once: a key for every exchange would take most of the tests' time.
var attestationKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// newTPM is a TPM of its own; keys of the kind ECC are made in no time.
func newTPM(t *testing.T, kind tpm.KeyType) *tpm.Software {
	t.Helper()
	key, err := attestationKey()
	require.NoError(t, err)
	made, err := tpm.GenerateSoftware(kind, tpm.WithAttestationKey(key))
	require.NoError(t, err)
	return made
}

// newMachine is a client of 2022 with a TPM of its own.
func newMachine(t *testing.T) *machine.OldClient {
	return &machine.OldClient{TPM: newTPM(t, tpm.ECCP256)}
}

// register runs the exchange, and returns the last frame.
func (w world) register(t *testing.T, client *machine.OldClient, smbios map[string]any) string {
	t.Helper()
	conversation, err := client.Register(t.Context(), w.url+registrationPath, smbios)
	require.NoError(t, err)
	return string(conversation.Final)
}

// refused is the HTTP answer in the place of an exchange.
func refused(t *testing.T, err error) *machine.Refusal {
	t.Helper()
	var refusal *machine.Refusal
	require.True(t, errors.As(err, &refusal), "%v is no refusal", err)
	return refusal
}

// answer is an HTTP answer, read whole.
type answer struct {
	status int
	header http.Header
	body   string
	closed bool
}

// raw sends the bytes as they are, since no client of Go's would, and reads one answer.
func (w world) raw(t *testing.T, request string) answer {
	t.Helper()
	connection, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	require.NoError(t, err)
	defer connection.Close()
	require.NoError(t, connection.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(connection, request)
	require.NoError(t, err)
	method, _, _ := strings.Cut(request, " ")
	response, err := http.ReadResponse(bufio.NewReader(connection), &http.Request{Method: method})
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	response.Header.Del("Date")
	return answer{status: response.StatusCode, header: response.Header, body: string(body), closed: response.Close}
}

// get asks for a path, with header lines.
func (w world) get(t *testing.T, path string, lines ...string) answer {
	t.Helper()
	return w.raw(t, "GET "+path+" HTTP/1.1\r\nHost: stv-1\r\n"+strings.Join(append(lines, "", ""), "\r\n"))
}

func inventory(name string, spec v1.MachineInventorySpec) *v1.MachineInventory {
	return &v1.MachineInventory{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}, Spec: spec}
}

// assigned is a machine with a role in the cluster site, whose token lies where Rancher 2.15 puts it.
func assigned(name string, spec v1.MachineInventorySpec) []runtime.Object {
	if spec.Config == nil {
		spec.Config = &v1.MachineConfig{Role: "server"}
	}
	spec.ClusterName = "site"
	m := inventory(name, spec)
	token := &managementv3.ClusterRegistrationToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: "c-m-1", Name: index.ClusterTokenName(m), Labels: map[string]string{v1.LabelMachineNamespace: "ns", v1.LabelMachine: name}},
		Spec:       rancherv3.ClusterRegistrationTokenSpec{ClusterName: "c-m-1"},
	}
	token.Status.TokenSecretName = "crt-token-" + token.Name
	return []runtime.Object{m, token,
		&provisioningv1.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "site"}, Status: provisioningv1.ClusterStatus{ClusterName: "c-m-1"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "c-m-1", Name: token.Status.TokenSecretName}, Data: map[string][]byte{"token": []byte("cluster-token")}},
	}
}

// writes are the requests since the last call that were no reads.
func (w world) writes() []string {
	return slices.DeleteFunc(w.Requests(), func(request string) bool { return strings.HasPrefix(request, "get ") })
}
