// Package machineclaim turns a MachineClaim into assignments of machines: so many for each pool, chosen by their labels,
// the machine that registered first before the others.
//
// Claiming a machine is one write to its MachineInventory, which names the cluster, the role and the claim, and which the
// API server takes only if nobody has written the machine since it was read. Two claims, two replicas or a person who
// want one machine at the same moment cannot all have it: the others are told, and look again.
//
// A claim's machines are found by their label, never by what a status remembers. Each carries a record of what the claim
// has put into its spec; releasing it takes off that and nothing else. A machine that somebody has assigned to another
// cluster, or whose label is gone, is theirs: the claim takes its record off and lets it be. A finalizer holds the claim
// until its machines are released.
//
// A claim that has all its machines looks at these alone. One that lacks some looks at its namespace whenever a machine
// there changes, which is gathered: a thousand machines that register together are looked at a few times.
//
//	Watches  MachineClaim; MachineInventory
//	Reads    MachineInventory, from the API server itself before it writes: what it has claimed must not be counted from
//	         a cache that lags
//	Writes   MachineInventory spec, label and annotation; MachineClaim finalizer and status; Events
package machineclaim
