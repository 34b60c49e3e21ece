// Package osversion orders the versions of an operating system, and says which one a node takes next.
//
// A version is read from what a node says of itself ("RancherOS v0.2.1-rc1"), from an image reference, or from a
// ManagedOSVersion. The order is that of semantic versioning, with one liberty: numbers inside a word count as numbers, so
// that rc2 comes before rc10, which is what everybody means who leaves out semver's dot. Calendar versions such as 22.04
// and shorter ones such as 5.4 have their place too.
//
// Where the order is not certain, the answer is "unknown" and never a guess, because a wrong guess is a downgrade: a
// digest, the tag latest, a build between two releases (v1.2.3-5-g0123abc), two builds of one version (+k3s1, +k3s2).
//
// Next walks from a node's version to a target, where a release may ask for a least version to come from: straight, by
// way of the releases between, or not at all, with the reason.
package osversion
