package medium

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"unicode/utf16"
)

const block = 2048

// Options say what the medium has.
type Options struct {
	// Files are contents by path, such as boot/kernel.
	Files map[string][]byte
	// RockRidge and Joliet give files long names.
	RockRidge, Joliet bool
	// Hole is a last file, /big, of so many zeros that take no room on a disk.
	Hole int64
	// Hybrid adds a master boot record whose one partition is the whole image.
	Hybrid bool
}

// entry is a file or folder.
type entry struct {
	name     string
	content  []byte
	size     int64
	children []*entry // Of a folder.
	folder   bool
	parent   *entry
	// Blocks: a folder has one place in each tree.
	at    int
	trees [2]int
}

// Bytes is the medium in memory.
func Bytes(o Options) []byte {
	var image growing
	if _, err := Write(&image, o); err != nil {
		panic(err) // Memory does not fail.
	}
	return image
}

// growing is an io.WriterAt in memory.
type growing []byte

func (g *growing) WriteAt(data []byte, at int64) (int, error) {
	if end := int(at) + len(data); end > len(*g) {
		*g = append(*g, make([]byte, end-len(*g))...)
	}
	return copy((*g)[at:], data), nil
}

// Write writes the medium and returns its size.
func Write(to io.WriterAt, o Options) (int64, error) {
	root := tree(o)
	w := &writer{to: to, options: o, next: 16 + 3}
	if o.Joliet {
		w.next++
	}
	trees := 1
	if o.Joliet {
		trees = 2
	}
	for t := range trees {
		w.tables[t] = w.take(2)
		w.placeFolders(root, t)
	}
	w.catalog = w.take(1)
	w.placeFiles(root)
	for t := range trees {
		w.writeFolders(root, t)
	}
	w.writeFiles(root)
	w.writeDescriptors(root)
	size := int64(w.next) * block
	if w.written < size {
		w.write(size-1, []byte{0})
	}
	return size, w.err
}

func tree(o Options) *entry {
	root := &entry{folder: true}
	root.parent = root
	paths := make([]string, 0, len(o.Files))
	for name := range o.Files {
		paths = append(paths, name)
	}
	slices.Sort(paths)
	for _, name := range paths {
		at := root
		parts := strings.Split(strings.Trim(name, "/"), "/")
		for _, folder := range parts[:len(parts)-1] {
			at = at.child(folder)
		}
		content := o.Files[name]
		at.children = append(at.children, &entry{name: parts[len(parts)-1], content: content, size: int64(len(content)), parent: at})
	}
	if o.Hole > 0 {
		root.children = append(root.children, &entry{name: "big", size: o.Hole, parent: root})
	}
	return root
}

func (e *entry) child(name string) *entry {
	for _, child := range e.children {
		if child.name == name && child.folder {
			return child
		}
	}
	child := &entry{name: name, folder: true, parent: e}
	e.children = append(e.children, child)
	return child
}

type writer struct {
	to      io.WriterAt
	options Options
	next    int
	tables  [2]int
	catalog int
	written int64 // The end of what was written.
	err     error
}

func (w *writer) take(blocks int) int {
	at := w.next
	w.next += blocks
	return at
}

func (w *writer) write(at int64, data []byte) {
	if w.err == nil {
		_, w.err = w.to.WriteAt(data, at)
		w.written = max(w.written, at+int64(len(data)))
	}
}

func (w *writer) placeFolders(e *entry, t int) {
	// Records are as long before and after the places are known.
	e.trees[t] = w.take(len(w.folder(e, t)) / block)
	for _, child := range e.children {
		if child.folder {
			w.placeFolders(child, t)
		}
	}
}

func (w *writer) placeFiles(e *entry) {
	for _, child := range e.children {
		if child.folder {
			w.placeFiles(child)
			continue
		}
		child.at = w.take(int((child.size + block - 1) / block))
	}
}

func (w *writer) writeFolders(e *entry, t int) {
	w.write(int64(e.trees[t])*block, w.folder(e, t))
	for _, child := range e.children {
		if child.folder {
			w.writeFolders(child, t)
		}
	}
}

func (w *writer) writeFiles(e *entry) {
	for _, child := range e.children {
		if child.folder {
			w.writeFiles(child)
			continue
		}
		w.write(int64(child.at)*block, child.content)
	}
}

// folder is a folder's records.
func (w *writer) folder(e *entry, t int) []byte {
	size := w.folderSize(e, t)
	records := [][]byte{w.record("\x00", e.trees[t], size, true, w.selfFields(e, t)), w.record("\x01", e.parent.trees[t], w.folderSize(e.parent, t), true, nil)}
	rest := [][]byte{}
	for _, child := range e.children {
		at, length := child.at, child.size
		if child.folder {
			at, length = child.trees[t], w.folderSize(child, t)
		}
		rest = append(rest, w.record(w.id(child, t), at, length, child.folder, w.fields(child, t)))
	}
	slices.SortFunc(rest, func(a, b []byte) int { return bytes.Compare(a[33:33+a[32]], b[33:33+b[32]]) })
	return pack(append(records, rest...))
}

func (w *writer) folderSize(e *entry, t int) int64 {
	lengths := [][]byte{w.record("\x00", 0, 0, true, w.selfFields(e, t)), w.record("\x01", 0, 0, true, nil)}
	for _, child := range e.children {
		lengths = append(lengths, w.record(w.id(child, t), 0, 0, child.folder, w.fields(child, t)))
	}
	slices.SortFunc(lengths[2:], func(a, b []byte) int { return bytes.Compare(a[33:33+a[32]], b[33:33+b[32]]) })
	return int64(len(pack(lengths)))
}

func pack(records [][]byte) []byte {
	var data []byte
	for _, r := range records {
		if left := block - len(data)%block; left < len(r) {
			data = append(data, make([]byte, left)...)
		}
		data = append(data, r...)
	}
	return append(data, make([]byte, (block-len(data)%block)%block)...)
}

// id is the name as the tree stores it.
func (w *writer) id(e *entry, t int) string {
	name := e.name
	if t == 0 && w.options.RockRidge {
		stem, extension, _ := strings.Cut(strings.ToUpper(strings.NewReplacer("-", "_", " ", "_").Replace(name)), ".")
		// As eight and three characters, with a sum so that two long names differ.
		sum := 0
		for _, letter := range []byte(path.Join(e.name)) {
			sum = sum*31 + int(letter)
		}
		if len(stem) > 8 {
			stem = fmt.Sprintf("%.4s%04X", stem, sum&0xffff)
		}
		name = stem + "." + extension[:min(3, len(extension))]
	} else if t == 0 {
		name = strings.ToUpper(name)
	}
	if !e.folder {
		if t == 0 && !strings.Contains(name, ".") {
			name += "."
		}
		name += ";1"
	} else {
		name = strings.TrimSuffix(name, ".")
	}
	if t == 0 {
		return name
	}
	var encoded []byte
	for _, unit := range utf16.Encode([]rune(name)) {
		encoded = binary.BigEndian.AppendUint16(encoded, unit)
	}
	return string(encoded)
}

func (w *writer) selfFields(e *entry, t int) []byte {
	if t == 1 || !w.options.RockRidge {
		return nil
	}
	fields := px(0o040555)
	if e.parent == e {
		fields = append([]byte{'S', 'P', 7, 1, 0xbe, 0xef, 0}, fields...)
	}
	return fields
}

func (w *writer) fields(e *entry, t int) []byte {
	if t == 1 || !w.options.RockRidge {
		return nil
	}
	mode := uint32(0o100444)
	if e.folder {
		mode = 0o040555
	}
	return append(append(px(mode), 'N', 'M', byte(5+len(e.name)), 1, 0), e.name...)
}

func px(mode uint32) []byte {
	field := append([]byte{'P', 'X', 36, 1}, both(mode)...)
	return append(append(append(field, both(1)...), both(0)...), both(0)...)
}

func (w *writer) record(id string, at int, size int64, folder bool, fields []byte) []byte {
	record := make([]byte, 33)
	copy(record[2:], both(uint32(at)))
	copy(record[10:], both(uint32(size)))
	copy(record[18:], []byte{126, 11, 20, 12, 0, 0, 0})
	if folder {
		record[25] = 2
	}
	copy(record[28:], []byte{1, 0, 0, 1})
	record[32] = byte(len(id))
	record = append(record, id...)
	if len(id)%2 == 0 {
		record = append(record, 0)
	}
	record = append(record, fields...)
	if len(record)%2 == 1 {
		record = append(record, 0)
	}
	record[0] = byte(len(record))
	return record
}

func both(value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, value), value)
}
