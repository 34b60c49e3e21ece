package operator

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// errNotLeading is what a write of a controller comes to on a replica that does not lead, or leads no more.
var errNotLeading = errors.New("this replica does not hold the lease: another one does this work")

// giveBackPatience is how long the lease is held for writes that are under way when the process ends.
const giveBackPatience = 2 * time.Second

// tenure is a replica's time as leader. To client-go's election it is the lease. To the controllers it is a fence around
// all that they write: client-go by itself lets a leader go on for up to the renew deadline after another one has taken
// over, as one does that was stopped and woken, and has nothing to hold back handlers that are in the middle of something.
//
// A write may leave as long as the last renewal was begun no longer ago than the renew deadline. Others wait for the lease's whole
// duration, which is longer, so the write has the difference to arrive. Time is the process's own monotonic clock.
//
// What every replica may write, such as the inventory of a machine that registers with it, is behind no fence. Events are
// told by both, so they end only where the lease was lost and the process is about to end.
type tenure struct {
	resourcelock.Interface
	// safe is how long after a renewal writes may leave, and look how often a replica that waits looks at the lease.
	safe, look time.Duration
	// refused is called for each write that is held back.
	refused func()

	mutex sync.Mutex
	// until is when writes are held back unless the lease is renewed; zero before it is held.
	until time.Time
	// over is set for good when the lease was given back, which released says, or is another's.
	over, released bool
	writing        sync.WaitGroup
	// expired is the record of a holder that has not renewed it for its whole duration.
	expired []byte
	// stop ends the election.
	stop context.CancelCauseFunc
}

// errTaken ends an election that another replica has won.
var errTaken = errors.New("another replica has the lease")

// fence holds back writes while the lease is not ours.
func (t *tenure) fence(next http.RoundTripper) http.RoundTripper {
	return fenced{next, t.enter, t.writing.Done, t.refused}
}

// fenceEvents holds back those of a replica that has lost the lease.
func (t *tenure) fenceEvents(next http.RoundTripper) http.RoundTripper {
	return fenced{next, t.hasNotLost, func() {}, t.refused}
}

type fenced struct {
	next           http.RoundTripper
	enter          func() bool
	leave, refused func()
}

func (f fenced) RoundTrip(r *http.Request) (*http.Response, error) {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return f.next.RoundTrip(r)
	}
	if !f.enter() {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		f.refused()
		return nil, errNotLeading
	}
	defer f.leave()
	return f.next.RoundTrip(r)
}

// WrappedRoundTripper lets client-go find what is below.
func (f fenced) WrappedRoundTripper() http.RoundTripper { return f.next }

// enter tells whether a write may leave; if so, it is counted as under way.
func (t *tenure) enter() bool {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if !t.leads() {
		return false
	}
	t.writing.Add(1)
	return true
}

// leads needs the mutex.
func (t *tenure) leads() bool { return !t.over && time.Now().Before(t.until) }

func (t *tenure) hasNotLost() bool {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return t.until.IsZero() || t.released || t.leads()
}

// awaitFree returns when the lease is free, or its holder has not renewed it for its duration; or with an error when ctx
// ends. Client-go's own wait looks every 2 to 4.4 seconds, with which a killed leader is missed for up to 24.
func (t *tenure) awaitFree(ctx context.Context) error {
	ticker := time.NewTicker(t.look)
	defer ticker.Stop()
	var seen []byte
	var since time.Time
	for {
		record, raw, err := t.Interface.Get(ctx)
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			logrus.Debugf("reading the lease: %v", err)
		case record.HolderIdentity == "":
			return nil
		case !bytes.Equal(raw, seen):
			seen, since = raw, time.Now()
		case time.Since(since) > time.Duration(record.LeaseDurationSeconds)*time.Second:
			t.expired = raw
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Get is the lease as it is, but for one that awaitFree has found expired, which is shown as free: whoever takes it does so
// at the version that was read here, so of two that try the API server lets one through.
func (t *tenure) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := t.Interface.Get(ctx)
	if err != nil {
		return record, raw, err
	}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	ours := record.HolderIdentity == t.Identity()
	switch {
	case !t.until.IsZero() && !ours:
		t.over = true
		t.stop(errLeaseLost)
	case t.until.IsZero() && bytes.Equal(raw, t.expired):
		free := *record
		free.HolderIdentity = ""
		record = &free
	case t.until.IsZero() && record.HolderIdentity != "" && !ours:
		t.stop(errTaken)
	}
	return record, raw, nil
}

// Create takes a lease that was not there.
func (t *tenure) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	began := time.Now()
	err := t.Interface.Create(ctx, record)
	t.renewed(began, err)
	return err
}

// Update takes, renews or, with an empty holder, gives back the lease.
func (t *tenure) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	if record.HolderIdentity == "" {
		return t.giveBack(ctx, record)
	}
	began := time.Now()
	err := t.Interface.Update(ctx, record)
	t.renewed(began, err)
	return err
}

func (t *tenure) renewed(began time.Time, err error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if err == nil {
		t.until = began.Add(t.safe)
	}
}

// giveBack closes the fence, waits for what is under way, and lets the next replica in. A lease that is another's already is
// left alone, whatever client-go remembers.
func (t *tenure) giveBack(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	t.mutex.Lock()
	lost := t.over
	t.over, t.released = true, !lost
	t.mutex.Unlock()
	if lost {
		return nil
	}
	written := make(chan struct{})
	go func() {
		t.writing.Wait()
		close(written)
	}()
	timer := time.NewTimer(giveBackPatience)
	defer timer.Stop()
	select {
	case <-written:
	case <-timer.C:
	}
	return t.Interface.Update(ctx, record)
}
