package install

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/media/iso"
	"github.com/rancher/rancheros-operator/tests/medium"
)

// What sysfs, mountinfo and swaps say becomes the struct that decisions are made of.
func TestScanMachine(t *testing.T) {
	fake := newFakeMachine(t)
	sda := fake.disk("sda", "8:0", make([]byte, 4<<20))
	part := fake.device("sda1", "sda", "8:1", ext4("COS_OEM"))
	fake.write(part+"/holders/dm-0/x", "")
	fake.write(sda+"/ro", "1\n")
	cd := fake.disk("sr0", "11:0", make([]byte, 2048))
	fake.write(cd+"/device/type", "5\n")
	fake.device("loop0", "", "7:0", make([]byte, 512))
	fake.write("sys/class/block/broken/dev", "") // Without a number: on its way out.
	fake.write("proc/self/mountinfo", "22 1 0:20 / / rw - tmpfs rootfs rw\n36 22 8:1 / /with\\040space rw,noatime shared:1 master:2 - ext4 /dev/sda1 rw\nnonsense\n")
	fake.write("proc/swaps", "Filename\tType\n/dev/sda2 partition 1 0 -2\n")

	machine := fake.scan()
	require.ElementsMatch(t, []Device{
		{Name: "sda", Number: "8:0", Size: 4 << 20, Model: "Lab disk", ReadOnly: true},
		{Name: "sda1", Number: "8:1", Disk: "sda", Size: 4096, Holders: []string{"dm-0"}, Label: "COS_OEM"},
		{Name: "sr0", Number: "11:0", Size: 2048, Model: "Lab disk", Optical: true},
		{Name: "loop0", Number: "7:0", Size: 512, Virtual: true},
	}, machine.Devices)
	require.Equal(t, []Mount{{"0:20", "rootfs", "/"}, {"8:1", "/dev/sda1", "/with space"}}, machine.Mounts)
	require.Equal(t, []string{"/dev/sda2"}, machine.Swaps)

	_, err := ScanMachine(t.TempDir())
	require.ErrorContains(t, err, "listing disks")
	require.NoError(t, os.Remove(filepath.Join(fake.root, "proc/self/mountinfo")))
	_, err = ScanMachine(fake.root)
	require.ErrorContains(t, err, "mounted", "not knowing what is mounted is no reason to go on")
}

func TestParseLabel(t *testing.T) {
	for want, area := range map[string][]byte{
		"COS_STATE": ext4("COS_STATE"), "0123456789abcdef": ext4("0123456789abcdef"), "COS_OEM": fat("COS_OEM", "FAT32   ", 0x47, 0x52), "COS_GRUB": fat("COS_GRUB", "FAT16   ", 0x2b, 0x36),
	} {
		require.Equal(t, want, parseLabel(area))
	}
	require.Empty(t, parseLabel(make([]byte, 4096)))
	require.Empty(t, parseLabel(nil))
	require.Empty(t, readLabel("/nowhere"))
}

// The medium is found on whatever device it is, by either method, and is known as one.
func TestFindMedium(t *testing.T) {
	seed := []byte("rancheros: {install: {registrationURL: x}}\n")
	plan := func(files map[string][]byte, config []byte) []byte {
		base := medium.Bytes(medium.Options{RockRidge: true, Hybrid: true, Files: files})
		image, err := iso.Open(readerAt(base), int64(len(base)))
		require.NoError(t, err)
		layout, err := image.Plan(config)
		require.NoError(t, err)
		whole := make([]byte, layout.Size())
		_, err = layout.Reader(readerAt(base)).ReadAt(whole, 0)
		require.NoError(t, err)
		return whole
	}
	record, other := plan(map[string][]byte{"boot/kernel": {1}}, seed), plan(map[string][]byte{"boot/kernel": {2}}, []byte("other: 1\n"))
	reserved := plan(map[string][]byte{"boot/seed.img": make([]byte, 16<<10)}, seed)
	empty := medium.Bytes(medium.Options{RockRidge: true, Files: map[string][]byte{"boot/seed.img": make([]byte, 16<<10)}})

	fake := newFakeMachine(t)
	fake.disk("sda", "8:0", make([]byte, 4<<20))
	fake.disk("sdb", "8:16", other)
	fake.disk("sdc", "8:32", reserved)
	fake.disk("sdd", "8:48", empty)
	fake.disk("fd0", "2:0", record)
	fake.device("loop0", "", "7:0", record)
	cd := fake.disk("sr0", "11:0", record)
	fake.write(cd+"/device/type", "5\n")
	machine := fake.scan()
	seeds := machine.FindMedium(fake.root)
	require.Equal(t, []Seed{{"/dev/sr0", seed}, {"/dev/sdb", []byte("other: 1\n")}}, seeds, "CDs first, the same once")
	require.Equal(t, []string{"sr0", "sdb", "sdc"}, machine.Medium)
	_, err := machine.Target("8:32", Settings{}, false)
	require.ErrorContains(t, err, "medium that this machine was started from")
}

type readerAt []byte

func (r readerAt) ReadAt(buffer []byte, at int64) (int, error) {
	if at >= int64(len(r)) {
		return 0, errors.New("behind the end")
	}
	return copy(buffer, r[at:]), nil
}

// The mark is there from the beginning to the end, and an installer that has written there has it its way.
func TestMark(t *testing.T) {
	fake := newFakeMachine(t)
	fake.disk("sda", "8:0", make([]byte, 4<<20))
	fake.disk("sdb", "8:16", make([]byte, 4096))
	machine := fake.scan()
	require.False(t, machine.Unfinished(fake.root, "8:0"))
	require.False(t, machine.Unfinished(fake.root, "8:16"), "smaller than where the mark is")
	require.False(t, machine.Unfinished(fake.root, "9:9"))
	target, err := machine.Target("8:0", Settings{}, false)
	require.NoError(t, err)
	require.NoError(t, target.Begin(fake.root))
	require.True(t, machine.Unfinished(fake.root, "8:0"))
	require.NoError(t, target.End(fake.root))
	require.False(t, machine.Unfinished(fake.root, "8:0"))
	content, err := os.ReadFile(filepath.Join(fake.root, "dev/sda"))
	require.NoError(t, err)
	require.Equal(t, make([]byte, 4<<20), content, "nothing is left")

	require.NoError(t, target.Begin(fake.root))
	copy(content[markOffset:], "the installer's own")
	fake.write("dev/sda", string(content))
	require.NoError(t, target.End(fake.root))
	after, err := os.ReadFile(filepath.Join(fake.root, "dev/sda"))
	require.NoError(t, err)
	require.Equal(t, content, after, "what the installer wrote stays")

	require.NoError(t, os.Remove(filepath.Join(fake.root, "dev/sda")))
	require.Error(t, target.Begin(fake.root))
	require.Error(t, target.End(fake.root))
}
