package machine

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// decodeStructure gives the structures that identify a machine dmidecode's names. Offsets are those of the SMBIOS specification (DSP0134).
// Values that are not there are left out rather than spelled "Not Specified".
func decodeStructure(s structure, version uint16) (string, map[string]any) {
	values := map[string]any{}
	set := func(name, value string) {
		if value != "" {
			values[name] = value
		}
	}
	switch s.kind {
	case 0:
		set("Vendor", s.text(0x04))
		set("Version", s.text(0x05))
		set("Release Date", s.text(0x08))
		set("BIOS Revision", revision(s, 0x14))
		set("Firmware Revision", revision(s, 0x16))
		return "BIOS Information", values
	case 1:
		set("Manufacturer", s.text(0x04))
		set("Product Name", s.text(0x05))
		set("Version", s.text(0x06))
		set("Serial Number", s.text(0x07))
		set("UUID", uuid(s, version))
		set("SKU Number", s.text(0x19))
		set("Family", s.text(0x1a))
		return "System Information", values
	case 2:
		set("Manufacturer", s.text(0x04))
		set("Product Name", s.text(0x05))
		set("Version", s.text(0x06))
		set("Serial Number", s.text(0x07))
		set("Asset Tag", s.text(0x08))
		set("Location In Chassis", s.text(0x0a))
		return "Base Board Information", values
	case 3:
		set("Manufacturer", s.text(0x04))
		set("Type", chassisType(s.byteAt(0x05)))
		set("Version", s.text(0x06))
		set("Serial Number", s.text(0x07))
		set("Asset Tag", s.text(0x08))
		set("SKU Number", s.text(0x15+int(s.byteAt(0x13))*int(s.byteAt(0x14))))
		return "Chassis Information", values
	case 4:
		set("Socket Designation", s.text(0x04))
		set("Manufacturer", s.text(0x07))
		set("Version", s.text(0x10))
		set("Max Speed", megahertz(s.word(0x14)))
		set("Serial Number", s.text(0x20))
		set("Asset Tag", s.text(0x21))
		set("Part Number", s.text(0x22))
		set("Core Count", count(s, 0x23, 0x2a))
		set("Thread Count", count(s, 0x25, 0x2e))
		return "Processor Information", values
	default:
		return "", nil
	}
}

// uuid prints the system UUID in the byte order that the specification prescribes since 2.6: the first three fields little-endian. The
// two values that mean "none" are left out.
func uuid(s structure, version uint16) string {
	const offset, size = 0x08, 16
	if len(s.fixed) < offset+size {
		return ""
	}
	id := bytes.Clone(s.fixed[offset : offset+size])
	if bytes.Count(id, []byte{0}) == size || bytes.Count(id, []byte{0xff}) == size {
		return ""
	}
	if version >= 0x0206 {
		id[0], id[1], id[2], id[3] = id[3], id[2], id[1], id[0]
		id[4], id[5] = id[5], id[4]
		id[6], id[7] = id[7], id[6]
	}
	text := hex.EncodeToString(id)
	return strings.Join([]string{text[:8], text[8:12], text[12:16], text[16:20], text[20:]}, "-")
}

func revision(s structure, offset int) string {
	major, minor := s.byteAt(offset), s.byteAt(offset+1)
	if len(s.fixed) < offset+2 || (major == 0xff && minor == 0xff) {
		return ""
	}
	return fmt.Sprintf("%d.%d", major, minor)
}

func megahertz(n uint16) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d MHz", n)
}

// count is a byte, or a word of its own where a byte is too small.
func count(s structure, offset, wide int) string {
	n := uint64(s.byteAt(offset))
	if n == 0xff {
		n = uint64(s.word(wide))
	}
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

// chassisType names the kinds that matter to somebody who looks for the machine.
func chassisType(code byte) string {
	switch code & 0x7f {
	case 0x03:
		return "Desktop"
	case 0x04:
		return "Low Profile Desktop"
	case 0x06:
		return "Mini Tower"
	case 0x07:
		return "Tower"
	case 0x08:
		return "Portable"
	case 0x09:
		return "Laptop"
	case 0x0a:
		return "Notebook"
	case 0x0d:
		return "All In One"
	case 0x11:
		return "Main Server Chassis"
	case 0x17:
		return "Rack Mount Chassis"
	case 0x1c:
		return "Blade"
	case 0x1d:
		return "Blade Enclosing"
	case 0x1e:
		return "Tablet"
	case 0x21:
		return "IoT Gateway"
	case 0x22:
		return "Embedded PC"
	case 0x23:
		return "Mini PC"
	case 0x24:
		return "Stick PC"
	case 0x01:
		return "Other"
	default:
		return ""
	}
}
