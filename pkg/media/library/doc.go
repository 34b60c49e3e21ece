// Package library is where boot media are handed out: it knows, for each SeedImage, which base it is made of, what is put
// on it, and how far that has come.
//
//	library.go   Run: on every replica, bases are there before anybody asks for them
//	fetch.go     one fetch per base, and when to try again
//	image.go     what is put on a medium, and the image that comes of it
//	report.go    on the leader, what was found goes into the status
//	medium.go    Find and Serve: who gets what
//	send.go      the bytes on their way, and when they count as handed out
//	ipxe.go      the script for the network
//
// The work is shared with the controller of SeedImages so: the controller decides on token, addresses, expiry and the one
// Ready condition, and touches no medium; the library touches media, and reports facts (size, checksums, what is wrong with
// a base) into fields of the status that are its own. They meet in the API server.
//
// Nothing is stored for a SeedImage. The image is planned anew for each request, in a fraction of a millisecond, from the
// registration's present URL and the present CA: a medium that is downloaded now works now. Whether two requests mean the
// same image, so that one can go on where the other broke, the ETag says.
package library
