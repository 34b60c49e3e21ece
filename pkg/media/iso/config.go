package iso

import (
	"bytes"
	"io/fs"
	"strconv"
)

// maxReserved bounds how much of a reserved file is read for the config in it: as much as the config may have, and its headers.
const maxReserved = MaxConfig + 4<<10

// Config is what Plan has put on the medium. Its error is fs.ErrNotExist where there is nothing.
func (i *Image) Config() ([]byte, error) {
	reserved, err := i.Find(ReservedPath)
	if err == nil {
		archive, err := i.read(reserved.Offset, min(reserved.Size, maxReserved))
		if err != nil {
			return nil, err
		}
		return FromCpio(archive, SeedPath)
	}
	if !missing(err) {
		return nil, err
	}
	return i.ReadFile(ConfigPath, MaxConfig)
}

// FromCpio is the content of a file in an archive as Cpio makes it. Its error is fs.ErrNotExist where the archive has no such file, or ends.
func FromCpio(archive []byte, name string) ([]byte, error) {
	const header = 110
	name = name[1:]
	for len(archive) >= header && bytes.HasPrefix(archive, []byte("070701")) {
		nameSize, err := hexField(archive, 11)
		if err != nil {
			return nil, err
		}
		size, err := hexField(archive, 6)
		if err != nil {
			return nil, err
		}
		begin := (header + nameSize + 3) / 4 * 4
		if begin+size > len(archive) {
			break
		}
		if string(bytes.TrimRight(archive[header:header+nameSize], "\x00")) == name {
			return bytes.Clone(archive[begin : begin+size]), nil
		}
		archive = archive[min(len(archive), (begin+size+3)/4*4):]
	}
	return nil, fs.ErrNotExist
}

// hexField is a number of the header, none of which is larger than what we would read.
func hexField(header []byte, n int) (int, error) {
	value, err := strconv.ParseUint(string(header[6+8*n:6+8*n+8]), 16, 32)
	if err != nil || value > maxReserved {
		return 0, badf("the archive on the medium is damaged")
	}
	return int(value), nil
}
