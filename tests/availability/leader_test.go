package availability

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/tests/harness"
)

// missed is how long nobody does the work after the signal to the leader: it ends when a registration that was made after
// the signal is Ready by the hand of another leader.
func missed(t *testing.T, signal syscall.Signal, name string) (took time.Duration, gone *replica) {
	t.Helper()
	gone = leader(t, nil)
	began := time.Now()
	require.NoError(t, gone.Signal(signal))
	// What the old one still does is not counted: each try is work that nobody has seen before.
	var next *replica
	for i := 0; ; i++ {
		require.Less(t, time.Since(began), 2*time.Minute, "nobody leads")
		for _, r := range replicas {
			if r != gone {
				leads, err := r.Metric(t.Context(), leading)
				require.NoError(t, err)
				if leads == 1 {
					next = r
				}
			}
		}
		if next != nil {
			break
		}
		wait(t, 20*time.Millisecond)
	}
	require.NoError(t, register(t.Context(), name))
	require.NoError(t, harness.Eventually(t.Context(), time.Minute, func() error { return done(name) }))
	return time.Since(began), gone
}

func wait(t *testing.T, pause time.Duration) {
	t.Helper()
	select {
	case <-time.After(pause):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

// rounds of the same, of which the worst counts.
func worst(t *testing.T, signal syscall.Signal, what string, rounds int, most time.Duration, ends func(error)) {
	t.Helper()
	var all []string
	var longest time.Duration
	for i := range rounds {
		took, gone := missed(t, signal, fmt.Sprintf("%s-%d", strings.ToLower(strings.Fields(what)[0]), i))
		ends(gone.Wait(30 * time.Second))
		forget(t, gone)
		longest = max(longest, took)
		all = append(all, took.Round(10*time.Millisecond).String())
	}
	figures.add(what, "worst of "+strings.Join(all, ", "), "at most "+most.String())
	require.LessOrEqual(t, longest, most)
}

// P10: a leader that is told to end hands over.
func TestLeaderEnds(t *testing.T) {
	worst(t, syscall.SIGTERM, "ended leader is missed for", 3, 5*time.Second, func(err error) { require.NoError(t, err) })
}

// P10: a leader that is killed is missed until its lease is over.
func TestLeaderIsKilled(t *testing.T) {
	worst(t, syscall.SIGKILL, "killed leader is missed for", 2, 20*time.Second, func(err error) { require.Error(t, err) })
}

// P10: a leader that stands still for longer than its lease, in the middle of work, and then wakes, writes nothing: not
// what it was about to, nor what it sees on waking. It starts anew.
func TestLeaderWakes(t *testing.T) {
	old := leader(t, nil)
	// Work for whoever leads, all the time.
	working, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	defer func() { stop(); work.Wait() }()
	work.Go(func() {
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		for i := 0; ; i++ {
			select {
			case <-ticker.C:
				if register(working, fmt.Sprintf("work-%d", i)) != nil {
					return
				}
			case <-working.Done():
				return
			}
		}
	})
	wait(t, 2*time.Second)
	before, _ := old.writes(t, time.Time{})
	require.NotEmpty(t, before, "it is told from the others, and has been busy")

	require.NoError(t, old.Signal(syscall.SIGSTOP))
	began := time.Now()
	next := leader(t, old)
	since := time.Now()
	t.Logf("%s leads %s after %s stood still", next.name, since.Sub(began).Round(time.Millisecond), old.name)
	wait(t, 10*time.Second)
	woke := time.Now()
	require.NoError(t, old.Signal(syscall.SIGCONT))
	require.Error(t, old.Wait(40*time.Second), "a replica that has lost the lease ends with an error")
	ended := time.Since(woke)
	wait(t, 2*time.Second) // Nor do late requests arrive.
	stop()

	late, asked := old.writes(t, since)
	require.Positive(t, asked, "it has been awake, and asked")
	figures.add("writes of a leader that wakes after "+woke.Sub(began).Round(time.Second).String(), fmt.Sprint(len(late)), "0")
	figures.add("which ends by itself after", ended.Round(10*time.Millisecond).String(), "at most 30s")
	require.Empty(t, late)
	log, err := os.ReadFile(old.LogFile)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	require.True(t, slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, "the lease was lost to another replica") }), "%s", lines[max(0, len(lines)-10):])
	// How many there are is chance: it ends as soon as it looks at the lease.
	figures.add("and tried to, at least", fmt.Sprint(strings.Count(string(log), "this replica does not hold the lease")), "")
	forget(t, old)
}
