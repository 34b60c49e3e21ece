// Package supportbundle packs what somebody needs who is to help from afar into one archive, without a secret in it.
//
//	bundle.go   the archive, its bounds, and what goes into it in which order
//	collect.go  objects, from the API server page by page
//	operator.go the operator's own pods and what they have logged
//	fields.go   for each kind, which fields are shown; whatever is not named there is not
//	redact.go   takes the rest away, and out of texts what looks like a secret
//
// Secrets are not read, not even listed. What cannot be read is said in errors.txt of the archive, and is no reason to go without
// the rest: bundles are made where something is broken.
package supportbundle
