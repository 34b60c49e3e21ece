package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestComponentsStopInReverseOrder(t *testing.T) {
	ctx, died := context.WithCancelCause(t.Context())
	c := components{died: died}
	var stopped []string // no lock: each stop waits for the one before
	for _, name := range []string{"store", "server", "manager"} {
		c.start(name, func(ctx context.Context) error {
			<-ctx.Done()
			stopped = append(stopped, name)
			return nil
		})
	}
	if err := c.stop(time.Minute, newNarrator(io.Discard)); err != nil {
		t.Fatal(err)
	}
	if want := []string{"manager", "server", "store"}; !slices.Equal(stopped, want) {
		t.Errorf("stopped %v, want %v", stopped, want)
	}
	if ctx.Err() != nil {
		t.Errorf("a stop that was asked for counts as a death: %v", context.Cause(ctx))
	}
}

func TestLeaveAllBut(t *testing.T) {
	c := components{died: func(error) {}}
	stopped := make(chan string, 3)
	for _, name := range []string{"store", "server", "manager"} {
		c.start(name, func(ctx context.Context) error {
			<-ctx.Done()
			stopped <- name
			return nil
		})
	}
	left := slices.Clone(c.running[1:])
	c.leaveAllBut("store")
	if err := c.stop(time.Minute, newNarrator(io.Discard)); err != nil {
		t.Fatal(err)
	}
	if len(stopped) != 1 || <-stopped != "store" {
		t.Error("more than the store was stopped")
	}
	for _, part := range left {
		part.stop()
		<-part.done
	}
}

func TestDeathOfOneEndsAll(t *testing.T) {
	reason := errors.New("out of paper")
	for _, test := range []struct {
		reason string
		err    error
		want   string
	}{
		{"an error is passed on", reason, "server has ended: out of paper"},
		{"an end without a reason is an error too", nil, "server has ended"},
	} {
		t.Run(test.reason, func(t *testing.T) {
			ctx, died := context.WithCancelCause(t.Context())
			c := components{died: died}
			c.start("store", func(ctx context.Context) error { <-ctx.Done(); return nil })
			c.start("server", func(context.Context) error { return test.err })

			<-ctx.Done()
			if cause := context.Cause(ctx); !strings.Contains(cause.Error(), test.want) {
				t.Errorf("got %q, want %q", cause, test.want)
			}
			// What has died is not reported a second time.
			if err := c.stop(time.Minute, newNarrator(io.Discard)); err != nil {
				t.Errorf("stopping the rest: %v", err)
			}
		})
	}
}

func TestStopDoesNotWaitForever(t *testing.T) {
	c := components{died: func(error) {}}
	storeStopped := false
	hang := make(chan struct{})
	defer close(hang)
	c.start("store", func(ctx context.Context) error { <-ctx.Done(); storeStopped = true; return nil })
	c.start("server", func(context.Context) error { <-hang; return nil })

	var said strings.Builder
	if err := c.stop(10*time.Millisecond, newNarrator(&said)); err != nil {
		t.Errorf("got %v; leaving a slow part behind is no failure", err)
	}
	if !storeStopped {
		t.Error("the store below the slow part was not stopped")
	}
	if !strings.Contains(said.String(), "server is not done") {
		t.Errorf("the slow part was not named: %q", said.String())
	}
}
