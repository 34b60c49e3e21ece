package server

import (
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

func TestSlots(t *testing.T) {
	s := newSlots(8)
	for range 4 {
		require.True(t, s.take("a"))
	}
	require.False(t, s.take("a"), "nobody gets more than half")
	for range 4 {
		require.True(t, s.take("b"), "the other half is for the others")
	}
	require.False(t, s.take("c"), "and then it is full")
	for range 4 {
		s.give("a")
	}
	require.True(t, s.take("c"))
	s.give("c")
	for range 4 {
		s.give("b")
	}
	require.Empty(t, s.taken, "nobody is remembered who holds nothing")
	require.Equal(t, 8, s.free)
	require.True(t, newSlots(1).take("a"), "half of one is one")
}

// clock is a rates with a time of its own.
func clock(r Rate) (*rates, func(time.Duration)) {
	now := time.Unix(1e9, 0)
	limited := newRates(r)
	limited.now = func() time.Time { return now }
	return limited, func(d time.Duration) { now = now.Add(d) }
}

func TestRates(t *testing.T) {
	r, pass := clock(Rate{PerSecond: 1, Burst: 5})
	for range 5 {
		require.NoError(t, r.check("a"))
		require.NoError(t, r.spend("a"))
	}
	require.Error(t, r.check("a"))
	err := r.spend("a")
	refusal := protocol.AsError(err)
	require.Equal(t, protocol.CodeRateLimited, refusal.Code)
	require.NoError(t, r.spend("b"), "others are unaffected")
	pass(time.Second)
	require.NoError(t, r.check("a"))
	require.NoError(t, r.check("a"), "a check counts nothing")
	require.NoError(t, r.spend("a"))
	require.Error(t, r.spend("a"))
	require.NoError(t, r.check("stranger"))
	require.Len(t, r.buckets, 2, "a check remembers nobody")
}

func TestRatesForgetTheOldest(t *testing.T) {
	r, _ := clock(Rate{PerSecond: 1, Burst: 1})
	r.max = 100
	require.NoError(t, r.spend("busy"))
	for i := range 10_000 {
		require.NoError(t, r.spend(fmt.Sprint(i)))
		require.Error(t, r.spend("busy"), "who is active is remembered")
	}
	require.Len(t, r.buckets, 100)
	require.Equal(t, 100, r.recent.Len())
}

// 1,200 machines whose power comes back at once, on one URL with a rate that is low on purpose: whoever is refused is told
// when to come back, does so, and gets in.
func TestACrowdBecomesAQueue(t *testing.T) {
	r, pass := clock(Rate{PerSecond: 10, Burst: 100})
	due := map[int][]int{}
	for machine := range 1200 {
		due[0] = append(due[0], machine)
	}
	tries, served, last := map[int]int{}, 0, 0
	for second := 0; served < 1200; second++ {
		require.Less(t, second, 300, "%d are served", served)
		for _, machine := range due[second] {
			tries[machine]++
			err := r.spend("url")
			if err == nil {
				served, last = served+1, second
				continue
			}
			after := protocol.AsError(err).RetryAfter
			require.GreaterOrEqual(t, after, time.Second)
			require.LessOrEqual(t, after, time.Minute)
			later := second + int(math.Ceil(after.Seconds()))
			due[later] = append(due[later], machine)
		}
		pass(time.Second)
	}
	most := 0
	for _, n := range tries {
		most = max(most, n)
	}
	require.LessOrEqual(t, last, 200, "1,100 at 10 per second, and little waste")
	t.Logf("all served after %d s, with at most %d tries", last, most)
}

// The same crowd and the defaults: nobody is refused by the URL's rate.
func TestDefaultsTakeACrowd(t *testing.T) {
	r, _ := clock(DefaultLimits.URL)
	for range 1200 {
		require.NoError(t, r.spend("url"))
	}
}

func TestBusyIsSpread(t *testing.T) {
	seen := map[int64]int{}
	for range 1000 {
		after := busy().RetryAfter
		require.GreaterOrEqual(t, after, minBusyRetry)
		require.LessOrEqual(t, after, maxBusyRetry)
		seen[int64(after/time.Second)]++
	}
	require.Greater(t, len(seen), 40, "all over the minute")
}

func TestDefaults(t *testing.T) {
	require.Equal(t, DefaultLimits, Limits{}.or(DefaultLimits))
	require.Equal(t, 7, Limits{Requests: 7}.or(DefaultLimits).Exchanges, "no more exchanges than requests")
	require.Equal(t, Rate{PerSecond: 2, Burst: 3}, Limits{URL: Rate{PerSecond: 2, Burst: 3}}.or(DefaultLimits).URL)
	require.Equal(t, 3, New(Options{MaxInFlight: 3, Limits: Limits{Requests: 9}}).limits.requests.free)
}

func TestNetwork(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7:1234":            "192.0.2.0/24",
		"[::ffff:192.0.2.9]:1":      "192.0.2.0/24",
		"[2001:db8:1:2:3::1]:1":     "2001:db8:1:2::/64",
		"[fe80::1%eth0]:1":          "fe80::/64",
		"":                          "tunnel",
		"@":                         "tunnel",
		"rancher.example.com:12345": "tunnel",
	} {
		require.Equal(t, want, network(&http.Request{RemoteAddr: remote}), remote)
	}
}

// A claim that is not proven costs the machine nothing; one that is counts, and frees its slot at once.
func TestClaims(t *testing.T) {
	l := newLimits(Limits{Exchanges: 2, Machine: Rate{PerSecond: 1, Burst: 1}}.or(DefaultLimits))
	plain := httptest.NewRequest(http.MethodGet, registrationPath, nil)
	who := caller{Identity: attestation.Identity{Hash: "hash"}}
	served := conversation{answer: func(caller) ([]byte, error) { return []byte("config"), nil },
		callHome: func(caller) (*protocol.Assignment, error) { return nil, nil }}
	for range 10 {
		r, c, err := l.admit(plain)
		require.NoError(t, err)
		require.NoError(t, served.counted(r).known("hash"))
		c.end()
	}
	r, c, err := l.admit(plain)
	require.NoError(t, err)
	_, _, err = l.admit(plain)
	require.Equal(t, protocol.CodeUnavailable, protocol.AsError(err).Code, "half of the two is this URL's")
	body, err := served.counted(r).answer(who)
	require.NoError(t, err)
	require.Equal(t, "config", string(body))
	next, other, err := l.admit(plain)
	require.NoError(t, err)
	require.Equal(t, protocol.CodeRateLimited, protocol.AsError(served.counted(next).known("hash")).Code)
	require.NoError(t, served.counted(next).known("another"))
	refusing := served
	refusing.known = func(string) error { return notFound() }
	require.Equal(t, protocol.CodeNotFound, protocol.AsError(refusing.counted(next).known("another")).Code)
	_, err = served.counted(next).callHome(who)
	require.NoError(t, err, "what is proven is answered")
	c.end()
	other.end()
	require.Equal(t, 2, l.exchanges.free, "given back once each")
	require.Nil(t, served.counted(plain).known, "a request that holds no slot")
}

type pretendConn struct {
	net.Conn
	closed bool
}

func (c *pretendConn) Close() error {
	c.closed = true
	return nil
}

func TestConnections(t *testing.T) {
	c := newConnections(2)
	now := time.Unix(1e9, 0)
	c.now = func() time.Time { return now }
	var all []*pretendConn
	open := func(state http.ConnState) *pretendConn {
		conn := &pretendConn{}
		all = append(all, conn)
		now = now.Add(quietGrace)
		c.follow(conn, http.StateNew)
		if state != http.StateNew {
			c.follow(conn, state)
		}
		return conn
	}
	first, second := open(http.StateNew), open(http.StateNew)
	request := httptest.NewRequest(http.MethodGet, "/", nil)
	c.follow(first, http.StateActive)
	c.serving(request.WithContext(c.remember(request.Context(), first)))
	third := open(http.StateNew)
	require.False(t, first.closed || second.closed || third.closed, "one is being served and does not count")
	open(http.StateNew)
	require.True(t, second.closed, "the oldest that waits makes room")
	c.follow(second, http.StateClosed)
	c.follow(first, http.StateIdle)
	require.True(t, third.closed)
	require.False(t, first.closed, "it has just been served, and is the youngest")

	reading := open(http.StateActive)
	require.False(t, reading.closed)
	open(http.StateActive)
	require.True(t, reading.closed, "those that are in the middle of their headers are fewer")

	burst := []*pretendConn{}
	for range 3 {
		conn := &pretendConn{}
		burst = append(burst, conn)
		c.follow(conn, http.StateNew)
	}
	require.False(t, burst[0].closed, "all come at once, and get their time")
	for range 3 {
		conn := &pretendConn{}
		burst = append(burst, conn)
		c.follow(conn, http.StateNew)
	}
	require.True(t, burst[0].closed, "but no more than twice as many as should be")
	for _, conn := range append(all, burst...) {
		c.follow(conn, http.StateClosed)
	}
	require.Empty(t, c.places)
	require.Zero(t, c.quiet.Len()+c.reading.Len())
	c.serving(request)
}

func TestConcurrentLimits(t *testing.T) {
	l := newLimits(DefaultLimits)
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := range 500 {
				key := fmt.Sprint(i % 7)
				if l.exchanges.take(key) {
					l.exchanges.give(key)
				}
				_ = l.machines.check(key)
				_ = l.machines.spend(key)
				conn := &pretendConn{}
				l.connections.follow(conn, http.StateNew)
				l.connections.follow(conn, http.StateClosed)
				_ = worker
			}
		})
	}
	group.Wait()
	require.Equal(t, DefaultLimits.Exchanges, l.exchanges.free)
}
