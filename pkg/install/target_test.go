package install

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const gigabyte = 1_000_000_000

// Every case is a machine and a disk that its config names, and why that disk may be erased or not.
func TestTarget(t *testing.T) {
	disk := Device{Name: "sda", Number: "8:0", Size: 500 * gigabyte, Model: "Lab disk"}
	other := Device{Name: "nvme0n1", Number: "259:0", Size: 1000 * gigabyte}
	first := Device{Name: "sda1", Number: "8:1", Disk: "sda", Size: gigabyte}
	with := func(d Device, change func(*Device)) Device {
		change(&d)
		return d
	}
	for _, c := range []struct {
		why      string
		machine  Machine
		number   string
		settings Settings
		begun    bool
		reason   Reason
		says     []string
	}{
		{why: "an empty disk", machine: Machine{Devices: []Device{disk, other}}},
		{why: "a disk with partitions that nobody uses: the config names it", machine: Machine{Devices: []Device{disk, first}}},
		{why: "another disk is mounted", machine: Machine{Devices: []Device{disk, other}, Mounts: []Mount{{"259:0", "/dev/nvme0n1", "/data"}}}},
		{why: "a number that the kernel does not list", machine: Machine{Devices: []Device{disk}}, number: "8:16", reason: NotADisk, says: []string{"this machine has /dev/sda (500.0 GB, Lab disk)"}},
		{why: "a partition", machine: Machine{Devices: []Device{disk, first}}, number: "8:1", reason: NotADisk, says: []string{"/dev/sda1 is a partition of /dev/sda", "name the whole disk"}},
		{why: "a CD drive", machine: Machine{Devices: []Device{with(disk, func(d *Device) { d.Optical = true }), other}}, reason: NotADisk, says: []string{"is a CD drive", "/dev/nvme0n1 (1.0 TB)"}},
		{why: "a RAM disk, a loop device, a volume", machine: Machine{Devices: []Device{with(disk, func(d *Device) { d.Virtual = true })}}, reason: NotADisk, says: []string{"made by the kernel", "no disk that could be installed to"}},
		{why: "a card reader without a card", machine: Machine{Devices: []Device{with(disk, func(d *Device) { d.Size = 0 })}}, reason: NotWritable, says: []string{"is empty"}},
		{why: "write-protected", machine: Machine{Devices: []Device{with(disk, func(d *Device) { d.ReadOnly = true })}}, reason: NotWritable, says: []string{"write-protected"}},
		{why: "mounted as a whole", machine: Machine{Devices: []Device{disk}, Mounts: []Mount{{"8:0", "/dev/sda", "/mnt"}}}, reason: InUse, says: []string{"/dev/sda is mounted on /mnt"}},
		{why: "a partition is mounted", machine: Machine{Devices: []Device{disk, first}, Mounts: []Mount{{"8:1", "/dev/root", "/"}}}, reason: InUse, says: []string{"/dev/sda1 is mounted on /"}},
		{why: "mounted under a number of the file system's own, as btrfs does", machine: Machine{Devices: []Device{disk, first}, Mounts: []Mount{{"0:33", "/dev/sda1", "/srv"}}}, reason: InUse, says: []string{"/srv"}},
		{why: "swapped to", machine: Machine{Devices: []Device{disk, first}, Swaps: []string{"/dev/sda1"}}, reason: InUse, says: []string{"/dev/sda1 is swapped to"}},
		{why: "part of a RAID that is mounted", machine: Machine{
			Devices: []Device{disk, with(first, func(d *Device) { d.Holders = []string{"md0"} }), {Name: "md0", Number: "9:0", Virtual: true, Size: 1}},
			Mounts:  []Mount{{"9:0", "/dev/md0", "/data"}},
		}, reason: InUse, says: []string{"/dev/md0 is mounted on /data"}},
		{why: "part of a volume group that nobody has mounted", machine: Machine{Devices: []Device{with(disk, func(d *Device) { d.Holders = []string{"dm-0"} })}}, reason: InUse, says: []string{"/dev/sda is part of /dev/dm-0"}},
		{why: "devices that hold one another", machine: Machine{Devices: []Device{with(disk, func(d *Device) { d.Holders = []string{"sda"} })}}, reason: InUse},
		{why: "the boot medium", machine: Machine{Devices: []Device{disk, other}, Medium: []string{"sda"}}, reason: BootMedium, says: []string{"/dev/sda is the medium that this machine was started from", "this machine has /dev/nvme0n1"}},
		{why: "the boot medium, on one of its partitions", machine: Machine{Devices: []Device{disk, first}, Medium: []string{"sda1"}}, reason: BootMedium},
		{why: "an installation", machine: Machine{Devices: []Device{disk, with(first, func(d *Device) { d.Label = "COS_OEM" })}}, reason: Installed, says: []string{"holds an installation already (/dev/sda1 is labelled COS_OEM)", "rancheros.install.force"}},
		{why: "an installation on another disk", machine: Machine{Devices: []Device{disk, other, {Name: "nvme0n1p1", Number: "259:1", Disk: "nvme0n1", Label: "COS_OEM"}}}},
		{why: "an installation that is to be erased", machine: Machine{Devices: []Device{disk, with(first, func(d *Device) { d.Label = "COS_STATE" })}}, settings: Settings{Force: true}},
		{why: "an installation that was not finished", machine: Machine{Devices: []Device{disk, with(first, func(d *Device) { d.Label = "COS_STATE" })}}, begun: true},
		{why: "partitions that are to be used as they are", machine: Machine{Devices: []Device{disk, with(first, func(d *Device) { d.Label = "COS_STATE" })}}, settings: Settings{NoFormat: true}},
		{why: "force opens no disk that is in use", machine: Machine{Devices: []Device{disk}, Mounts: []Mount{{"8:0", "/dev/sda", "/mnt"}}}, settings: Settings{Force: true}, begun: true, reason: InUse},
		{why: "nor the boot medium", machine: Machine{Devices: []Device{disk}, Medium: []string{"sda"}}, settings: Settings{Force: true}, reason: BootMedium},
	} {
		t.Run(c.why, func(t *testing.T) {
			if c.number == "" {
				c.number = "8:0"
			}
			target, err := c.machine.Target(c.number, c.settings, c.begun)
			if c.reason == "" {
				require.NoError(t, err)
				require.Equal(t, "/dev/sda", target.Path())
				return
			}
			var refusal *Refusal
			require.ErrorAs(t, err, &refusal)
			require.Equal(t, c.reason, refusal.Reason)
			require.Zero(t, target)
			require.NotEmpty(t, refusal.Hint)
			for _, part := range c.says {
				require.Contains(t, refusal.Message+"; "+refusal.Hint, part)
			}
		})
	}
}

func TestResolve(t *testing.T) {
	fake := newFakeMachine(t)
	fake.disk("sda", "8:0", make([]byte, 2<<20))
	fake.disk("cciss!c0d0", "104:0", make([]byte, 2<<20))
	require.NoError(t, os.MkdirAll(filepath.Join(fake.root, "dev/disk/by-id"), 0o755))
	require.NoError(t, os.Symlink("../../sda", filepath.Join(fake.root, "dev/disk/by-id/wwn-1")))
	require.NoError(t, os.Symlink("../../sdz", filepath.Join(fake.root, "dev/disk/by-id/gone")))
	fake.write("dev/file", "no device")
	machine := fake.scan()
	for _, path := range []string{"/dev/sda", "/dev/disk/by-id/wwn-1"} {
		number, err := machine.Resolve(fake.root, path, fake.number)
		require.NoError(t, err)
		require.Equal(t, "8:0", number, path)
	}
	for path, reason := range map[string]Reason{
		"": NotNamed, "sda": NoSuchDevice, "/etc/passwd": NoSuchDevice, "/dev/../etc/passwd": NoSuchDevice, "/dev/sdb": NoSuchDevice, "/dev/disk/by-id/gone": NoSuchDevice, "/dev/file": NotADisk, "/dev/disk": NotADisk,
	} {
		_, err := machine.Resolve(fake.root, path, fake.number)
		var refusal *Refusal
		require.ErrorAs(t, err, &refusal, path)
		require.Equal(t, reason, refusal.Reason, path)
		require.Contains(t, refusal.Hint, "/dev/sda (2.1 MB, Lab disk)", "the hint lists what there is")
	}
}

// The number of a device's file is that of the kernel; what is no block device has none.
func TestDeviceNumber(t *testing.T) {
	_, err := DeviceNumber("/dev/null")
	require.ErrorContains(t, err, "no block device")
	_, err = DeviceNumber(t.TempDir())
	require.ErrorContains(t, err, "no block device")
	_, err = DeviceNumber("/dev/nothing")
	require.ErrorIs(t, err, os.ErrNotExist)
	for _, folder := range []string{"/sys/class/block"} {
		entries, _ := os.ReadDir(folder)
		for _, entry := range entries {
			number, err := DeviceNumber("/dev/" + entry.Name())
			if err == nil {
				require.Equal(t, readLine(filepath.Join(folder, entry.Name()), "dev"), number)
			}
		}
	}
}
