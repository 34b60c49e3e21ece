package install

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// fakeMachine is a folder that looks like a machine's root.
type fakeMachine struct {
	t    *testing.T
	root string
}

func newFakeMachine(t *testing.T) *fakeMachine {
	m := &fakeMachine{t: t, root: t.TempDir()}
	m.write("proc/self/mountinfo", "22 1 0:20 / / rw - tmpfs rootfs rw\n")
	m.write("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n")
	require.NoError(t, os.MkdirAll(filepath.Join(m.root, "sys/class/block"), 0o755))
	return m
}

func (m *fakeMachine) write(path, content string) {
	m.t.Helper()
	path = filepath.Join(m.root, path)
	require.NoError(m.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(m.t, os.WriteFile(path, []byte(content), 0o644))
}

// device adds one as sysfs has it: a folder in the tree of devices, and a link to it. Its file holds content; below is the disk of a partition.
func (m *fakeMachine) device(name, below, number string, content []byte) string {
	m.t.Helper()
	folder := "sys/devices/pci0/block/" + name
	if below != "" {
		folder = "sys/devices/pci0/block/" + below + "/" + name
		m.write(folder+"/partition", "1\n")
	}
	m.write(folder+"/dev", number+"\n")
	m.write(folder+"/ro", "0\n")
	m.write(folder+"/size", fmt.Sprintln(len(content)/sectorSize))
	require.NoError(m.t, os.MkdirAll(filepath.Join(m.root, folder, "holders"), 0o755))
	require.NoError(m.t, os.Symlink("../../../"+folder, filepath.Join(m.root, "sys/class/block", name)))
	m.write("dev/"+name, string(content))
	return folder
}

// disk adds a real one.
func (m *fakeMachine) disk(name, number string, content []byte) string {
	folder := m.device(name, "", number, content)
	m.write(folder+"/device/model", "Lab disk  \n")
	return folder
}

func (m *fakeMachine) scan() *Machine {
	m.t.Helper()
	machine, err := ScanMachine(m.root)
	require.NoError(m.t, err)
	return machine
}

// numbers stands for the files of devices, which only root can make.
func (m *fakeMachine) number(path string) (string, error) {
	if _, err := os.Stat(path); err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	number, err := os.ReadFile(filepath.Join(m.root, "sys/class/block", filepath.Base(real), "dev"))
	if err != nil {
		return "", fmt.Errorf("it is no block device")
	}
	return string(number[:len(number)-1]), nil
}

// ext4 is the beginning of a file system with a label.
func ext4(label string) []byte {
	area := make([]byte, 4096)
	area[1024+0x38], area[1024+0x39] = 0x53, 0xef
	copy(area[1024+0x78:], label)
	return area
}

// fat is the beginning of another.
func fat(label, kind string, at, kindAt int) []byte {
	area := make([]byte, 4096)
	area[510], area[511] = 0x55, 0xaa
	copy(area[at:], fmt.Sprintf("%-11s", label))
	copy(area[kindAt:], kind)
	return area
}
