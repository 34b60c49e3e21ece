package machine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"
)

// maxTables bounds the DMI tables. Large servers have about 30 kB.
const maxTables = 1 << 20

// errNoTables says that the kernel offers no raw tables: no SMBIOS firmware, or no permission.
var errNoTables = errors.New("no DMI tables")

// ReadSMBIOS reads what the firmware says about the machine whose root folder is given ("/" for this one), in dmidecode's nested names:
// {"System Information": {"Manufacturer": ..., "Serial Number": ...}, "BIOS Information": ...}. Without the kernel's raw tables it takes the
// few values that the kernel offers as files. Machines without either (many ARM boards) get an empty map: that is no error.
func ReadSMBIOS(root string) (map[string]any, error) {
	folder := filepath.Join(root, "sys/firmware/dmi/tables")
	entryPoint, err := readBounded(filepath.Join(folder, "smbios_entry_point"), 256)
	if err == nil {
		var tables []byte
		if tables, err = readBounded(filepath.Join(folder, "DMI"), maxTables); err == nil {
			return DecodeSMBIOS(entryPoint, tables)
		}
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return readSysfs(filepath.Join(root, "sys/class/dmi/id")), nil
	}
	return nil, fmt.Errorf("reading SMBIOS tables: %w", err)
}

// DecodeSMBIOS decodes raw tables: the entry point tells the version, the tables hold the structures.
func DecodeSMBIOS(entryPoint, tables []byte) (map[string]any, error) {
	version, err := smbiosVersion(entryPoint)
	if err != nil {
		return nil, err
	}
	smbios := map[string]any{}
	for rest := tables; len(rest) >= headerSize; {
		var s structure
		if s, rest, err = nextStructure(rest); err != nil {
			if len(smbios) == 0 {
				return nil, err
			}
			// Firmware that miscounts the end of its tables is common; what came before is good.
			return smbios, nil
		}
		const endOfTable = 127
		if s.kind == endOfTable {
			break
		}
		name, values := decodeStructure(s, version)
		// Of several (processors, boards of a blade), the first is the machine's own.
		if _, present := smbios[name]; name != "" && !present && len(values) > 0 {
			smbios[name] = values
		}
	}
	return smbios, nil
}

// smbiosVersion is major<<8 | minor.
func smbiosVersion(entryPoint []byte) (uint16, error) {
	switch {
	case bytes.HasPrefix(entryPoint, []byte("_SM3_")) && len(entryPoint) >= 24:
		return uint16(entryPoint[7])<<8 | uint16(entryPoint[8]), nil
	case bytes.HasPrefix(entryPoint, []byte("_SM_")) && len(entryPoint) >= 31:
		return uint16(entryPoint[6])<<8 | uint16(entryPoint[7]), nil
	case bytes.HasPrefix(entryPoint, []byte("_DMI_")) && len(entryPoint) >= 15:
		return uint16(entryPoint[14]>>4)<<8 | uint16(entryPoint[14]&0x0f), nil
	default:
		return 0, fmt.Errorf("reading SMBIOS entry point: %w", errNoTables)
	}
}

const headerSize = 4

// structure is one SMBIOS structure: a fixed part, addressed by the specification's offsets, and the strings that the fixed part counts
// from one.
type structure struct {
	kind    byte
	fixed   []byte
	strings []string
}

func nextStructure(data []byte) (structure, []byte, error) {
	length := int(data[1])
	if length < headerSize || length > len(data) {
		return structure{}, nil, fmt.Errorf("SMBIOS structure of %d bytes with %d left", length, len(data))
	}
	s := structure{kind: data[0], fixed: data[:length]}
	area := data[length:]
	end := bytes.Index(area, []byte{0, 0})
	if end < 0 {
		return structure{}, nil, fmt.Errorf("SMBIOS structure of type %d without end", s.kind)
	}
	if end > 0 {
		for text := range bytes.SplitSeq(area[:end], []byte{0}) {
			s.strings = append(s.strings, cleanString(text))
		}
	}
	return s, area[end+2:], nil
}

// cleanString keeps what can be shown; firmware strings are ASCII by specification and anything by experience.
func cleanString(raw []byte) string {
	text := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(raw), "\uFFFD"))
	return strings.TrimSpace(text)
}

// text is the string whose number is at the offset; empty when the structure is too short for it or has no such string.
func (s structure) text(offset int) string {
	number := int(s.byteAt(offset))
	if number == 0 || number > len(s.strings) {
		return ""
	}
	return s.strings[number-1]
}

func (s structure) byteAt(offset int) byte {
	if offset >= len(s.fixed) {
		return 0
	}
	return s.fixed[offset]
}

func (s structure) word(offset int) uint16 {
	if offset+2 > len(s.fixed) {
		return 0
	}
	return binary.LittleEndian.Uint16(s.fixed[offset:])
}

// readBounded reads a file of at most limit bytes. Files below /sys do not tell their size.
func readBounded(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return data, nil
}
