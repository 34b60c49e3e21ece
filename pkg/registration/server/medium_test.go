package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// shelf has one medium, and remembers what it was asked for.
type shelf struct {
	token string
	serve func(w http.ResponseWriter) error

	mutex sync.Mutex
	asked []string
}

func (s *shelf) note(what string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.asked = append(s.asked, what)
}

func (s *shelf) Find(token string) (Medium, error) {
	s.note("find")
	if token != s.token {
		return nil, noMedium()
	}
	return s, nil
}

func (s *shelf) Serve(w http.ResponseWriter, _ *http.Request, file string) error {
	s.note(file)
	return s.serve(w)
}

func TestMedia(t *testing.T) {
	token := strings.Repeat("b", 54)
	has := &shelf{token: token, serve: func(w http.ResponseWriter) error {
		_, err := w.Write([]byte("medium"))
		return err
	}}
	server := New(Options{Media: has})
	ask := func(method, path string) *httptest.ResponseRecorder {
		recorder := httptest.NewRecorder()
		server.ServeHTTP(recorder, httptest.NewRequest(method, path, nil))
		return recorder
	}
	for _, c := range []struct {
		why, method, path string
		status            int
		asked             []string
	}{
		{"the medium", "GET", "/v1-rancheros/seedimage/" + token + "/usb.iso", 200, []string{"find", "usb.iso"}},
		{"nobody's token", "GET", "/v1-rancheros/seedimage/" + strings.Repeat("c", 54) + "/usb.iso", 404, []string{"find"}},
		{"a token of another shape is not even looked up", "GET", "/v1-rancheros/seedimage/" + token + "b/usb.iso", 404, nil},
		{"no file", "GET", "/v1-rancheros/seedimage/" + token, 404, nil},
		{"no file behind a slash", "GET", "/v1-rancheros/seedimage/" + token + "/", 404, nil},
		{"no token", "GET", "/v1-rancheros/seedimage//usb.iso", 404, nil},
		{"another method", "POST", "/v1-rancheros/seedimage/" + token + "/usb.iso", 405, nil},
	} {
		has.asked = nil
		require.Equal(t, c.status, ask(c.method, c.path).Code, c.why)
		require.Equal(t, c.asked, has.asked, c.why)
	}
	has.serve = func(http.ResponseWriter) error { return busy() }
	refused := ask("GET", "/v1-rancheros/seedimage/"+token+"/usb.iso")
	require.Equal(t, 503, refused.Code)
	require.Equal(t, uint64(1), server.Rejected()[Refusal{"seedimage", "busy"}])
	require.Equal(t, 404, func() int {
		recorder := httptest.NewRecorder()
		New(Options{}).ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/v1-rancheros/seedimage/"+token+"/usb.iso", nil))
		return recorder.Code
	}(), "a server without media")
}

// Downloads have bounds of their own: of one medium at most half of the places, and none of those of machines. Who guesses
// is slowed down, and who knows a token is not, although both come through one tunnel.
func TestMediaLimits(t *testing.T) {
	token := strings.Repeat("b", 54)
	begun, release := make(chan struct{}), make(chan struct{})
	has := &shelf{token: token}
	has.serve = func(http.ResponseWriter) error {
		begun <- struct{}{}
		<-release
		return nil
	}
	server := New(Options{Media: has, Limits: Limits{Requests: 1, Downloads: 4, Stranger: Rate{PerSecond: 0.001, Burst: 2}}})
	ask := func(token string) int {
		recorder := httptest.NewRecorder()
		server.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/v1-rancheros/seedimage/"+token+"/usb.iso", nil))
		return recorder.Code
	}
	var downloads sync.WaitGroup
	for range 2 {
		downloads.Go(func() { ask(token) })
		<-begun
	}
	require.Equal(t, 503, ask(token), "half of the places are for others")
	require.Equal(t, 1, server.limits.requests.free, "and machines have theirs")
	guess := strings.Repeat("c", 54)
	require.Equal(t, []int{404, 404, 429}, []int{ask(guess), ask(guess), ask(guess)})
	close(release)
	downloads.Wait()
	require.Equal(t, 4, server.limits.downloads.free)
	has.serve = func(http.ResponseWriter) error { return nil }
	require.Equal(t, 200, ask(token))
}
