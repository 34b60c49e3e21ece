package install

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"strings"
)

// labelArea is how much of a device tells its file system's label.
const labelArea = 2048

// readLabel is the label of the file system on a device; empty when there is none that is known, or the device cannot be read.
func readLabel(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	area := make([]byte, labelArea)
	if _, err := io.ReadFull(file, area); err != nil {
		return ""
	}
	return parseLabel(area)
}

// parseLabel knows ext2 to ext4 and FAT, which is what installers put labels on; anything else has none.
func parseLabel(area []byte) string {
	if len(area) < labelArea {
		return ""
	}
	const superblock = 1024
	switch {
	case binary.LittleEndian.Uint16(area[superblock+0x38:]) == 0xef53:
		return text(area[superblock+0x78 : superblock+0x78+16])
	case area[510] != 0x55 || area[511] != 0xaa:
		return ""
	case bytes.HasPrefix(area[0x52:], []byte("FAT32")):
		return text(area[0x47 : 0x47+11])
	case bytes.HasPrefix(area[0x36:], []byte("FAT1")):
		return text(area[0x2b : 0x2b+11])
	}
	return ""
}

func text(field []byte) string {
	field, _, _ = bytes.Cut(field, []byte{0})
	return strings.TrimSpace(string(field))
}
