package iso

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"unicode/utf16"
)

const (
	flagDirectory   = 0x02
	flagMultiExtent = 0x80

	// recordHead is a record without its name.
	recordHead = 33
	// maxDirectory bounds one directory; ten thousand files need about as much.
	maxDirectory = 2 << 20
	// maxDepth bounds a path; ISO 9660 allows 8 levels, and Rock Ridge a few more.
	maxDepth = 32
)

// record is one entry of a directory.
type record struct {
	raw []byte
	extent
	flags byte
	// id is the name as it is stored, system what follows it.
	id     string
	system []byte
}

// parseRecord reads one record, of the length that its first byte says.
func parseRecord(raw []byte) (record, error) {
	if len(raw) < recordHead+1 {
		return record{}, badf("the image is damaged: a directory's record is too short")
	}
	name := int(raw[32])
	system := recordHead + name + (name+1)%2 // Padded to an even length.
	if name == 0 || system > len(raw) && recordHead+name != len(raw) {
		return record{}, badf("the image is damaged: a directory's record is shorter than its name")
	}
	r := record{
		raw:    raw,
		extent: extent{lba: binary.LittleEndian.Uint32(raw[2:]), size: binary.LittleEndian.Uint32(raw[10:])},
		flags:  raw[25],
		id:     string(raw[recordHead : recordHead+name]),
	}
	if system < len(raw) {
		r.system = raw[system:]
	}
	return r, nil
}

// directory is a directory as it is stored, and its records: itself, its parent, then the others.
type directory struct {
	data    []byte
	records []record
}

func (i *Image) readDirectory(t tree, at extent) (directory, error) {
	if at.size == 0 || at.size > maxDirectory || at.size%blockSize != 0 {
		return directory{}, badf("the image is damaged: a directory of %d bytes is not to be believed", at.size)
	}
	data, err := i.read(t.at(at.lba), int64(at.size))
	if err != nil {
		return directory{}, err
	}
	d := directory{data: data}
	for offset := 0; offset < len(data); {
		left := blockSize - offset%blockSize
		length := int(data[offset])
		if length == 0 { // Nothing more in this block.
			offset += left
			continue
		}
		if length > left {
			return d, badf("the image is damaged: a directory's record crosses the end of its block")
		}
		r, err := parseRecord(data[offset : offset+length])
		if err != nil {
			return d, err
		}
		d.records = append(d.records, r)
		offset += length
	}
	if len(d.records) < 2 || d.records[0].id != "\x00" || d.records[1].id != "\x01" {
		return d, badf("the image is damaged: a directory does not begin with itself and its parent")
	}
	return d, nil
}

// File is a file of the image.
type File struct {
	// Offset and Size say where in the image it is, in bytes.
	Offset, Size int64
	lba          uint32
}

// Find finds a file by its path, such as /boot/kernel: exactly spelled, or else in other letters of upper and lower
// case, as images without long names have it. Its error is fs.ErrNotExist where there is none.
func (i *Image) Find(path string) (File, error) {
	t := i.names()
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if len(parts) > maxDepth {
		return File{}, fmt.Errorf("finding %s: %w", path, fs.ErrNotExist)
	}
	at := t.root
	for depth, part := range parts {
		found, err := i.lookup(t, at, part)
		if err != nil {
			return File{}, fmt.Errorf("finding %s: %w", path, err)
		}
		isDirectory, isLast := found.flags&flagDirectory != 0, depth == len(parts)-1
		if isDirectory == isLast {
			return File{}, fmt.Errorf("finding %s: %w", path, fs.ErrNotExist)
		}
		if isLast {
			return i.file(t, found.extent)
		}
		at = found.extent
	}
	return File{}, fmt.Errorf("finding %s: %w", path, fs.ErrNotExist)
}

// names is the tree whose names are the longest.
func (i *Image) names() tree {
	trees := i.volumes[0].trees
	if !trees[0].rockRidge && len(trees) > 1 {
		return trees[1]
	}
	return trees[0]
}

func (i *Image) file(t tree, at extent) (File, error) {
	f := File{Offset: t.at(at.lba), Size: int64(at.size), lba: at.lba}
	if f.Offset > i.size-f.Size {
		return File{}, badf("the image is truncated: a file ends at %d and the image at %d", f.Offset+f.Size, i.size)
	}
	return f, nil
}

// lookup finds one name in one directory. A file in several extents is one only if they follow one another.
func (i *Image) lookup(t tree, at extent, name string) (record, error) {
	d, err := i.readDirectory(t, at)
	if err != nil {
		return record{}, err
	}
	best := -1
	for n, r := range d.records[2:] {
		shown, err := i.nameOf(t, r)
		if err != nil {
			return record{}, err
		}
		if shown == name {
			best = n + 2
			break
		}
		if best < 0 && strings.EqualFold(shown, name) {
			best = n + 2
		}
	}
	if best < 0 {
		return record{}, fs.ErrNotExist
	}
	found := d.records[best]
	if found.flags&flagMultiExtent != 0 {
		return record{}, badf("the image holds %s in several pieces, which is not supported", name)
	}
	return found, nil
}

// nameOf is the name that a person sees.
func (i *Image) nameOf(t tree, r record) (string, error) {
	switch {
	case t.joliet:
		return plainName(decodeUCS2(r.id)), nil
	case t.rockRidge:
		name, err := i.rockRidgeName(t, r)
		if err != nil || name != "" {
			return name, err
		}
	}
	return plainName(r.id), nil
}

// plainName takes off the version, and the dot of a name without an extension.
func plainName(id string) string {
	name, _, _ := strings.Cut(id, ";")
	return strings.TrimSuffix(name, ".")
}

func decodeUCS2(id string) string {
	units := make([]uint16, len(id)/2)
	for n := range units {
		units[n] = binary.BigEndian.Uint16([]byte(id[2*n:]))
	}
	return string(utf16.Decode(units))
}

func encodeUCS2(name string) string {
	var encoded []byte
	for _, unit := range utf16.Encode([]rune(name)) {
		encoded = binary.BigEndian.AppendUint16(encoded, unit)
	}
	return string(encoded)
}

// ReadFile reads a small file whole; an error says so when it is larger than most.
func (i *Image) ReadFile(path string, most int64) ([]byte, error) {
	f, err := i.Find(path)
	if err != nil {
		return nil, err
	}
	if f.Size > most {
		return nil, badf("%s has %d bytes, and more than %d are not read", path, f.Size, most)
	}
	return i.read(f.Offset, f.Size)
}

// missing tells a file that is not there from an image that cannot be read.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
