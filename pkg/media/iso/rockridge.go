package iso

import (
	"encoding/binary"
)

const (
	// maxContinuations bounds how often a record may go on elsewhere.
	maxContinuations = 8
	// maxName bounds a name; POSIX has 255 bytes.
	maxName = 255

	nmContinues = 0x01
	// modeFile is a regular file that anybody may read.
	modeFile = 0o100444
	// oldPX and newPX are the lengths of the field PX, without and with a serial number.
	oldPX, newPX = 36, 44
)

// entries calls for each field of a record's system use area: its two letters and its body, until it returns false.
func entries(area []byte, each func(kind string, body []byte) bool) {
	for len(area) >= 4 {
		length := int(area[2])
		if length < 4 || length > len(area) {
			return
		}
		if !each(string(area[:2]), area[4:length]) {
			return
		}
		area = area[length:]
	}
}

// detectRockRidge looks at the root's own record, which says whether records carry more than ISO 9660 has.
func detectRockRidge(system []byte) (rockRidge bool, skip, px int) {
	px = newPX
	entries(system, func(kind string, body []byte) bool {
		switch {
		case kind == "SP" && len(body) >= 3 && body[0] == 0xbe && body[1] == 0xef:
			rockRidge, skip = true, int(body[2])
		case kind == "PX":
			px = oldPX
			if len(body) >= newPX-4 {
				px = newPX
			}
		}
		return true
	})
	return rockRidge, skip, px
}

// rockRidgeName is the long name of a record; empty where it has none.
func (i *Image) rockRidgeName(t tree, r record) (string, error) {
	if len(r.system) < t.skip {
		return "", nil
	}
	area, name, seen := r.system[t.skip:], "", false
	for range maxContinuations {
		var next []byte
		done := false
		entries(area, func(kind string, body []byte) bool {
			switch {
			case kind == "NM" && len(body) >= 1:
				seen = true
				name += string(body[1:])
				done = body[0]&nmContinues == 0
			case kind == "CE" && len(body) >= 24:
				next = body
			case kind == "ST":
				return false
			}
			return !done
		})
		if done || next == nil || len(name) > maxName {
			break
		}
		offset, length := binary.LittleEndian.Uint32(next[8:]), binary.LittleEndian.Uint32(next[16:])
		if offset > blockSize || length > blockSize {
			return "", badf("the image is damaged: a name goes on in %d bytes at %d of a block", length, offset)
		}
		var err error
		if area, err = i.read(t.at(binary.LittleEndian.Uint32(next))+int64(offset), int64(length)); err != nil {
			return "", err
		}
	}
	if !seen || len(name) > maxName {
		return "", nil
	}
	return name, nil
}

// rockRidgeFields are what a record of a plain file needs: its mode and its name.
func rockRidgeFields(t tree, name string) []byte {
	fields := make([]byte, t.skip, t.skip+t.px+5+len(name))
	fields = append(fields, 'P', 'X', byte(t.px), 1)
	fields = appendBoth32(fields, modeFile)
	fields = appendBoth32(fields, 1) // One link.
	fields = appendBoth32(fields, 0) // Root's,
	fields = appendBoth32(fields, 0) // and its group's.
	if t.px == newPX {
		fields = appendBoth32(fields, 0)
	}
	fields = append(fields, 'N', 'M', byte(5+len(name)), 1, 0)
	return append(fields, name...)
}

// appendBoth32 writes a number as ISO 9660 does: little-endian, then big-endian.
func appendBoth32(to []byte, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.LittleEndian.AppendUint32(to, value), value)
}

func both32(value uint32) []byte { return appendBoth32(nil, value) }
