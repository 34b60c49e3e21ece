package seedimage

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

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

type world struct {
	*memoryapi.API
	*handler
	recorder *record.FakeRecorder
}

func usb() *v1.SeedImage {
	return &v1.SeedImage{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "usb"},
		Spec:       v1.SeedImageSpec{RegistrationName: "edge", BaseImage: "https://media.example.com/base.iso"},
	}
}

func edge() *v1.MachineRegistration {
	return &v1.MachineRegistration{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "edge"},
		Status:     v1.MachineRegistrationStatus{RegistrationURL: "https://rancher.example.com/v1-rancheros/registration/x"},
	}
}

func newWorld(t *testing.T, objects ...runtime.Object) world {
	api := memoryapi.New(t, objects...)
	api.Settings[settings.ServerURL] = "https://rancher.example.com"
	c := api.Clients()
	recorder := record.NewFakeRecorder(100)
	return world{API: api, recorder: recorder, handler: &handler{
		seeds: api.Seeds, secretCache: c.SeedImages.Cache(), secrets: c.Secrets, indexes: index.Add(c),
		settings: settings.New(api.Settings), events: recorder, now: func() time.Time { return noon },
	}}
}

func (w world) reconcile(t *testing.T) (*v1.SeedImage, error) {
	t.Helper()
	cached, err := w.Seeds.Cache().Get("ns", "usb")
	require.NoError(t, err)
	_, err = w.onChange("ns/usb", cached)
	return w.Seeds.All()[0], err
}

func (w world) emitted() []string {
	events := []string{}
	for len(w.recorder.Events) > 0 {
		events = append(events, <-w.recorder.Events)
	}
	return events
}

// found is what media/library reports of a base that is there.
func found(seed *v1.SeedImage) *v1.SeedImage {
	seed.Status.Base = &v1.SeedImageBase{ObservedGeneration: 1, Image: seed.Spec.BaseImage, Checksum: "sha256:x", Method: "RootRecord"}
	seed.Status.Size, seed.Status.Checksum = 1234, "sha256:y"
	return seed
}

func TestReconcile(t *testing.T) {
	w := newWorld(t, usb(), edge())
	seed, err := w.reconcile(t)
	require.NoError(t, err)
	require.Equal(t, []string{"create secrets ns/usb-seed-token", "patch seedimages/status ns/usb"}, w.Requests())
	secret := w.Secrets.All()[0]
	token := string(secret.Data["token"])
	require.Equal(t, v1.SecretTypeSeedImage, secret.Type)
	require.Equal(t, "SeedImage", secret.OwnerReferences[0].Kind)
	require.Equal(t, "https://rancher.example.com/v1-rancheros/seedimage/"+token+"/usb.iso", seed.Status.DownloadURL)
	require.Empty(t, seed.Status.IPXEURL)
	require.Equal(t, []string{"Normal FetchingBase the base medium is on its way; wait for it"}, w.emitted())

	// media/library reports, and what it reports stays.
	w.Put(found(seed))
	seed, err = w.reconcile(t)
	require.NoError(t, err)
	require.Equal(t, v1.SeedImageStateReady, seed.Status.State)
	require.Equal(t, []any{int64(1234), "sha256:y", "RootRecord"}, []any{seed.Status.Size, seed.Status.Checksum, seed.Status.Base.Method})
	events := w.emitted()
	require.Len(t, events, 1)
	require.NotContains(t, events[0], token)
	w.Requests()
	_, err = w.reconcile(t)
	require.NoError(t, err)
	require.Empty(t, w.Requests(), "an unchanged world costs nothing")
	require.Empty(t, w.emitted())

	// A restore without statuses keeps the address.
	before := seed.Status.DownloadURL
	w.Put(usb())
	seed, err = w.reconcile(t)
	require.NoError(t, err)
	require.Equal(t, before, seed.Status.DownloadURL)
	// Deleting the Secret ends it.
	w.Secrets.Remove("ns", "usb-seed-token")
	seed, err = w.reconcile(t)
	require.NoError(t, err)
	require.NotEqual(t, before, seed.Status.DownloadURL)
}

func TestReady(t *testing.T) {
	one := 1
	for _, c := range []struct {
		why                    string
		change                 func(w world, seed *v1.SeedImage)
		reason, state, message string
	}{
		{"all is there", func(world, *v1.SeedImage) {}, v1.ReasonReady, "Ready", "can be downloaded"},
		{"nothing is known of the base", func(_ world, s *v1.SeedImage) { s.Status.Base = nil }, v1.ReasonFetchingBase, "Fetching", "wait"},
		{"what is known is of another spec", func(_ world, s *v1.SeedImage) { s.Status.Base.ObservedGeneration = 7 }, v1.ReasonFetchingBase, "Fetching", "wait"},
		{"the base cannot be had", func(_ world, s *v1.SeedImage) {
			s.Status.Base.Reason, s.Status.Base.Message = v1.ReasonBaseUnavailable, "the server of the base answers 404 Not Found"
		}, v1.ReasonBaseUnavailable, "Failed", "404"},
		{"no registration", func(w world, _ *v1.SeedImage) { w.Registrations.Remove("ns", "edge") }, v1.ReasonRegistrationMissing, "Failed", "there is no MachineRegistration edge in this namespace"},
		{"a registration without a URL", func(w world, _ *v1.SeedImage) {
			r := edge()
			r.Status.RegistrationURL = ""
			w.Put(r)
		}, v1.ReasonRegistrationNotReady, "Failed", "has no URL yet"},
		{"expired", func(_ world, s *v1.SeedImage) { s.Spec.ExpiresAt = &metav1.Time{Time: noon} }, v1.ReasonSeedImageExpired, "Expired", "set a later spec.expiresAt"},
		{"not yet expired", func(_ world, s *v1.SeedImage) { s.Spec.ExpiresAt = &metav1.Time{Time: noon.Add(time.Second)} }, v1.ReasonReady, "Ready", ""},
		{"used up", func(_ world, s *v1.SeedImage) { s.Spec.MaxDownloads, s.Status.Downloads = &one, 1 }, v1.ReasonUsedUp, "UsedUp", "handed out 1 times"},
		{"a cloudConfig in our place", func(_ world, s *v1.SeedImage) {
			s.Spec.CloudConfig = &runtime.RawExtension{Raw: []byte(`{"rancheros":{"install":7}}`)}
		}, v1.ReasonCloudConfigConflict, "Failed", "cloudConfig.rancheros.install must be a map"},
		{"no server-url", func(w world, _ *v1.SeedImage) { delete(w.Settings, settings.ServerURL) }, v1.ReasonServerURLMissing, "Failed", "server-url"},
	} {
		w := newWorld(t, edge())
		seed := found(usb())
		c.change(w, seed)
		w.Put(seed)
		got, err := w.reconcile(t)
		require.NoError(t, err, c.why)
		ready := got.Status.Conditions[0]
		require.Equal(t, []string{c.reason, c.state}, []string{ready.Reason, got.Status.State}, c.why)
		require.Contains(t, ready.Message, c.message, c.why)
	}
}

func TestAddressesByType(t *testing.T) {
	for kind, want := range map[v1.SeedImageType][2]bool{"": {true, false}, "iso": {true, false}, "netboot": {false, true}, "both": {true, true}} {
		seed := found(usb())
		seed.Spec.Type = kind
		got, err := newWorld(t, seed, edge()).reconcile(t)
		require.NoError(t, err)
		require.Equal(t, want, [2]bool{got.Status.DownloadURL != "", got.Status.IPXEURL != ""}, kind)
	}
}

func TestForeignSecrets(t *testing.T) {
	token := []byte("bcdfghjklmnpqrstvwxz2456789bcdfghjklmnpqrstvwxz2456789")
	good := func() *corev1.Secret {
		s, err := newTokenSecret(usb())
		require.NoError(t, err)
		s.Data["token"] = token
		return s
	}
	for _, c := range []struct {
		why, want string
		change    func(s *corev1.Secret)
	}{
		{"another type", "is not of type", func(s *corev1.Secret) { s.Type = corev1.SecretTypeOpaque }},
		{"another's label", "lacks the label", func(s *corev1.Secret) { s.Labels = nil }},
		{"a token of somebody's choice", "has no token", func(s *corev1.Secret) { s.Data["token"] = []byte("letmein") }},
		{"a newline", "without a newline", func(s *corev1.Secret) { s.Data["token"] = append(s.Data["token"], '\n') }},
	} {
		secret := good()
		c.change(secret)
		w := newWorld(t, usb(), edge(), secret)
		seed, err := w.reconcile(t)
		require.Error(t, err, c.why)
		require.Equal(t, v1.ReasonTokenSecretInvalid, seed.Status.Conditions[0].Reason, c.why)
		require.Contains(t, seed.Status.Conditions[0].Message, c.want, c.why)
		require.Empty(t, seed.Status.DownloadURL, c.why)
	}
	w := newWorld(t, usb(), edge(), good())
	seed, err := w.reconcile(t)
	require.NoError(t, err)
	require.Contains(t, seed.Status.DownloadURL, string(token))
}

func TestFailuresAreShown(t *testing.T) {
	w := newWorld(t, usb(), edge())
	w.Fail = func(request memoryapi.Request) error {
		if request.Verb == "create" {
			return errors.New("no etcd")
		}
		return nil
	}
	seed, err := w.reconcile(t)
	require.ErrorContains(t, err, "getting the token's Secret: no etcd")
	require.Equal(t, v1.ReasonAPIError, seed.Status.Conditions[0].Reason)

	_, err = w.onChange("ns/usb", nil)
	require.NoError(t, err)
	seed.DeletionTimestamp = &metav1.Time{Time: noon}
	w.Requests()
	_, err = w.onChange("ns/usb", seed)
	require.NoError(t, err)
	require.Empty(t, w.Requests(), "what goes is left alone")
}

func TestTriggers(t *testing.T) {
	other := usb()
	other.Namespace, other.Name = "elsewhere", "other"
	w := newWorld(t, usb(), other, edge())
	for _, c := range []struct {
		why  string
		do   func() error
		want []string
	}{
		{"the token's Secret went", func() error { _, err := w.onSecret("ns/usb-seed-token", nil); return err }, []string{"ns/usb"}},
		{"another Secret", func() error { _, err := w.onSecret("ns/x", nil); return err }, nil},
		{"the registration came", func() error { _, err := w.onRegistration("ns/edge", edge()); return err }, []string{"ns/usb"}},
		{"another registration", func() error { _, err := w.onRegistration("ns/x", nil); return err }, nil},
		{"server-url concerns all", func() error { _, err := w.onSetting("server-url", nil); return err }, []string{"elsewhere/other", "ns/usb"}},
		{"another setting none", func() error { _, err := w.onSetting("ui-brand", nil); return err }, nil},
	} {
		require.NoError(t, c.do(), c.why)
		require.Equal(t, c.want, w.Seeds.Enqueued(), c.why)
	}
}
