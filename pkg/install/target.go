package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Reason is why a machine is not installed.
type Reason string

// The reasons.
const (
	BadSettings  Reason = "BadSettings"
	NotNamed     Reason = "NotNamed"
	NoSuchDevice Reason = "NoSuchDevice"
	NotADisk     Reason = "NotADisk"
	NotWritable  Reason = "NotWritable"
	BootMedium   Reason = "BootMedium"
	InUse        Reason = "InUse"
	Installed    Reason = "Installed"
	NoInstaller  Reason = "NoInstaller"
)

// Refusal is a no for the person at the machine.
type Refusal struct {
	Reason Reason
	// Message says what is the case, and Hint what to do about it.
	Message, Hint string
}

// Error is the sentence.
func (r *Refusal) Error() string { return r.Message }

// Target is a disk that may be erased. There is no other way to one than Machine.Target.
type Target struct {
	device     Device
	unfinished bool
}

// Path is the disk's file.
func (t Target) Path() string { return t.device.Path() }

// String is how sentences speak of it.
func (t Target) String() string { return t.device.String() }

// Resolve is the number, as Device has it, of the device behind a path such as /dev/disk/by-id/...; the error is a *Refusal. Numbers, not names, are
// compared: two names may be one disk.
func (m *Machine) Resolve(root, path string, number func(path string) (string, error)) (string, error) {
	if path == "" {
		return "", &Refusal{Reason: NotNamed, Message: "this machine's cloud-config names no disk to install to",
			Hint: "set rancheros.install.device in spec.cloudConfig of the machineregistration; " + m.choices()}
	}
	if clean := filepath.Clean(path); clean != path || !strings.HasPrefix(path, "/dev/") {
		return "", &Refusal{Reason: NoSuchDevice, Message: fmt.Sprintf("rancheros.install.device is %q, which is no path of a device", path),
			Hint: "it looks like /dev/sda or /dev/disk/by-id/...; " + m.choices()}
	}
	found, err := number(filepath.Join(root, path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", &Refusal{Reason: NoSuchDevice, Message: fmt.Sprintf("this machine has no %s, which its cloud-config names as the disk to install to", path),
			Hint: "correct rancheros.install.device in spec.cloudConfig of the machineregistration, or plug the disk in; " + m.choices()}
	case err != nil:
		return "", &Refusal{Reason: NotADisk, Message: fmt.Sprintf("%s cannot be used as the disk to install to: %v", path, err), Hint: m.choices()}
	}
	return found, nil
}

// DeviceNumber is the number of a block device's file.
func DeviceNumber(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	status, ok := info.Sys().(*syscall.Stat_t)
	if !ok || info.Mode().Type() != fs.ModeDevice {
		return "", errors.New("it is no block device")
	}
	major := status.Rdev>>8&0xfff | status.Rdev>>32&^0xfff
	minor := status.Rdev&0xff | status.Rdev>>12&^0xff
	return fmt.Sprintf("%d:%d", major, uint32(minor)), nil
}

// Target is the disk with that number, if it may be erased; else the error is a *Refusal that says why not. unfinished tells that an
// installation onto this very disk was begun and not finished: then what is on it is no reason to keep it.
func (m *Machine) Target(number string, settings Settings, unfinished bool) (Target, error) {
	device, known := m.byNumber(number)
	if !known {
		return Target{}, &Refusal{Reason: NotADisk, Message: fmt.Sprintf("%s is no disk that the kernel lists", settings.Device), Hint: m.choices()}
	}
	if refusal := m.unfit(device); refusal != nil {
		refusal.Hint = strings.TrimPrefix(strings.TrimSuffix(refusal.Hint, "; ")+"; "+m.choices(), "; ")
		return Target{}, refusal
	}
	if signs := m.installation(device); signs != "" && !settings.Force && !settings.NoFormat && !unfinished {
		return Target{}, &Refusal{Reason: Installed, Message: fmt.Sprintf("%s holds an installation already (%s), and is left as it is", device, signs),
			Hint: "remove the medium and start this machine from its disk; or, to erase that installation, set rancheros.install.force to true in spec.cloudConfig of the machineregistration"}
	}
	return Target{device: device, unfinished: unfinished}, nil
}

// unfit is why a device must not be erased, whatever the config says; nil for a disk that nobody uses.
func (m *Machine) unfit(device Device) *Refusal {
	refuse := func(reason Reason, hint, format string, args ...any) *Refusal {
		return &Refusal{Reason: reason, Message: fmt.Sprintf("%s "+format, append([]any{device.Path()}, args...)...), Hint: hint}
	}
	parts := m.partitions(device.Name)
	for _, medium := range m.Medium {
		if medium == device.Name || slices.ContainsFunc(parts, func(p Device) bool { return p.Name == medium }) {
			return refuse(BootMedium, "", "is the medium that this machine was started from")
		}
	}
	switch {
	case device.Disk != "":
		return refuse(NotADisk, "name the whole disk", "is a partition of /dev/%s", strings.ReplaceAll(device.Disk, "!", "/"))
	case device.Optical:
		return refuse(NotADisk, "", "is a CD drive")
	case device.Virtual:
		return refuse(NotADisk, "", "is made by the kernel of other devices, of files or of memory, and no disk itself")
	case device.Size == 0:
		return refuse(NotWritable, "", "is empty: a reader without a card, or a disk that does not answer")
	case device.ReadOnly:
		return refuse(NotWritable, "take the write protection away", "is write-protected")
	}
	for _, d := range append([]Device{device}, parts...) {
		if use := m.use(d, 0); use != "" {
			return refuse(InUse, "stop what uses it", "is in use: %s", use)
		}
	}
	return nil
}

// maxLayers bounds how many devices are stacked on one another: RAID, encryption, volumes.
const maxLayers = 8

// use is what a device is used for, itself or by way of those that are made of it; empty when it is not.
func (m *Machine) use(device Device, layer int) string {
	for _, mount := range m.Mounts {
		if mount.Number == device.Number || mount.Source == device.Path() {
			return fmt.Sprintf("%s is mounted on %s", device.Path(), mount.Target)
		}
	}
	if slices.Contains(m.Swaps, device.Path()) {
		return device.Path() + " is swapped to"
	}
	for _, name := range device.Holders {
		at := slices.IndexFunc(m.Devices, func(d Device) bool { return d.Name == name })
		if at < 0 || layer >= maxLayers {
			continue
		}
		if use := m.use(m.Devices[at], layer+1); use != "" {
			return use
		}
	}
	if len(device.Holders) > 0 {
		return fmt.Sprintf("%s is part of /dev/%s", device.Path(), device.Holders[0])
	}
	return ""
}

// choices lists the disks that could be named.
func (m *Machine) choices() string {
	var names []string
	for _, device := range m.Devices {
		if m.unfit(device) == nil {
			names = append(names, device.String())
		}
	}
	if len(names) == 0 {
		return "this machine has no disk that could be installed to"
	}
	return "this machine has " + strings.Join(names, ", ")
}

// installation is by what an installation on the disk is recognised; empty when there is none. Labels are those of the cOS and Elemental families, and
// installers of other systems are asked to set the first of them.
func (m *Machine) installation(disk Device) string {
	labels := []string{"COS_OEM", "COS_STATE", "COS_ACTIVE", "COS_RECOVERY", "COS_PERSISTENT"}
	for _, partition := range m.partitions(disk.Name) {
		if slices.Contains(labels, partition.Label) {
			return fmt.Sprintf("%s is labelled %s", partition.Path(), partition.Label)
		}
	}
	return ""
}
