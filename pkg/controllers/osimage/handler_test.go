package osimage

import (
	"errors"
	"slices"
	"strings"
	"testing"

	fleetv1 "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
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

func newWorld(t testing.TB, objects ...runtime.Object) world {
	api := memoryapi.New(t, objects...)
	c := api.Clients()
	recorder := record.NewFakeRecorder(1000)
	c.Events = recorder
	h := newHandler(c, index.Add(c), settings.New(api.Settings))
	// Nothing is gathered, unless a test wants it.
	h.settle = 0
	return world{API: api, recorder: recorder, handler: h}
}

func (w world) reconcile(t *testing.T) error {
	t.Helper()
	cached, err := w.Images.Cache().Get("fleet-default", "demo")
	require.NoError(t, err)
	_, err = w.onChange("fleet-default/demo", cached)
	return err
}

// settle reconciles until nothing is written any more.
func (w world) settle(t *testing.T) {
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

// edit is what a user does.
func (w world) edit(change func(*v1.ManagedOSImageSpec)) {
	image := w.Images.All()[0]
	change(&image.Spec)
	image.Generation++
	w.Put(image)
}

// deliver is what Fleet says of the Bundle as it is.
func (w world) deliver(ready, desired int) {
	bundle := w.Bundles.All()[0]
	bundle.Status.ObservedGeneration = bundle.Generation
	bundle.Status.Summary.Ready, bundle.Status.Summary.DesiredReady = ready, desired
	w.Put(bundle)
}

func (w world) reason() string {
	conditions := w.Images.All()[0].Status.Conditions
	return conditions[slices.IndexFunc(conditions, func(c metav1.Condition) bool { return c.Type == v1.ConditionReady })].Reason
}

func (w world) emitted() []string {
	events := []string{}
	for len(w.recorder.Events) > 0 {
		kind, rest, _ := strings.Cut(<-w.recorder.Events, " ")
		reason, _, _ := strings.Cut(rest, " ")
		events = append(events, kind+" "+reason)
	}
	return events
}

func TestRollOut(t *testing.T) {
	w := newWorld(t, newImage(func(s *v1.ManagedOSImageSpec) { s.CloudConfig = raw(`{"a":1}`) }))
	require.NoError(t, w.reconcile(t))
	secret := index.ObjectName(newImage())
	require.Equal(t, []string{
		"create secrets fleet-default/" + secret,
		"create bundles fleet-default/mos-demo",
		"patch managedosimages/status fleet-default/demo",
	}, w.Requests(), "Fleet copies the Secret as soon as it sees the Bundle")
	require.Equal(t, v1.ReasonDelivering, w.reason())
	w.deliver(0, 0)
	w.settle(t)
	require.Equal(t, v1.ReasonNoClusterMatches, w.reason())
	w.deliver(1, 1)
	w.settle(t)
	require.Equal(t, v1.ReasonNoNodes, w.reason())
	require.Equal(t, []string{"Normal Delivering", "Normal NoClusterMatches", "Normal NoNodes"}, w.emitted())

	w.edit(func(s *v1.ManagedOSImageSpec) { s.OSImage = "rancher/os2:v2" })
	w.settle(t)
	require.Equal(t, "rancher/os2:v2", planOf(t, w.Bundles.All()[0]).Spec.Upgrade.Image)
	require.Equal(t, v1.ReasonDelivering, w.reason(), "what Fleet said was about the old one")
	w.deliver(1, 1)
	w.settle(t)
	require.Equal(t, v1.ReasonNoNodes, w.reason())
}

// Fleet writes its defaults into the spec. That is not worth a write, and a change of ours keeps what is not ours.
func TestFleetsDefaultsAreLeftAlone(t *testing.T) {
	image := newImage()
	w := newWorld(t, image, defaulted(t, image))
	w.settle(t)
	require.NoError(t, w.reconcile(t))
	require.Empty(t, w.Requests())
	bundle := w.Bundles.All()[0]
	require.True(t, bundle.Spec.CorrectDrift.Enabled)

	bundle.Spec.Targets = nil
	w.Put(bundle)
	w.settle(t)
	bundle = w.Bundles.All()[0]
	require.Len(t, bundle.Spec.Targets, 1, "what somebody took out is put back")
	require.Equal(t, "kept", bundle.Annotations["theirs"])
	require.Equal(t, "kept", bundle.Labels["fleet.cattle.io/created-by"])
	require.Equal(t, []string{"fleet.cattle.io/bundle-finalizer"}, bundle.Finalizers)
}

func TestRemovedFieldReachesTheBundle(t *testing.T) {
	w := newWorld(t, newImage(func(s *v1.ManagedOSImageSpec) {
		s.ClusterRolloutStrategy = &fleetv1.RolloutStrategy{AutoPartitionThreshold: pointer(5)}
	}))
	w.settle(t)
	require.NotNil(t, w.Bundles.All()[0].Spec.RolloutStrategy)
	w.edit(func(s *v1.ManagedOSImageSpec) { s.ClusterRolloutStrategy = nil })
	w.settle(t)
	require.Nil(t, w.Bundles.All()[0].Spec.RolloutStrategy)
}

// C42, C50 and the rest: what is found wrong is said, and takes nothing away (B47).
func TestRefusalsTakeNothingAway(t *testing.T) {
	for _, c := range []struct {
		reason string
		edit   func(*v1.ManagedOSImageSpec)
	}{
		{v1.ReasonNothingToDo, func(s *v1.ManagedOSImageSpec) { s.OSImage = "" }},
		{v1.ReasonNoTargets, func(s *v1.ManagedOSImageSpec) { s.ClusterTargets = nil }},
		{v1.ReasonVersionNotFound, func(s *v1.ManagedOSImageSpec) { s.OSImage, s.ManagedOSVersionName = "", "v9" }},
		{v1.ReasonInvalidSpec, func(s *v1.ManagedOSImageSpec) { s.Window = &v1.WindowSpec{StartTime: "25:00"} }},
	} {
		t.Run(c.reason, func(t *testing.T) {
			w := newWorld(t, newImage(func(s *v1.ManagedOSImageSpec) { s.CloudConfig = raw(`{"a":1}`) }))
			w.settle(t)
			w.deliver(1, 1)
			w.settle(t)
			before := w.Bundles.All()[0].Spec
			w.emitted()
			w.edit(c.edit)
			require.NoError(t, w.reconcile(t), "a retry would mend nothing")
			require.Equal(t, c.reason, w.reason())
			require.Equal(t, before, w.Bundles.All()[0].Spec)
			require.Len(t, w.Secrets.All(), 1)
			require.Equal(t, []string{"Warning " + c.reason}, w.emitted())
			require.NoError(t, w.reconcile(t))
			require.Empty(t, w.emitted(), "told once")
		})
	}
}

func TestVersion(t *testing.T) {
	w := newWorld(t, newImage(func(s *v1.ManagedOSImageSpec) { s.OSImage, s.ManagedOSVersionName = "", "v2" }))
	w.settle(t)
	require.Equal(t, v1.ReasonVersionNotFound, w.reason())
	version := &v1.ManagedOSVersion{ObjectMeta: metav1.ObjectMeta{Namespace: "fleet-default", Name: "v2"}}
	w.Put(version)
	w.settle(t)
	require.Equal(t, v1.ReasonVersionWithoutImage, w.reason())
	version.Spec.Metadata = raw(`{"upgradeImage":"os2:v2"}`)
	w.Put(version)
	w.settle(t)
	require.Equal(t, v1.ReasonDelivering, w.reason())
	w.edit(func(s *v1.ManagedOSImageSpec) { s.OSImage = "os2:v3" })
	w.settle(t)
	require.Equal(t, "os2:v3", w.Images.All()[0].Status.Image, "osImage wins when both are given")
}

func TestRegistry(t *testing.T) {
	w := newWorld(t, newImage())
	w.Settings[settings.SystemDefaultRegistry] = "reg.local:5000/"
	w.settle(t)
	require.Equal(t, "reg.local:5000/rancher/os2:v1", w.Images.All()[0].Status.Image)
	require.Equal(t, "reg.local:5000/rancher/os2:v1", planOf(t, w.Bundles.All()[0]).Spec.Upgrade.Image)
	w.Settings[settings.SystemDefaultRegistry] = "https://reg.local"
	w.settle(t)
	require.Equal(t, v1.ReasonInvalidSpec, w.reason())
}

// C57.
func TestForeignBundle(t *testing.T) {
	foreign := &fleetv1.Bundle{ObjectMeta: metav1.ObjectMeta{Namespace: "fleet-default", Name: "mos-demo"}, Spec: fleetv1.BundleSpec{Paused: true}}
	foreign.Status.Summary.Ready, foreign.Status.Summary.DesiredReady = 5, 5
	for _, lags := range []bool{false, true} {
		w := newWorld(t, newImage(func(s *v1.ManagedOSImageSpec) { s.CloudConfig = raw(`{"a":1}`) }))
		w.Bundles.Lag(lags)
		w.Put(foreign)
		require.NoError(t, w.reconcile(t))
		require.Equal(t, v1.ReasonForeignBundle, w.reason())
		require.Equal(t, foreign.Spec, w.Bundles.All()[0].Spec, "untouched")
		require.Nil(t, w.Images.All()[0].Status.Bundle, "what it says is not about us")
	}
}

// A cache that lags behind our own writes is no failure: no condition, no event, nothing twice.
func TestLaggingCaches(t *testing.T) {
	w := newWorld(t, newImage(func(s *v1.ManagedOSImageSpec) { s.CloudConfig = raw(`{"a":1}`) }))
	w.Bundles.Lag(true)
	w.Secrets.Lag(true)
	for range 3 {
		require.NoError(t, w.reconcile(t))
		require.Equal(t, v1.ReasonDelivering, w.reason())
	}
	require.Len(t, w.Bundles.All(), 1)
	require.Equal(t, []string{"Normal Delivering"}, w.emitted())

	w.Bundles.Lag(false)
	w.Bundles.Lag(true)
	bundle := w.Bundles.All()[0]
	bundle.Spec.Paused = true
	w.Put(bundle)
	w.edit(func(s *v1.ManagedOSImageSpec) { s.OSImage = "rancher/os2:v2" })
	require.Error(t, w.reconcile(t), "a stale view does not overwrite")
	require.Equal(t, v1.ReasonDelivering, w.reason(), "a conflict is not worth a word")
	require.Empty(t, w.emitted())
}

func TestSecretComesFirstAndGoesLast(t *testing.T) {
	w := newWorld(t, newImage(func(s *v1.ManagedOSImageSpec) { s.CloudConfig = raw(`{"a":1}`) }))
	w.settle(t)
	w.edit(func(s *v1.ManagedOSImageSpec) { s.CloudConfig = raw(`{"a":2}`) })
	w.Requests()
	require.NoError(t, w.reconcile(t))
	require.Contains(t, string(w.Secrets.All()[0].Data["cloud-config"]), "a: 2")
	require.Equal(t, "update secrets fleet-default/"+w.Secrets.All()[0].Name, w.Requests()[0])

	w.edit(func(s *v1.ManagedOSImageSpec) { s.CloudConfig = nil })
	w.settle(t)
	require.Empty(t, w.Secrets.Names())
	require.Empty(t, w.Bundles.All()[0].Spec.DownstreamResources)

	w.edit(func(s *v1.ManagedOSImageSpec) { s.CloudConfig = raw(`{"a":3}`) })
	w.settle(t)
	w.edit(func(s *v1.ManagedOSImageSpec) { s.CloudConfig = nil })
	w.Requests()
	require.NoError(t, w.reconcile(t))
	requests := w.Requests()
	require.Equal(t, "patch bundles fleet-default/mos-demo", requests[0], "as long as the Bundle names it, Fleet misses it")
	require.True(t, strings.HasPrefix(requests[1], "delete secrets "))
}

func TestForeignSecret(t *testing.T) {
	name := index.ObjectName(newImage())
	w := newWorld(t, newImage(func(s *v1.ManagedOSImageSpec) { s.CloudConfig = raw(`{"a":1}`) }),
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "fleet-default", Name: name}, Type: corev1.SecretTypeOpaque, Data: map[string][]byte{"theirs": []byte("x")}})
	require.ErrorContains(t, w.reconcile(t), "is not of type rancheros.cattle.io/cloud-config; delete or rename it")
	require.Equal(t, v1.ReasonAPIError, w.reason())
	require.Equal(t, map[string][]byte{"theirs": []byte("x")}, w.Secrets.All()[0].Data)
	require.Empty(t, w.Bundles.All(), "no rollout without its cloud-config")
}

func TestFailuresAreShownAndTriedAgain(t *testing.T) {
	w := newWorld(t, newImage())
	w.Fail = func(request memoryapi.Request) error {
		if request.Resource == "bundles" {
			return errors.New("no Fleet here")
		}
		return nil
	}
	require.ErrorContains(t, w.reconcile(t), "making Bundle mos-demo: no Fleet here")
	require.Equal(t, v1.ReasonAPIError, w.reason())
	require.Equal(t, "rancher/os2:v1", w.Images.All()[0].Status.Image)
	w.Fail = nil
	w.settle(t)
	require.Equal(t, v1.ReasonDelivering, w.reason())
}

// An image that is deleted and made again takes its Bundle over before it goes with the old one.
func TestTakesOverFromItsFormerSelf(t *testing.T) {
	w := newWorld(t, newImage())
	w.settle(t)
	again := newImage()
	again.UID = "uid-again"
	w.Put(again)
	w.settle(t)
	require.Equal(t, again.UID, w.Bundles.All()[0].OwnerReferences[0].UID)
}

func TestDeletedIsLeftAlone(t *testing.T) {
	now := metav1.Now()
	deleting := newImage()
	deleting.DeletionTimestamp, deleting.Finalizers = &now, []string{"x"}
	w := newWorld(t, deleting)
	require.NoError(t, w.reconcile(t))
	_, err := w.onChange("fleet-default/demo", nil)
	require.NoError(t, err)
	require.Empty(t, w.Requests())
}

func TestTriggers(t *testing.T) {
	other := newImage(func(s *v1.ManagedOSImageSpec) { s.ManagedOSVersionName = "v2" })
	other.Name = "other"
	third := newImage(func(s *v1.ManagedOSImageSpec) { s.OSImage, s.ManagedOSVersionName = "", "v3" })
	third.Name = "third"
	w := newWorld(t, newImage(), other, third)
	owned := metav1.ObjectMeta{Namespace: "fleet-default", Name: "x", Labels: map[string]string{v1.LabelImage: "demo"}}
	for _, c := range []struct {
		why  string
		do   func() error
		want []string
	}{
		{"a version came, changed or went", func() error { _, err := w.onVersion("fleet-default/v2", nil); return err },
			[]string{"fleet-default/other", "fleet-default/third"}},
		{"Fleet wrote the Bundle's status", func() error {
			_, err := w.onBundle("fleet-default/x", &fleetv1.Bundle{ObjectMeta: owned})
			return err
		}, []string{"fleet-default/demo"}},
		{"the Bundle was deleted", func() error { _, err := w.onBundle("fleet-default/mos-demo", nil); return err }, []string{"fleet-default/demo"}},
		{"another's Bundle", func() error { _, err := w.onBundle("fleet-default/x", &fleetv1.Bundle{}); return err }, nil},
		{"another's Bundle went", func() error { _, err := w.onBundle("fleet-default/x", nil); return err }, nil},
		{"the Secret changed", func() error { _, err := w.onSecret("fleet-default/x", &corev1.Secret{ObjectMeta: owned}); return err }, []string{"fleet-default/demo"}},
		{"the Secret was deleted", func() error {
			_, err := w.onSecret("fleet-default/"+index.ObjectName(newImage()), nil)
			return err
		}, []string{"fleet-default/demo"}},
		{"system-default-registry concerns all", func() error { _, err := w.onSetting("system-default-registry", nil); return err }, []string{"fleet-default/demo", "fleet-default/other", "fleet-default/third"}},
		{"another setting concerns none", func() error { _, err := w.onSetting("server-url", nil); return err }, nil},
	} {
		require.NoError(t, c.do(), c.why)
		require.Equal(t, c.want, w.Images.Enqueued(), c.why)
	}
}
