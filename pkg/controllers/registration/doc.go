// Package registration turns a MachineRegistration into a URL that machines register at.
//
// The token at the URL's end is made once, at random, and lives in a Secret that the registration owns: a restore from a
// backup that drops statuses keeps every ISO working, and deleting the registration ends the URL. The URL's front is
// Rancher's server-url, and follows it.
//
//	Watches  MachineRegistration; Secret of type rancheros.cattle.io/registration; Setting server-url; MachineInventory
//	Reads    Setting server-url, MachineInventory (to count), the Secret of the CA bundle (by name, where one may be asked for)
//	Writes   Secret (once, and again for each machine that a limited registration admits), MachineRegistration status, Events
package registration
