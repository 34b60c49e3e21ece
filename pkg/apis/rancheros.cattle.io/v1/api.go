// Package v1 is the API: what users write, and what the operator tells them about it. Nothing here does anything.
//
//	MachineRegistration       a URL at which machines register                      machineregistration_types.go
//	MachineInventory          one machine, and the cluster that it joins            machineinventory_types.go
//	MachineClaim              machines for a cluster, chosen by their labels        machineclaim_types.go
//	ManagedOSImage            the OS image that the nodes of clusters run           managedosimage_types.go
//	ManagedOSVersion          one release of the OS                                 managedosversion_types.go
//	ManagedOSVersionChannel   where releases come from                              managedosversionchannel_types.go
//	SeedImage                 a boot medium that registers                          seedimage_types.go
//
// The comments on fields are what `kubectl explain` prints, and the markers above them become the schema in pkg/crds that
// refuses a bad value when it is applied. Conditions and reasons are at the end of their kind's file, each with what the
// user does about it; those that all kinds share are in conditions.go, names of labels and Secret types in names.go.
package v1
