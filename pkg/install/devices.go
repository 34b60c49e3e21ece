package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// sectorSize is the unit of sysfs, whatever the disk's own is.
const sectorSize = 512

// Machine is what the kernel says of a machine's disks and of what they are used for.
type Machine struct {
	Devices []Device
	Mounts  []Mount
	// Swaps are the paths of devices and files that are swapped to.
	Swaps []string
	// Medium are the names of the devices that hold the boot medium.
	Medium []string
}

// Device is a block device: a disk, a partition, or something that looks like one.
type Device struct {
	// Name is the kernel's, such as sda, nvme0n1p1 or cciss!c0d0.
	Name string
	// Number is major:minor.
	Number string
	// Disk is the name of the disk that this is a partition of; empty for a whole disk.
	Disk string
	// Size is in bytes.
	Size int64
	// Model is what the maker calls it; may be empty.
	Model string
	// ReadOnly tells of a write protection.
	ReadOnly bool
	// Optical tells of CDs and DVDs.
	Optical bool
	// Virtual tells of devices that the kernel makes up of others, of files or of memory.
	Virtual bool
	// Holders are the names of the devices that are made of this one: encrypted, RAID, logical volumes.
	Holders []string
	// Label is that of the file system on a partition; mostly empty.
	Label string
}

// Mount is a file system in use.
type Mount struct {
	// Number is major:minor of its device; some file systems have numbers of their own.
	Number string
	// Source is what was mounted, such as /dev/sda1, and Target where.
	Source, Target string
}

// ScanMachine reads what the kernel says, below the given root.
func ScanMachine(root string) (*Machine, error) {
	found := &Machine{}
	folder := filepath.Join(root, "sys/class/block")
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("listing disks: %w", err)
	}
	for _, entry := range entries {
		device, err := readDevice(folder, entry.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // It was pulled out while we looked.
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", entry.Name(), err)
		}
		if device.Disk != "" { // Of whole disks nobody asks, and a floppy drive takes its time.
			device.Label = readLabel(filepath.Join(root, device.Path()))
		}
		found.Devices = append(found.Devices, device)
	}
	mounts, err := os.ReadFile(filepath.Join(root, "proc/self/mountinfo"))
	if err != nil {
		return nil, fmt.Errorf("reading what is mounted: %w", err)
	}
	found.Mounts = parseMounts(string(mounts))
	swaps, err := os.ReadFile(filepath.Join(root, "proc/swaps"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // A kernel without swap has no such file.
		return nil, fmt.Errorf("reading what is swapped to: %w", err)
	}
	found.Swaps = parseSwaps(string(swaps))
	return found, nil
}

// readDevice reads one folder of sysfs. The entry itself is a link into the tree of all devices, in which a partition lies below its disk.
func readDevice(folder, name string) (Device, error) {
	path, err := filepath.EvalSymlinks(filepath.Join(folder, name))
	if err != nil {
		return Device{}, err
	}
	device := Device{Name: name, Number: readLine(path, "dev"), ReadOnly: readLine(path, "ro") == "1", Model: readLine(path, "device/model")}
	sectors, err := strconv.ParseInt(readLine(path, "size"), 10, 64)
	if err != nil || device.Number == "" {
		return Device{}, fs.ErrNotExist
	}
	device.Size = sectors * sectorSize
	if readLine(path, "partition") != "" {
		device.Disk = filepath.Base(filepath.Dir(path))
	} else {
		_, err := os.Stat(filepath.Join(path, "device"))
		device.Virtual = err != nil
	}
	// 5 is a CD in the words of SCSI.
	device.Optical = readLine(path, "device/type") == "5" || strings.HasPrefix(name, "sr")
	holders, _ := os.ReadDir(filepath.Join(path, "holders"))
	for _, holder := range holders {
		device.Holders = append(device.Holders, holder.Name())
	}
	return device, nil
}

// readLine is a file of sysfs; empty when there is none.
func readLine(folder, file string) string {
	data, err := os.ReadFile(filepath.Join(folder, file))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// parseMounts reads /proc/self/mountinfo: "36 35 98:0 /root /mnt rw,noatime master:1 - ext4 /dev/sda1 rw". Between target and dash are as many
// words as there are.
func parseMounts(text string) []Mount {
	var mounts []Mount
	for _, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		dash := slices.Index(words, "-")
		if dash < 6 || len(words) < dash+3 {
			continue
		}
		mounts = append(mounts, Mount{Number: words[2], Target: unescape(words[4]), Source: unescape(words[dash+2])})
	}
	return mounts
}

func parseSwaps(text string) []string {
	var swaps []string
	for _, line := range strings.Split(text, "\n") {
		if words := strings.Fields(line); len(words) > 0 && strings.HasPrefix(words[0], "/") {
			swaps = append(swaps, unescape(words[0]))
		}
	}
	return swaps
}

// unescape undoes how the kernel writes white space in paths: \040 and its like.
func unescape(text string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(text)
}

// Path is the device's file.
func (d Device) Path() string { return "/dev/" + strings.ReplaceAll(d.Name, "!", "/") }

// String is how sentences speak of it: /dev/sda (500.1 GB, Samsung SSD 870).
func (d Device) String() string {
	text := fmt.Sprintf("%s (%s", d.Path(), bytesText(d.Size))
	if d.Model != "" {
		text += ", " + d.Model
	}
	return text + ")"
}

func bytesText(size int64) string {
	const unit = 1000
	value, units := float64(size)/unit/unit, []string{"MB", "GB", "TB", "PB"}
	n := 0
	for value >= unit && n+1 < len(units) {
		value /= unit
		n++
	}
	return fmt.Sprintf("%.1f %s", value, units[n])
}

func (m *Machine) byNumber(number string) (Device, bool) {
	at := slices.IndexFunc(m.Devices, func(d Device) bool { return d.Number == number })
	if at < 0 {
		return Device{}, false
	}
	return m.Devices[at], true
}

// partitions are those of a disk.
func (m *Machine) partitions(disk string) []Device {
	return slices.DeleteFunc(slices.Clone(m.Devices), func(d Device) bool { return d.Disk != disk })
}
