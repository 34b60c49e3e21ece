// Package netboot boots machines of a site over its network into a registration, beside the site's own DHCP server, which
// goes on handing out addresses and is neither asked nor changed.
//
//	config.go      the one file that an administrator writes, and all that is wrong with it
//	choose.go      which registration a machine is for
//	request.go     parse: what a DHCP packet of a machine says
//	decide.go      decide: whether it is answered, and what it boots
//	answer.go      answer: the packet that says so
//	script.go      what iPXE is told, also when something failed
//	dhcp.go        ports 67 and 4011
//	others.go      port 68: who else answers machines on the segment
//	tftp.go        iPXE's binaries for firmware that knows TFTP only
//	http.go        script, kernel, initrd and ISO for machines
//	upstream.go    where those come from: a SeedImage's addresses
//	machines.go    how far each machine has come, in bounded memory
//	status.go      the same, to be asked for
//	server.go      Run: all of it, started and stopped together
//
// What a machine goes through, by its firmware:
//
//	BIOS            offer of undionly.kpxe on 67 -> TFTP -> iPXE
//	UEFI, PXE       offer on 67 -> asks again on 4011 -> snponly.efi -> TFTP -> iPXE
//	UEFI, HTTP      offer of the ISO's address on 67 -> HTTP: firmware boots the ISO from memory, also under Secure Boot
//	iPXE            offer of a script's address on 67 -> HTTP: script, kernel, initrd
//
// The server never assigns an address, and says nothing to clients that do not boot from the network. Everything a machine
// gets beside iPXE's binaries is a SeedImage's and is passed on while it comes: nothing is stored here. The address of the
// SeedImage holds a token, which stays here; machines know addresses of this server only.
//
// Whoever is on the segment can send any packet, with any MAC address: parse, decide and answer are pure and take no word
// on trust, and every list, transfer and log has a bound. What is sent here goes over plain HTTP, as firmware and Debian's
// iPXE want it: the registration URL in the initrd can be read by others on the segment. Who may register with it is for
// the registration's admission to say.
package netboot
