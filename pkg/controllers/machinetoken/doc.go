// Package machinetoken tells the author of a shared machine token what is wrong with it.
//
// A machine without a TPM shares a secret with us: a Secret of type rancheros.cattle.io/token, that its MachineInventory
// names. The registration server ignores tokens that can be guessed, and tokens that two Secrets hold, without saying
// so to whoever asks: anything else would be an oracle. The author of the Secret learns it here, by an event on it.
//
//	Watches  Secret of type rancheros.cattle.io/token
//	Reads    the same
//	Writes   Events
package machinetoken
