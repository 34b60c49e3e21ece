// Package install decides, on a booted medium, onto which disk a machine may be installed, and by which program. It writes
// next to nothing itself: partitions and files are the work of the installer that comes with the OS.
//
//	settings.go   rancheros.install of the machine's cloud-config, which the server has sent
//	devices.go    what /sys/class/block, /proc/self/mountinfo and /proc/swaps say: a small struct
//	target.go     may this device be formatted? A pure function of that struct, and the only way to a Target
//	label.go      the labels of file systems, by which an installation is recognised
//	medium.go     the boot medium: which device it is, and the registration data on it
//	mark.go       the mark on a disk whose installation is not finished
//	installer.go  the installer's command line
//
// A disk that the machine's cloud-config does not name is never touched. Where there is doubt, the answer is no, with a
// sentence for the person at the machine: what was erased cannot be had back.
package install
