package registration

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/pkg/settings"
	"github.com/rancher/rancheros-operator/tests/memoryapi"
)

type world struct {
	*memoryapi.API
	*handler
	recorder *record.FakeRecorder
}

func newWorld(t *testing.T) world {
	api := memoryapi.New(t, edge())
	api.Settings[settings.ServerURL] = "https://rancher.example.com"
	c := api.Clients()
	recorder := record.NewFakeRecorder(100)
	return world{API: api, recorder: recorder, handler: &handler{
		registrations: api.Registrations,
		secretCache:   c.Registrations.Cache(),
		secrets:       c.Secrets,
		indexes:       index.Add(c),
		settings:      settings.New(api.Settings),
		events:        recorder,
		now:           time.Now,
		bundles:       bundles{seen: map[string]bundle{}},
	}}
}

// reconcile runs the handler on what the cache shows, and returns the registration as it is then.
func (w world) reconcile(t *testing.T) (*v1.MachineRegistration, error) {
	t.Helper()
	cached, err := w.Registrations.Cache().Get("ns", "edge")
	require.NoError(t, err)
	_, err = w.onChange("ns/edge", cached)
	return w.Registrations.All()[0], err
}

func (w world) emitted() []string {
	events := []string{}
	for len(w.recorder.Events) > 0 {
		events = append(events, <-w.recorder.Events)
	}
	return events
}

func TestReconcile(t *testing.T) {
	w := newWorld(t)
	registration, err := w.reconcile(t)
	require.NoError(t, err)
	require.Equal(t, []string{"create secrets ns/edge-registration-token", "get secrets ns/tpm-ca", "patch machineregistrations/status ns/edge"}, w.Requests())
	token := string(w.Secrets.All()[0].Data["token"])
	require.Equal(t, "https://rancher.example.com/v1-rancheros/registration/"+token, registration.Status.RegistrationURL)
	events := w.emitted()
	require.Equal(t, []string{"Normal Ready machines can register at the URL in status.registrationURL"}, events)
	require.NotContains(t, events[0], token)

	_, err = w.reconcile(t)
	require.NoError(t, err)
	require.Empty(t, w.Requests(), "an unchanged world costs nothing")
	require.Empty(t, w.emitted())
}

// C14.
func TestOverriddenIsToldOnce(t *testing.T) {
	w := newWorld(t)
	registration := edge()
	registration.Generation = 1
	registration.Spec.CloudConfig = &runtime.RawExtension{Raw: []byte(`{"rancherd":{"token":"mine"}}`)}
	w.Put(registration)
	_, err := w.reconcile(t)
	require.NoError(t, err)
	const told = "Warning CloudConfigOverridden rancherd.token of spec.cloudConfig is not used: machines get the operator's own value"
	require.Contains(t, w.emitted(), told)
	_, err = w.reconcile(t)
	require.NoError(t, err)
	require.Empty(t, w.emitted())
}

// Media with the URL may be anywhere: a restore of a backup without statuses must not end it (B20).
func TestTokenOutlivesStatus(t *testing.T) {
	w := newWorld(t)
	before, err := w.reconcile(t)
	require.NoError(t, err)
	w.Put(edge())
	after, err := w.reconcile(t)
	require.NoError(t, err)
	require.Equal(t, before.Status.RegistrationURL, after.Status.RegistrationURL)
}

func TestTokenIsMadeAnewWhenItsSecretIsDeleted(t *testing.T) {
	w := newWorld(t)
	before, err := w.reconcile(t)
	require.NoError(t, err)
	w.Secrets.Remove("ns", "edge-registration-token")
	after, err := w.reconcile(t)
	require.NoError(t, err)
	require.NotEqual(t, before.Status.RegistrationToken, after.Status.RegistrationToken)
	require.Equal(t, string(w.Secrets.All()[0].Data["token"]), after.Status.RegistrationToken)
}

// Two replicas, or a cache that lags behind our own write: there is one token.
func TestTokenIsMadeOnce(t *testing.T) {
	w := newWorld(t)
	w.Secrets.Lag(true)
	before, err := w.reconcile(t)
	require.NoError(t, err)
	after, err := w.reconcile(t)
	require.NoError(t, err)
	require.Equal(t, before.Status.RegistrationToken, after.Status.RegistrationToken)
	require.Len(t, w.Secrets.All(), 1)
}

func TestForeignSecret(t *testing.T) {
	w := newWorld(t)
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "edge-registration-token"}, Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{"token": []byte(goodToken)}}
	w.Put(foreign)
	registration, err := w.reconcile(t)
	require.Error(t, err, "it is not watched, so it is tried again")
	require.Equal(t, v1.ReasonTokenSecretInvalid, registration.Status.Conditions[0].Reason)
	require.Empty(t, registration.Status.RegistrationURL)
	require.Equal(t, foreign.Data, w.Secrets.All()[0].Data, "it is left alone")
	require.Len(t, w.emitted(), 1)
	_, err = w.reconcile(t)
	require.Error(t, err)
	require.Empty(t, w.emitted(), "no event on a retry")

	w.Secrets.Remove("ns", "edge-registration-token")
	registration, err = w.reconcile(t)
	require.NoError(t, err)
	require.Equal(t, v1.ReasonReady, registration.Status.Conditions[0].Reason)
}

func TestServerURLComesAndGoes(t *testing.T) {
	w := newWorld(t)
	delete(w.Settings, settings.ServerURL)
	registration, err := w.reconcile(t)
	require.NoError(t, err, "the Setting's change brings us back; a retry would not help")
	require.Equal(t, v1.ReasonServerURLMissing, registration.Status.Conditions[0].Reason)
	token := registration.Status.RegistrationToken
	require.NotEmpty(t, token, "the token is made all the same")

	w.Settings[settings.ServerURL] = "https://one"
	registration, err = w.reconcile(t)
	require.NoError(t, err)
	require.Equal(t, "https://one/v1-rancheros/registration/"+token, registration.Status.RegistrationURL)
	w.Settings[settings.ServerURL] = "https://two/"
	registration, err = w.reconcile(t)
	require.NoError(t, err)
	require.Equal(t, "https://two/v1-rancheros/registration/"+token, registration.Status.RegistrationURL, "B21")
}

// The condition says what failed even though the handler returns the error.
func TestFailuresAreShown(t *testing.T) {
	w := newWorld(t)
	w.Fail = func(request memoryapi.Request) error {
		if request.Verb == "create" {
			return errors.New("no etcd")
		}
		return nil
	}
	registration, err := w.reconcile(t)
	require.ErrorContains(t, err, "getting the token's Secret: no etcd")
	require.Equal(t, v1.ReasonAPIError, registration.Status.Conditions[0].Reason)

	w.Fail = func(memoryapi.Request) error { return errors.New("no status") }
	w.emitted()
	_, err = w.reconcile(t)
	require.ErrorContains(t, err, "no status")
	require.Empty(t, w.emitted(), "what was not written is not told")
}

func TestDeletedIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	_, err := w.onChange("ns/edge", nil)
	require.NoError(t, err)
	deleting := edge()
	now := metav1.NewTime(time.Now())
	deleting.DeletionTimestamp, deleting.Finalizers = &now, []string{"other"}
	w.Put(deleting)
	_, err = w.reconcile(t)
	require.NoError(t, err)
	require.Empty(t, w.Requests())
}

func TestCount(t *testing.T) {
	w := newWorld(t)
	now := metav1.NewTime(time.Now())
	of := func(name, registration string) *v1.MachineInventory {
		return &v1.MachineInventory{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, Labels: map[string]string{v1.LabelRegistration: registration}}}
	}
	deleting := of("d", "edge")
	deleting.DeletionTimestamp, deleting.Finalizers = &now, []string{"x"}
	elsewhere := of("e", "edge")
	elsewhere.Namespace = "elsewhere"
	w.Put(of("a", "edge"), of("b", "edge"), of("c", "other"), deleting, elsewhere)
	registration, err := w.reconcile(t)
	require.NoError(t, err)
	require.Equal(t, 2, registration.Status.Machines)
}

func TestTriggers(t *testing.T) {
	w := newWorld(t)
	other := edge()
	other.Name, other.Namespace = "other", "elsewhere"
	w.Put(other)
	secret, err := newTokenSecret(edge())
	require.NoError(t, err)
	unlabelled := secret.DeepCopy()
	unlabelled.Labels = nil
	machine := &v1.MachineInventory{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "m", Labels: map[string]string{v1.LabelRegistration: "edge"}}}
	for _, c := range []struct {
		why  string
		do   func() error
		want []string
	}{
		{"the token's Secret was made or changed", func() error { _, err := w.onSecret("ns/edge-registration-token", secret); return err }, []string{"ns/edge"}},
		{"its label was taken off", func() error { _, err := w.onSecret("ns/edge-registration-token", unlabelled); return err }, []string{"ns/edge"}},
		{"it was deleted", func() error { _, err := w.onSecret("ns/edge-registration-token", nil); return err }, []string{"ns/edge"}},
		{"a Secret of another name", func() error { _, err := w.onSecret("ns/mine", secret); return err }, nil},
		{"server-url concerns all", func() error { _, err := w.onSetting("server-url", nil); return err }, []string{"elsewhere/other", "ns/edge"}},
		{"another setting concerns none", func() error { _, err := w.onSetting("ui-brand", nil); return err }, nil},
		{"a machine came, or changed", func() error { _, err := w.onInventory("ns/m", machine); return err }, []string{"ns/edge"}},
		{"a machine that came by hand", func() error { _, err := w.onInventory("ns/x", &v1.MachineInventory{}); return err }, nil},
		{"a machine went: its label is gone with it, so all of its namespace are counted", func() error { _, err := w.onInventory("ns/m", nil); return err }, []string{"ns/edge"}},
	} {
		require.NoError(t, c.do(), c.why)
		require.Equal(t, c.want, w.Registrations.Enqueued(), c.why)
	}
}
