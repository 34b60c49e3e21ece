// Package oschannel turns a ManagedOSVersionChannel into ManagedOSVersions: it asks the channel every so often, and makes a
// version of each release that is new.
//
// Asking takes time that belongs to others, so every channel has a worker of its own: a slow channel holds up nobody. What
// it was told stays in memory, and the handler brings the API to it, whenever something changes: after an answer, after an
// edit, after somebody deleted a version. A channel whose answer is the same costs no write, but for the time of the last
// sync, once an hour.
//
// A version, once made, stays as it is: nodes may run it. What a channel says otherwise later is reported and not done. A
// version that is not listed any more is marked, or deleted where spec.prune asks for it and no image names it; an answer
// that is empty, or lacks more than half, does neither, since a mistake at the other end is likelier. A version that somebody
// else made is never touched.
//
// Versions of the types json and custom have the names that the document gives them. Those of github-releases and oci are
// named after the channel and the tag: stable-v1.2.3.
//
//	Watches  ManagedOSVersionChannel; ManagedOSVersion
//	Reads    Secret in spec.secretName; ManagedOSImage (to know which versions are named); for the type custom Job, Pod and
//	         its log
//	Writes   ManagedOSVersion, ManagedOSVersionChannel status, Events; for the type custom Job
//
//	poller.go, worker.go, schedule.go   when a channel is asked, and by whom
//	source.go                           from the spec to what asks
//	job.go, jobfetcher.go               channels of the type custom
//	versions.go                         what is to become of the versions; pure
//	handler.go, apply.go, status.go     as in every controller
package oschannel
