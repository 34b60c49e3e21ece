package server

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	"github.com/rancher/rancheros-operator/tests/machine"
)

// bundleWorld is a server that reads CA bundles by the function in answer.
type bundleWorld struct {
	*Server
	answer func(name string) (*corev1.Secret, error)
	reads  atomic.Int32
	now    time.Time
}

func newBundleWorld() *bundleWorld {
	w := &bundleWorld{now: time.Now(), answer: noBundle}
	w.Server = &Server{bundles: &bundles{
		read: func(_, name string) (*corev1.Secret, error) {
			w.reads.Add(1)
			return w.answer(name)
		},
		broken:  func(*v1.MachineRegistration, string, error) {},
		now:     func() time.Time { return w.now },
		entries: map[string]*bundleEntry{},
	}}
	return w
}

func (w *bundleWorld) later() { w.now = w.now.Add(bundleAge) }

func noBundle(name string) (*corev1.Secret, error) {
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, name)
}

func noAnswer(string) (*corev1.Secret, error) { return nil, errors.New("connection refused") }

func bundleOf(content string) func(string) (*corev1.Secret, error) {
	return func(name string) (*corev1.Secret, error) {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string][]byte{caBundleKey: []byte(content)}}, nil
	}
}

func demanding(mode v1.EndorsementMode, name string) *v1.MachineRegistration {
	return &v1.MachineRegistration{ObjectMeta: metav1.ObjectMeta{Namespace: "ns"},
		Spec: v1.MachineRegistrationSpec{Admission: &v1.AdmissionSpec{Endorsement: mode, CASecretName: name}}}
}

// P2: that there is no bundle is known as well as that there is one, and stays so while the API server is away.
func TestNoBundleIsRememberedWhileTheAPIServerIsAway(t *testing.T) {
	w := newBundleWorld()
	_, err := w.trustOf(demanding("", ""))
	require.NoError(t, err)
	w.answer = noAnswer
	for range 3 {
		w.later()
		demands, err := w.trustOf(demanding("", ""))
		require.NoError(t, err)
		require.Equal(t, v1.EndorsementAny, demands.mode)
		_, err = w.trustOf(demanding(v1.EndorsementCertificate, ""))
		require.Equal(t, "this registration cannot check TPMs", protocol.AsError(err).Message, "and where it is demanded it is still missing")
	}
	require.Equal(t, int32(4), w.reads.Load(), "read once in bundleAge, whether or not it works")

	maker, err := machine.NewMakerCA("maker")
	require.NoError(t, err)
	w.answer = bundleOf(string(maker.RootPEM()))
	w.later()
	demands, err := w.trustOf(demanding("", ""))
	require.NoError(t, err)
	require.Equal(t, v1.EndorsementCertificate, demands.mode, "what came meanwhile counts as soon as it can be read")
}

// While nothing is known, only modes that never need a bundle do without.
func TestUnreadAndBrokenBundles(t *testing.T) {
	const unread, broken = "the TPM makers' CAs could not be read", "this registration cannot check TPMs"
	for _, c := range []struct {
		mode           v1.EndorsementMode
		name           string
		unread, broken string // Empty: served.
	}{
		{"", "", unread, broken},
		{"", "makers", unread, broken},
		{v1.EndorsementCertificate, "", unread, broken},
		{v1.EndorsementCertificateOrListed, "", unread, broken},
		{v1.EndorsementAny, "", "", ""},
		{v1.EndorsementAny, "makers", "", ""},
		{v1.EndorsementListed, "", "", ""},
	} {
		t.Run(string(c.mode)+" "+c.name, func(t *testing.T) {
			w := newBundleWorld()
			for _, step := range []struct {
				answer func(string) (*corev1.Secret, error)
				want   string
			}{{noAnswer, c.unread}, {noAnswer, c.unread}, {bundleOf("garbage"), c.broken}, {noAnswer, c.broken}} {
				w.answer = step.answer
				w.later()
				demands, err := w.trustOf(demanding(c.mode, c.name))
				require.Nil(t, demands.policy().Roots)
				if step.want == "" {
					require.NoError(t, err)
					require.Equal(t, c.mode, demands.mode)
					continue
				}
				refusal := protocol.AsError(err)
				require.Equal(t, []any{protocol.CodeUnavailable, step.want}, []any{refusal.Code, refusal.Message})
				require.NotContains(t, refusal.Hint, "connection refused", "the API server's words are for the log")
				require.NotEmpty(t, refusal.Hint)
			}
		})
	}
}

// A bundle that is not demanded still tells which machines have a certificate.
func TestBundleOfModesThatNeedNone(t *testing.T) {
	maker, err := machine.NewMakerCA("maker")
	require.NoError(t, err)
	w := newBundleWorld()
	w.answer = bundleOf(string(maker.RootPEM()))
	for _, mode := range []v1.EndorsementMode{v1.EndorsementAny, v1.EndorsementListed} {
		demands, err := w.trustOf(demanding(mode, ""))
		require.NoError(t, err)
		require.Equal(t, mode, demands.mode)
		require.NotNil(t, demands.policy().Roots)
	}
}

// A read that does not end makes nobody wait for another bundle, and those who want this one not for long.
func TestSlowBundle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBundleWorld()
		w.bundles.now = time.Now
		_, err := w.trustOf(demanding("", "known"))
		require.Error(t, err)
		_, err = w.trustOf(demanding("", ""))
		require.NoError(t, err)
		time.Sleep(bundleAge)

		maker, err := machine.NewMakerCA("maker")
		require.NoError(t, err)
		answers := make(chan struct{})
		w.answer = func(name string) (*corev1.Secret, error) {
			if name != "quick" {
				<-answers
			}
			return bundleOf(string(maker.RootPEM()))(name)
		}
		w.reads.Store(0)
		start := time.Now()
		var wait sync.WaitGroup
		for range 10 {
			wait.Go(func() {
				demands, err := w.trustOf(demanding("", ""))
				require.NoError(t, err)
				require.Equal(t, v1.EndorsementAny, demands.mode, "what was known before")
			})
		}
		wait.Go(func() {
			_, err := w.trustOf(demanding(v1.EndorsementCertificate, "new"))
			require.Equal(t, "the TPM makers' CAs could not be read", protocol.AsError(err).Message, "what was never read fails closed")
		})
		synctest.Wait()
		_, err = w.trustOf(demanding("", "quick"))
		require.NoError(t, err)
		require.Zero(t, time.Since(start), "another bundle waits for none of them")
		wait.Wait()
		require.Equal(t, bundlePatience, time.Since(start))
		require.Equal(t, int32(3), w.reads.Load(), "one read of each at a time")

		_, err = w.trustOf(demanding("", ""))
		require.NoError(t, err)
		require.Equal(t, bundlePatience, time.Since(start), "the next one does not wait as well")
		close(answers)
		synctest.Wait()
		for _, name := range []string{"", "new"} {
			demands, err := w.trustOf(demanding("", name))
			require.NoError(t, err)
			require.Equal(t, v1.EndorsementCertificate, demands.mode, "what the read brought counts at once")
		}
	})
}

// Every machine that asks comes by here.
func TestFreshBundleIsCheap(t *testing.T) {
	w := newBundleWorld()
	registration := demanding("", "")
	_, err := w.trustOf(registration)
	require.NoError(t, err)
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _ = w.trustOf(registration) }), 1.0, "the key alone")
	require.Equal(t, int32(1), w.reads.Load())
}

// Registrations come and go; what nobody asks for does not stay.
func TestUnusedBundlesAreForgotten(t *testing.T) {
	w := newBundleWorld()
	for _, name := range []string{"a", "b"} {
		_, err := w.trustOf(demanding(v1.EndorsementAny, name))
		require.NoError(t, err)
	}
	w.now = w.now.Add(bundleForgotten + time.Second)
	_, err := w.trustOf(demanding(v1.EndorsementAny, "c"))
	require.NoError(t, err)
	require.Len(t, w.bundles.entries, 1)
}
