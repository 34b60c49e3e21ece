// Package inventory turns the assignment of a machine to a cluster into a ClusterRegistrationToken made for it alone.
//
// The Cluster may appear before the assignment or after it, be deleted and made again: each change of a Cluster brings
// its machines back here. A token that the assignment does not ask for any more is deleted, wherever it is: tokens are
// found by the machine that their labels name, never by what a status remembers, so that a crash between two writes
// leaves nothing behind. A finalizer holds the inventory until its tokens are gone.
//
// A Cluster of another namespace must name the machine's own in an annotation (elsewhere.go). New hardware takes the
// place of a machine that is gone, once a person has approved it (replacement.go decides, replace.go does it).
//
//	Watches  MachineInventory; provisioning Cluster; ClusterRegistrationToken
//	Reads    provisioning Cluster
//	Writes   ClusterRegistrationToken (create, delete), MachineInventory finalizer and status, Events;
//	         for a replacement also the labels and specs of the two MachineInventories
package inventory
