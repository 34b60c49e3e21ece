package machine_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/machine"
	pretend "github.com/rancher/rancheros-operator/tests/machine"
)

var hardware = pretend.Hardware{Manufacturer: "Dell Inc.", Product: "PowerEdge R650", Serial: "ABC1234",
	UUID: "4c4c4544-0042-3010-8054-b7c04f4e3532", SKU: "SKU=0A6B", Family: "PowerEdge"}

func TestReadSMBIOS(t *testing.T) {
	root := t.TempDir()
	_, err := pretend.New(root, "", hardware)
	require.NoError(t, err)
	smbios, err := machine.ReadSMBIOS(root)
	require.NoError(t, err)
	require.Equal(t, map[string]any{
		"BIOS Information": map[string]any{"Vendor": "Pretend BIOS Inc.", "Version": "1.2.3", "Release Date": "01/02/2026", "BIOS Revision": "4.5"},
		"System Information": map[string]any{"Manufacturer": "Dell Inc.", "Product Name": "PowerEdge R650", "Serial Number": "ABC1234",
			"UUID": "4c4c4544-0042-3010-8054-b7c04f4e3532", "SKU Number": "SKU=0A6B", "Family": "PowerEdge"},
		"Base Board Information": map[string]any{"Manufacturer": "Dell Inc.", "Product Name": "PowerEdge R650 board", "Serial Number": "ABC1234"},
		"Chassis Information":    map[string]any{"Manufacturer": "Dell Inc.", "Type": "Rack Mount Chassis", "Serial Number": "ABC1234"},
		"Processor Information": map[string]any{"Socket Designation": "CPU0", "Manufacturer": "Pretend Silicon", "Version": "Pretend CPU 9000",
			"Max Speed": "3600 MHz", "Core Count": "8", "Thread Count": "16"},
	}, smbios, "dmidecode's names; of two processors the first; absent values left out")
}

func TestDecodeSMBIOS(t *testing.T) {
	entryPoint, tables := pretend.Tables(hardware)
	old := append([]byte("_SM_\x00\x1f\x02\x05"), make([]byte, 24)...)
	legacy := append([]byte("_DMI_"), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x24)
	nothing, noTables := pretend.Tables(pretend.Hardware{})

	uuid := func(entryPoint []byte) any {
		smbios, err := machine.DecodeSMBIOS(entryPoint, tables)
		require.NoError(t, err)
		return smbios["System Information"].(map[string]any)["UUID"]
	}
	require.Equal(t, "4c4c4544-0042-3010-8054-b7c04f4e3532", uuid(entryPoint))
	require.Equal(t, "44454c4c-4200-1030-8054-b7c04f4e3532", uuid(old), "before 2.6 a UUID was printed as it lies")
	require.Equal(t, "44454c4c-4200-1030-8054-b7c04f4e3532", uuid(legacy))

	smbios, err := machine.DecodeSMBIOS(nothing, noTables)
	require.NoError(t, err)
	require.NotContains(t, smbios, "System Information", "a UUID of zeros and blank texts are no information")

	_, unset := pretend.Tables(pretend.Hardware{Serial: "1", UUID: "ffffffff-ffff-ffff-ffff-ffffffffffff"})
	smbios, err = machine.DecodeSMBIOS(nothing, unset)
	require.NoError(t, err)
	require.Equal(t, map[string]any{"Serial Number": "1"}, smbios["System Information"], "S13: all ones mean that it can be set")

	for why, bad := range map[string][2][]byte{
		"no entry point":              {nil, tables},
		"an unknown entry point":      {[]byte("_XYZ_012345678901234567890123456789"), tables},
		"a short entry point":         {entryPoint[:10], tables},
		"a structure of no length":    {entryPoint, {1, 0, 0, 0, 0, 0}},
		"a structure without strings": {entryPoint, {1, 4, 0, 0, 'x'}},
		"a structure beyond the end":  {entryPoint, {1, 200, 0, 0, 0, 0}},
	} {
		_, err := machine.DecodeSMBIOS(bad[0], bad[1])
		require.Error(t, err, why)
	}
	smbios, err = machine.DecodeSMBIOS(entryPoint, tables[:len(tables)-20])
	require.NoError(t, err, "firmware that miscounts its tables")
	require.Contains(t, smbios, "System Information")
	short, err := machine.DecodeSMBIOS(entryPoint, []byte{1, 8, 0, 0, 1, 9, 0, 0, 'A', 0, 0})
	require.NoError(t, err)
	require.Equal(t, map[string]any{"System Information": map[string]any{"Manufacturer": "A"}}, short, "an old, short structure; a string that is not there")
}

func TestReadSysfs(t *testing.T) {
	root := t.TempDir()
	folder := filepath.Join(root, "sys/class/dmi/id")
	require.NoError(t, os.MkdirAll(folder, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "sys_vendor"), []byte("QEMU\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "product_serial"), []byte(" \n"), 0o644))
	smbios, err := machine.ReadSMBIOS(root)
	require.NoError(t, err)
	require.Equal(t, map[string]any{"System Information": map[string]any{"Manufacturer": "QEMU"}}, smbios)

	smbios, err = machine.ReadSMBIOS(t.TempDir())
	require.NoError(t, err, "boards without SMBIOS are machines, too")
	require.Empty(t, smbios)

	tables := filepath.Join(root, "sys/firmware/dmi/tables")
	require.NoError(t, os.MkdirAll(tables, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(tables, "smbios_entry_point"), bytes.Repeat([]byte("x"), 1000), 0o644))
	_, err = machine.ReadSMBIOS(root)
	require.Error(t, err)
}

func TestReadFacts(t *testing.T) {
	root := t.TempDir()
	_, err := pretend.New(root, "", hardware)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(root, "etc/hostname"), []byte("m-dell\n"), 0o644))
	facts, err := machine.ReadFacts(root)
	require.NoError(t, err)
	require.Equal(t, "m-dell", facts.Hostname)
	require.Equal(t, "Pretend RancherOS v0.1.0", facts.OSImage)
	require.Equal(t, "v0.1.0", facts.OSVersion)
	require.IsNonDecreasing(t, facts.Addresses)
	require.LessOrEqual(t, len(facts.Addresses), 16)

	empty, err := machine.ReadFacts(t.TempDir())
	require.NoError(t, err)
	require.Empty(t, empty.Hostname+empty.OSImage)
	here, err := machine.ReadFacts("/")
	require.NoError(t, err)
	require.NotEmpty(t, here.Hostname)
}

func FuzzDecodeSMBIOS(f *testing.F) {
	entryPoint, tables := pretend.Tables(hardware)
	f.Add(entryPoint, tables)
	f.Fuzz(func(t *testing.T, entryPoint, tables []byte) {
		smbios, err := machine.DecodeSMBIOS(entryPoint, tables)
		if err != nil {
			require.Nil(t, smbios)
		}
		checkName(t, machine.RenderName("", smbios, "x"), "y", "z")
	})
}
