package client

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// tolerableSkew is how far apart two clocks may be before certificates and tokens fail for it.
const tolerableSkew = 5 * time.Minute

// clockProblem compares this machine's clock with the Date of an answer. It is a sentence; empty when there is no problem, or no Date.
func clockProblem(header http.Header, now time.Time) string {
	server, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return ""
	}
	skew := server.Sub(now).Round(time.Minute)
	switch {
	case skew >= tolerableSkew:
		return fmt.Sprintf("this machine's clock is %s behind the server's (%s UTC)", span(skew), server.UTC().Format(time.DateTime))
	case skew <= -tolerableSkew:
		return fmt.Sprintf("this machine's clock is %s ahead of the server's (%s UTC)", span(-skew), server.UTC().Format(time.DateTime))
	default:
		return ""
	}
}

// span is a duration as people say it.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= 2*day:
		return fmt.Sprintf("%d days", d/day)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	default:
		return fmt.Sprintf("%d minutes", d/time.Minute)
	}
}

// clockError is an error of a machine whose clock is wrong, which may or may not be why.
type clockError struct {
	error
	clock string
}

func (e *clockError) Unwrap() error { return e.error }

func withClock(err error, clock string) error {
	if err == nil || clock == "" {
		return err
	}
	return &clockError{err, clock}
}

// clockOf is the sentence inside an error.
func clockOf(err error) string {
	var wrong *clockError
	if errors.As(err, &wrong) {
		return wrong.clock
	}
	return ""
}
