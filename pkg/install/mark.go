package install

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// A machine that loses power while it is installed holds half an installation, which looks like a whole one. So the disk carries a mark from before
// the installer runs until it has ended well. The mark is the last sector before the first partition of any disk that was partitioned in this
// century; an installer that writes there takes it away, and then a half installation has to be erased by rancheros.install.force.
const markOffset = 1<<20 - sectorSize

var mark = append([]byte("rancheros-register: an installation of this disk has begun and not ended\n"), make([]byte, sectorSize-73)...)

// Unfinished tells whether the device with that number carries the mark.
func (m *Machine) Unfinished(root, number string) bool {
	device, known := m.byNumber(number)
	if !known || device.Optical || device.Size < markOffset+sectorSize {
		return false
	}
	file, err := os.Open(filepath.Join(root, device.Path()))
	if err != nil {
		return false
	}
	defer file.Close()
	return marked(file)
}

// Begin puts the mark on the disk. The kernel is asked for the disk as its only user, which is the last check: it knows of uses that no file tells of.
func (t Target) Begin(root string) error {
	file, err := os.OpenFile(filepath.Join(root, t.Path()), os.O_RDWR|syscall.O_EXCL, 0)
	if errors.Is(err, syscall.EBUSY) {
		return &Refusal{Reason: InUse, Message: fmt.Sprintf("%s is in use: the kernel does not give it away", t.Path()), Hint: "stop what uses it: a RAID, a volume group, a multipath"}
	}
	if err != nil {
		return fmt.Errorf("opening %s: %w", t.Path(), err)
	}
	return errors.Join(write(file, mark), file.Close())
}

// End takes the mark away, if the installer has left it there.
func (t Target) End(root string) error {
	file, err := os.OpenFile(filepath.Join(root, t.Path()), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("opening %s: %w", t.Path(), err)
	}
	if marked(file) {
		err = write(file, make([]byte, sectorSize))
	}
	return errors.Join(err, file.Close())
}

func marked(file *os.File) bool {
	sector := make([]byte, sectorSize)
	_, err := file.ReadAt(sector, markOffset)
	return err == nil && bytes.Equal(sector, mark)
}

func write(file *os.File, sector []byte) error {
	if _, err := file.WriteAt(sector, markOffset); err != nil {
		return fmt.Errorf("writing to %s: %w", file.Name(), err)
	}
	return file.Sync()
}
