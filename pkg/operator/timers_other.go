//go:build !linux

package operator

import "time"

// RelaxTimers does nothing where threads have no slack.
func RelaxTimers(time.Duration) error { return nil }
