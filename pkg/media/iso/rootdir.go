package iso

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// configRecord is the record of a file of that name in the tree's root. Where the root has such a file already, it is
// that one's record, which then leads to another place; at is its index, else -1.
func (i *Image) configRecord(t tree, root directory, name string) (raw []byte, at int, err error) {
	for n, r := range root.records {
		if n < 2 {
			continue
		}
		shown, err := i.nameOf(t, r)
		if err != nil {
			return nil, 0, err
		}
		if !strings.EqualFold(shown, name) {
			continue
		}
		if r.flags&(flagDirectory|flagMultiExtent) != 0 {
			return nil, 0, badf("the image has a /%s that is no plain file", name)
		}
		return slices.Clone(r.raw), n, nil
	}
	return newRecord(t, root, name), -1, nil
}

// newRecord is a record of a plain file, with the date of the root's own.
func newRecord(t tree, root directory, name string) []byte {
	id := freeID(t, root, name)
	raw := make([]byte, recordHead, 255)
	raw = append(raw, id...)
	if len(id)%2 == 0 {
		raw = append(raw, 0)
	}
	if t.rockRidge {
		raw = append(raw, rockRidgeFields(t, name)...)
	}
	if len(raw)%2 == 1 {
		raw = append(raw, 0)
	}
	raw[0], raw[32] = byte(len(raw)), byte(len(id))
	copy(raw[18:25], root.records[0].raw[18:25])
	copy(raw[28:], []byte{1, 0, 0, 1}) // The one volume of its set.
	return raw
}

// freeID is the name as ISO 9660 stores it, unless another file has that already; then, Rock Ridge has the real one.
func freeID(t tree, root directory, name string) string {
	if t.joliet {
		return encodeUCS2(name + ";1")
	}
	base, extension, _ := strings.Cut(strings.ToUpper(name), ".")
	for n := 0; ; n++ {
		id := fmt.Sprintf("%s.%s;1", base, extension)
		if n > 0 {
			id = fmt.Sprintf("%s-%d.%s;1", base, n, extension)
		}
		if !slices.ContainsFunc(root.records, func(r record) bool { return r.id == id }) {
			return id
		}
	}
}

// lead makes a record lead to another place.
func lead(raw []byte, to extent) {
	copy(raw[2:10], both32(to.lba))
	copy(raw[10:18], both32(to.size))
}

// with are the directory's records with one more, or another, in the order of their names.
func (d directory) with(raw []byte, at int) [][]byte {
	var all [][]byte
	for _, r := range d.records {
		all = append(all, r.raw)
	}
	if at >= 0 {
		all[at] = raw
		return all
	}
	id := string(raw[recordHead : recordHead+int(raw[32])])
	place := 2
	for place < len(d.records) && d.records[place].id < id {
		place++
	}
	return slices.Insert(all, place, raw)
}

// pack puts records into blocks; none crosses the end of its block.
func pack(records [][]byte) []byte {
	var data []byte
	for _, raw := range records {
		if left := blockSize - len(data)%blockSize; left < len(raw) {
			data = append(data, make([]byte, left)...)
		}
		data = append(data, raw...)
	}
	if over := len(data) % blockSize; over > 0 {
		data = append(data, make([]byte, blockSize-over)...)
	}
	return data
}

// changedBlocks are patches for the blocks of data that differ from what was there.
func changedBlocks(offset int64, before, after []byte) []patch {
	var patches []patch
	for at := 0; at < len(after); at += blockSize {
		if !slices.Equal(before[at:at+blockSize], after[at:at+blockSize]) {
			patches = append(patches, patch{offset: offset + int64(at), data: after[at : at+blockSize]})
		}
	}
	return patches
}

// leadToRoot are the patches for all that leads to a tree's root, which has moved: its descriptor, the lists of
// directories, and the parent of each directory in it.
func (i *Image) leadToRoot(t tree, root directory, to extent) ([]patch, error) {
	place := append(both32(to.lba), both32(to.size)...)
	patches := []patch{{offset: t.descriptor + 156 + 2, data: place}}
	for _, table := range t.tables {
		entry, err := i.read(t.at(table.lba), 8)
		if err != nil {
			return nil, err
		}
		if entry[0] != 1 || table.order.Uint32(entry[2:]) != t.root.lba {
			return nil, badf("the image is damaged: its path table does not begin with the root")
		}
		lba := make([]byte, 4)
		table.order.PutUint32(lba, to.lba)
		patches = append(patches, patch{offset: t.at(table.lba) + 2, data: lba})
	}
	for _, r := range root.records[2:] {
		if r.flags&flagDirectory == 0 {
			continue
		}
		head, err := i.read(t.at(r.lba), blockSize)
		if err != nil {
			return nil, err
		}
		parent := int(head[0])
		if parent < recordHead+1 || parent+recordHead+1 > blockSize || head[parent+32] != 1 || binary.LittleEndian.Uint32(head[parent+2:]) != t.root.lba {
			return nil, badf("the image is damaged: a directory does not know its parent")
		}
		patches = append(patches, patch{offset: t.at(r.lba) + int64(parent) + 2, data: place})
	}
	return patches, nil
}
