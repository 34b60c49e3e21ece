// Package seedimage turns a SeedImage into addresses that a boot medium is downloaded from.
//
// Each has a token of its own, made once, at random, in a Secret that the SeedImage owns: it can be handed to whoever burns
// media, and ended, without touching the registration. The medium itself is not this package's business. media/library
// fetches the base on every replica and serves from there, and the leader's reports into the status what it found; from
// that, and from what the spec allows, the Ready condition is computed here.
//
//	Watches  SeedImage; Secret of type rancheros.cattle.io/seed-image; MachineRegistration; Setting server-url
//	Reads    Setting server-url, MachineRegistration
//	Writes   Secret (once), SeedImage status (but for what media/library reports), Events
package seedimage
