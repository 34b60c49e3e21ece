package client

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestClockProblem(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		why, date, want string
	}{
		{"no Date", "", ""},
		{"a Date that is none", "yesterday", ""},
		{"the same", now.Format(http.TimeFormat), ""},
		{"what certificates forgive", now.Add(4 * time.Minute).Format(http.TimeFormat), ""},
		{"minutes", now.Add(6 * time.Minute).Format(http.TimeFormat), "this machine's clock is 6 minutes behind the server's (2026-11-20 12:06:00 UTC)"},
		{"hours: a time zone taken for UTC", now.Add(-2 * time.Hour).Format(http.TimeFormat), "this machine's clock is 2 hours ahead of the server's (2026-11-20 10:00:00 UTC)"},
		{"an empty battery", now.AddDate(50, 0, 0).Format(http.TimeFormat), "this machine's clock is 18263 days behind the server's (2076-11-20 12:00:00 UTC)"},
	} {
		require.Equal(t, c.want, clockProblem(http.Header{"Date": {c.date}}, now), c.why)
	}
	require.NoError(t, withClock(nil, "wrong"))
	failure := Explain(withClock(errTest, "wrong"), "r")
	require.Equal(t, "wrong", failure.Clock)
	require.ErrorIs(t, failure, errTest)
}
