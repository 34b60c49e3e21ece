package library

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
	media "github.com/rancher/rancheros-operator/pkg/media/cache"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	"github.com/rancher/rancheros-operator/pkg/settings"
	"github.com/rancher/rancheros-operator/tests/medium"
	"github.com/rancher/rancheros-operator/tests/memoryapi"
)

const (
	token = "bcdfghjklmnpqrstvwxz2456789bcdfghjklmnpqrstvwxz2456789"
	url   = "https://rancher.example.com/v1-rancheros/registration/x"
	grub  = "linux ($root)/boot/kernel quiet root=live:CDLABEL=COS_LIVE\ninitrd ($root)/boot/initrd\n"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// files are those of the base.
func files() map[string][]byte {
	return map[string][]byte{
		"boot/kernel": bytes.Repeat([]byte("kernel"), 50_001), "boot/initrd": bytes.Repeat([]byte("initrd"), 50_001),
		"boot/grub2/grub.cfg": []byte(grub), "rootfs": bytes.Repeat([]byte("rootfs"), 100_000),
	}
}

// world is a library over a folder with base.iso in it, on an API in memory.
type world struct {
	*memoryapi.API
	*Library
	*httptest.Server
	base   []byte
	folder string
	now    time.Time
}

func newWorld(t *testing.T, change func(seed *v1.SeedImage)) *world {
	t.Helper()
	seed := &v1.SeedImage{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "usb"}, Spec: v1.SeedImageSpec{RegistrationName: "edge", BaseImage: "file:///base.iso", Type: v1.SeedImageBoth},
		// The controller has seen it.
		Status: v1.SeedImageStatus{ObservedGeneration: 1}}
	if change != nil {
		change(seed)
	}
	w := &world{base: medium.Bytes(medium.Options{RockRidge: true, Joliet: true, Files: files()}), folder: t.TempDir(), now: noon}
	w.putBase(t)
	w.API = memoryapi.New(t, seed,
		&v1.MachineRegistration{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "edge"}, Status: v1.MachineRegistrationStatus{RegistrationURL: url}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "usb-seed-token", Labels: map[string]string{v1.LabelSeedImage: "usb"}},
			Type: v1.SecretTypeSeedImage, Data: map[string][]byte{"token": []byte(token)}})
	w.Settings[settings.CACerts] = "PEM"
	kept, err := media.New(media.Options{Dir: t.TempDir(), Folder: w.folder, MaxBytes: 1 << 30, MaxBase: 1 << 30, Retry: time.Millisecond, Stall: time.Second})
	require.NoError(t, err)
	c := w.Clients()
	w.Library = New(Options{Cache: kept, Indexes: index.Add(c), Settings: settings.New(w.Settings), Seeds: c.RancherOS.SeedImage()})
	w.Library.now = func() time.Time { return w.now }
	w.leading.Store(true)
	w.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if err := w.serve(rw, r); err != nil {
			protocol.WriteHTTPError(rw, protocol.AsError(err))
		}
	}))
	// What a client does not take is not taken by the kernel either.
	w.Config.ConnContext = func(ctx context.Context, connection net.Conn) context.Context {
		_ = connection.(*net.TCPConn).SetWriteBuffer(64 << 10)
		return ctx
	}
	w.Start()
	t.Cleanup(w.Close)
	return w
}

func (w *world) putBase(t *testing.T) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(w.folder, "base.iso"), w.base, 0o600))
}

// serve is what the registration server does: /<token>/<file>.
func (w *world) serve(rw http.ResponseWriter, r *http.Request) error {
	found, err := w.Find(r.URL.Path[1 : 1+len(token)])
	if err != nil {
		return err
	}
	return found.Serve(rw, r, r.URL.Path[2+len(token):])
}

// settle does all that waits to be done, and what comes of that.
func (w *world) settle(t *testing.T) *v1.SeedImage {
	t.Helper()
	require.NoError(t, w.prepare(t.Context(), "ns/usb"))
	w.finish(t)
	require.NoError(t, w.prepare(t.Context(), "ns/usb"))
	w.empty(t, w.hashes, w.hash)
	w.empty(t, w.queue, w.prepare)
	return w.Seeds.All()[0]
}

// empty does what is in the queue now.
func (w *world) empty(t *testing.T, queue workqueue.TypedRateLimitingInterface[string], do func(context.Context, string) error) {
	t.Helper()
	for queue.Len() > 0 {
		key, _ := queue.Get()
		require.NoError(t, do(t.Context(), key))
		queue.Done(key)
	}
}

// finish waits for fetches under way.
func (w *world) finish(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		w.mutex.Lock()
		defer w.mutex.Unlock()
		for _, f := range w.fetches {
			if f.running {
				return false
			}
		}
		return true
	}, 20*time.Second, time.Millisecond)
}

type answer struct {
	*http.Response
	body []byte
}

func (w *world) get(t *testing.T, file string, headers ...string) answer {
	t.Helper()
	return w.do(t, http.MethodGet, file, headers...)
}

func (w *world) do(t *testing.T, method, file string, headers ...string) answer {
	t.Helper()
	got, err := w.try(t.Context(), method, file, headers...)
	require.NoError(t, err)
	return got
}

func (w *world) try(ctx context.Context, method, file string, headers ...string) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, w.URL+"/"+token+"/"+file, nil)
	if err != nil {
		return answer{}, err
	}
	for n := 0; n < len(headers); n += 2 {
		request.Header.Set(headers[n], headers[n+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answer{response, body}, err
}

func (w *world) downloads() int {
	w.flush()
	return w.Seeds.All()[0].Status.Downloads
}

// many runs so many at the same time, and returns how many gave which word.
func many(count int, do func(n int) string) map[string]int {
	var group sync.WaitGroup
	var mutex sync.Mutex
	words := map[string]int{}
	for n := range count {
		group.Go(func() {
			word := do(n)
			mutex.Lock()
			defer mutex.Unlock()
			words[word]++
		})
	}
	group.Wait()
	return words
}

func bytesAt(from, to int64) string { return fmt.Sprintf("bytes=%d-%d", from, to) }
