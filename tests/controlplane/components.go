package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// stopGrace is what all parts together get for a stop in good order.
const stopGrace = 5 * time.Second

// component is one part of the control plane with a goroutine of its own.
type component struct {
	name string
	stop context.CancelFunc
	done chan struct{}
	err  error // how it ended; read it after done
}

// components start one after the other, each on top of those before it, and
// stop in the opposite order.
type components struct {
	running []*component
	// died is told when a part ends without having been asked to. None of
	// them is of any use without the others.
	died context.CancelCauseFunc
}

// start runs a part. Its context is its own: it ends when its turn to stop has
// come, not with the first signal.
func (c *components) start(name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	part := &component{name: name, stop: cancel, done: make(chan struct{})}
	c.running = append(c.running, part)
	go func() {
		defer close(part.done)
		part.err = run(ctx)
		if ctx.Err() != nil {
			return
		}
		if part.err == nil {
			part.err = errors.New("it gives no reason")
		}
		c.died(fmt.Errorf("%s has ended: %w", name, part.err))
	}()
}

// leaveAllBut lets go of every part but one; they end with the process.
func (c *components) leaveAllBut(name string) {
	c.running = slices.DeleteFunc(c.running, func(part *component) bool { return part.name != name })
}

// stop ends the parts within the grace. A part that takes longer is left
// behind: it may only be waiting for a client, and it ends with the process.
// An error means that a part did not come to a good end.
func (c *components) stop(grace time.Duration, log *narrator) error {
	deadline := time.After(grace)
	var failures []error
	for i := len(c.running) - 1; i >= 0; i-- {
		part := c.running[i]
		begin := time.Now()
		select {
		case <-part.done: // it is what ended us, and that is reported
			continue
		default:
		}
		part.stop()
		select {
		case <-part.done:
			log.sayf("%s stopped in %.2fs", part.name, time.Since(begin).Seconds())
			if part.err != nil {
				failures = append(failures, fmt.Errorf("stopping %s: %w", part.name, part.err))
			}
		case <-deadline:
			log.sayf("%s is not done after %s; going on without it", part.name, grace)
			deadline = time.After(time.Second) // the parts below still deserve a chance
		}
	}
	return errors.Join(failures...)
}
