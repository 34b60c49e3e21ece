package iso

import (
	"errors"
	"strings"
)

const (
	// ReservedPath is the file that a base may carry for the config, filled with zeros. Its boot loader gives it to the
	// kernel as a second initrd.
	ReservedPath = "/boot/seed.img"
	// ConfigPath is where the config stands on a base without a reserved file.
	ConfigPath = "/livecd-cloud-config.yaml"
	// SeedPath is where the config stands in an initrd.
	SeedPath = "/rancheros/seed.yaml"
	// MaxConfig bounds the config; the boot loaders that we know of read much more.
	MaxConfig = 512 << 10
)

// Method is how the config gets onto a medium.
type Method string

// The methods, in the order of choice.
const (
	MethodReserved Method = "ReservedFile"
	MethodRecord   Method = "RootRecord"
	MethodMoved    Method = "MovedRoot"
	// MethodInitrd is that of an initrd of its own, for the network.
	MethodInitrd Method = "Initrd"
)

// Plan says how the image with the config on it is made of the base. The same base and config make the same bytes.
func (i *Image) Plan(config []byte) (*Layout, error) {
	if len(config) == 0 || len(config) > MaxConfig {
		return nil, badf("the config has %d bytes, and must have from 1 to %d", len(config), MaxConfig)
	}
	reserved, err := i.Find(ReservedPath)
	if err == nil {
		return i.planReserved(reserved, Cpio(SeedPath, config))
	}
	if !missing(err) {
		return nil, err
	}
	return i.planRecord(config)
}

// planReserved writes the archive over the reserved file, and zeros over the rest of it.
func (i *Image) planReserved(reserved File, archive []byte) (*Layout, error) {
	if int64(len(archive)) > reserved.Size {
		return nil, badf("the base's %s has %d bytes, and the config needs %d; make the base with a larger one", ReservedPath, reserved.Size, len(archive))
	}
	p := planner{image: i, method: MethodReserved, size: i.size, personal: Range{Offset: reserved.Offset, Length: int64(len(archive))}}
	p.patches = []patch{
		{offset: reserved.Offset, data: archive},
		{offset: reserved.Offset + int64(len(archive)), zeros: reserved.Size - int64(len(archive))},
	}
	return p.layout()
}

// planner gathers what makes the image differ from its base.
type planner struct {
	image    *Image
	method   Method
	patches  []patch
	personal Range
	// size is the image's; what lies behind the end of the base is new.
	size int64
	// gap is room inside the base that a partition's volume can see too.
	gap Range
}

func (i *Image) planRecord(config []byte) (*Layout, error) {
	p := planner{image: i, method: MethodRecord, size: i.size}
	var err error
	if p.gap, err = i.gap(); err != nil {
		return nil, err
	}
	at, inGap := p.place(config, true)
	p.personal = Range{Offset: at, Length: int64(len(config))}
	for n, v := range i.volumes {
		if n > 0 && !inGap {
			break // A partition ends before the end of the image: what stands there cannot be read through it.
		}
		for _, t := range v.trees {
			if err := p.addRecord(t, extent{lba: uint32((at - t.volume) / blockSize), size: uint32(len(config))}, n > 0); err != nil {
				return nil, err
			}
		}
	}
	if p.size > i.size {
		for _, t := range i.volumes[0].trees {
			p.patches = append(p.patches, patch{offset: t.descriptor + 80, data: both32(uint32(p.size / blockSize))})
		}
		p.patches = append(p.patches, i.growPartition(p.size)...)
	}
	return p.layout()
}

// gap is the empty room between the descriptors of the image and those of the partition in it, if there is any.
func (i *Image) gap() (Range, error) {
	if len(i.volumes) < 2 {
		return Range{}, nil
	}
	outer, inner := i.volumes[0], i.volumes[1]
	begin, end := max(outer.end, inner.start), inner.start+systemBlocks*blockSize
	if begin >= end || end-begin > systemBlocks*blockSize {
		return Range{}, nil
	}
	room, err := i.read(begin, end-begin)
	if err != nil || strings.Trim(string(room), "\x00") != "" {
		return Range{}, err
	}
	return Range{Offset: begin, Length: end - begin}, nil
}

// place finds room for data, in the gap if it fits there and may, else behind the end.
func (p *planner) place(data []byte, mayGap bool) (at int64, inGap bool) {
	blocks := roundUp(int64(len(data)))
	if mayGap && blocks <= p.gap.Length {
		at = p.gap.Offset
		p.gap.Offset, p.gap.Length = p.gap.Offset+blocks, p.gap.Length-blocks
		p.patches = append(p.patches, patch{offset: at, data: data})
		return at, true
	}
	at = roundUp(p.size)
	p.patches = append(p.patches, patch{offset: p.size, zeros: at - p.size}, patch{offset: at, data: data}, patch{offset: at + int64(len(data)), zeros: blocks - int64(len(data))})
	p.size = at + blocks
	return at, false
}

// addRecord makes the tree's root lead to the config. Inside a partition there may be no room for that; then that tree
// stays as it is.
func (p *planner) addRecord(t tree, to extent, inner bool) error {
	root, err := p.image.readDirectory(t, t.root)
	if err != nil {
		return err
	}
	raw, at, err := p.image.configRecord(t, root, strings.TrimPrefix(ConfigPath, "/"))
	if err != nil {
		return err
	}
	lead(raw, to)
	packed := pack(root.with(raw, at))
	if len(packed) <= len(root.data) {
		packed = append(packed, make([]byte, len(root.data)-len(packed))...)
		p.patches = append(p.patches, changedBlocks(t.at(t.root.lba), root.data, packed)...)
		return nil
	}
	if inner && roundUp(int64(len(packed))) > p.gap.Length {
		return nil
	}
	return p.moveRoot(t, root, packed, inner)
}

// moveRoot gives a root that is full a new place.
func (p *planner) moveRoot(t tree, root directory, packed []byte, inner bool) error {
	at, _ := p.place(packed, inner)
	to := extent{lba: uint32((at - t.volume) / blockSize), size: uint32(len(packed))}
	lead(packed[:packed[0]], to) // Itself,
	lead(packed[packed[0]:], to) // and its parent, which for the root is itself.
	patches, err := p.image.leadToRoot(t, root, to)
	if err != nil {
		return err
	}
	p.patches = append(p.patches, patches...)
	if !inner {
		p.method = MethodMoved
	}
	return nil
}

func (p *planner) layout() (*Layout, error) {
	if p.size > 1<<32*blockSize {
		return nil, badf("the image is larger than ISO 9660 can say")
	}
	pieces, err := compose(p.image.size, p.size, p.patches)
	if errors.Is(err, errOverlap) {
		return nil, badf("the image is damaged: its structures lie on top of one another")
	}
	if err != nil {
		return nil, err
	}
	return &Layout{pieces: pieces, size: p.size, Personal: p.personal, Method: p.method}, nil
}

func roundUp(n int64) int64 {
	return (n + blockSize - 1) / blockSize * blockSize
}
