package netboot

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// The files that a machine is given, below an address of its own.
const (
	scriptFile = "boot.ipxe"
	mediumFile = "medium.ipxe"
	reasonFile = "reason.ipxe"
	kernelFile = "kernel"
	initrdFile = "initrd"
	isoFile    = "boot.iso"
)

// pathBoot and pathBinary are the folders of the HTTP server: /boot/<MAC>/<UUID>/<file> and /ipxe/<file>.
const (
	pathBoot   = "/boot/"
	pathBinary = "/ipxe/"
	// noUUID stands for the UUID of a machine that has none.
	noUUID = "none"
)

// files makes the addresses of a machine's files.
type files struct{ base, machine string }

func (c *Config) files(r *Request, at Place) files {
	uuid := noUUID
	if !r.UUID.none() {
		uuid = r.UUID.String()
	}
	base := "http://" + net.JoinHostPort(at.Address.String(), strconv.Itoa(c.HTTPPort))
	return files{base: base, machine: pathBoot + r.MAC.dashed() + "/" + uuid + "/"}
}

func (f files) of(name string) string     { return f.base + f.machine + name }
func (f files) binary(name string) string { return f.base + pathBinary + url.PathEscape(name) }

// parsePath is the machine and the file of an address that files made.
func parsePath(path string) (mac MAC, uuid UUID, file string, ok bool) {
	rest, ok := strings.CutPrefix(path, pathBoot)
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 3 {
		return mac, uuid, "", false
	}
	mac, err := ParseMAC(parts[0])
	if err == nil && parts[1] != noUUID {
		uuid, err = ParseUUID(parts[1])
	}
	return mac, uuid, parts[2], err == nil
}

// tries is how often iPXE begins anew, a quarter of a minute apart, before it gives the machine back to its firmware.
const (
	tries = 40
	pause = 15
)

// bootScript boots the medium. When that fails, it shows why on the machine's console, waits, and begins anew: a base that is
// still being fetched, or a count that somebody raises, needs no hand on the machine.
func bootScript(mac MAC, registration string) []byte {
	return fmt.Appendf(nil, `#!ipxe
echo Machine %s boots into registration %s
set tries:int32 0
:again
imgfree
chain --autofree %s ||
chain --autofree %s ||
inc tries
iseq ${tries} %d && goto enough ||
echo Trying again in %d seconds
sleep %d
goto again
:enough
echo Giving up: the firmware goes on with its next boot device
exit 1
`, mac, registration, mediumFile, reasonFile, tries, pause, pause)
}

// reasonScript prints why, on the machine's console.
func reasonScript(reason string) []byte {
	if reason == "" {
		reason = "the boot failed; the netboot server knows of no reason, so look at what is printed above"
	}
	return []byte("#!ipxe\necho Cannot boot: " + harmless(reason) + "\n")
}

// harmless keeps text from being commands or settings of iPXE's.
func harmless(text string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune(" .,:;/_()'`-+=%", r):
			return r
		}
		return ' '
	}, text)
	clean = strings.Join(strings.Fields(clean), " ")
	return clean[:min(len(clean), 400)]
}

// ownScript is the operator's script as a machine may have it: should it ever name files by the whole address, that address
// and the token in it do not leave this server.
func ownScript(script []byte, folder string) []byte {
	return []byte(strings.ReplaceAll(string(script), folder, ""))
}
