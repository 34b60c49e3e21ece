// Package machine is what a machine can say about itself without being believed: its firmware's tables (SMBIOS), its host name, its
// addresses, its operating system; and how names and labels are made from them.
//
//	ReadSMBIOS   the kernel's DMI tables -> nested maps with dmidecode's names      smbios.go, structures.go, sysfs.go
//	ReadFacts    host name, addresses, os-release                                   facts.go
//	RenderName   template + SMBIOS + identity -> the name of an inventory           name.go
//	RenderValue  template + SMBIOS -> a label's or annotation's value               template.go, name.go
//
// The readers run on the machine, below any folder that looks like its root; the renderers run on the server, on data that an unknown machine
// has sent. So whatever goes in, a name comes out that Kubernetes accepts, that is the same on every retry and
// on every replica, and that no machine can choose for itself: it always ends in a digest of the machine's proven identity.
//
// Nothing here knows Kubernetes.
package machine
