package iso

import (
	"fmt"
	"path"
	"strings"
)

// Cpio is an archive, in the form "newc" that Linux unpacks an initrd from, of one file and the folders above it. It has
// no dates, so that the same file makes the same bytes, and is a multiple of 4 bytes long.
func Cpio(name string, content []byte) []byte {
	name = strings.Trim(path.Clean("/"+name), "/")
	var archive []byte
	inode := 1
	add := func(name string, mode, links int, content []byte) {
		archive = fmt.Appendf(archive, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", inode, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(name)+1, 0)
		archive = align4(append(append(archive, name...), 0))
		archive = align4(append(archive, content...))
		inode++
	}
	for at := 0; ; {
		next := strings.IndexByte(name[at:], '/')
		if next < 0 {
			break
		}
		at += next
		add(name[:at], 0o040755, 2, nil)
		at++
	}
	add(name, 0o100444, 1, content)
	inode = 0
	add("TRAILER!!!", 0, 1, nil)
	return archive
}

func align4(data []byte) []byte {
	return append(data, make([]byte, (4-len(data)%4)%4)...)
}
