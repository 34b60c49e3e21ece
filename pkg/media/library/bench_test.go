package library

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
	media "github.com/rancher/rancheros-operator/pkg/media/cache"
	"github.com/rancher/rancheros-operator/pkg/settings"
	"github.com/rancher/rancheros-operator/tests/medium"
	"github.com/rancher/rancheros-operator/tests/memoryapi"
)

// clientURL makes this test's program a client: a process of its own, so that its CPU is not the server's.
const clientURL = "MEDIA_BENCH_CLIENT_URL"

func TestMain(m *testing.M) {
	if url := os.Getenv(clientURL); url != "" {
		os.Exit(client(url))
	}
	os.Exit(m.Run())
}

// client downloads, and says how much came and when the first byte did.
func client(url string) int {
	began := time.Now()
	response, err := http.Get(url)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer response.Body.Close()
	body := bufio.NewReaderSize(response.Body, 1<<20)
	_, err = body.Peek(1)
	first := time.Since(began)
	n, copyErr := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{body}, make([]byte, 1<<20))
	if err != nil || copyErr != nil || response.StatusCode != http.StatusOK {
		fmt.Println(response.Status, err, copyErr)
		return 1
	}
	fmt.Println(n, first.Microseconds())
	return 0
}

// BenchmarkStreaming compares, in one run and on one base of a gigabyte, the CPU of serving the base as a plain file with that
// of serving a SeedImage's image, and with a rebuild by xorriso where that is installed.
//
//	go test -run '^$' -bench Streaming -benchtime 5x ./pkg/media/library
func BenchmarkStreaming(b *testing.B) {
	dir := b.TempDir()
	file, err := os.Create(filepath.Join(dir, "base.iso"))
	require.NoError(b, err)
	size, err := medium.Write(file, medium.Options{RockRidge: true, Joliet: true, Files: files(), Hole: 1 << 30})
	require.NoError(b, err)
	require.NoError(b, file.Close())
	l := benchLibrary(b, dir)
	imported := time.Now()
	from := media.Source{Image: "file:///base.iso"}
	base, err := l.Cache.Fetch(b.Context(), from)
	require.NoError(b, err)
	b.Logf("a base of %d bytes was fetched, hashed and checked in %s", size, time.Since(imported).Round(time.Millisecond))

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/plain" {
			reading, err := base.Open()
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			defer reading.Close()
			w.Header().Set("Content-Type", "application/octet-stream")
			http.ServeContent(w, r, "", time.Time{}, reading.File)
			return
		}
		found, err := l.Find(token)
		if err == nil {
			err = found.Serve(w, r, "usb.iso")
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}))
	defer server.Close()

	download(b, server.URL+"/plain")
	download(b, server.URL+"/image")
	// In turns, each as often in front of the other, and summed up: what else the machine does weighs on both alike.
	var plain, image time.Duration
	var first []time.Duration
	rounds := 0
	for b.Loop() {
		for _, path := range [][2]string{{"/plain", "/image"}, {"/image", "/plain"}}[rounds%2] {
			cpu, byte1 := download(b, server.URL+path)
			if path == "/plain" {
				plain += cpu
				continue
			}
			image, first = image+cpu, append(first, byte1)
		}
		rounds++
	}
	b.ReportMetric(float64(plain.Microseconds())/1e3/float64(rounds), "ms-CPU/plain")
	b.ReportMetric(float64(image.Microseconds())/1e3/float64(rounds), "ms-CPU/image")
	b.ReportMetric(float64(image)/float64(plain), "image/plain")
	b.ReportMetric(float64(slices.Min(first).Microseconds())/1e3, "ms-first-byte")
	b.ReportMetric(0, "ns/op")
	rebuild(b, filepath.Join(dir, "base.iso"))
}

// download is the server's CPU for one download, and the time to its first byte.
func download(b *testing.B, url string) (cpu, first time.Duration) {
	b.Helper()
	before := used(b, syscall.RUSAGE_SELF)
	command := exec.CommandContext(b.Context(), os.Args[0])
	command.Env = append(os.Environ(), clientURL+"="+url)
	output, err := command.CombinedOutput()
	require.NoError(b, err, string(output))
	cpu = used(b, syscall.RUSAGE_SELF) - before
	var bytes, microseconds int64
	_, err = fmt.Sscan(string(output), &bytes, &microseconds)
	require.NoError(b, err)
	require.Greater(b, bytes, int64(1<<30))
	return cpu, time.Duration(microseconds) * time.Microsecond
}

func used(b *testing.B, who int) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(who, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// rebuild is what a builder does for each registration.
func rebuild(b *testing.B, base string) {
	b.Helper()
	xorriso, err := exec.LookPath("xorriso")
	if err != nil {
		b.Log("xorriso is not installed: no rebuild to compare with")
		return
	}
	config := filepath.Join(b.TempDir(), "config.yaml")
	require.NoError(b, os.WriteFile(config, []byte("#cloud-config\n"), 0o600))
	before, began := used(b, syscall.RUSAGE_CHILDREN), time.Now()
	built := filepath.Join(b.TempDir(), "built.iso")
	output, err := exec.CommandContext(b.Context(), xorriso, "-indev", base, "-outdev", built, "-map", config, "/livecd-cloud-config.yaml", "-boot_image", "any", "keep").CombinedOutput()
	require.NoError(b, err, string(output))
	info, err := os.Stat(built)
	require.NoError(b, err)
	b.ReportMetric(float64((used(b, syscall.RUSAGE_CHILDREN)-before).Microseconds())/1e3, "ms-CPU/rebuild")
	b.ReportMetric(float64(time.Since(began).Microseconds())/1e3, "ms/rebuild")
	b.ReportMetric(float64(info.Size())/(1<<20), "MiB-disk/rebuild")
}

// benchLibrary has a SeedImage over the base in the folder.
func benchLibrary(b *testing.B, dir string) *Library {
	b.Helper()
	api := memoryapi.New(b,
		&v1.SeedImage{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "usb"}, Spec: v1.SeedImageSpec{RegistrationName: "edge", BaseImage: "file:///base.iso"}},
		&v1.MachineRegistration{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "edge"}, Status: v1.MachineRegistrationStatus{RegistrationURL: url}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "usb-seed-token", Labels: map[string]string{v1.LabelSeedImage: "usb"}},
			Type: v1.SecretTypeSeedImage, Data: map[string][]byte{"token": []byte(token)}})
	kept, err := media.New(media.Options{Dir: b.TempDir(), Folder: dir, MaxBytes: 4 << 30, MaxBase: 4 << 30})
	require.NoError(b, err)
	c := api.Clients()
	return New(Options{Cache: kept, Indexes: index.Add(c), Settings: settings.New(api.Settings), Seeds: c.RancherOS.SeedImage()})
}
