package library

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/tests/memoryapi"
)

func TestFacts(t *testing.T) {
	w := newWorld(t, nil)
	seed := w.settle(t)
	require.Equal(t, "RootRecord", seed.Status.Base.Method)
	require.Empty(t, seed.Status.Base.Reason)
	require.Regexp(t, "^sha256:[0-9a-f]{64}$", seed.Status.Base.Checksum)
	require.Regexp(t, "^sha256:[0-9a-f]{64}$", seed.Status.Checksum)
	require.Greater(t, seed.Status.Size, int64(len(w.base)))
	require.Equal(t, int64(1), seed.Status.Base.ObservedGeneration)

	w.Requests()
	require.Equal(t, seed.Status, w.settle(t).Status)
	require.Empty(t, w.Requests(), "an unchanged world costs nothing")
	require.Empty(t, w.sums)
	require.Zero(t, w.hashes.Len(), "and nothing is hashed twice")

	// Another URL makes another image, of the same base.
	registration := w.Registrations.All()[0]
	registration.Status.RegistrationURL += "y"
	w.Put(registration)
	w.onRegistration(registration)
	require.Equal(t, 1, w.queue.Len())
	again := w.settle(t)
	require.Equal(t, seed.Status.Base.Checksum, again.Status.Base.Checksum)
	require.NotEqual(t, seed.Status.Checksum, again.Status.Checksum)

	// Who does not lead is quiet.
	w.leading.Store(false)
	w.Put(&v1.SeedImage{ObjectMeta: seed.ObjectMeta, Spec: seed.Spec, Status: v1.SeedImageStatus{ObservedGeneration: 1}})
	w.Requests()
	w.settle(t)
	require.Empty(t, w.Requests())
}

// The base that was found first stays the one, also when the folder's file is another by now.
func TestBaseStays(t *testing.T) {
	w := newWorld(t, nil)
	first := w.settle(t)
	require.Equal(t, map[string]bool{strings.TrimPrefix(first.Status.Base.Checksum, "sha256:"): true}, w.InUse())
	require.Equal(t, first.Status.Base.Checksum, source(first).Checksum)
	edited := first.DeepCopy()
	edited.Spec.BaseImage = "file:///other.iso"
	require.Empty(t, source(edited).Checksum, "unless another is asked for")
	edited.Spec.BaseChecksum = "sha256:abc"
	require.Equal(t, "sha256:abc", source(edited).Checksum)
}

func TestBadBasesAreReported(t *testing.T) {
	for _, c := range []struct {
		why, reason, want string
		change            func(t *testing.T, w *world, seed *v1.SeedImage)
	}{
		{"no such file", v1.ReasonBaseUnavailable, "opening the base in the folder", func(t *testing.T, w *world, _ *v1.SeedImage) {
			require.NoError(t, os.Remove(filepath.Join(w.folder, "base.iso")))
		}},
		{"no ISO", v1.ReasonBaseInvalid, "no ISO 9660 image", func(t *testing.T, w *world, _ *v1.SeedImage) {
			w.base = []byte(strings.Repeat("x", 100_000))
			w.putBase(t)
		}},
		{"another checksum", v1.ReasonBaseInvalid, "another checksum", func(_ *testing.T, _ *world, seed *v1.SeedImage) {
			seed.Spec.BaseChecksum = strings.Repeat("0", 64)
		}},
		{"a kernel that is not there", v1.ReasonBaseInvalid, "the base has no /boot/vmlinuz; name what is there in spec.netboot", func(_ *testing.T, _ *world, seed *v1.SeedImage) {
			seed.Spec.Netboot = &v1.NetbootSpec{Kernel: "/boot/vmlinuz"}
		}},
		{"no folder at all", v1.ReasonMediaOff, "--media-dir", func(_ *testing.T, w *world, _ *v1.SeedImage) { w.Cache = nil }},
	} {
		t.Run(c.why, func(t *testing.T) {
			w := newWorld(t, nil)
			seed := w.Seeds.All()[0]
			c.change(t, w, seed)
			w.Put(seed)
			require.NoError(t, w.prepare(t.Context(), "ns/usb"))
			w.finish(t)
			require.NoError(t, w.prepare(t.Context(), "ns/usb"))
			seed = w.Seeds.All()[0]
			require.Equal(t, c.reason, seed.Status.Base.Reason)
			require.Contains(t, seed.Status.Base.Message, c.want)
			require.Empty(t, seed.Status.Size)
			w.Requests()
			require.NoError(t, w.prepare(t.Context(), "ns/usb"))
			require.Empty(t, w.Requests(), "said once")
			got := w.get(t, "usb.iso")
			if c.reason != v1.ReasonBaseInvalid || c.want != "the base has no /boot/vmlinuz; name what is there in spec.netboot" {
				require.Equal(t, 503, got.StatusCode)
				require.NotEmpty(t, got.Header.Get("Retry-After"))
			}
		})
	}
}

// What failed is tried again, less and less often, and at once when another base is asked for.
func TestRetries(t *testing.T) {
	w := newWorld(t, nil)
	require.NoError(t, os.Remove(filepath.Join(w.folder, "base.iso")))
	failed := func() time.Duration {
		require.NoError(t, w.prepare(t.Context(), "ns/usb"))
		w.finish(t)
		for _, f := range w.fetches {
			return f.retry.Sub(w.now)
		}
		return 0
	}
	for _, want := range []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second} {
		require.Equal(t, want, failed())
		require.Equal(t, want, failed(), "not before its time")
		w.now = w.now.Add(want)
	}
	w.putBase(t)
	require.Empty(t, w.settle(t).Status.Base.Reason)
	require.Empty(t, w.fetches)
}

func TestNothingIsDoneForWhatIsGone(t *testing.T) {
	w := newWorld(t, func(seed *v1.SeedImage) { seed.Spec.ExpiresAt = &metav1.Time{Time: noon} })
	require.NoError(t, w.prepare(t.Context(), "ns/usb"), "expired")
	require.NoError(t, w.prepare(t.Context(), "ns/none"))
	require.NoError(t, w.hash(t.Context(), "ns/none"))
	require.Empty(t, w.fetches)
	require.Empty(t, w.Requests())
}

func TestConflictsAreTriedAgain(t *testing.T) {
	w := newWorld(t, nil)
	w.settle(t)
	limit := 5
	seed := w.Seeds.All()[0]
	seed.Spec.MaxDownloads = &limit
	w.Put(seed)
	tries := 0
	w.Fail = func(request memoryapi.Request) error {
		if request.Verb == "patch" {
			if tries++; tries == 1 {
				seed := w.Seeds.All()[0]
				w.Put(seed) // Somebody else writes in between.
			}
		}
		return nil
	}
	require.NoError(t, w.handOut(seed))
	require.Equal(t, 2, tries)
	require.Equal(t, 1, w.Seeds.All()[0].Status.Downloads)
	w.Fail = func(memoryapi.Request) error { return errors.New("no etcd") }
	require.ErrorContains(t, w.handOut(seed), "no etcd", "what cannot be counted is not handed out")
}
