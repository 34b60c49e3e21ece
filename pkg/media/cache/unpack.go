package cache

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"strings"
)

// unpack looks for an .iso in a layer, and writes it to a file of its own; nil when there is none.
func (c *Cache) unpack(ctx context.Context, blob *os.File, key string, layer descriptor) (*os.File, error) {
	if err := rewind(blob); err != nil {
		return nil, failed("reading the layer", err)
	}
	stream := io.Reader(&stopping{ctx: ctx, Reader: blob})
	switch {
	case strings.HasSuffix(layer.MediaType, "gzip"):
		unzipped, err := gzip.NewReader(stream)
		if err != nil {
			return nil, invalid("a layer of the image is no gzip")
		}
		defer func() { _ = unzipped.Close() }()
		stream = unzipped
	case !strings.HasSuffix(layer.MediaType, ".tar"):
		return nil, invalid("a layer of the image is packed in a way that is not supported: push it with gzip")
	}
	for archive := tar.NewReader(stream); ; {
		header, err := archive.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil:
			return nil, invalid("a layer of the image is no tar archive")
		}
		if header.Typeflag == tar.TypeReg && strings.HasSuffix(strings.ToLower(header.Name), ".iso") {
			return c.unpackTo(blob, key, archive, header.Size)
		}
	}
}

func (c *Cache) unpackTo(blob *os.File, key string, from io.Reader, size int64) (*os.File, error) {
	packed, err := blob.Stat()
	if err != nil {
		return nil, failed("reading the layer", err)
	}
	if err := c.roomFor(key, size); err != nil {
		return nil, err
	}
	if err := c.reserve(key, size+packed.Size()); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(blob.Name()+".iso", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, failed("keeping the base", err)
	}
	if _, err := io.CopyN(file, from, size); err != nil {
		file.Close()
		_ = os.Remove(file.Name())
		return nil, failed("unpacking the base", err)
	}
	return file, nil
}
