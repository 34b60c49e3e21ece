package iso

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/tests/medium"
)

// Everything that can be wrong with a base is a sentence that says so, and nothing that is read makes us read much.
func TestHostileBases(t *testing.T) {
	good := medium.Bytes(medium.Options{RockRidge: true, Joliet: true, Hybrid: true, Files: kernelAndInitrd(nil)})
	image := open(t, good)
	root := int(image.volumes[0].trees[0].at(image.volumes[0].trees[0].root.lba))
	const primary = 16 * blockSize
	change := func(at int, bytes ...byte) func([]byte) []byte {
		return func(base []byte) []byte { copy(base[at:], bytes); return base }
	}
	little := func(value uint32) []byte { return binary.LittleEndian.AppendUint32(nil, value) }
	for _, c := range []struct {
		why    string
		change func(base []byte) []byte
		want   string
	}{
		{"nothing", func([]byte) []byte { return nil }, "the image is empty"},
		{"one byte", func(base []byte) []byte { return base[:1] }, "is no ISO 9660 image"},
		{"a web page", func([]byte) []byte { return bytes.Repeat([]byte("<html>"), 20000) }, "no ISO 9660 image"},
		{"zeros", func(base []byte) []byte { return make([]byte, len(base)) }, "no ISO 9660 image"},
		{"the descriptors alone", func(base []byte) []byte { return base[:20*blockSize] }, "truncated"},
		{"half of it", func(base []byte) []byte { return base[:len(base)/2] }, "truncated"},
		{"all but the last block", func(base []byte) []byte { return base[:len(base)-blockSize] }, "truncated"},
		{"a volume of 8 TB", change(primary+80, little(1<<32-1)...), "truncated"},
		{"blocks of 512 bytes", change(primary+128, 0, 2), "blocks of 512 bytes"},
		{"a root of 4 GB", change(primary+156+10, little(1<<32-2048)...), "not to be believed"},
		{"a root of no size", change(primary+156+10, little(0)...), "not to be believed"},
		{"a root of half a block", change(primary+156+10, little(1000)...), "not to be believed"},
		{"a root beyond the end", change(primary+156+2, little(1<<31)...), "truncated or damaged"},
		{"a root that is a file", change(primary+156+25, 0), "no root directory"},
		{"no root", change(primary+156, make([]byte, 34)...), "no root directory"},
		{"descriptors without an end", func(base []byte) []byte {
			for n := range 40 {
				base = append(base[:(17+n)*blockSize], append([]byte("\x03CD001\x01"), base[(17+n)*blockSize+7:]...)...)
			}
			// The root that they were written over is elsewhere.
			elsewhere := uint32(len(base) / blockSize)
			copy(base[primary+156+2:], both32(elsewhere))
			return append(base, good[root:root+blockSize]...)
		}, "have no end"},
		{"no primary descriptor", change(primary, 3), "no primary volume descriptor"},
		{"a missing descriptor", change(primary+blockSize, make([]byte, 8)...), "a volume descriptor is missing"},
		{"a root without itself", change(root+33, 'x'), "does not begin with itself"},
		{"a record of one byte", change(root, 1), "too short"},
		{"a record longer than what is left of its block", func(base []byte) []byte {
			second := root + int(base[root])
			for at := second + int(base[second]); at < root+blockSize; at += 250 {
				copy(base[at:], make([]byte, 250))
				base[at], base[at+32], base[at+33] = 250, 1, 'x'
			}
			return base
		}, "crosses the end of its block"},
		{"a name longer than its record", change(root+32, 200), "shorter than its name"},
	} {
		base := c.change(bytes.Clone(good))
		opened, err := Open(bytes.NewReader(base), int64(len(base)))
		if err == nil {
			_, err = opened.Plan([]byte(config))
		}
		var format *FormatError
		require.ErrorAs(t, err, &format, c.why)
		require.Regexp(t, c.want, err.Error(), c.why)
	}
}

// A base may claim any size: nothing is read or kept for the claim.
func TestSizeIsNoPromise(t *testing.T) {
	good := medium.Bytes(medium.Options{RockRidge: true, Files: kernelAndInitrd(nil)})
	_, err := Open(bytes.NewReader(good[:10*blockSize]), 100<<30)
	require.Error(t, err)
	image, err := Open(bytes.NewReader(good), 100<<30)
	require.NoError(t, err)
	l, err := image.Plan([]byte(config))
	require.NoError(t, err)
	require.Equal(t, int64(100<<30+blockSize), l.Size())
}

// Directories that contain themselves, and paths without an end.
func TestLoops(t *testing.T) {
	base := medium.Bytes(medium.Options{RockRidge: true, Files: map[string][]byte{"a/b": []byte("x")}})
	image := open(t, base)
	tree := image.volumes[0].trees[0]
	root, err := image.readDirectory(tree, tree.root)
	require.NoError(t, err)
	// /a is the root itself.
	at := bytes.Index(base, root.records[2].raw)
	copy(base[at+2:], both32(tree.root.lba))
	image = open(t, base)
	_, err = image.Find("/a/a/a/a/b")
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = image.Find(string(bytes.Repeat([]byte("/a"), 100000)))
	require.ErrorIs(t, err, fs.ErrNotExist)

	// A name that goes on in itself.
	long := medium.Bytes(medium.Options{RockRidge: true, Files: map[string][]byte{"abcdefghijklmnopqrstuvwxyz-and-more": []byte("x")}})
	at = bytes.Index(long, []byte("NM"))
	block := uint32(at / blockSize)
	field := append([]byte{'C', 'E', 28, 1}, both32(block)...)
	field = append(append(field, both32(uint32(at%blockSize))...), both32(28)...)
	copy(long[at:], field)
	image = open(t, long)
	_, err = image.Find("/nothing")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestFilesOfAnOddKind(t *testing.T) {
	base := medium.Bytes(medium.Options{RockRidge: true, Files: map[string][]byte{"boot/kernel": []byte("x"), "empty": nil}})
	image := open(t, base)
	_, err := image.Find("/boot")
	require.ErrorIs(t, err, fs.ErrNotExist, "a folder is no file")
	_, err = image.Find("/boot/kernel/x")
	require.ErrorIs(t, err, fs.ErrNotExist, "a file is no folder")
	_, err = image.Find("")
	require.ErrorIs(t, err, fs.ErrNotExist)
	empty, err := image.Find("/EMPTY")
	require.NoError(t, err)
	require.Zero(t, empty.Size)
	require.Empty(t, made(t, Section(empty), base))
	require.Equal(t, "archive!", string(made(t, WithInitrd(empty, []byte("archive!")), base)))
	_, err = image.ReadFile("/boot/kernel", 0)
	require.ErrorContains(t, err, "more than 0 are not read")

	at := bytes.Index(base, []byte("KERNEL.;1"))
	base[at-33+25] |= flagMultiExtent
	_, err = open(t, base).Find("/boot/kernel")
	require.ErrorContains(t, err, "in several pieces")
	copy(base[at-33+10:], both32(1<<31))
	base[at-33+25] = 0
	_, err = open(t, base).Find("/boot/kernel")
	require.ErrorContains(t, err, "truncated")
}

// broken is a disk that fails.
type broken struct{}

func (broken) ReadAt([]byte, int64) (int, error) { return 0, errors.New("no disk") }

func TestADiskThatFailsIsNotTheImagesFault(t *testing.T) {
	_, err := Open(broken{}, 1<<20)
	require.ErrorContains(t, err, "no disk")
	var format *FormatError
	require.False(t, errors.As(err, &format))
}

// Whatever is changed in a base, nothing panics, what is planned has the size that it says, and no base makes it large.
// An input chooses a base, where it is cut off, and what is written over it: 4 bytes at a time, each behind its place.
func FuzzImage(f *testing.F) {
	var bases [][]byte
	for _, o := range []medium.Options{
		{RockRidge: true, Files: map[string][]byte{"boot/seed.img": make([]byte, 4096), "boot/grub2/grub.cfg": []byte("linux /k\ninitrd /i\n")}},
		{Joliet: true, Hybrid: true, Files: map[string][]byte{"k": []byte("k"), "i": []byte("i")}},
		{RockRidge: true, Joliet: true, Files: fillers(full)},
		{},
	} {
		bases = append(bases, medium.Bytes(o))
	}
	for n := range bases {
		for _, change := range [][2]uint32{{0, 0}, {16*blockSize + 156 + 2, 1 << 31}, {19 * blockSize, 0}, {446 + 8, 0x40}, {17*blockSize + 71, 5}} {
			f.Add(uint8(n), uint32(0), binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, change[0]), change[1]))
		}
	}
	f.Fuzz(func(t *testing.T, n uint8, cut uint32, changes []byte) {
		base := bytes.Clone(bases[int(n)%len(bases)])
		base = base[:len(base)-int(cut)%len(base)]
		for ; len(changes) >= 8; changes = changes[8:] {
			if at := int(binary.BigEndian.Uint32(changes)) % len(base); at+4 <= len(base) {
				copy(base[at:], changes[4:8])
			}
		}
		image, err := Open(bytes.NewReader(base), int64(len(base)))
		if err != nil {
			return
		}
		_, _ = image.Firmware()
		_, _ = image.Kernel()
		l, err := image.Plan([]byte(config))
		if err != nil {
			return
		}
		read, err := io.Copy(io.Discard, l.Reader(bytes.NewReader(base)))
		if err != nil || read != l.Size() {
			t.Fatalf("%d bytes of %d: %v", read, l.Size(), err)
		}
		if l.Size() > int64(len(base))+6*maxDirectory {
			t.Fatalf("%d bytes became %d", len(base), l.Size())
		}
	})
}
