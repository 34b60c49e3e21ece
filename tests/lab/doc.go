// Package lab is the proof on hardware, as far as it can be had without any: machines that QEMU emulates, with BIOS or UEFI and
// a TPM 2.0 of swtpm's, start from what the operator hands out, register, are installed, and start from their disk with the name that they were
// given. Nothing in them is ours but rancheros-register and three shell scripts (live/), on a stock Debian kernel: scripts/build-live.sh
// makes the medium.
//
//	namespace.go   a network of its own, with a switch and a DHCP server that nobody here controls
//	guest.go       one machine: its disk, its TPM, what it says on its serial console, and when
//	lab_test.go    the world: a real API server, the operator, a pretend Rancher that the machines can reach
//
// Every run is in network namespaces: as root, or in a user namespace. Where that, /dev/net/tun, QEMU or one of its companions is missing, or the system is not Debian, the
// lab says so and is skipped; with RANCHEROS_LAB=required, as in CI, it fails instead.
package lab
