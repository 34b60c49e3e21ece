package server

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// Histogram takes what was measured, in seconds; Prometheus' histograms are such.
type Histogram interface {
	Observe(seconds float64)
}

// Durations are told how long the parts of an exchange take; the zero value is told nothing.
type Durations struct {
	// Challenge is the work between a claim and the challenge for it.
	Challenge Histogram
	// Attestation is the wait from the challenge to the proof, and its check: the machine's TPM and the network, mostly.
	Attestation Histogram
	// Answer is the work from the proof to the answer or the refusal: for a new machine, a write to the API server.
	Answer Histogram
}

// Enrolled counts the machines that were given their configuration.
type Enrolled struct {
	// New made their inventory with this request, or made one that was written beforehand their own; Known had done so.
	New, Known uint64
}

// enrolled counts at work.
type enrolled struct{ fresh, known atomic.Uint64 }

// Enrolled is how many machines were given their configuration since the start.
func (s *Server) Enrolled() Enrolled {
	return Enrolled{New: s.enrolled.fresh.Load(), Known: s.enrolled.known.Load()}
}

// Usage is how many of the places of one kind are taken.
type Usage struct {
	Of           string
	Taken, Limit int
}

// InFlight is what is being served.
func (s *Server) InFlight() []Usage {
	return []Usage{
		s.limits.requests.usage("requests"),
		s.limits.exchanges.usage("exchanges"),
		s.limits.downloads.usage("downloads"),
	}
}

func (s *slots) usage(of string) Usage {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return Usage{Of: of, Taken: s.total - s.free, Limit: s.total}
}

// errBusy tells a server that is full from one that fails: both are unavailable to a machine.
var errBusy = errors.New("all places are taken")

// ReasonBusy and ReasonDowngrade are what refusals are counted under beside the codes of protocol: a server that was full,
// and a client that asked to be believed without proof, because somebody built it so.
const (
	ReasonBusy      = "busy"
	ReasonDowngrade = "downgrade"
)

// stopwatch measures one exchange, part by part.
type stopwatch struct {
	Durations
	last time.Time
}

func newStopwatch(durations Durations) *stopwatch {
	return &stopwatch{Durations: durations, last: time.Now()}
}

// lap tells how long the part that has just ended took.
func (w *stopwatch) lap(part Histogram) {
	if part == nil {
		return
	}
	now := time.Now()
	part.Observe(now.Sub(w.last).Seconds())
	w.last = now
}

// over measures the conversation's proof and answer.
func (w *stopwatch) over(c conversation) conversation {
	measured := c
	measured.answer = func(who caller) ([]byte, error) {
		w.lap(w.Attestation)
		defer w.lap(w.Answer)
		return c.answer(who)
	}
	if c.callHome != nil {
		measured.callHome = func(who caller) (*protocol.Assignment, error) {
			w.lap(w.Attestation)
			defer w.lap(w.Answer)
			return c.callHome(who)
		}
	}
	return measured
}
