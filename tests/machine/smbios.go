package machine

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strings"
)

// Hardware is what is printed on a pretend machine. Empty values are left out of its tables.
type Hardware struct {
	Manufacturer string
	Product      string
	Version      string
	Serial       string
	// UUID is in the usual form; anything but 32 hex digits with dashes becomes zeros.
	UUID   string
	SKU    string
	Family string
}

// Tables are the SMBIOS 3.3 entry point and structures of such a machine, as the kernel shows them in /sys/firmware/dmi/tables.
func Tables(hardware Hardware) (entryPoint, tables []byte) {
	tables = bytes.Join([][]byte{
		structure(0, 0x0100, biosFields(), "Pretend BIOS Inc.", "1.2.3", "01/02/2026"),
		structure(1, 0x0101, systemFields(hardware), hardware.Manufacturer, hardware.Product, hardware.Version, hardware.Serial, hardware.SKU, hardware.Family),
		structure(2, 0x0102, []byte{1, 2, 0, 3, 0, 0x09, 0, 0, 0, 0x0a, 0}, hardware.Manufacturer, hardware.Product+" board", hardware.Serial),
		structure(3, 0x0103, chassisFields(), hardware.Manufacturer, hardware.Serial),
		structure(4, 0x0104, processorFields(), "CPU0", "Pretend Silicon", "Pretend CPU 9000"),
		structure(4, 0x0105, processorFields(), "CPU1", "Pretend Silicon", "Second CPU"),
		structure(127, 0xfeff, nil),
	}, nil)

	entryPoint = append([]byte("_SM3_"), 0, 24, 3, 3, 0, 1, 0)
	entryPoint = binary.LittleEndian.AppendUint32(entryPoint, uint32(len(tables)))
	entryPoint = binary.LittleEndian.AppendUint64(entryPoint, 0x1000)
	for _, b := range entryPoint {
		entryPoint[5] -= b // the bytes of an entry point sum to zero
	}
	return entryPoint, tables
}

// structure is one SMBIOS structure. Its fields count strings from one; an empty string would end the list, so it is written as one blank.
func structure(kind byte, handle uint16, fields []byte, texts ...string) []byte {
	data := []byte{kind, byte(4 + len(fields))}
	data = binary.LittleEndian.AppendUint16(data, handle)
	data = append(data, fields...)
	for _, text := range texts {
		if text == "" {
			text = " "
		}
		data = append(append(data, text...), 0)
	}
	if len(texts) == 0 {
		data = append(data, 0)
	}
	return append(data, 0)
}

func biosFields() []byte {
	fields := make([]byte, 0x18-4)
	fields[0x04-4], fields[0x05-4], fields[0x08-4] = 1, 2, 3
	fields[0x14-4], fields[0x15-4] = 4, 5
	fields[0x16-4], fields[0x17-4] = 0xff, 0xff
	return fields
}

func systemFields(hardware Hardware) []byte {
	fields := make([]byte, 0x1b-4)
	fields[0x04-4], fields[0x05-4], fields[0x06-4], fields[0x07-4] = 1, 2, 3, 4
	copy(fields[0x08-4:], encodeUUID(hardware.UUID))
	fields[0x18-4], fields[0x19-4], fields[0x1a-4] = 6, 5, 6
	return fields
}

// encodeUUID writes the first three fields little-endian, as the specification wants it since 2.6.
func encodeUUID(text string) []byte {
	id, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err != nil || len(id) != 16 {
		return make([]byte, 16)
	}
	id[0], id[1], id[2], id[3] = id[3], id[2], id[1], id[0]
	id[4], id[5] = id[5], id[4]
	id[6], id[7] = id[7], id[6]
	return id
}

func chassisFields() []byte {
	fields := make([]byte, 0x16-4)
	fields[0x04-4], fields[0x05-4], fields[0x07-4] = 1, 0x17, 2
	return fields
}

func processorFields() []byte {
	fields := make([]byte, 0x30-4)
	fields[0x04-4], fields[0x07-4], fields[0x10-4] = 1, 2, 3
	binary.LittleEndian.PutUint16(fields[0x14-4:], 3600)
	fields[0x23-4], fields[0x25-4] = 8, 16
	return fields
}
