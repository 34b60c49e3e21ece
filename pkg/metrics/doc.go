// Package metrics is all that the operator tells Prometheus, and the one place where a metric is defined:
//
//	the list of all metrics: name, type, labels, help        catalog.go
//	the registry and /metrics                                metrics.go
//	what the registration server and the tunnel count        serving.go
//	how long exchanges take                                  durations.go
//	machines, rollouts and channels, from the caches         fleet.go, machines.go
//	what client-go tells: queues, requests, the lease        library.go
//
// Nothing is computed for Prometheus on the path of a machine: the server counts for itself, and is read when Prometheus
// asks; histograms have their labels from the start. Machines are counted as they change, so a scrape costs the same
// whether there are ten or a hundred thousand.
//
// Labels have few values: names of machines, hashes, tokens and addresses are none. Those of images and channels are, up to
// a bound, since people look for them.
//
// What is told of the fleet comes from the replica that leads alone: each number is there once, and sums are right.
package metrics
