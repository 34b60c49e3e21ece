// Command rancheros-register is the machine's side of rancheros-operator: it proves the machine to Rancher by its TPM, writes the
// cloud-config that it gets for it, and joins the cluster that the machine is assigned to.
//
//	register   prove, and write what the server answers    register.go
//	install    register, and hand the disk to the OS's installer   install.go, systemd/
//	join       wait for a cluster, run Rancher's script     join.go
//	call-home  report host name, addresses and OS version   callhome.go, systemd/
//	tpm-hash   the machine's identity                       tpmhash.go
//	version                                                 version.go
//
// Results go to standard output, everything else to standard error. Exit codes tell causes apart: see exitcode.go.
package main
