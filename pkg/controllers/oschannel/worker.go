package oschannel

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/channel"
)

// longestTry bounds a try of any type of channel; each has its own, shorter bounds.
const longestTry = 15 * time.Minute

// worker asks one channel, for as long as it exists.
type worker struct {
	poller *poller
	// ctx ends the worker.
	ctx  context.Context
	stop context.CancelFunc
	// wake tells that the task has changed.
	wake chan struct{}

	mutex    sync.Mutex
	task     task
	state    state
	due      time.Time
	failures int
	// abort ends the try that is under way; nil when there is none.
	abort context.CancelFunc
}

func startWorker(p *poller, t task) *worker {
	ctx, stop := context.WithCancel(p.ctx)
	w := &worker{poller: p, ctx: ctx, stop: stop, wake: make(chan struct{}, 1), task: t, due: t.first, state: state{handled: t.handled}}
	if t.sync != t.handled {
		w.due = p.now()
	}
	go w.run()
	return w
}

func (w *worker) uid() types.UID {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return w.task.uid
}

func (w *worker) found() state {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return w.state
}

// assign gives the worker a task that may have changed. Another source is asked at once, and what was under way for the
// old one is not waited for; so is the same one when somebody asks for it.
func (w *worker) assign(t task) state {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	before := w.task
	w.task = t
	now := w.poller.now()
	switch {
	case before.source != t.source:
		w.state, w.failures, w.due = state{handled: w.state.handled}, 0, now
		if w.abort != nil {
			w.abort()
		}
	case t.sync != w.state.handled && t.sync != before.sync, before.suspend && !t.suspend:
		w.due = now
	case before.interval > t.interval && w.failures == 0 && w.state.tries > 0:
		w.due = earlier(w.due, w.state.synced.Add(t.interval))
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
	return w.state
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// run waits for the next try, makes it, and so on.
func (w *worker) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		w.mutex.Lock()
		left := w.due.Sub(w.poller.now())
		if w.task.suspend {
			left = time.Hour // The end of it wakes us up.
		}
		suspended := w.task.suspend
		w.mutex.Unlock()
		if left <= 0 && !suspended {
			w.try()
			if w.ctx.Err() != nil {
				return
			}
			continue
		}
		timer.Reset(left)
		select {
		case <-timer.C:
		case <-w.wake:
		case <-w.ctx.Done():
			return
		}
	}
}

// try asks the channel once, and keeps what it said, unless another source has taken its place meanwhile.
func (w *worker) try() {
	ctx, cancel := context.WithTimeout(w.ctx, longestTry)
	defer cancel()
	w.mutex.Lock()
	t, last := w.task, w.state.answer
	w.abort = cancel
	w.mutex.Unlock()

	answer, err := w.ask(ctx, t, last)

	w.mutex.Lock()
	w.abort = nil
	if w.task.source != t.source || w.ctx.Err() != nil {
		w.mutex.Unlock()
		return
	}
	now := w.poller.now()
	w.state.tries++
	w.state.handled = t.sync
	w.state.failure = asFailure(err)
	var after time.Duration
	if w.state.failure == nil {
		w.state.answer, w.state.synced, w.failures = answer, now, 0
	} else {
		after = w.state.failure.After
		w.failures++
	}
	w.due = now.Add(wait(w.task.interval, w.failures, after, rand.Float64())) //nolint:gosec // Chance, not secrecy.
	if w.task.sync != t.sync {
		// Somebody has asked for it while we were busy.
		w.due = now
	}
	result := v1.ReasonSynced
	if w.state.failure != nil {
		result = string(w.state.failure.Reason)
	}
	w.mutex.Unlock()
	if w.poller.asked != nil {
		w.poller.asked(result)
	}
	w.poller.tell(t.namespace, t.name)
}

// ask never panics: what a stranger sends goes through libraries that are not ours.
func (w *worker) ask(ctx context.Context, t task, last *channel.Answer) (answer *channel.Answer, err error) {
	defer func() {
		if caught := recover(); caught != nil {
			logrus.WithField("channel", t.namespace+"/"+t.name).Errorf("asking the channel panicked: %v\n%s", caught, debug.Stack())
			answer, err = nil, &channel.Failure{Reason: channel.ReasonInvalidDocument, Message: "the answer cannot be read; see the operator's log"}
		}
	}()
	if t.slot {
		release, err := w.poller.take(ctx, t.namespace)
		if err != nil {
			return nil, fmt.Errorf("waiting for other channels: %w", err)
		}
		defer release()
	}
	fetcher, err := t.open()
	if err != nil {
		return nil, err
	}
	return fetcher.Fetch(ctx, last)
}

// asFailure is nil for nil.
func asFailure(err error) *channel.Failure {
	var failure *channel.Failure
	switch {
	case err == nil:
		return nil
	case errors.As(err, &failure):
		return failure
	}
	return &channel.Failure{Reason: v1.ReasonAPIError, Message: err.Error()}
}
