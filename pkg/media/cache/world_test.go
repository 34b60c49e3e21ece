package cache

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/tests/medium"
)

// base is a medium; different ones by their text.
func base(text string) []byte {
	return medium.Bytes(medium.Options{RockRidge: true, Files: map[string][]byte{"boot/kernel": bytes.Repeat([]byte(text), 400_000)}})
}

func sumOf(content []byte) string { return fmt.Sprintf("%x", sha256.Sum256(content)) }

// server serves content at any path, and misbehaves as it is told to.
type server struct {
	*httptest.Server
	mutex    sync.Mutex
	content  []byte
	etag     string
	requests []string
	// answer, unless nil, takes the request away from the server when it returns true.
	answer func(w http.ResponseWriter, r *http.Request) bool
}

func newServer(t *testing.T, content []byte) *server {
	s := &server{content: content, etag: `"1"`}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mutex.Lock()
		s.requests = append(s.requests, strings.TrimSpace(r.Method+" "+r.Header.Get("Range")))
		answer, content := s.answer, s.content
		if s.etag != "" {
			w.Header().Set("ETag", s.etag)
		}
		s.mutex.Unlock()
		if answer == nil || !answer(w, r) {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) asked() []string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	asked := s.requests
	s.requests = nil
	return asked
}

// breaking sends so many bytes and breaks the connection, the first few times.
func breaking(after int64, times int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		if times--; times < 0 {
			return false
		}
		panic(http.ErrAbortHandler)
	}
}

func newCache(t *testing.T, change func(*Options)) *Cache {
	t.Helper()
	options := Options{Dir: t.TempDir(), MaxBytes: 1 << 30, MaxBase: 64 << 20, Stall: 200 * time.Millisecond, Retry: time.Millisecond}
	if change != nil {
		change(&options)
	}
	c, err := New(options)
	require.NoError(t, err)
	return c
}

// onDisk is all that the cache's folder takes.
func onDisk(t *testing.T, dir string) (bytes int64, names []string) {
	t.Helper()
	for _, folder := range []string{"bases", "sources", "partial"} {
		entries, err := os.ReadDir(dir + "/" + folder)
		require.NoError(t, err)
		for _, entry := range entries {
			info, err := entry.Info()
			require.NoError(t, err)
			bytes += info.Size()
			names = append(names, folder+"/"+entry.Name())
		}
	}
	return bytes, names
}
