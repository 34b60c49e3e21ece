package iso

import (
	"context"
	"crypto/sha256"
	"encoding"
	"errors"
	"fmt"
	"hash"
	"io"
)

// checkpointEvery is how far apart the states of the base's hash are that are kept: 16 of a hundred bytes for a gigabyte.
const checkpointEvery = 64 << 20

// Checkpoints are states of the SHA-256 of a base, one after every so many bytes. With them the SHA-256 of an image is
// computed from where it begins to differ, not from its beginning.
type Checkpoints struct {
	Every  int64    `json:"every"`
	States [][]byte `json:"states"`
}

// Hasher computes a base's SHA-256 while it arrives, and keeps the checkpoints.
type Hasher struct {
	hash  hash.Hash
	size  int64
	marks Checkpoints
}

// NewHasher begins with nothing.
func NewHasher() *Hasher {
	return &Hasher{hash: sha256.New(), marks: Checkpoints{Every: checkpointEvery}}
}

// Write takes the next bytes; it never fails.
func (h *Hasher) Write(data []byte) (int, error) {
	written := len(data)
	for len(data) > 0 {
		part := min(int64(len(data)), h.marks.Every-h.size%h.marks.Every)
		h.hash.Write(data[:part])
		h.size += part
		data = data[part:]
		if h.size%h.marks.Every == 0 {
			if state, err := marshalState(h.hash); err == nil {
				h.marks.States = append(h.marks.States, state)
			}
		}
	}
	return written, nil
}

func marshalState(h hash.Hash) ([]byte, error) {
	marshaler, ok := h.(encoding.BinaryMarshaler)
	if !ok {
		return nil, errors.New("this SHA-256 keeps its state to itself")
	}
	return marshaler.MarshalBinary()
}

// Size is how many bytes came.
func (h *Hasher) Size() int64 { return h.size }

// Sum is the SHA-256 of what came.
func (h *Hasher) Sum() [sha256.Size]byte { return [sha256.Size]byte(h.hash.Sum(nil)) }

// Checkpoints are those of what came.
func (h *Hasher) Checkpoints() Checkpoints { return h.marks }

// resume is a hash of the first bytes of the base, as many of them as lie before the first change, and their number.
func (c Checkpoints) resume(unchanged int64) (hash.Hash, int64) {
	fresh := sha256.New()
	if c.Every <= 0 {
		return fresh, 0
	}
	n := min(unchanged/c.Every, int64(len(c.States)))
	if n <= 0 {
		return fresh, 0
	}
	unmarshaler, ok := fresh.(encoding.BinaryUnmarshaler)
	if !ok || unmarshaler.UnmarshalBinary(c.States[n-1]) != nil {
		return sha256.New(), 0
	}
	return fresh, n * c.Every
}

// Sum is the SHA-256 of the image. What is the base's and comes before the first change is not read.
func (l *Layout) Sum(ctx context.Context, base io.ReaderAt, marks Checkpoints) ([sha256.Size]byte, error) {
	unchanged := int64(0)
	if first := l.pieces[0]; first.data == nil && !first.zeros && first.base == 0 {
		unchanged = first.length
	}
	sum, done := marks.resume(unchanged)
	reader := l.Reader(base)
	buffer := make([]byte, 1<<20)
	for done < l.size {
		if ctx.Err() != nil {
			return [sha256.Size]byte{}, context.Cause(ctx)
		}
		n, err := reader.ReadAt(buffer, done)
		sum.Write(buffer[:n])
		done += int64(n)
		if err != nil && done < l.size {
			return [sha256.Size]byte{}, fmt.Errorf("hashing image: %w", err)
		}
	}
	return [sha256.Size]byte(sum.Sum(nil)), nil
}
