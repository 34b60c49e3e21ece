package library

import (
	"strings"

	"github.com/rancher/rancheros-operator/pkg/media/iso"
)

// script boots kernel and initrd, which iPXE looks for beside the script: so the same script works through a proxy, and no
// token is in it. The initrd's name on the command line is for kernels that UEFI starts: they fetch it by that name.
func script(boots iso.Kernel) []byte {
	line := strings.TrimSpace("kernel " + kernelFile + " initrd=" + initrdFile + " " + oneLine(boots.Arguments))
	return []byte("#!ipxe\n" + line + "\ninitrd " + initrdFile + "\nboot\n")
}

// oneLine keeps what a base's boot menu says from becoming commands of ours.
func oneLine(arguments string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, arguments)
}
