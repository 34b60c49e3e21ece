package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func content(t *testing.T, b *Base) []byte {
	t.Helper()
	reading, err := b.Open()
	require.NoError(t, err)
	defer reading.Close()
	whole, err := io.ReadAll(reading)
	require.NoError(t, err)
	return whole
}

func TestFetchOnce(t *testing.T) {
	s := newServer(t, base("a"))
	c := newCache(t, nil)
	source := Source{Image: s.URL + "/a.iso"}
	_, found := c.Lookup(source)
	require.False(t, found)
	// A hundred at the same time are one fetch.
	var group sync.WaitGroup
	for range 100 {
		group.Go(func() {
			b, err := c.Fetch(t.Context(), source)
			if err != nil || b.Checksum != sumOf(s.content) {
				t.Errorf("%v: %v", b, err)
			}
		})
	}
	group.Wait()
	require.Equal(t, []string{"GET"}, s.asked())
	b, found := c.Lookup(source)
	require.True(t, found)
	require.True(t, bytes.Equal(s.content, content(t, b)))

	// Another address, by its checksum, is the same base.
	other, err := c.Fetch(t.Context(), Source{Image: "https://elsewhere.example.com/b.iso", Checksum: "sha256:" + strings.ToUpper(b.Checksum)})
	require.NoError(t, err)
	require.Same(t, b, other)

	// As is one whose checksum nobody knew: its file is not replaced under those who read it.
	before, err := os.Stat(c.basePath(b.Checksum))
	require.NoError(t, err)
	third, err := c.Fetch(t.Context(), Source{Image: s.URL + "/third.iso"})
	require.NoError(t, err)
	require.Same(t, b, third)
	after, err := os.Stat(c.basePath(b.Checksum))
	require.NoError(t, err)
	require.True(t, os.SameFile(before, after))
	s.asked()

	// And so it is after a restart.
	again, err := New(c.options)
	require.NoError(t, err)
	b, found = again.Lookup(source)
	require.True(t, found)
	require.True(t, bytes.Equal(s.content, content(t, b)))
	require.Empty(t, s.asked())
	_, names := onDisk(t, c.options.Dir)
	require.ElementsMatch(t, []string{"bases/" + b.Checksum + ".iso", "bases/" + b.Checksum + ".json", "sources/" + source.key(),
		"sources/" + Source{Image: s.URL + "/third.iso"}.key()}, names, "and nothing else is left")
}

// A transfer that breaks goes on where it broke, also in another process; what cannot be told to belong together does not.
func TestResume(t *testing.T) {
	half := func(s *server, breaks int) {
		s.answer = func(w http.ResponseWriter, r *http.Request) bool {
			if breaks--; breaks < 0 {
				return false
			}
			w.Header().Set("Content-Length", "1000000")
			_, _ = w.Write(s.content[:300_000])
			panic(http.ErrAbortHandler)
		}
	}
	for _, c := range []struct {
		why     string
		prepare func(s *server)
		sum     bool
		want    []string
	}{
		{"an ETag", func(*server) {}, false, []string{"GET", "GET bytes=300000-"}},
		{"no ETag, but a checksum", func(s *server) { s.etag = "" }, true, []string{"GET", "GET bytes=300000-"}},
		{"neither", func(s *server) { s.etag = "" }, false, []string{"GET", "GET"}},
		{"a weak ETag", func(s *server) { s.etag = `W/"1"` }, false, []string{"GET", "GET"}},
	} {
		s := newServer(t, base("a"))
		c.prepare(s)
		half(s, 1)
		source := Source{Image: s.URL}
		if c.sum {
			source.Checksum = sumOf(s.content)
		}
		b, err := newCache(t, nil).Fetch(t.Context(), source)
		require.NoError(t, err, c.why)
		require.Equal(t, sumOf(s.content), b.Checksum, c.why)
		require.Equal(t, c.want, s.asked(), c.why)
	}

	// The process is killed, and the next one goes on.
	s := newServer(t, base("a"))
	half(s, 100)
	first := newCache(t, nil)
	_, err := first.Fetch(t.Context(), Source{Image: s.URL})
	require.ErrorContains(t, err, "EOF")
	require.Len(t, s.asked(), 1+maxTries)
	s.answer = nil
	second := newCache(t, func(o *Options) { o.Dir = first.options.Dir })
	_, err = second.Fetch(t.Context(), Source{Image: s.URL})
	require.NoError(t, err)
	require.Equal(t, []string{"GET bytes=300000-"}, s.asked())
	_, names := onDisk(t, first.options.Dir)
	require.Len(t, names, 3)

	// What is at the address has changed in between: the server sends all of it, and all of it is new.
	s = newServer(t, base("a"))
	half(s, 1)
	changed := base("b")
	old := s.answer
	s.answer = func(w http.ResponseWriter, r *http.Request) bool {
		defer func() { s.content, s.etag = changed, `"2"` }()
		return old(w, r)
	}
	b, err := newCache(t, nil).Fetch(t.Context(), Source{Image: s.URL})
	require.NoError(t, err)
	require.Equal(t, sumOf(changed), b.Checksum)
}

func TestBadBases(t *testing.T) {
	good := base("a")
	claim := func(length string) func(w http.ResponseWriter, _ *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Length", length)
			_, _ = w.Write(good)
			return true
		}
	}
	for _, c := range []struct {
		why     string
		content []byte
		answer  func(w http.ResponseWriter, r *http.Request) bool
		sum     string
		reason  Reason
		want    string
	}{
		{"nothing", nil, nil, "", Invalid, "the image is empty"},
		{"a web page", []byte(strings.Repeat("<html>", 10000)), nil, "", Invalid, "no ISO 9660 image"},
		{"half a medium", good[:len(good)/2], nil, "", Invalid, "truncated"},
		{"another medium", base("b"), nil, sumOf(good), Invalid, "another checksum than was asked for: sha256:" + sumOf(base("b"))},
		{"a checksum that is none", good, nil, "abc", Invalid, "write 64 hex digits"},
		{"100 GB, as it says", good, claim("107374182400"), "", Invalid, "the base has 107374182400 bytes, and none may have more than 64 MiB; raise --media-max-base-gib"},
		{"more than it may have, without saying so", nil, func(w http.ResponseWriter, _ *http.Request) bool {
			for range 100 {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					break
				}
			}
			return true
		}, "", Invalid, "none may have more than"},
		{"not there", nil, func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusNotFound); return true }, "", Unavailable, "the server of the base answers 404 Not Found"},
		{"a server without an end", nil, func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "/again", http.StatusFound)
			return true
		}, "", Unavailable, "redirects too often"},
		{"a server that stalls", nil, func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Length", "1000000")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return true
		}, "", Unavailable, "stalls: it sent next to nothing for 200ms"},
		{"a server that drips", nil, func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Length", "1000000")
			for r.Context().Err() == nil {
				_, _ = w.Write([]byte("x"))
				w.(http.Flusher).Flush()
				<-time.After(10 * time.Millisecond)
			}
			return true
		}, "", Unavailable, "stalls"},
		{"another range", good, func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Range", "bytes 7-9/10")
			w.WriteHeader(http.StatusPartialContent)
			return true
		}, "", Unavailable, "another range"},
		{"a server that breaks each time", nil, breaking(0, 100), "", Unavailable, "fetching the base: EOF"},
	} {
		t.Run(c.why, func(t *testing.T) {
			s := newServer(t, c.content)
			s.answer = c.answer
			cache := newCache(t, nil)
			_, err := cache.Fetch(t.Context(), Source{Image: s.URL, Checksum: c.sum})
			var known *Error
			require.ErrorAs(t, err, &known)
			require.Equal(t, c.reason, known.Reason, err)
			require.ErrorContains(t, err, c.want)
			require.NotRegexp(t, `127\.0\.0\.1:\d+->`, err.Error(), "no ports, which differ on every try")
			_, found := cache.Lookup(Source{Image: s.URL, Checksum: c.sum})
			require.False(t, found)
			if c.reason == Invalid {
				bytes, _ := onDisk(t, cache.options.Dir)
				require.Zero(t, bytes, "nothing is kept of it")
			}
		})
	}
}

func TestBadAddresses(t *testing.T) {
	c := newCache(t, nil)
	for image, want := range map[string]string{
		"ftp://example.com/a.iso":            "must begin with https://",
		"http://example.com/a.iso":           "plain http can be changed on its way",
		"https://u:p@example.com/a.iso":      "holds a user",
		"https://":                           "is no URL",
		"Not An Image":                       "is no image reference",
		"file:///a.iso":                      "without --media-folder",
		"http://169.254.169.254/latest":      "plain http",
		"https://169.254.169.254/latest.iso": "link-local",
	} {
		_, err := c.Fetch(t.Context(), Source{Image: image})
		require.ErrorContains(t, err, want, image)
	}
	_, err := c.Fetch(t.Context(), Source{Image: "http://169.254.169.254/latest", Checksum: sumOf(nil)})
	require.ErrorContains(t, err, "link-local")
}

// A folder's bases are those in it, and nothing leads out of it.
func TestFolder(t *testing.T) {
	outside := t.TempDir()
	folder := filepath.Join(outside, "media")
	require.NoError(t, os.MkdirAll(filepath.Join(folder, "sub"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "sub", "a.iso"), base("a"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(outside, "secret.iso"), base("b"), 0o600))
	require.NoError(t, os.Symlink("../secret.iso", filepath.Join(folder, "link.iso")))
	c := newCache(t, func(o *Options) { o.Folder = folder })
	b, err := c.Fetch(t.Context(), Source{Image: "file:///sub/a.iso"})
	require.NoError(t, err)
	require.Equal(t, sumOf(base("a")), b.Checksum)
	for _, image := range []string{"file:///../secret.iso", "file:///link.iso", "file://" + outside + "/secret.iso", "file:///sub", "file:///none.iso", "file:///"} {
		_, err := c.Fetch(t.Context(), Source{Image: image})
		require.Error(t, err, image)
		require.NotContains(t, err.Error(), outside)
	}
}

func TestRoom(t *testing.T) {
	a, b, d := newServer(t, base("a")), newServer(t, base("b")), newServer(t, base("d"))
	size := int64(len(a.content))
	inUse := map[string]bool{}
	c := newCache(t, func(o *Options) {
		o.MaxBytes = 2*size + size/2
		o.InUse = func() map[string]bool { return inUse }
	})
	fetch := func(s *server) error {
		_, err := c.Fetch(t.Context(), Source{Image: s.URL})
		return err
	}
	has := func(s *server) bool {
		_, err := os.Stat(c.basePath(sumOf(s.content)))
		return err == nil
	}
	require.NoError(t, fetch(a))
	require.NoError(t, fetch(b))
	_, found := c.Lookup(Source{Image: a.URL}) // b is the one that was not wanted for longer.
	require.True(t, found)
	require.NoError(t, fetch(d))
	require.True(t, has(a) && has(d) && !has(b))
	bytes, _ := onDisk(t, c.options.Dir)
	require.LessOrEqual(t, bytes, c.options.MaxBytes)

	// What is read, or in use, stays.
	held, _ := c.Lookup(Source{Image: a.URL})
	reading, err := held.Open()
	require.NoError(t, err)
	inUse[sumOf(d.content)] = true
	err = fetch(b)
	var known *Error
	require.ErrorAs(t, err, &known)
	require.Equal(t, Full, known.Reason)
	require.ErrorContains(t, err, "no room for it beside those that other SeedImages need")
	require.True(t, has(a) && has(d))
	require.NoError(t, reading.Close())
	require.Error(t, reading.Close(), "the file is closed, and twice is once")
	require.NoError(t, fetch(b))
	require.True(t, has(b) && has(d) && !has(a))

	// Partials that nobody goes on with take room too, and go first.
	require.NoError(t, os.WriteFile(c.path("partial", "left"), make([]byte, size), 0o600))
	inUse = map[string]bool{}
	require.NoError(t, fetch(a))
	require.NoFileExists(t, c.path("partial", "left"))
}

// Two processes on one folder: one fetches, the other finds it.
func TestTwoProcesses(t *testing.T) {
	s := newServer(t, base("a"))
	release := make(chan struct{})
	s.answer = func(http.ResponseWriter, *http.Request) bool { <-release; return false }
	first := newCache(t, func(o *Options) { o.Stall = time.Minute })
	second := newCache(t, func(o *Options) { o.Dir, o.Stall = first.options.Dir, time.Minute })
	var group sync.WaitGroup
	for _, c := range []*Cache{first, second} {
		group.Go(func() {
			if _, err := c.Fetch(t.Context(), Source{Image: s.URL}); err != nil {
				t.Error(err)
			}
		})
	}
	require.Eventually(t, func() bool { return len(s.asked()) == 1 }, 10*time.Second, time.Millisecond)
	close(release)
	group.Wait()
	require.Empty(t, s.asked(), "the second did not ask")

	// And what one gives up is gone for the other.
	b, found := first.Lookup(Source{Image: s.URL})
	require.True(t, found)
	first.mutex.Lock()
	first.evict(b)
	first.mutex.Unlock()
	_, found = second.Lookup(Source{Image: s.URL})
	require.False(t, found)
	_, err := second.Fetch(t.Context(), Source{Image: s.URL})
	require.NoError(t, err)
}

// What is damaged on the disk is not served.
func TestDamage(t *testing.T) {
	for why, damage := range map[string]func(c *Cache, sum string) error{
		"a base that became shorter": func(c *Cache, sum string) error { return os.Truncate(c.basePath(sum), 5000) },
		"a base without its record":  func(c *Cache, sum string) error { return os.Remove(c.path("bases", sum+".json")) },
		"a record of garbage": func(c *Cache, sum string) error {
			return os.WriteFile(c.path("bases", sum+".json"), []byte("{"), 0o600)
		},
		"a source of garbage": func(c *Cache, _ string) error {
			return filepath.WalkDir(c.path("sources"), func(path string, entry os.DirEntry, err error) error {
				if err == nil && !entry.IsDir() {
					err = os.WriteFile(path, []byte("../../etc/passwd"), 0o600)
				}
				return err
			})
		},
	} {
		s := newServer(t, base("a"))
		c := newCache(t, nil)
		b, err := c.Fetch(t.Context(), Source{Image: s.URL})
		require.NoError(t, err, why)
		require.NoError(t, damage(c, b.Checksum), why)
		again, err := New(c.options)
		require.NoError(t, err, why)
		b, err = again.Fetch(t.Context(), Source{Image: s.URL})
		require.NoError(t, err, why)
		require.True(t, bytes.Equal(s.content, content(t, b)), why)
	}
}

func TestFetchEnds(t *testing.T) {
	s := newServer(t, base("a"))
	s.answer = func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }
	c := newCache(t, func(o *Options) { o.Stall = time.Minute })
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	time.AfterFunc(50*time.Millisecond, func() { cancel(stop) })
	_, err := c.Fetch(ctx, Source{Image: s.URL})
	require.ErrorIs(t, err, stop)
}

// Ten thousand images over one base are one base.
func TestManyImagesOneBase(t *testing.T) {
	s := newServer(t, base("a"))
	c := newCache(t, nil)
	b, err := c.Fetch(t.Context(), Source{Image: s.URL})
	require.NoError(t, err)
	before, _ := onDisk(t, c.options.Dir)
	for n := range 10_000 {
		l, err := b.Image.Plan([]byte("#cloud-config\nn: " + strings.Repeat("x", n%50+1)))
		require.NoError(t, err)
		require.Greater(t, l.Size(), b.Size)
	}
	after, _ := onDisk(t, c.options.Dir)
	require.Equal(t, before, after)
	require.Less(t, after, b.Size+4096)
}
