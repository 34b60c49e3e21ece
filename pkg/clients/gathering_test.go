package clients

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// parts gives what it is told to, a part for each Read.
type parts struct {
	net.Conn
	left []string
}

func (p *parts) Read(into []byte) (int, error) {
	if len(p.left) == 0 {
		return 0, io.EOF
	}
	n := copy(into, p.left[0])
	p.left = p.left[1:]
	return n, nil
}

func TestGathering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &parts{left: []string{"full", "more", "", "late"}}
		conn, err := gathering(func(context.Context, string, string) (net.Conn, error) { return source, nil })(t.Context(), "tcp", "any")
		require.NoError(t, err)
		took := func() time.Duration {
			start := time.Now()
			_, err := conn.Read(make([]byte, 4))
			require.NoError(t, err)
			return time.Since(start)
		}
		require.Zero(t, took(), "the first is read at once, and fills the buffer")
		require.Zero(t, took(), "and so is what may be there beside it")
		require.Zero(t, took(), "this one found nothing more")
		require.Equal(t, gatherFor, took(), "so what comes after is gathered")
		time.Sleep(gatherFor)
		source.left = []string{"x", "y"}
		require.Zero(t, took(), "after a pause there is nothing to wait for")
		require.Equal(t, gatherFor, took())
	})
}

type named string

func (n named) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{Status: string(n)}, nil
}

func TestWatchesApart(t *testing.T) {
	apart := watchesApart{watches: named("watches"), others: named("others")}
	for _, c := range []struct{ method, query, want string }{
		{http.MethodGet, "allowWatchBookmarks=true&resourceVersion=7&watch=true", "watches"},
		{http.MethodGet, "", "others"},
		{http.MethodGet, "fieldManager=watch", "others"},
		{http.MethodPost, "watch=true", "others"},
	} {
		request, err := http.NewRequestWithContext(t.Context(), c.method, "https://api.example.com/things?"+c.query, nil)
		require.NoError(t, err)
		response, err := apart.RoundTrip(request)
		require.NoError(t, err)
		require.Equal(t, c.want, response.Status, "%s %s", c.method, c.query)
	}
}
