package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rancher/rancheros-operator/pkg/registration/client"
)

// console talks to the person at the machine. Nothing that is printed holds a token: callers name servers by their host.
type console struct {
	out, err io.Writer
	said     map[string]bool
}

// result is what the command was called for.
func (c *console) result(format string, args ...any) { fmt.Fprintf(c.out, format+"\n", args...) }

// progress is everything else.
func (c *console) progress(format string, args ...any) { fmt.Fprintf(c.err, format+"\n", args...) }

// once is progress that does not bear repeating with every attempt.
func (c *console) once(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if c.said[line] {
		return
	}
	if c.said == nil {
		c.said = map[string]bool{}
	}
	c.said[line] = true
	c.progress("%s", line)
}

// failure says what happened and what to do.
func (c *console) failure(err error) {
	failure := explain(err)
	c.progress("%s", sentence(failure))
	c.advice(failure)
}

// sentence says how bad it is, unless the message does.
func sentence(failure *client.Failure) string {
	switch {
	case strings.HasPrefix(failure.Message, "waiting "):
		return "W" + failure.Message[1:] + "."
	case failure.Cause == client.CauseNotYet:
		return "Waiting: " + failure.Message + "."
	default:
		return "Failed: " + failure.Message + "."
	}
}

func (c *console) advice(failure *client.Failure) {
	if failure.Hint != "" {
		c.progress("What to do: %s.", failure.Hint)
	}
	c.clock(failure.Clock)
}

// clock warns of a clock that is wrong by the server's, whatever else happened.
func (c *console) clock(problem string) {
	if problem != "" {
		c.progress("Warning: %s; set it in the firmware's setup, or give the machine a time server.", problem)
	}
}

// retrying is a failure that is not the end.
func (c *console) retrying(failure *client.Failure, pause time.Duration) {
	c.progress("%s Asking again in %s.", sentence(failure), pause.Round(100*time.Millisecond))
	c.advice(failure)
}

func explain(err error) *client.Failure {
	var failure *client.Failure
	if errors.As(err, &failure) {
		return failure
	}
	return client.Explain(err, "the server")
}
