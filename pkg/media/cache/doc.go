// Package cache keeps base media on disk: each is fetched once, checked, and then shared by all the images that are made
// of it. A base is named by its SHA-256, so two addresses of one medium share one file.
//
//	cache.go      Cache: look up, fetch, make room
//	source.go     where a base comes from: an address, a registry, a folder
//	fetch.go      one base from its source to its place
//	download.go   HTTP: resumed where it broke, given up where it stalls
//	registry.go   OCI registries: from a reference to a blob
//	unpack.go     the image out of a container image's layer
//	disk.go       files that are whole or not there, locks, free space
//	errors.go     what is said when it does not work
//
// On disk, below the cache's folder:
//
//	bases/<sha256>.iso     a base that was checked, and is never written again
//	bases/<sha256>.json    its size, and states of its hash (see media/iso)
//	sources/<key>          which base a source has led to
//	partial/<key>          a base that is on its way, locked by the process that fetches it
//
// A base appears under its name by a rename, when all of it is on the disk and checked: a process that is killed leaves a
// partial behind, which the next one goes on with. Several processes may share a folder.
//
// The folder's size is bounded. To make room, what nobody needs goes first, in the order of last use; what an image needs
// or a download reads stays, and when that is all, a new base is refused with a sentence that says so.
package cache
