package operator

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
)

// F11: an expired token, or one that the API server does not know yet.
func TestRefusedToken(t *testing.T) {
	var refusals atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if refusals.Add(-1) >= 0 {
			http.Error(w, "no", http.StatusUnauthorized)
		}
	}))
	defer server.Close()
	config := &rest.Config{Host: server.URL}

	refusals.Store(1000)
	require.ErrorContains(t, accepted(t.Context(), config, time.Nanosecond), "does not accept our token; is it expired, or of another cluster?")
	refusals.Store(1)
	require.NoError(t, accepted(t.Context(), config, time.Minute), "a moment later it does")
	refusals.Store(1000)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.NoError(t, accepted(ctx, config, time.Minute), "being told to stop is no failure")
	server.Close()
	require.NoError(t, accepted(t.Context(), config, time.Nanosecond), "an API server that does not answer is waited for by the caches")
}
