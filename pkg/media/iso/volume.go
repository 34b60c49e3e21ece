package iso

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	blockSize = 2048
	// systemBlocks come before the first descriptor and belong to whoever boots the image.
	systemBlocks = 16
	// maxDescriptors bounds how many descriptors are read; images have three or four.
	maxDescriptors = 32
	// maxRead bounds what is read into memory at once.
	maxRead = 4 << 20
)

// FormatError says what is wrong with an image. It stays wrong until somebody replaces the image.
type FormatError struct{ Problem string }

func (e *FormatError) Error() string { return e.Problem }

func badf(format string, args ...any) error {
	return &FormatError{Problem: fmt.Sprintf(format, args...)}
}

// Image is a base image that has been looked at. It may be used by many at once.
type Image struct {
	r    io.ReaderAt
	size int64
	// Label is the volume's name.
	Label string
	// volumes are the image as a whole, and each partition that is an ISO 9660 volume of its own.
	volumes    []volume
	partitions []partition
	bootAt     int64 // Of El Torito's catalog; 0 without one.
}

// volume is a set of descriptors. The blocks that it speaks of are counted from its start.
type volume struct {
	start int64
	trees []tree
	// end is the first byte behind the descriptors.
	end int64
}

// tree is the directories of one descriptor: the primary ones, or Joliet's, which hold the same files.
type tree struct {
	volume     int64 // The volume's start.
	descriptor int64 // Where the descriptor is, in bytes of the image.
	joliet     bool
	root       extent
	// rockRidge tells whether records carry POSIX names and modes, behind skip bytes of somebody else's.
	rockRidge bool
	skip      int
	px        int // The length of the field that holds the mode; two versions of the standard differ.
	tables    []pathTable
}

// extent is a run of blocks.
type extent struct {
	lba  uint32
	size uint32
}

// pathTable is a list of directories, beside the directories themselves, that some boot loaders read.
type pathTable struct {
	lba   uint32
	order binary.ByteOrder
}

// Open looks at an image of the given size. A *FormatError says what is wrong with it; other errors are the reader's.
func Open(r io.ReaderAt, size int64) (*Image, error) {
	image := &Image{r: r, size: size}
	switch {
	case size == 0:
		return nil, badf("the image is empty")
	case size < (systemBlocks+2)*blockSize:
		return nil, badf("the image is no ISO 9660 image: it has %d bytes, and the smallest has more", size)
	}
	whole, err := image.readVolume(0)
	if err != nil {
		return nil, err
	}
	image.volumes = []volume{whole}
	if image.partitions, err = image.readPartitions(); err != nil {
		return nil, err
	}
	for _, p := range image.partitions {
		if p.start == 0 || p.start%blockSize != 0 || len(image.volumes) > 2 {
			continue
		}
		// What is no volume of its own, such as the firmware's partition, is nothing to look at.
		inner, err := image.readVolume(p.start)
		var format *FormatError
		if errors.As(err, &format) {
			continue
		}
		if err != nil {
			return nil, err
		}
		image.volumes = append(image.volumes, inner)
	}
	return image, nil
}

// Size is the image's, in bytes.
func (i *Image) Size() int64 { return i.size }

// read reads so many bytes, of which there are that many.
func (i *Image) read(offset, length int64) ([]byte, error) {
	if offset < 0 || length < 0 || length > maxRead || offset > i.size-length {
		return nil, badf("the image is truncated or damaged: it speaks of %d bytes at %d and has %d", length, offset, i.size)
	}
	buffer := make([]byte, length)
	if _, err := i.r.ReadAt(buffer, offset); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading image: %w", err)
	}
	return buffer, nil
}

func (i *Image) readVolume(start int64) (volume, error) {
	v := volume{start: start}
	for n := int64(0); ; n++ {
		if n == maxDescriptors {
			return v, badf("the image is damaged: its volume descriptors have no end")
		}
		at := start + (systemBlocks+n)*blockSize
		block, err := i.read(at, blockSize)
		if err != nil {
			return v, err
		}
		if string(block[1:6]) != "CD001" {
			if n == 0 {
				return v, badf("the image is no ISO 9660 image: there is no volume descriptor where the first must be")
			}
			return v, badf("the image is damaged: a volume descriptor is missing")
		}
		v.end = at + blockSize
		if block[0] == 255 {
			break
		}
		if err := i.readDescriptor(&v, at, block); err != nil {
			return v, err
		}
	}
	if len(v.trees) == 0 || v.trees[0].joliet {
		return v, badf("the image is damaged: it has no primary volume descriptor")
	}
	return v, nil
}

func (i *Image) readDescriptor(v *volume, at int64, block []byte) error {
	switch joliet := isJoliet(block); {
	case block[0] == 0 && strings.HasPrefix(string(block[7:39]), "EL TORITO SPECIFICATION"):
		if v.start == 0 {
			i.bootAt = int64(binary.LittleEndian.Uint32(block[71:])) * blockSize
		}
	case block[0] == 1 && len(v.trees) == 0, block[0] == 2 && joliet && len(v.trees) == 1:
		t, err := i.readTree(v.start, at, block)
		if err != nil {
			return err
		}
		t.joliet = joliet
		v.trees = append(v.trees, t)
	}
	return nil
}

// isJoliet tells of a descriptor whose names are in UCS-2.
func isJoliet(block []byte) bool {
	escape := string(block[88:91])
	return block[0] == 2 && (escape == "%/@" || escape == "%/C" || escape == "%/E")
}

func (i *Image) readTree(start, at int64, block []byte) (tree, error) {
	t := tree{volume: start, descriptor: at}
	if size := binary.LittleEndian.Uint16(block[128:]); size != blockSize {
		return t, badf("the image has blocks of %d bytes, and only %d are supported", size, blockSize)
	}
	if claimed := start + int64(binary.LittleEndian.Uint32(block[80:]))*blockSize; claimed > i.size {
		return t, badf("the image is truncated: its volume is %d bytes long and it has %d", claimed, i.size)
	}
	root, err := parseRecord(block[156:190])
	if err != nil || root.flags&flagDirectory == 0 {
		return t, badf("the image is damaged: it has no root directory")
	}
	t.root = root.extent
	for _, table := range []struct {
		offset int
		order  binary.ByteOrder
	}{{140, binary.LittleEndian}, {144, binary.LittleEndian}, {148, binary.BigEndian}, {152, binary.BigEndian}} {
		if lba := table.order.Uint32(block[table.offset:]); lba != 0 {
			t.tables = append(t.tables, pathTable{lba: lba, order: table.order})
		}
	}
	if start == 0 && block[0] == 1 {
		i.Label = strings.TrimRight(string(block[40:72]), " \x00")
	}
	self, err := i.readDirectory(t, t.root)
	if err != nil {
		return t, err
	}
	t.rockRidge, t.skip, t.px = detectRockRidge(self.records[0].system)
	return t, nil
}

// at is where a block of the tree is in the image.
func (t tree) at(lba uint32) int64 {
	return t.volume + int64(lba)*blockSize
}
