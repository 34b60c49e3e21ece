package server

import (
	"container/list"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// Rate is how often something may happen for long, and how often at once.
type Rate struct {
	PerSecond float64
	Burst     int
}

func (r Rate) or(fallback Rate) Rate {
	if r == (Rate{}) {
		return fallback
	}
	return r
}

// maxBuckets bounds how many callers are remembered; the one that was quiet for longest is forgotten first, and with a
// full bucket loses nothing by it.
const maxBuckets = 100_000

// rates holds a Rate against each of many callers.
type rates struct {
	rate Rate
	max  int
	now  func() time.Time

	mutex   sync.Mutex
	buckets map[string]*list.Element
	// recent has the bucket that was used last in front.
	recent *list.List
}

type bucket struct {
	key     string
	limiter *rate.Limiter
	// waiting is about how many were refused and will come back: it shrinks at the bucket's rate.
	waiting float64
	since   time.Time
}

func newRates(r Rate) *rates {
	return &rates{rate: r, max: maxBuckets, now: time.Now, buckets: map[string]*list.Element{}, recent: list.New()}
}

// spend counts one use, or refuses it.
func (r *rates) spend(key string) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	now, b := r.now(), r.bucket(key)
	if b.limiter.AllowN(now, 1) {
		return nil
	}
	return r.refuse(b, now)
}

// check refuses what spend would refuse, and counts nothing.
func (r *rates) check(key string) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if _, known := r.buckets[key]; !known {
		return nil
	}
	now, b := r.now(), r.bucket(key)
	if b.limiter.TokensAt(now) >= 1 {
		return nil
	}
	return r.refuse(b, now)
}

// bucket finds or makes the caller's.
func (r *rates) bucket(key string) *bucket {
	if element, known := r.buckets[key]; known {
		r.recent.MoveToFront(element)
		return element.Value.(*bucket)
	}
	if len(r.buckets) >= r.max {
		oldest := r.recent.Remove(r.recent.Back()).(*bucket)
		delete(r.buckets, oldest.key)
	}
	b := &bucket{key: key, limiter: rate.NewLimiter(rate.Limit(r.rate.PerSecond), r.rate.Burst), since: r.now()}
	r.buckets[key] = r.recent.PushFront(b)
	return b
}

// refuse says when to come back: after about as long as it takes to serve those who were refused before, at random, so
// that a crowd comes back as a queue.
func (r *rates) refuse(b *bucket, now time.Time) error {
	b.waiting = max(0, b.waiting-now.Sub(b.since).Seconds()*r.rate.PerSecond) + 1
	b.since = now
	queue := time.Duration(2 * b.waiting / r.rate.PerSecond * float64(time.Second))
	return &protocol.Error{Code: protocol.CodeRateLimited, Message: "too many requests", Hint: "come back later",
		RetryAfter: spread(time.Second, min(max(queue, minBusyRetry), maxBusyRetry))}
}

// network is where a caller is, as coarse as addresses are handed out. All that comes through Rancher's tunnel is one.
func network(r *http.Request) string {
	address, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return "tunnel"
	}
	ip, bits := address.Addr().Unmap(), 64
	if ip.Is4() {
		bits = 24
	}
	prefix, err := ip.WithZone("").Prefix(bits)
	if err != nil {
		return "tunnel"
	}
	return prefix.String()
}
