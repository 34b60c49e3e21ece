package clients

import "time"

// Queue is the part of a typed controller that Enqueue needs.
type Queue interface {
	EnqueueAfter(namespace, name string, delay time.Duration)
}

// Enqueue brings an object back to its handlers at once. Wrangler's method of that name is not used: it goes through the
// rate limiter that is meant for failures, and counts as one more of them. An object that has failed a few times would wait
// for up to two minutes, although what it waits for has just changed.
func Enqueue(queue Queue, namespace, name string) {
	queue.EnqueueAfter(namespace, name, 0)
}
