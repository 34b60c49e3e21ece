package medium

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
)

// Label is the name of every medium.
const Label = "COS_LIVE"

// writeDescriptors writes all that says where the rest is, and the boot records.
func (w *writer) writeDescriptors(root *entry) {
	descriptors := [][]byte{w.descriptor(root, 0), w.elTorito()}
	if w.options.Joliet {
		descriptors = append(descriptors, w.descriptor(root, 1))
	}
	end := make([]byte, block)
	copy(end, "\xffCD001\x01")
	for n, descriptor := range append(descriptors, end) {
		w.write(int64(16+n)*block, descriptor)
	}
	trees := 1
	if w.options.Joliet {
		trees = 2
	}
	for t := range trees {
		w.write(int64(w.tables[t])*block, w.table(root, t, binary.LittleEndian))
		w.write(int64(w.tables[t]+1)*block, w.table(root, t, binary.BigEndian))
	}
	w.write(int64(w.catalog)*block, bootCatalog(firstFile(root)))
	if w.options.Hybrid {
		record := make([]byte, 512)
		entry := record[446:]
		entry[0], entry[4] = 0x80, 0x17
		binary.LittleEndian.PutUint32(entry[12:], uint32(w.next*block/512))
		record[510], record[511] = 0x55, 0xaa
		w.write(0, record)
	}
}

func (w *writer) descriptor(root *entry, t int) []byte {
	d := make([]byte, block)
	copy(d, "\x01CD001\x01")
	label := []byte(Label)
	if t == 1 {
		d[0] = 2
		copy(d[88:], "%/E")
		label = nil
		for _, unit := range utf16.Encode([]rune(Label)) {
			label = binary.BigEndian.AppendUint16(label, unit)
		}
	}
	copy(d[40:], append(label, bytes.Repeat([]byte{' '}, 32-len(label))...))
	copy(d[80:], both(uint32(w.next)))
	copy(d[120:], []byte{1, 0, 0, 1, 1, 0, 0, 1, 0, 8, 8, 0})
	copy(d[132:], both(uint32(len(w.table(root, t, binary.LittleEndian)))))
	binary.LittleEndian.PutUint32(d[140:], uint32(w.tables[t]))
	binary.BigEndian.PutUint32(d[148:], uint32(w.tables[t]+1))
	copy(d[156:190], w.record("\x00", root.trees[t], w.folderSize(root, t), true, nil))
	d[881] = 1
	return d
}

// table is the path table: every folder, level by level.
func (w *writer) table(root *entry, t int, order binary.ByteOrder) []byte {
	var table []byte
	number := map[*entry]int{root: 1}
	level := []*entry{root}
	for len(level) > 0 {
		var next []*entry
		for _, folder := range level {
			id := "\x00"
			if folder != root {
				id = w.id(folder, t)
				number[folder] = len(number) + 1
			}
			row := make([]byte, 8)
			row[0] = byte(len(id))
			order.PutUint32(row[2:], uint32(folder.trees[t]))
			order.PutUint16(row[6:], uint16(number[folder.parent]))
			table = append(append(table, row...), id...)
			if len(id)%2 == 1 {
				table = append(table, 0)
			}
			for _, child := range folder.children {
				if child.folder {
					next = append(next, child)
				}
			}
		}
		level = next
	}
	return table
}

// elTorito says where the boot catalog is.
func (w *writer) elTorito() []byte {
	d := make([]byte, block)
	copy(d, "\x00CD001\x01EL TORITO SPECIFICATION")
	binary.LittleEndian.PutUint32(d[71:], uint32(w.catalog))
	return d
}

// firstFile is the block of some file: it is what the medium would boot.
func firstFile(e *entry) int {
	for _, child := range e.children {
		if !child.folder {
			return child.at
		}
		if at := firstFile(child); at > 0 {
			return at
		}
	}
	return 0
}

// bootCatalog has an entry for a BIOS and one for UEFI.
func bootCatalog(at int) []byte {
	catalog := make([]byte, block)
	copy(catalog, []byte{1, 0})
	catalog[28], catalog[29] = 0xaa, 0x55
	catalog[30], catalog[31] = 0x55, 0xaa
	copy(catalog[32:], []byte{0x88, 0, 0, 0, 0, 0, 4, 0})
	binary.LittleEndian.PutUint32(catalog[40:], uint32(at))
	copy(catalog[64:], []byte{0x91, 0xef, 1, 0})
	copy(catalog[96:], []byte{0x88, 0, 0, 0, 0, 0, 1, 0})
	binary.LittleEndian.PutUint32(catalog[104:], uint32(at))
	return catalog
}
