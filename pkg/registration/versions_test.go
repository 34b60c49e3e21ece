// Package registration_test holds both halves of the conversation against each other, in every pair of versions.
package registration_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	rancherv3 "github.com/rancher/rancher/pkg/apis/management.cattle.io/v3"
	provisioningv1 "github.com/rancher/rancher/pkg/apis/provisioning.cattle.io/v1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"

	managementv3 "github.com/rancher/rancheros-operator/pkg/apis/management.cattle.io/v3"
	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
	facts "github.com/rancher/rancheros-operator/pkg/machine"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/pkg/registration/client"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	"github.com/rancher/rancheros-operator/pkg/registration/server"
	"github.com/rancher/rancheros-operator/pkg/settings"
	"github.com/rancher/rancheros-operator/tests/machine"
	"github.com/rancher/rancheros-operator/tests/memoryapi"
)

// world is the real server over an API in memory, which remembers what machines report.
type world struct {
	*memoryapi.API
	url string

	mutex    sync.Mutex
	reported map[string]facts.Facts
}

func (w *world) Record(_ context.Context, inventory *v1.MachineInventory, reported facts.Facts) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.reported[inventory.Name] = reported
}

func newWorld(t *testing.T, objects ...runtime.Object) *world {
	t.Helper()
	edge := &v1.MachineRegistration{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "edge"},
		Spec: v1.MachineRegistrationSpec{CloudConfig: &runtime.RawExtension{Raw: []byte(`{"users":[{"name":"root"}]}`)}}}
	api := memoryapi.New(t, edge, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: index.TokenSecretName("edge"), Labels: map[string]string{v1.LabelRegistration: "edge"}},
		Type:       v1.SecretTypeRegistration,
		Data:       map[string][]byte{"token": []byte(machine.RegistrationToken)},
	})
	api.Put(objects...)
	api.Settings[settings.ServerURL] = "https://rancher.example.com"
	w := &world{API: api, reported: map[string]facts.Facts{}}
	listener := httptest.NewServer(server.New(server.Options{
		Indexes:       index.Add(api.Clients()),
		Settings:      settings.New(api.Settings),
		Inventories:   api.Inventories,
		Registrations: api.Registrations,
		Secrets:       api.Secrets,
		Events:        record.NewFakeRecorder(1000),
		Facts:         w,
	}))
	t.Cleanup(listener.Close)
	w.url = listener.URL
	return w
}

func (w *world) registrationURL() string {
	return w.url + protocol.RegistrationPath(machine.RegistrationToken)
}

func (w *world) register(t *testing.T, prover attestation.Prover, smbios map[string]any) (*client.Answer, error) {
	t.Helper()
	return client.Register(t.Context(), client.Registration{Prover: prover, SMBIOS: smbios, Facts: reported,
		Endpoint: client.Endpoint{URL: w.registrationURL(), AllowHTTP: true, Timeout: 10 * time.Second}})
}

func (w *world) request(prover attestation.Prover) client.InventoryRequest {
	return client.InventoryRequest{Endpoint: client.Endpoint{URL: w.url, AllowHTTP: true, Timeout: 10 * time.Second}, Token: client.TPMToken, Prover: prover, Facts: reported}
}

var reported = facts.Facts{Hostname: "n1", Addresses: []string{"10.0.0.1", "2001:db8::1"}, OSImage: "RancherOS v1", OSVersion: "v1"}

func newTPM(t *testing.T) *tpm.Software {
	t.Helper()
	software, err := tpm.GenerateSoftware(tpm.ECCP256)
	require.NoError(t, err)
	return software
}

// sixtyKilobytes is what a large server's firmware says.
func sixtyKilobytes() map[string]any {
	slots := map[string]any{}
	for _, letter := range "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ012345" {
		slots[string(letter)] = strings.Repeat("x", 1000)
	}
	return map[string]any{"System Information": map[string]any{"Manufacturer": "Dell Inc.", "Serial Number": "S1"}, "Slots": slots}
}

// Our client and our server: all that the firmware says arrives, and later what the operating system says.
func TestNewClientNewServer(t *testing.T) {
	w := newWorld(t)
	smbios := sixtyKilobytes()
	data, err := json.Marshal(smbios)
	require.NoError(t, err)
	require.Greater(t, len(data), 55<<10)
	prover := newTPM(t)
	answer, err := w.register(t, prover, smbios)
	require.NoError(t, err)
	made := w.Inventories.All()[0]
	require.Equal(t, made.Name, answer.Hostname)
	require.Contains(t, made.Name, "dell")
	require.JSONEq(t, string(data), string(made.Spec.SMBIOS.Raw))
	require.Empty(t, answer.Clock)
	require.Empty(t, w.reported, "a registration costs one write: what the installer's system says is not recorded")
	_, err = client.Inventory(t.Context(), w.request(prover))
	requireFailure(t, err, client.CauseNotYet, "not assigned")
	require.Equal(t, map[string]facts.Facts{made.Name: reported}, w.reported, "a machine that asks for its cluster is recorded, also while it waits")
}

// The first clients, whose bytes are spelled out in tests/machine, and our server.
func TestOldClientNewServer(t *testing.T) {
	w := newWorld(t)
	software, err := tpm.GenerateSoftware(tpm.RSA2048)
	require.NoError(t, err)
	conversation, err := (&machine.OldClient{TPM: software}).Register(t.Context(), w.registrationURL(), map[string]any{"System Information": map[string]any{"Manufacturer": "HPE"}})
	require.NoError(t, err)
	require.Len(t, conversation.Challenge, 476)
	made := w.Inventories.All()[0]
	require.Equal(t, `{"hostname":"`+made.Name+`","rancherd":{"server":"https://rancher.example.com","token":"tpm://"},`+
		`"rancheros":{"install":{"automatic":true}},"users":[{"name":"root"}]}`, string(conversation.Final))
	require.Contains(t, made.Name, "hpe")
	require.Empty(t, w.reported)
	waiting, err := (&machine.OldClient{TPM: software}).Inventory(t.Context(), w.url)
	require.NoError(t, err)
	require.Equal(t, "this machine is not assigned to a cluster", string(waiting.Final), "text in the place of the answer, as ever")
}

// Our client and a server that ignores what it does not know.
func TestNewClientOldServer(t *testing.T) {
	old := machine.NewServer(machine.Script{Final: []byte(`{"hostname":"m-1"}`), Inventory: []byte("{\"role\":\"agent\",\"token\":\"T\"}\n")})
	t.Cleanup(old.Close)
	at := client.Endpoint{URL: old.RegistrationURL(), CA: old.CAPEM()}
	smbios := map[string]any{"System Information": map[string]any{"Serial Number": "S1"}}
	for _, c := range []struct {
		why        string
		sent, want map[string]any
	}{
		{"what fits travels in the header", smbios, smbios},
		{"of what does not, the best that does", sixtyKilobytes(), map[string]any{"System Information": sixtyKilobytes()["System Information"]}},
	} {
		prover := newTPM(t)
		answer, err := client.Register(t.Context(), client.Registration{Endpoint: at, Prover: prover, SMBIOS: c.sent, Facts: reported})
		require.NoError(t, err, c.why)
		require.Equal(t, "m-1", answer.Hostname)
		asked := old.Asked()[len(old.Asked())-1]
		require.Equal(t, c.want, asked.SMBIOS, c.why)
		require.Equal(t, prover.EndorsementHash(), asked.Identity)
	}
	request := client.InventoryRequest{Endpoint: client.Endpoint{URL: old.URL, CA: old.CAPEM()}, Token: client.TPMToken, Prover: newTPM(t)}
	got, err := client.Inventory(t.Context(), request)
	require.NoError(t, err)
	require.Equal(t, "agent", got.Role)

	before := len(old.Asked())
	_, err = client.CallHome(t.Context(), request, reported)
	var failure *client.Failure
	require.ErrorAs(t, err, &failure)
	require.Contains(t, failure.Message, "too old to be called home")
	require.Len(t, old.Asked(), before, "nothing was proven, so no cluster's token was sent to nobody")
}

// A maker's certificate of the largest kind: the Authorization header is above 6 kB.
func TestLargeEndorsementCertificate(t *testing.T) {
	w := newWorld(t)
	maker, err := machine.NewMakerCA("Pretend")
	require.NoError(t, err)
	software, err := tpm.GenerateSoftware(tpm.RSA2048)
	require.NoError(t, err)
	der, err := maker.Certify(software.Public(), machine.EKCertificate{Extra: machine.Padding(2000)})
	require.NoError(t, err)
	certified, err := software.With(tpm.WithCertificate(der))
	require.NoError(t, err)
	proof, err := certified.NewProof()
	require.NoError(t, err)
	header, err := proof.Token().EncodeAuthorization()
	require.NoError(t, err)
	require.Greater(t, len(header), 6200)
	_, err = w.register(t, certified, sixtyKilobytes())
	require.NoError(t, err, "v2")
	_, err = (&machine.OldClient{TPM: certified}).Register(t.Context(), w.registrationURL(), nil)
	require.NoError(t, err, "v1")
	require.Len(t, w.Inventories.All(), 1)
}

// A refusal after the proof arrives as what it is, with its code, its hint and when to come back.
func TestRefusalsAfterTheProof(t *testing.T) {
	w := newWorld(t)
	prover := newTPM(t)
	w.Fail = func(r memoryapi.Request) error {
		if r.Verb == "create" {
			return apierrors.NewInternalError(context.DeadlineExceeded)
		}
		return nil
	}
	_, err := w.register(t, prover, nil)
	failure := requireFailure(t, err, client.CauseNotYet, "W44 could not be saved")
	require.Contains(t, failure.Message, "could not be saved")
	require.Equal(t, protocol.CodeUnavailable, protocol.AsError(failure.Err).Code)
	require.NotEmpty(t, failure.Hint)
	require.Positive(t, failure.RetryAfter)
	require.NotContains(t, failure.Message+failure.Hint, "deadline", "the API server's own words stay inside")
	require.Empty(t, w.Inventories.All())

	w.Fail = nil
	_, err = w.register(t, prover, nil)
	require.NoError(t, err)
	_, err = client.Inventory(t.Context(), w.request(prover))
	failure = requireFailure(t, err, client.CauseNotYet, "not assigned")
	require.Equal(t, protocol.CodeNotAssigned, protocol.AsError(failure.Err).Code)
	require.Equal(t, 15*time.Second, failure.RetryAfter)

	registration := w.Registrations.All()[0]
	registration.Spec.Admission = &v1.AdmissionSpec{Approval: v1.ApprovalManual}
	w.Put(registration)
	_, err = w.register(t, newTPM(t), nil)
	failure = requireFailure(t, err, client.CauseNotYet, "pending approval")
	require.Equal(t, protocol.CodePending, protocol.AsError(failure.Err).Code)
	require.Contains(t, failure.Message, "waiting for approval by an administrator: ")

	registration.Spec.Paused = true
	w.Put(registration)
	_, err = w.register(t, newTPM(t), nil)
	failure = requireFailure(t, err, client.CauseNotYet, "paused")
	require.Equal(t, protocol.CodePaused, protocol.AsError(failure.Err).Code)
}

// Call home: the report arrives, the answer says what became of the machine's place, and no cluster's token is in it.
func TestCallHome(t *testing.T) {
	w := newWorld(t)
	prover := newTPM(t)
	_, err := client.CallHome(t.Context(), w.request(prover), reported)
	failure := requireFailure(t, err, client.CauseRefused, "W37 an unknown machine")
	require.Contains(t, failure.Message, "not registered")
	require.Empty(t, w.Inventories.All())

	_, err = w.register(t, prover, nil)
	require.NoError(t, err)
	w.Requests()
	changed := facts.Facts{Hostname: "other", OSVersion: "v2"}
	assignment, err := client.CallHome(t.Context(), w.request(prover), changed)
	require.NoError(t, err)
	require.Equal(t, &protocol.Assignment{State: protocol.StateNotAssigned, RetryAfter: 15 * time.Second}, assignment)
	made := w.Inventories.All()[0]
	require.Equal(t, changed, w.reported[made.Name])

	made.Spec.ClusterName, made.Spec.Config = "site", &v1.MachineConfig{Role: "agent"}
	made.Status.ClusterRegistrationTokenNamespace, made.Status.ClusterRegistrationTokenName = "c-m-1", index.ClusterTokenName(made)
	token := &managementv3.ClusterRegistrationToken{ObjectMeta: metav1.ObjectMeta{Namespace: "c-m-1", Name: index.ClusterTokenName(made),
		Labels: map[string]string{v1.LabelMachineNamespace: "ns", v1.LabelMachine: made.Name}}, Spec: rancherv3.ClusterRegistrationTokenSpec{ClusterName: "c-m-1"}}
	token.Status.Token = "cluster-token"
	w.Put(made, token, cluster())
	assignment, err = client.CallHome(t.Context(), w.request(prover), changed)
	require.NoError(t, err)
	require.Equal(t, &protocol.Assignment{State: protocol.StateAssigned}, assignment, "no token")
	answer, err := client.Inventory(t.Context(), w.request(prover))
	require.NoError(t, err)
	require.Equal(t, "cluster-token", answer.Token, "a machine that joins gets it")

	made.Spec.ClusterName = ""
	made.Status.Conditions = []metav1.Condition{{Type: v1.ConditionClusterAssigned, Status: metav1.ConditionFalse, Reason: v1.ReasonReleased}}
	w.Put(made)
	assignment, err = client.CallHome(t.Context(), w.request(prover), changed)
	require.NoError(t, err)
	require.Equal(t, protocol.StateReleased, assignment.State)
	require.Empty(t, w.Requests(), "it costs the API server nothing")

	c := client.Registration{Endpoint: client.Endpoint{URL: w.registrationURL(), AllowHTTP: true}, Prover: prover}
	_, err = client.Register(t.Context(), c)
	require.NoError(t, err)
	_, err = client.CallHome(t.Context(), client.InventoryRequest{Endpoint: w.request(prover).Endpoint, Token: "shared"}, changed)
	requireFailure(t, err, client.CauseConfig, "a machine without a TPM")
}

// W48: a machine's two connections at once get one inventory and the same answer.
func TestTwoConnectionsAtOnce(t *testing.T) {
	w := newWorld(t)
	prover := newTPM(t)
	names := make(chan string, 4)
	for range cap(names) {
		go func() {
			answer, err := w.register(t, prover, nil)
			if err != nil {
				names <- err.Error()
				return
			}
			names <- answer.Hostname
		}()
	}
	first := <-names
	for range cap(names) - 1 {
		require.Equal(t, first, <-names)
	}
	require.Len(t, w.Inventories.All(), 1)
	require.Equal(t, w.Inventories.All()[0].Name, first)
}

func cluster() runtime.Object {
	return &provisioningv1.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "site"}, Status: provisioningv1.ClusterStatus{ClusterName: "c-m-1"}}
}

func requireFailure(t *testing.T, err error, want client.Cause, why string) *client.Failure {
	t.Helper()
	var failure *client.Failure
	require.ErrorAs(t, err, &failure, why)
	require.Equal(t, want, failure.Cause, "%s: %s (%v)", why, failure.Message, failure.Err)
	return failure
}
