package oschannel

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWait(t *testing.T) {
	for _, c := range []struct {
		why      string
		interval time.Duration
		failures int
		after    time.Duration
		chance   float64
		want     time.Duration
	}{
		{"a good answer", time.Hour, 0, 0, 0, time.Hour},
		{"never later than a poll", time.Hour, 0, 0, 1, 54 * time.Minute},
		{"the first failure", time.Hour, 1, 0, 0, time.Minute},
		{"the second", time.Hour, 2, 0, 0, 2 * time.Minute},
		{"with chance", time.Hour, 2, 0, 0.5, 114 * time.Second},
		{"the sixth", time.Hour, 6, 0, 0, 32 * time.Minute},
		{"the seventh", time.Hour, 7, 0, 0, time.Hour},
		{"the thousandth", time.Hour, 1000, 0, 0, time.Hour},
		{"a channel that is asked rarely is tried again soon all the same", 168 * time.Hour, 1, 0, 0, time.Minute},
		{"the server asks for more", time.Hour, 1, 30 * time.Minute, 1, 30 * time.Minute},
		{"the server asks for less", time.Hour, 7, time.Second, 0, time.Hour},
	} {
		require.Equal(t, c.want, wait(c.interval, c.failures, c.after, c.chance), c.why)
	}
}

func TestInterval(t *testing.T) {
	for text, want := range map[string]time.Duration{"": time.Hour, "1m": time.Minute, "168h": 168 * time.Hour, "1s": time.Hour, "soon": time.Hour, "9999h": time.Hour, "-5m": time.Hour} {
		require.Equal(t, want, interval(text), text)
	}
}
