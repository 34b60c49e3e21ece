package oschannel

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/record"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/tests/memoryapi"
)

// canary is in every secret, and must be in no status and no event.
const canary = "canary-5eCr3t"

// documents is a server whose document can be changed.
type documents struct {
	*httptest.Server
	mutex  sync.Mutex
	status int
	body   string
	// requests since the last call of asked.
	requests int
	token    string
}

func newDocuments(t *testing.T) *documents {
	t.Helper()
	d := &documents{status: http.StatusOK}
	d.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.mutex.Lock()
		defer d.mutex.Unlock()
		d.requests++
		d.token = r.Header.Get("Authorization")
		w.WriteHeader(d.status)
		_, _ = io.WriteString(w, d.body)
	}))
	t.Cleanup(d.Close)
	return d
}

func (d *documents) serve(status int, versions ...string) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	var entries []string
	for _, version := range versions {
		version, image, other := strings.Cut(version, "=")
		if !other {
			image = version
		}
		entries = append(entries, fmt.Sprintf(`{"metadata":{"name":%q},"spec":{"version":%q,"type":"container","metadata":{"upgradeImage":"rancher/os2:%s"}}}`, version, version, image))
	}
	d.status, d.body = status, "["+strings.Join(entries, ",")+"]"
}

func (d *documents) caBundle() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: d.Certificate().Raw}))
}

type world struct {
	*memoryapi.API
	*handler
	documents *documents
	recorder  *record.FakeRecorder
	news      chan string
}

func newWorld(t *testing.T, objects ...runtime.Object) *world {
	t.Helper()
	w := &world{API: memoryapi.New(t, objects...), documents: newDocuments(t), recorder: record.NewFakeRecorder(1000), news: make(chan string, 100)}
	c := w.Clients()
	w.handler = &handler{
		channels: w.Channels, versions: w.Versions, secrets: c.Secrets, indexes: index.Add(c), events: w.recorder,
		poller:   newPoller(t.Context(), func(_, name string) { w.news <- name }),
		networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}
	return w
}

// follow puts a channel that asks the world's server.
func (w *world) follow(changes ...func(*v1.ManagedOSVersionChannel)) {
	w.Put(newChannel(append([]func(*v1.ManagedOSVersionChannel){func(c *v1.ManagedOSVersionChannel) {
		c.Spec.Options.URI, c.Spec.CABundle = w.documents.URL, w.documents.caBundle()
	}}, changes...)...))
}

// edit is what a user does.
func (w *world) edit(change func(*v1.ManagedOSVersionChannel)) {
	c := w.Channels.All()[0]
	if c.Annotations == nil {
		c.Annotations = map[string]string{}
	}
	change(c)
	c.Generation++
	w.Put(c)
}

func (w *world) reconcile(t *testing.T) error {
	t.Helper()
	cached, err := w.Channels.Cache().Get("fleet-default", "stable")
	require.NoError(t, err)
	_, err = w.onChange("fleet-default/stable", cached)
	return err
}

// settle reconciles until nothing is written any more.
func (w *world) settle(t *testing.T) {
	t.Helper()
	for range 10 {
		w.Requests()
		require.NoError(t, w.reconcile(t))
		if len(w.Requests()) == 0 {
			return
		}
	}
	t.Fatal("writes go on and on")
}

// answered waits for the channel's next answer, and settles.
func (w *world) answered(t *testing.T) {
	t.Helper()
	next(t, w.news)
	w.settle(t)
}

// again asks for another answer.
func (w *world) again(t *testing.T, value string) {
	t.Helper()
	w.edit(func(c *v1.ManagedOSVersionChannel) {
		c.Generation-- // An annotation is no change of the spec.
		c.Annotations[v1.AnnotationSyncChannel] = value
	})
	require.NoError(t, w.reconcile(t))
	w.answered(t)
	require.Equal(t, value, w.Channels.All()[0].Status.HandledSync, w.ready())
}

func (w *world) ready() metav1.Condition {
	return *meta.FindStatusCondition(w.Channels.All()[0].Status.Conditions, v1.ConditionReady)
}

func (w *world) emitted() []string {
	events := []string{}
	for len(w.recorder.Events) > 0 {
		kind, rest, _ := strings.Cut(<-w.recorder.Events, " ")
		reason, message, _ := strings.Cut(rest, " ")
		if strings.Contains(message, canary) {
			reason += " TELLS A SECRET"
		}
		events = append(events, kind+" "+reason)
	}
	return events
}

func TestChannel(t *testing.T) {
	w := newWorld(t)
	w.documents.serve(200, "v1.0.0", "v1.1.0", "v1.2.0-rc1")
	w.follow()
	require.NoError(t, w.reconcile(t))
	require.Equal(t, v1.ReasonSyncing, w.ready().Reason)
	next(t, w.news)
	w.Requests()
	require.NoError(t, w.reconcile(t))
	require.Equal(t, []string{
		"create managedosversions fleet-default/v1.1.0",
		"create managedosversions fleet-default/v1.0.0",
		"create managedosversions fleet-default/v1.2.0-rc1",
		"patch managedosversionchannels/status fleet-default/stable",
	}, w.Requests(), "the newest first, so that nobody follows an older one")
	w.settle(t)
	status := w.Channels.All()[0].Status
	require.Equal(t, "v1.1.0 3 versions: 3, the newest is v1.1.0", fmt.Sprint(status.LatestVersion, " ", status.Versions, " ", w.ready().Message))
	require.WithinDuration(t, time.Now(), status.LastSync.Time, 10*time.Second)
	require.Equal(t, []string{"Normal Syncing", "Normal Synced", "Normal NewLatestVersion"}, w.emitted())

	w.documents.serve(200, "v1.0.0", "v1.1.0", "v1.2.0-rc1", "v1.2.0")
	w.again(t, "now")
	require.Equal(t, []string{"fleet-default/v1.0.0", "fleet-default/v1.1.0", "fleet-default/v1.2.0", "fleet-default/v1.2.0-rc1"}, w.Versions.Names())
	newest, err := w.indexes.NewestOfChannel(w.Channels.All()[0])
	require.NoError(t, err)
	require.Equal(t, "v1.2.0", newest.Name)
	require.Equal(t, []string{"Normal NewLatestVersion"}, w.emitted())
}

// A channel that fails keeps what it has, says why, and costs one write, not one each time.
func TestFailingChannel(t *testing.T) {
	w := newWorld(t)
	w.documents.serve(200, "v1.0.0")
	w.follow()
	require.NoError(t, w.reconcile(t))
	w.answered(t)
	w.emitted()
	w.documents.serve(503)
	w.again(t, "1")
	require.Equal(t, v1.ReasonRequestRefused, w.ready().Reason)
	require.Contains(t, w.ready().Message, "HTTP status 503; it is asked again by itself, and what was found before stays")
	require.Equal(t, []string{"fleet-default/v1.0.0"}, w.Versions.Names())
	require.Equal(t, "v1.0.0", w.Channels.All()[0].Status.LatestVersion)
	before := w.Channels.All()[0].Status
	w.again(t, "2")
	before.HandledSync = "2"
	require.Equal(t, before, w.Channels.All()[0].Status)
	require.Equal(t, []string{"Warning RequestRefused"}, w.emitted(), "not on each retry")
	w.documents.serve(200, "v1.0.0")
	w.again(t, "3")
	require.Equal(t, v1.ReasonSynced, w.ready().Reason)
}

// What is found again unchanged is not written, but once an hour, for the time.
func TestUnchangedAnswerIsNotWritten(t *testing.T) {
	w := newWorld(t)
	w.documents.serve(200, "v1.0.0")
	w.follow()
	require.NoError(t, w.reconcile(t))
	w.answered(t)
	poll := func(ago time.Duration) []string {
		c := w.Channels.All()[0]
		c.Status.LastSync = &metav1.Time{Time: time.Now().Add(-ago).Truncate(time.Second)}
		w.Put(c)
		worker := w.poller.workers["fleet-default/stable"]
		worker.mutex.Lock()
		worker.due = time.Now()
		worker.mutex.Unlock()
		w.Requests()
		require.NoError(t, w.reconcile(t))
		next(t, w.news)
		require.NoError(t, w.reconcile(t))
		return w.Requests()
	}
	require.Empty(t, poll(55*time.Minute))
	require.Equal(t, []string{"patch managedosversionchannels/status fleet-default/stable"}, poll(61*time.Minute))
	require.Empty(t, w.Versions.All()[0].Labels[v1.LabelNoLongerListed])
}

func TestProblems(t *testing.T) {
	byHand := &v1.ManagedOSVersion{ObjectMeta: metav1.ObjectMeta{Namespace: "fleet-default", Name: "v1.1.0"}, Spec: v1.ManagedOSVersionSpec{Version: "v1.1.0"}}
	other := newVersion(newChannel(func(c *v1.ManagedOSVersionChannel) { c.Name, c.UID = "other", "other-uid" }), release("v1.2.0"))
	w := newWorld(t, byHand, other)
	w.documents.serve(200, "v1.0.0", "v1.1.0", "v1.2.0", "v1.3.0")
	w.follow()
	require.NoError(t, w.reconcile(t))
	w.answered(t)
	require.Equal(t, v1.ReasonVersionNameTaken, w.ready().Reason, "V35, V36")
	require.Contains(t, w.ready().Message, "v1.1.0, v1.2.0")
	require.Equal(t, 2, w.Channels.All()[0].Status.Versions)
	for _, version := range w.Versions.All() {
		if version.Name == "v1.1.0" {
			require.Empty(t, version.Labels, "V35 untouched")
			require.Nil(t, version.Spec.Metadata)
		}
	}
	w.Versions.Remove("fleet-default", "v1.1.0")
	w.Versions.Remove("fleet-default", "v1.2.0")
	w.settle(t)
	require.Equal(t, v1.ReasonSynced, w.ready().Reason, "made as soon as the names are free")

	w.documents.serve(200, "v1.0.0=evil", "v1.1.0", "v1.2.0", "v1.3.0")
	w.again(t, "1")
	require.Equal(t, v1.ReasonVersionChanged, w.ready().Reason, "V25")
	require.JSONEq(t, `{"upgradeImage":"rancher/os2:v1.0.0"}`, string(w.Versions.All()[0].Spec.Metadata.Raw))
	w.Versions.Remove("fleet-default", "v1.0.0")
	w.settle(t)
	require.JSONEq(t, `{"upgradeImage":"rancher/os2:evil"}`, string(w.Versions.All()[0].Spec.Metadata.Raw), "on request")
	require.Equal(t, v1.ReasonSynced, w.ready().Reason)

	w.documents.serve(200)
	w.again(t, "2")
	require.Equal(t, v1.ReasonEmptyChannel, w.ready().Reason, "V4")
	w.documents.serve(200, "v1.3.0")
	w.again(t, "3")
	require.Equal(t, v1.ReasonMassRemoval, w.ready().Reason, "V33")
	require.Contains(t, w.ready().Message, "lacks 3 of 4 versions")
	require.Len(t, w.Versions.All(), 4)
	_, confirm, _ := strings.Cut(w.ready().Message, v1.AnnotationConfirmRemoval+"=")
	w.edit(func(c *v1.ManagedOSVersionChannel) { c.Annotations[v1.AnnotationConfirmRemoval] = confirm })
	w.settle(t)
	require.Equal(t, v1.ReasonSynced, w.ready().Reason)
	require.Len(t, w.Versions.All(), 4, "marked: nobody has asked to delete")
	require.Equal(t, 1, w.Channels.All()[0].Status.Versions)
	w.edit(func(c *v1.ManagedOSVersionChannel) { c.Spec.Prune = true })
	w.Put(&v1.ManagedOSImage{ObjectMeta: metav1.ObjectMeta{Namespace: "fleet-default", Name: "image"}, Spec: v1.ManagedOSImageSpec{ManagedOSVersionName: "v1.1.0"}})
	w.settle(t)
	require.Equal(t, []string{"fleet-default/v1.1.0", "fleet-default/v1.3.0"}, w.Versions.Names(), "V34 an image names one")
}

func TestSuspended(t *testing.T) {
	w := newWorld(t)
	w.documents.serve(200, "v1.0.0")
	w.follow(func(c *v1.ManagedOSVersionChannel) { c.Spec.Suspend = true })
	w.settle(t)
	require.Equal(t, v1.ReasonSuspended, w.ready().Reason)
	require.Zero(t, w.documents.requests)
	w.edit(func(c *v1.ManagedOSVersionChannel) { c.Spec.Suspend = false })
	require.NoError(t, w.reconcile(t))
	require.Equal(t, v1.ReasonSyncing, w.ready().Reason)
	w.answered(t)
	require.Equal(t, v1.ReasonSynced, w.ready().Reason)
}

func TestSecrets(t *testing.T) {
	secret := func(name string, kind corev1.SecretType) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "fleet-default", Name: name}, Type: kind, Data: map[string][]byte{"token": []byte(canary)}}
	}
	for _, c := range []struct {
		why, name string
		want      string
		token     string
	}{
		{"what a user has made", "opaque", v1.ReasonSynced, "Bearer " + canary},
		{"nothing", "missing", v1.ReasonSecretNotFound, ""},
		{"C38 the token of a ServiceAccount", "account", v1.ReasonSecretNotFound, ""},
		{"C38 the token of a machine", "machine", v1.ReasonSecretNotFound, ""},
	} {
		w := newWorld(t, secret("opaque", corev1.SecretTypeOpaque), secret("account", corev1.SecretTypeServiceAccountToken), secret("machine", v1.SecretTypeMachineToken))
		w.documents.serve(200, "v1.0.0")
		w.follow(func(channel *v1.ManagedOSVersionChannel) { channel.Spec.SecretName = c.name })
		require.NoError(t, w.reconcile(t))
		w.answered(t)
		require.Equal(t, c.want, w.ready().Reason, c.why)
		require.Equal(t, c.token, w.documents.token, c.why)
		require.NotContains(t, w.ready().Message, canary, c.why)
		require.NotContains(t, strings.Join(w.emitted(), " "), "SECRET", c.why)
	}
}

// An operator that starts anew asks nobody that it has just asked, and writes nothing.
func TestRestart(t *testing.T) {
	w := newWorld(t)
	w.documents.serve(200, "v1.0.0")
	w.follow()
	require.NoError(t, w.reconcile(t))
	w.answered(t)
	w.Requests()
	w.poller = newPoller(t.Context(), func(_, name string) { w.news <- name })
	require.NoError(t, w.reconcile(t))
	require.Empty(t, w.Requests())
	require.Empty(t, w.news)
	w.again(t, "but when somebody asks")
	require.Equal(t, v1.ReasonSynced, w.ready().Reason)
}

func TestAPIErrors(t *testing.T) {
	w := newWorld(t)
	w.documents.serve(200, "v1.0.0", "v1.1.0")
	w.follow()
	require.NoError(t, w.reconcile(t))
	next(t, w.news)
	w.Fail = func(request memoryapi.Request) error {
		if request.Verb == "create" && request.Name == "v1.1.0" {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "managedosversions"}, "v1.1.0", errors.New("a policy of others"))
		}
		return nil
	}
	require.ErrorContains(t, w.reconcile(t), "a policy of others")
	require.Equal(t, v1.ReasonAPIError, w.ready().Reason)
	require.Equal(t, []string{"fleet-default/v1.0.0"}, w.Versions.Names(), "one that is refused holds up no other")
	w.Fail = nil
	w.settle(t)
	require.Equal(t, v1.ReasonSynced, w.ready().Reason)

	w.Versions.Lag(true)
	w.Versions.Remove("fleet-default", "v1.1.0")
	w.Versions.Lag(false)
	w.Versions.Lag(true)
	require.NoError(t, w.reconcile(t))
	require.NoError(t, w.reconcile(t))
	require.Equal(t, v1.ReasonSynced, w.ready().Reason, "what a cache that lags does not show is not somebody else's")
	w.Versions.Lag(false)
	w.settle(t)
}

func TestForgets(t *testing.T) {
	w := newWorld(t)
	w.documents.serve(200, "v1.0.0")
	w.follow()
	require.NoError(t, w.reconcile(t))
	w.answered(t)
	version := w.Versions.All()[0]
	_, err := w.onVersion("fleet-default/v1.0.0", version)
	require.NoError(t, err)
	_, err = w.onVersion("fleet-default/v0.1.0", nil)
	require.NoError(t, err)
	_, err = w.onVersion("other/v0.1.0", nil)
	require.NoError(t, err)
	require.Equal(t, []string{"fleet-default/stable", "fleet-default/stable"}, w.Channels.Enqueued())
	_, err = w.onChange("fleet-default/stable", nil)
	require.NoError(t, err)
	require.Empty(t, w.poller.known("fleet-default"))
}
