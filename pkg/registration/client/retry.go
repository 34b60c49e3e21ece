package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Retry says how often a machine asks again. The zero value is ready to use.
type Retry struct {
	// First and Max are the bounds of the pause, which doubles; default 2 s and 60 s.
	First, Max time.Duration
	// Refusals is how often a final no is accepted as perhaps not final, with pauses of up to an hour; default 8.
	Refusals int
	// OnFailure is told each failure and the pause that follows it.
	OnFailure func(failure *Failure, pause time.Duration)
	// Random is in [0, 1); default math/rand.
	Random func() float64
}

const maxRefusalPause = time.Hour

// Do runs attempt until it succeeds, until repeating it cannot help, or until the context ends. Its error is the last failure.
//
// Pauses are random within the upper half of what is due: machines that were switched on together must not come back
// together. A server that says when to come back is obeyed, and asked a little later than it said.
func (r Retry) Do(ctx context.Context, attempt func(context.Context) error) error {
	r.setDefaults()
	pause, refusals := r.First, 0
	for {
		err := attempt(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		var failure *Failure
		if !errors.As(err, &failure) {
			failure = Explain(err, "the server")
		}
		limit := r.Max
		switch failure.Cause {
		case CauseConfig, CauseDisk, CauseInstall, CauseUnknown:
			return failure
		case CauseTPM:
			if !temporaryTPM(err) {
				return failure
			}
		case CauseRefused:
			limit = maxRefusalPause
			if refusals++; refusals > r.Refusals {
				return failure
			}
		}
		wait := r.jitter(pause)
		if failure.RetryAfter > 0 {
			wait = failure.RetryAfter + time.Duration(r.Random()*float64(failure.RetryAfter)/4)
		}
		if r.OnFailure != nil {
			r.OnFailure(failure, wait)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return failure
		case <-timer.C:
		}
		pause = min(2*pause, limit)
	}
}

func (r *Retry) setDefaults() {
	if r.First <= 0 {
		r.First = 2 * time.Second
	}
	if r.Max <= 0 {
		r.Max = time.Minute
	}
	if r.Refusals <= 0 {
		r.Refusals = 8
	}
	if r.Random == nil {
		r.Random = rand.Float64
	}
}

func (r *Retry) jitter(pause time.Duration) time.Duration {
	return pause/2 + time.Duration(r.Random()*float64(pause)/2)
}
