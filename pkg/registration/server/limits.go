package server

import (
	"context"
	"crypto/sha256"
	"net/http"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// Limits bound what callers can make the server do. A zero field stands for the one of [DefaultLimits].
type Limits struct {
	// Requests bounds those that are served at the same time; Exchanges those of them whose machine has not proven yet
	// who it is. One registration URL gets at most half of either, so that whoever stole one cannot shut out the others.
	Requests, Exchanges int
	// Downloads bounds the boot media that are sent at the same time, at most half of them of one SeedImage.
	Downloads int
	// Connections bounds those that are open on our own listener and wait for a request.
	Connections int
	// URL bounds how often one registration URL is used.
	URL Rate
	// Machine bounds how often one machine gets an answer, once it has proven who it is.
	Machine Rate
	// Stranger bounds, for each network, how often shared secrets can be named that do not exist.
	Stranger Rate
}

// DefaultLimits fit one replica on two cores.
//
// After a power cut every machine of a site comes to one URL at once, and there is nothing wrong with that. So a URL's
// rate lies above what a replica can serve, about 800 machines per second, and cuts off who asks thousands of times per
// second; the in-flight bounds do the rest. Of 1,200 machines at once those beyond the bounds are told when to come
// back, spread over a minute, which a replica needs two seconds for: all get through. A lower rate would slow
// down the honest, and protect nothing that the bounds and maxMachines do not.
//
// A machine has no reason to come more than once a second, whatever its firmware or its retry loop thinks. A network's
// rate is generous because all machines behind Rancher's tunnel look like one; at 100 guesses per second a secret of
// [v1.MinMachineToken] random characters is safe for longer than the machine.
var DefaultLimits = Limits{
	Requests:    1024,
	Exchanges:   256,
	Downloads:   512,
	Connections: 640,
	URL:         Rate{PerSecond: 1000, Burst: 2000},
	Machine:     Rate{PerSecond: 1, Burst: 5},
	Stranger:    Rate{PerSecond: 100, Burst: 1000},
}

// or fills in the defaults.
func (l Limits) or(defaults Limits) Limits {
	filled := Limits{
		Requests:    orInt(l.Requests, defaults.Requests),
		Downloads:   orInt(l.Downloads, defaults.Downloads),
		Connections: orInt(l.Connections, defaults.Connections),
		URL:         l.URL.or(defaults.URL),
		Machine:     l.Machine.or(defaults.Machine),
		Stranger:    l.Stranger.or(defaults.Stranger),
	}
	filled.Exchanges = min(orInt(l.Exchanges, defaults.Exchanges), filled.Requests)
	return filled
}

func orInt(value, fallback int) int {
	if value == 0 {
		return fallback
	}
	return value
}

// limits are the Limits at work.
type limits struct {
	requests, exchanges      *slots
	downloads                *slots
	urls, machines, networks *rates
	connections              *connections
}

func newLimits(l Limits) *limits {
	return &limits{
		requests:    newSlots(l.Requests),
		exchanges:   newSlots(l.Exchanges),
		downloads:   newSlots(l.Downloads),
		urls:        newRates(l.URL),
		machines:    newRates(l.Machine),
		networks:    newRates(l.Stranger),
		connections: newConnections(l.Connections),
	}
}

// slots are places for work under way, of which each share gets at most half.
type slots struct {
	mutex sync.Mutex
	total int
	free  int
	share int
	taken map[string]int
}

func newSlots(total int) *slots {
	return &slots{total: total, free: total, share: max(1, total/2), taken: map[string]int{}}
}

// take takes a slot, if there is one for whom.
func (s *slots) take(whom string) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.free == 0 || s.taken[whom] >= s.share {
		return false
	}
	s.free--
	s.taken[whom]++
	return true
}

func (s *slots) give(whom string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.free++
	if s.taken[whom]--; s.taken[whom] == 0 {
		delete(s.taken, whom)
	}
}

// whom is the share of the slots that a request counts for: the registration URL's, or the fixed path's.
func whom(r *http.Request) string {
	return urlKey(r.URL.EscapedPath())
}

// urlKey keeps the token itself out of memory.
func urlKey(path string) string {
	if token, ok := strings.CutPrefix(path, protocol.PathRegistration); ok {
		sum := sha256.Sum256([]byte(token))
		return string(sum[:])
	}
	return path
}

// claim is a request whose machine says who it is.
type claim struct {
	limits *limits
	whom   string
	once   sync.Once
}

type claimKey struct{}

// admit takes a slot for an exchange; the claim in the request that it returns must be ended.
func (l *limits) admit(r *http.Request) (*http.Request, *claim, error) {
	c := &claim{limits: l, whom: whom(r)}
	if !l.exchanges.take(c.whom) {
		return nil, nil, busy()
	}
	return r.WithContext(context.WithValue(r.Context(), claimKey{}, c)), c, nil
}

// end gives the slot back, unless the machine's proof has done so.
func (c *claim) end() {
	c.once.Do(func() { c.limits.exchanges.give(c.whom) })
}

// machine keeps what a machine asks at one path apart from what it asks at another: it registers, then polls.
func (c *claim) machine(hash string) string {
	return c.whom + "/" + hash
}

// counted lets the conversation's machine be counted: once it has proven who it is, it holds no slot for the unproven any
// more, and the answer counts for it. Claims do not count: else anybody who knows a machine's public key could shut it out.
func (c conversation) counted(r *http.Request) conversation {
	claim, ok := r.Context().Value(claimKey{}).(*claim)
	if !ok {
		return c
	}
	counted := c
	counted.known = func(hash string) error {
		if err := claim.limits.machines.check(claim.machine(hash)); err != nil || c.known == nil {
			return err
		}
		return c.known(hash)
	}
	counted.answer = func(who caller) ([]byte, error) {
		claim.proven(who.Identity.Hash)
		return c.answer(who)
	}
	if c.callHome != nil {
		counted.callHome = func(who caller) (*protocol.Assignment, error) {
			claim.proven(who.Identity.Hash)
			return c.callHome(who)
		}
	}
	return counted
}

func (c *claim) proven(hash string) {
	c.end()
	_ = c.limits.machines.spend(c.machine(hash))
}

// sharedKey is a machine with a shared secret in machines, apart for each path.
func sharedKey(r *http.Request, digest [sha256.Size]byte) string {
	return whom(r) + "/" + string(digest[:])
}

// Times after which to come back to a server that is full, spread so that not all come back at once.
const (
	minBusyRetry = 5 * time.Second
	maxBusyRetry = 60 * time.Second
)

// spread is a random time between least and most.
func spread(least, most time.Duration) time.Duration {
	return wait.Jitter(least, float64(most-least)/float64(least))
}

func busy() *protocol.Error {
	return &protocol.Error{Code: protocol.CodeUnavailable, RetryAfter: spread(minBusyRetry, maxBusyRetry), Err: errBusy,
		Message: "the server is busy", Hint: "come back later"}
}
