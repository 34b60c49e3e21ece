// Package channel asks the places that releases of an OS come from: a JSON document, the releases of a GitHub
// repository, the tags of a registry's repository. What comes back is a list of releases, or a Failure with a reason.
//
// Nothing that an answer holds is trusted. It is bounded (2 MiB, 1,024 releases, a deadline), read as data and never as
// objects: of an entry only its name, version, type, minVersion and metadata are looked at, whatever else it says. A broken
// document is refused as a whole, a bad entry alone is skipped and told of. Requests go to no address of the operator's own
// host and to none of the cluster's services, follow no redirect to another host, and check certificates.
//
// A Fetcher keeps nothing: what it needs to ask for news only, such as an ETag, travels in the Answer. Messages are the same
// for the same failure, and hold no token and no port of a connection, since they end up in a condition.
//
//	channel.go    Release, Answer, Fetcher, Failure
//	document.go   a list of versions in JSON, from wherever
//	entry.go      one of its entries
//	transport.go  one HTTP round trip: bounds, redirects, certificates
//	guard.go      which addresses may be dialled
//	json.go, github.go, oci.go   the Fetchers
//
// The fourth type of channel runs a Job in the cluster and is in package oschannel, since this one knows no Kubernetes.
package channel
