// Package identity keeps one machine from being two.
//
// A machine that registers in two namespaces in the same instant, through two replicas, is new to both: neither sees yet
// what the other makes. The registration server could only prevent that with one more write for every machine there is.
// It is put right here instead, a moment later: of two inventories that the server made of one TPM in the same minute, the
// first stays, and the other goes. Nobody can have used it yet, and the server refuses the machine there from then on.
//
//	Watches  MachineInventory
//	Reads    MachineInventory, by TPM hash
//	Writes   nothing, and deletes MachineInventories
package identity
