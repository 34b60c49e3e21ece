package oschannel

import "time"

const (
	defaultInterval = time.Hour
	// leastBackoff and mostBackoff bound the time between two tries of a channel that fails.
	leastBackoff = time.Minute
	mostBackoff  = time.Hour
	// jitter is the part of a wait that is left to chance, so that channels that began together do not stay together. Waits
	// get shorter by it: a release is found within one poll.
	jitter = 0.1
)

// wait is how long to wait after a try: the poll's interval after a good answer; after the n-th failure in a row a minute,
// two, four, and so on up to an hour, and never less than the server asks for. Chance is from 0 to 1.
func wait(interval time.Duration, failures int, after time.Duration, chance float64) time.Duration {
	shorter := func(d time.Duration) time.Duration { return d - time.Duration(jitter*chance*float64(d)) }
	if failures == 0 {
		return shorter(interval)
	}
	backoff := mostBackoff
	if doubled := failures - 1; doubled < 6 {
		backoff = leastBackoff << doubled
	}
	return max(shorter(min(backoff, mostBackoff)), after)
}

// interval reads spec.pollInterval, which the API server has checked; objects from before that count as the default.
func interval(text string) time.Duration {
	parsed, err := time.ParseDuration(text)
	if err != nil || parsed < time.Minute || parsed > 168*time.Hour {
		return defaultInterval
	}
	return parsed
}
