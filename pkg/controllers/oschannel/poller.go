package oschannel

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/rancher/rancheros-operator/pkg/channel"
	"github.com/rancher/rancheros-operator/pkg/index"
)

// inFlight and inFlightOfNamespace bound how many channels are asked at the same time, and with it the memory that answers
// take; those of one namespace cannot use up the share of all others.
const (
	inFlight            = 64
	inFlightOfNamespace = 16
)

// task is what a channel's worker is to do.
type task struct {
	namespace, name string
	uid             types.UID
	// source identifies what is asked: an answer of another source is none.
	source string
	// open makes the Fetcher, anew for each try, since a Secret may have changed.
	open func() (channel.Fetcher, error)
	// slot is false where somebody else does the waiting, as a Job does.
	slot     bool
	interval time.Duration
	suspend  bool
	// sync is the value of the annotation that asks for a try at once, and handled the one that was last seen to.
	sync, handled string
	// first is when to ask for the first time; what has passed is now.
	first time.Time
}

// state is what a channel's worker has found out.
type state struct {
	// answer is the last good one of this source; nil before.
	answer *channel.Answer
	// failure is why the last try failed; nil when it did not.
	failure *channel.Failure
	// tries of this source since the operator has started; synced is when the last good one ended.
	tries  int
	synced time.Time
	// handled is the value of the annotation that the last try has seen to.
	handled string
}

// poller has a worker for each channel.
type poller struct {
	// ctx ends all workers.
	ctx context.Context
	// tell brings a channel back to its handler.
	tell func(namespace, name string)
	now  func() time.Time
	// asked, unless nil, is told the result of every try.
	asked func(result string)

	mutex   sync.Mutex
	workers map[string]*worker
	all     chan struct{}
	slots   map[string]chan struct{}
}

func newPoller(ctx context.Context, tell func(namespace, name string)) *poller {
	return &poller{
		ctx: ctx, tell: tell, now: time.Now,
		workers: map[string]*worker{}, all: make(chan struct{}, inFlight), slots: map[string]chan struct{}{},
	}
}

// follow gives the channel's worker its task, starts one where there is none, and returns what it has found out so far.
func (p *poller) follow(t task) state {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	key := t.namespace + "/" + t.name
	w := p.workers[key]
	if w != nil && w.uid() != t.uid {
		w.stop()
		w = nil
	}
	if w == nil {
		w = startWorker(p, t)
		p.workers[key] = w
		return w.found()
	}
	return w.assign(t)
}

// forget ends the worker of a channel that is gone.
func (p *poller) forget(key string) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if w := p.workers[key]; w != nil {
		w.stop()
		delete(p.workers, key)
	}
}

// known are the names of the channels in the namespace.
func (p *poller) known(namespace string) []string {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	var names []string
	for key := range p.workers {
		if in, name := index.SplitKey(key); in == namespace {
			names = append(names, name)
		}
	}
	return names
}

// take waits for a slot, first one of the namespace, then one of all; release gives both back.
func (p *poller) take(ctx context.Context, namespace string) (release func(), err error) {
	p.mutex.Lock()
	own := p.slots[namespace]
	if own == nil {
		own = make(chan struct{}, inFlightOfNamespace)
		p.slots[namespace] = own
	}
	p.mutex.Unlock()
	for i, slots := range []chan struct{}{own, p.all} {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			if i > 0 {
				<-own
			}
			return nil, context.Cause(ctx)
		}
	}
	return func() { <-p.all; <-own }, nil
}
