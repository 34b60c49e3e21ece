package iso

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/tests/medium"
)

// counted counts what is read of a base.
type counted struct {
	io.ReaderAt
	bytes int64
}

func (c *counted) ReadAt(buffer []byte, at int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(buffer, at)
	c.bytes += int64(n)
	return n, err
}

func TestSumReadsFromTheFirstChangeOn(t *testing.T) {
	// The reserved file is the last one.
	base := medium.Bytes(medium.Options{RockRidge: true, Files: map[string][]byte{"a": bytes.Repeat([]byte("a"), 3<<20), "boot/seed.img": make([]byte, 4096)}})
	hasher := NewHasher()
	hasher.marks.Every = 64 << 10
	for part := base; len(part) > 0; part = part[min(len(part), 10007):] {
		_, err := hasher.Write(part[:min(len(part), 10007)])
		require.NoError(t, err)
	}
	require.Equal(t, sha256.Sum256(base), hasher.Sum())
	require.Equal(t, int64(len(base)), hasher.Size())

	l, err := open(t, base).Plan([]byte(config))
	require.NoError(t, err)
	want := sha256.Sum256(made(t, l, base))
	for why, c := range map[string]struct {
		marks Checkpoints
		most  int64
	}{
		"with checkpoints":       {hasher.Checkpoints(), 200 << 10},
		"without":                {Checkpoints{}, l.Size()},
		"with damaged ones":      {Checkpoints{Every: 64 << 10, States: [][]byte{{1}, {2}, {3}}}, l.Size()},
		"with a negative length": {Checkpoints{Every: -1, States: hasher.marks.States}, l.Size()},
	} {
		read := &counted{ReaderAt: bytes.NewReader(base)}
		sum, err := l.Sum(t.Context(), read, c.marks)
		require.NoError(t, err, why)
		require.Equal(t, want, sum, why)
		require.LessOrEqual(t, read.bytes, c.most, why)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = l.Sum(ended, bytes.NewReader(base), Checkpoints{})
	require.ErrorIs(t, err, context.Canceled)
	_, err = l.Sum(t.Context(), bytes.NewReader(base[:1000]), Checkpoints{})
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}
