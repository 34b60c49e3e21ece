package iso

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// xorriso is the witness that is not ours: it makes bases, and reads what we make of them.
func xorriso(t *testing.T, args ...string) string {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), "xorriso", args...).CombinedOutput()
	require.NoError(t, err, "xorriso is needed (apt-get install xorriso): %s", output)
	return string(output)
}

// folder makes one that could boot: El Torito does not look into what it boots.
func folder(t *testing.T, files map[string][]byte) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		file := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, content, 0o600))
	}
	return root
}

// Images as the makers of real ones have them, and what xorriso itself sees in them before and after.
func TestXorrisoReadsWhatWeMake(t *testing.T) {
	boot := map[string][]byte{"boot/bios.img": bytes.Repeat([]byte{0xeb}, 4096), "boot/mbr.img": bytes.Repeat([]byte{0x90}, 512)}
	esp := filepath.Join(t.TempDir(), "esp.img")
	require.NoError(t, os.WriteFile(esp, bytes.Repeat([]byte{0xef}, 64<<10), 0o600))
	for _, c := range []struct {
		why     string
		files   map[string][]byte
		options []string
		method  Method
		// inner is true where a stick's partition is a volume of its own.
		inner bool
	}{
		{"a disc", nil, nil, MethodRecord, false},
		{"Joliet beside Rock Ridge", nil, []string{"-joliet", "on"}, MethodRecord, false},
		{"a reserved file", map[string][]byte{"boot/seed.img": make([]byte, 16<<10)}, nil, MethodReserved, false},
		{"as Elemental makes them", nil, []string{"-joliet", "on", "-padding", "0", "-boot_image", "any", "partition_offset=16",
			"-boot_image", "any", "cat_path=/boot/boot.catalog", "-boot_image", "any", "cat_hidden=on", "-boot_image", "grub", "grub2_mbr=/MBR", "-boot_image", "any", "boot_info_table=on",
			"-append_partition", "2", "0xef", esp, "-boot_image", "any", "next", "-boot_image", "any", "efi_path=--interval:appended_partition_2:all::"}, MethodRecord, true},
		{"the same with a GPT", nil, []string{"-boot_image", "any", "partition_offset=16", "-boot_image", "any", "appended_part_as=gpt",
			"-append_partition", "2", "0xef", esp, "-boot_image", "any", "next", "-boot_image", "any", "efi_path=--interval:appended_partition_2:all::"}, MethodRecord, true},
		{"a stick of the old kind", nil, []string{"-boot_image", "any", "mbr_force_bootable=on", "-boot_image", "any", "partition_table=on"}, MethodRecord, false},
		{"a full root", fillers(9), []string{"-joliet", "on"}, MethodMoved, false},
	} {
		t.Run(c.why, func(t *testing.T) {
			root := folder(t, kernelAndInitrd(boot))
			for name, content := range c.files {
				require.NoError(t, os.WriteFile(filepath.Join(root, name), content, 0o600))
			}
			baseFile, wholeFile := filepath.Join(t.TempDir(), "base.iso"), filepath.Join(t.TempDir(), "whole.iso")
			args := []string{"-volid", "COS_LIVE", "-outdev", baseFile, "-map", root, "/", "-boot_image", "any", "bin_path=/boot/bios.img", "-boot_image", "any", "emul_type=no_emulation"}
			for _, option := range c.options {
				args = append(args, strings.Replace(option, "/MBR", filepath.Join(root, "boot/mbr.img"), 1))
			}
			xorriso(t, args...)
			base, err := os.ReadFile(baseFile)
			require.NoError(t, err)
			l, err := open(t, base).Plan([]byte(config))
			require.NoError(t, err)
			require.Equal(t, c.method, l.Method)
			whole := made(t, l, base)
			require.NoError(t, os.WriteFile(wholeFile, whole, 0o600))

			requireReads(t, wholeFile, c.method)
			before, after := reports(t, baseFile), reports(t, wholeFile)
			require.Equal(t, before, after, "it boots from the same places")
			if c.inner {
				start := open(t, base).volumes[1].start
				require.Equal(t, int64(16*blockSize), start)
				partition := filepath.Join(t.TempDir(), "partition.iso")
				require.NoError(t, os.WriteFile(partition, whole[start:], 0o600))
				requireReads(t, partition, c.method)
			}
		})
	}
}

// requireReads holds that xorriso finds the config, and the rest.
func requireReads(t *testing.T, image string, method Method) {
	t.Helper()
	out := t.TempDir()
	wanted := ConfigPath
	if method == MethodReserved {
		wanted = ReservedPath
	}
	xorriso(t, "-osirrox", "on", "-indev", image, "-extract", "/", out)
	got, err := os.ReadFile(filepath.Join(out, wanted))
	require.NoError(t, err)
	if method == MethodReserved {
		require.True(t, bytes.HasPrefix(got, Cpio(SeedPath, []byte(config))))
	} else {
		require.Equal(t, config, string(got))
	}
	for name, content := range kernelAndInitrd(nil) {
		got, err := os.ReadFile(filepath.Join(out, name))
		require.NoError(t, err)
		require.True(t, bytes.Equal(content, got), name)
	}
}

// reports are what xorriso says of how the image boots; sizes of the whole are left out.
func reports(t *testing.T, image string) string {
	t.Helper()
	output := xorriso(t, "-indev", image, "-report_el_torito", "plain", "-report_system_area", "plain")
	var kept []string
	for _, line := range strings.Split(output, "\n") {
		if regexp.MustCompile(`^(El Torito|Boot record|System area|MBR partition|GPT)`).MatchString(line) && !strings.Contains(line, "MBR partition  ") && !regexp.MustCompile(`^MBR partition\s*:\s*1`).MatchString(line) && !regexp.MustCompile(`^System area summary|^GPT backup`).MatchString(line) {
			kept = append(kept, line)
		}
	}
	require.NotEmpty(t, kept)
	return strings.Join(kept, "\n")
}
