package oschannel

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/channel"
)

const patience = time.Minute

// asked is a Fetcher that is a function.
type asked func(ctx context.Context, last *channel.Answer) (*channel.Answer, error)

func (f asked) Fetch(ctx context.Context, last *channel.Answer) (*channel.Answer, error) {
	return f(ctx, last)
}

func newTask(name string, fetch asked) task {
	return task{namespace: "ns", name: name, uid: "1", source: "one", slot: true, interval: time.Hour, open: func() (channel.Fetcher, error) { return fetch, nil }}
}

// told is a poller, and a channel on which the names come of which it has news.
func told(t *testing.T) (*poller, chan string) {
	names := make(chan string, 100)
	return newPoller(t.Context(), func(_, name string) { names <- name }), names
}

func next(t *testing.T, names chan string) string {
	t.Helper()
	select {
	case name := <-names:
		return name
	case <-time.After(patience):
		t.Fatal("no news")
		return ""
	}
}

func good(context.Context, *channel.Answer) (*channel.Answer, error) { return &channel.Answer{}, nil }

// A channel that hangs holds up no other, however many of them there are in its namespace or elsewhere.
func TestNobodyIsHeldUp(t *testing.T) {
	p, names := told(t)
	hanging := func(ctx context.Context, _ *channel.Answer) (*channel.Answer, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	for i := range inFlightOfNamespace - 1 {
		p.follow(newTask(fmt.Sprintf("hanging-%d", i), hanging))
	}
	p.follow(newTask("good", good))
	require.Equal(t, "good", next(t, names), "in the same namespace")
	for i := range 10 * inFlightOfNamespace {
		p.follow(newTask(fmt.Sprintf("crowd-%d", i), hanging))
	}
	other := newTask("elsewhere", good)
	other.namespace = "other"
	p.follow(other)
	require.Equal(t, "elsewhere", next(t, names), "a namespace has no more than its share")
}

func TestWorkersEnd(t *testing.T) {
	p, _ := told(t)
	ended := make(chan string, 1)
	begun := make(chan struct{})
	p.follow(newTask("a", func(ctx context.Context, _ *channel.Answer) (*channel.Answer, error) {
		close(begun)
		<-ctx.Done()
		ended <- "ended"
		return nil, ctx.Err()
	}))
	<-begun
	require.Equal(t, []string{"a"}, p.known("ns"))
	p.forget("ns/a")
	require.Equal(t, "ended", next(t, ended))
	require.Empty(t, p.known("ns"))
	p.forget("ns/a")
}

func TestTries(t *testing.T) {
	p, names := told(t)
	var calls atomic.Int32
	first := &channel.Answer{}
	answers := []func() (*channel.Answer, error){
		func() (*channel.Answer, error) { return first, nil },
		func() (*channel.Answer, error) {
			return nil, &channel.Failure{Reason: channel.ReasonUnreachable, Message: "away"}
		},
		func() (*channel.Answer, error) { panic("a library of others") },
		func() (*channel.Answer, error) { return nil, errors.New("the API is away") },
		func() (*channel.Answer, error) { return first, nil },
	}
	given := newTask("a", func(_ context.Context, last *channel.Answer) (*channel.Answer, error) {
		n := calls.Add(1) - 1
		if n > 0 && last != first {
			return nil, errors.New("the last good answer was not handed over")
		}
		return answers[n]()
	})
	p.follow(given)
	next(t, names)
	found := p.follow(given)
	require.Same(t, first, found.answer)
	require.Nil(t, found.failure)
	require.Equal(t, 1, found.tries)
	for i, want := range []channel.Reason{channel.ReasonUnreachable, channel.ReasonInvalidDocument, "APIError", ""} {
		given.sync = fmt.Sprint(i) // Somebody asks for it.
		p.follow(given)
		next(t, names)
		found = p.follow(given)
		require.Same(t, first, found.answer, "a failure takes nothing away")
		require.Equal(t, given.sync, found.handled)
		if want == "" {
			require.Nil(t, found.failure)
			continue
		}
		require.Equal(t, want, found.failure.Reason)
	}
	require.EqualValues(t, 5, calls.Load(), "nobody asks without a reason")
}

// What was under way for another source is not waited for, and counts for nothing.
func TestAnotherSource(t *testing.T) {
	p, names := told(t)
	begun := make(chan struct{})
	p.follow(newTask("a", func(ctx context.Context, _ *channel.Answer) (*channel.Answer, error) {
		close(begun)
		<-ctx.Done()
		return &channel.Answer{ETag: "old"}, nil
	}))
	<-begun
	other := newTask("a", func(_ context.Context, last *channel.Answer) (*channel.Answer, error) {
		if last != nil {
			return nil, errors.New("an answer of the other source")
		}
		return &channel.Answer{ETag: "new"}, nil
	})
	other.source = "two"
	p.follow(other)
	next(t, names)
	found := p.follow(other)
	require.Equal(t, "new", found.answer.ETag)
	require.Equal(t, 1, found.tries)

	again := other
	again.uid = "2"
	p.follow(again)
	next(t, names)
	require.Equal(t, 1, p.follow(again).tries, "a channel of the same name that was made anew is another one")
}

func TestWhenNotToAsk(t *testing.T) {
	p, names := told(t)
	var calls atomic.Int32
	count := func(context.Context, *channel.Answer) (*channel.Answer, error) {
		calls.Add(1)
		return &channel.Answer{}, nil
	}
	suspended := newTask("suspended", count)
	suspended.suspend = true
	suspended.sync = "now"
	p.follow(suspended)
	later := newTask("later", count)
	later.first = time.Now().Add(time.Hour)
	p.follow(later)
	wanted := newTask("wanted", good)
	wanted.first, wanted.sync = time.Now().Add(time.Hour), "now"
	p.follow(wanted)
	require.Equal(t, "wanted", next(t, names), "an annotation that nobody has seen to before the restart")
	handled := newTask("handled", count)
	handled.first, handled.sync, handled.handled = time.Now().Add(time.Hour), "now", "now"
	p.follow(handled)
	require.Zero(t, calls.Load())
	require.Equal(t, "now", p.follow(handled).handled)
	suspended.suspend = false
	p.follow(suspended)
	require.Equal(t, "suspended", next(t, names), "until it is not any more")
}

func TestShorterInterval(t *testing.T) {
	p, names := told(t)
	given := newTask("a", good)
	p.follow(given)
	next(t, names)
	given.interval = time.Minute
	p.follow(given)
	w := p.workers["ns/a"]
	w.mutex.Lock()
	defer w.mutex.Unlock()
	require.WithinDuration(t, time.Now().Add(time.Minute), w.due, 10*time.Second)
}
