package iso

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// Range is a run of bytes of an image.
type Range struct{ Offset, Length int64 }

// Overlaps tells whether the two have a byte in common.
func (r Range) Overlaps(other Range) bool {
	return r.Offset < other.Offset+other.Length && other.Offset < r.Offset+r.Length
}

// Layout is an image as a list of pieces of its base, bytes of its own, and zeros. It holds nothing of the base and is
// never changed: any number of readers may share it.
type Layout struct {
	pieces []piece
	size   int64
	// Personal is where the config stands: what makes this image another than the base.
	Personal Range
	Method   Method
}

// piece is a run of the image: bytes of its own, zeros, or, where it has neither, bytes of the base.
type piece struct {
	at, length int64
	base       int64 // Where in the base it begins.
	data       []byte
	zeros      bool
}

// patch is bytes, or so many zeros, in place of what the base has there, or behind its end.
type patch struct {
	offset int64
	data   []byte
	zeros  int64
}

func (p patch) length() int64 {
	if p.data != nil {
		return int64(len(p.data))
	}
	return p.zeros
}

var errOverlap = errors.New("two changes of one place")

// compose puts patches into the base. What lies behind its end must be patched without a hole.
func compose(base, size int64, patches []patch) ([]piece, error) {
	patches = slices.DeleteFunc(slices.Clone(patches), func(p patch) bool { return p.length() == 0 })
	slices.SortStableFunc(patches, func(a, b patch) int { return cmp.Compare(a.offset, b.offset) })
	var pieces []piece
	at := int64(0)
	fromBase := func(end int64) {
		if end > at {
			pieces = append(pieces, piece{at: at, length: end - at, base: at})
			at = end
		}
	}
	for _, p := range patches {
		if p.offset < at {
			return nil, errOverlap
		}
		fromBase(p.offset)
		pieces = append(pieces, piece{at: at, length: p.length(), data: p.data, zeros: p.data == nil})
		at += p.length()
	}
	fromBase(min(base, size))
	if at != size {
		return nil, fmt.Errorf("composing image: %d bytes instead of %d", at, size)
	}
	return pieces, nil
}

// Section is a file of the base, as it is.
func Section(file File) *Layout {
	return &Layout{pieces: []piece{{length: file.Size, base: file.Offset}}, size: file.Size}
}

// WithInitrd is an initrd of the base with an archive of its own behind it. Linux looks for an archive at multiples of 4.
func WithInitrd(file File, archive []byte) *Layout {
	padding := (4 - file.Size%4) % 4
	l := Section(file)
	l.pieces = append(l.pieces, piece{at: file.Size, length: padding, zeros: true}, piece{at: file.Size + padding, length: int64(len(archive)), data: archive})
	l.pieces = slices.DeleteFunc(l.pieces, func(p piece) bool { return p.length == 0 })
	l.size += padding + int64(len(archive))
	l.Personal = Range{Offset: file.Size + padding, Length: int64(len(archive))}
	l.Method = MethodInitrd
	return l
}

// Size is the image's, in bytes.
func (l *Layout) Size() int64 { return l.size }

// Same is a digest of how the image differs from its base: two layouts of one base with the same digest are the same image.
func (l *Layout) Same() [sha256.Size]byte {
	hash := sha256.New()
	for _, p := range l.pieces {
		var head [25]byte
		binary.BigEndian.PutUint64(head[:], uint64(p.at))
		binary.BigEndian.PutUint64(head[8:], uint64(p.length))
		binary.BigEndian.PutUint64(head[16:], uint64(p.base))
		if p.zeros {
			head[24] = 1
		}
		hash.Write(head[:])
		hash.Write(p.data)
	}
	return [sha256.Size]byte(hash.Sum(nil))
}

// Reader reads the image from its base. Each has a position of its own.
func (l *Layout) Reader(base io.ReaderAt) *Reader {
	return &Reader{layout: l, base: base}
}

// Reader is the image as bytes: an io.ReadSeeker and an io.ReaderAt.
type Reader struct {
	layout *Layout
	base   io.ReaderAt
	at     int64
}

// Read reads on from the position.
func (r *Reader) Read(buffer []byte) (int, error) {
	n, err := r.ReadAt(buffer, r.at)
	r.at += int64(n)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// Seek sets the position.
func (r *Reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.layout.size
	default:
		return 0, fmt.Errorf("seeking: no such whence: %d", whence)
	}
	if offset < 0 {
		return 0, errors.New("seeking: before the beginning")
	}
	r.at = offset
	return offset, nil
}

// ReadAt reads from anywhere.
func (r *Reader) ReadAt(buffer []byte, offset int64) (int, error) {
	if offset < 0 {
		return 0, errors.New("reading image: before the beginning")
	}
	done := 0
	for done < len(buffer) {
		p, within, ok := r.layout.find(offset + int64(done))
		if !ok {
			return done, io.EOF
		}
		part := buffer[done:]
		part = part[:min(int64(len(part)), p.length-within)]
		switch {
		case p.data != nil:
			copy(part, p.data[within:])
		case p.zeros:
			clear(part)
		default:
			if n, err := r.base.ReadAt(part, p.base+within); n < len(part) {
				return done + n, fmt.Errorf("reading base: %w", unexpected(err))
			}
		}
		done += len(part)
	}
	return done, nil
}

// find is the piece that holds the byte, and where in it.
func (l *Layout) find(offset int64) (p piece, within int64, ok bool) {
	at, exact := slices.BinarySearchFunc(l.pieces, offset, func(p piece, offset int64) int { return cmp.Compare(p.at, offset) })
	if !exact {
		at--
	}
	if at < 0 || offset >= l.size {
		return piece{}, 0, false
	}
	return l.pieces[at], offset - l.pieces[at].at, true
}

// unexpected is what a base says that is shorter than it was.
func unexpected(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// CopyTo writes so many bytes from the position on. Where the base is a file, its bytes go from file to connection
// without passing through this process, as those of a plain file do; the file's own position is used for that, so it must
// be this reader's alone.
func (r *Reader) CopyTo(to io.Writer, length int64) (int64, error) {
	done := int64(0)
	for done < length {
		p, within, ok := r.layout.find(r.at)
		if !ok {
			return done, io.EOF
		}
		n, err := r.copyPiece(to, p, within, min(length-done, p.length-within))
		done, r.at = done+n, r.at+n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

func (r *Reader) copyPiece(to io.Writer, p piece, within, length int64) (int64, error) {
	file, isFile := r.base.(*os.File)
	switch {
	case p.data != nil:
		n, err := to.Write(p.data[within : within+length])
		return int64(n), err
	case isFile && !p.zeros:
		if _, err := file.Seek(p.base+within, io.SeekStart); err != nil {
			return 0, fmt.Errorf("seeking in base: %w", err)
		}
		return io.CopyN(to, file, length)
	default:
		return io.Copy(to, io.NewSectionReader(r, r.at, length))
	}
}
