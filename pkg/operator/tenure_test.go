package operator

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/rancher/rancheros-operator/pkg/metrics"
)

var leases = schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}

// lease is the one that replicas share; each sees it through a lock, which updates at the version that it has read.
type lease struct {
	mutex   sync.Mutex
	record  *resourcelock.LeaderElectionRecord
	version int
}

type lock struct {
	*lease
	identity string
	read     int
}

func (l *lock) Get(context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.record == nil {
		return nil, nil, apierrors.NewNotFound(leases, "x")
	}
	l.read = l.version
	record := *l.record
	raw, err := json.Marshal(record)
	return &record, raw, err
}

func (l *lock) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return l.Update(ctx, record)
}

func (l *lock) Update(_ context.Context, record resourcelock.LeaderElectionRecord) error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.read != l.version {
		return apierrors.NewConflict(leases, "x", errors.New("changed"))
	}
	l.version++
	l.read, l.record = l.version, &record
	return nil
}

func (*lock) RecordEvent(string) {}
func (l *lock) Identity() string { return l.identity }
func (l *lock) Describe() string { return "test/x" }
func (l *lease) holder() string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.record.HolderIdentity
}
func (l *lease) put(who string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.version++
	l.record = &resourcelock.LeaderElectionRecord{HolderIdentity: who, LeaseDurationSeconds: 2, RenewTime: metav1.NewTime(time.Unix(int64(l.version), 0))}
}

// member is a replica: its election, and a client whose writes are counted.
type member struct {
	*election
	client, events *http.Client
	arrived        atomic.Int64
	refused        atomic.Int64
	// hold, unless nil, is closed to let a write arrive.
	hold chan struct{}
}

func (m *member) RoundTrip(r *http.Request) (*http.Response, error) {
	if m.hold != nil {
		<-m.hold
	}
	m.arrived.Add(1)
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
}

func newMember(l *lease, name string) *member {
	m := &member{}
	t := &tenure{Interface: &lock{lease: l, identity: name}, safe: 1500 * time.Millisecond, look: 50 * time.Millisecond, refused: func() { m.refused.Add(1) }}
	h, _ := listenHealth("", false, func(bool) {})
	m.election = &election{tenure: t, health: h, metrics: metrics.New(),
		options: Options{LeaderElect: true, LeaseDuration: 2 * time.Second, RenewDeadline: 1500 * time.Millisecond, RetryPeriod: 200 * time.Millisecond}}
	m.client, m.events = &http.Client{Transport: t.fence(m)}, &http.Client{Transport: t.fenceEvents(m)}
	return m
}

// write tries to write, and tells whether it was let through.
func write(t *testing.T, client *http.Client) bool {
	t.Helper()
	response, err := client.Post("http://api/", "text/plain", io.NopCloser(strings.NewReader("x")))
	if err != nil {
		require.ErrorIs(t, err, errNotLeading)
		return false
	}
	response.Body.Close()
	return true
}

// run leads when it can, until stop; led is closed when it does.
func (m *member) run(t *testing.T) (led chan struct{}, stop func(), ended chan error) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	led, ended = make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- m.lead(ctx, func(context.Context) error { close(led); return nil })
	}()
	return led, stop, ended
}

func soon(t *testing.T, what chan struct{}) time.Duration {
	t.Helper()
	began := time.Now()
	select {
	case <-what:
		return time.Since(began)
	case <-time.After(20 * time.Second):
		t.Fatal("it does not happen")
		return 0
	}
}

// Reading is free; writing is the leader's, and events are everybody's.
func TestFence(t *testing.T) {
	m := newMember(&lease{}, "a")
	response, err := m.client.Get("http://api/")
	require.NoError(t, err)
	response.Body.Close()
	require.False(t, write(t, m.client), "it does not lead yet")
	require.True(t, write(t, m.events))
	require.EqualValues(t, 1, m.refused.Load())

	led, stop, ended := m.run(t)
	soon(t, led)
	require.True(t, write(t, m.client))
	stop()
	require.NoError(t, <-ended)
	require.False(t, write(t, m.client), "it has given the lease back")
	require.True(t, write(t, m.events), "and may finish what machines have begun")
	require.Empty(t, m.tenure.Interface.(*lock).holder())
}

// The lease is given back when the last write has arrived.
func TestGivingBackWaits(t *testing.T) {
	l := &lease{}
	m := newMember(l, "a")
	led, stop, ended := m.run(t)
	soon(t, led)
	m.hold = make(chan struct{})
	written := make(chan bool, 1)
	go func() { written <- write(t, m.client) }()
	require.Eventually(t, func() bool { m.tenure.mutex.Lock(); defer m.tenure.mutex.Unlock(); return true }, time.Second, time.Millisecond)
	time.Sleep(100 * time.Millisecond)
	stop()
	time.Sleep(200 * time.Millisecond)
	require.Equal(t, "a", l.holder(), "a write is under way")
	close(m.hold)
	require.True(t, <-written)
	require.NoError(t, <-ended)
	require.Empty(t, l.holder())
}

// A leader that finds the lease with another writes nothing more, leaves the lease alone, and ends.
func TestLeaseOfAnother(t *testing.T) {
	l := &lease{}
	m := newMember(l, "a")
	led, _, ended := m.run(t)
	soon(t, led)
	l.put("b")
	require.ErrorIs(t, <-ended, errLeaseLost)
	require.Equal(t, "b", l.holder())
	require.False(t, write(t, m.client))
	require.False(t, write(t, m.events))
}

// Without a renewal writes end by themselves, before anybody has noticed anything.
func TestWritesEndWithTheRenewals(t *testing.T) {
	m := newMember(&lease{}, "a")
	m.tenure.renewed(time.Now(), nil)
	require.True(t, write(t, m.client))
	m.tenure.renewed(time.Now().Add(-m.tenure.safe), nil)
	require.False(t, write(t, m.client), "the last one is too long ago")
	require.False(t, write(t, m.events))
	m.tenure.renewed(time.Now(), errors.New("no"))
	require.False(t, write(t, m.client), "what failed is none")
	m.tenure.renewed(time.Now(), nil)
	require.True(t, write(t, m.client), "nobody else has had it")
}

// A holder that is silent for the lease's duration is followed at once; one that renews is not; of two that try, one wins.
func TestSilentHolder(t *testing.T) {
	l := &lease{}
	l.put("gone")
	one, two := newMember(l, "one"), newMember(l, "two")
	ledOne, stopOne, endedOne := one.run(t)
	ledTwo, stopTwo, endedTwo := two.run(t)
	for range 10 {
		l.put("gone")
		select {
		case <-ledOne:
			t.Fatal("the holder is alive")
		case <-ledTwo:
			t.Fatal("the holder is alive")
		case <-time.After(250 * time.Millisecond):
		}
	}
	began := time.Now()
	select {
	case <-ledOne:
		stopOne()
		require.NoError(t, <-endedOne)
		soon(t, ledTwo)
		stopTwo()
		require.NoError(t, <-endedTwo)
	case <-ledTwo:
		stopTwo()
		require.NoError(t, <-endedTwo)
		soon(t, ledOne)
		stopOne()
		require.NoError(t, <-endedOne)
	case <-time.After(20 * time.Second):
		t.Fatal("nobody follows")
	}
	require.Greater(t, time.Since(began), 1500*time.Millisecond)
}

func TestAlone(t *testing.T) {
	e, err := newElection(Options{}, nil, nil, metrics.New())
	require.NoError(t, err)
	writes, events := e.fences()
	require.Nil(t, writes)
	require.Nil(t, events)
	ctx, stop := context.WithCancel(t.Context())
	require.NoError(t, e.lead(ctx, func(context.Context) error { stop(); return nil }))
}
