package iso

import (
	"bytes"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/tests/medium"
)

func TestMenu(t *testing.T) {
	for _, c := range []struct {
		why, text string
		want      Kernel
	}{
		{"Elemental's", "set default=0\nset img=/boot/initrd\nmenuentry \"cOS\" {\n search --no-floppy --label --set=root COS_LIVE\n linux ($root)/boot/kernel cdrom root=live:CDLABEL=COS_LIVE ${extra} rd.cos.disable\n initrd ($root)$img\n}\nmenuentry two {\n linux /other\n}",
			Kernel{"/boot/kernel", "/boot/initrd", "cdrom root=live:CDLABEL=COS_LIVE rd.cos.disable"}},
		{"GRUB for UEFI, and ours as the first of two initrds", "linuxefi /vmlinuz quiet\ninitrdefi /boot/seed.img /initrd.img", Kernel{"/vmlinuz", "/initrd.img", "quiet"}},
		{"words that are variables", "$linux /vmlinuz\n$initrd /initrd", Kernel{"/vmlinuz", "/initrd", ""}},
		{"SYSLINUX", "LABEL live\n  KERNEL /live/vmlinuz\n  APPEND initrd=/live/initrd,/boot/seed.img boot=live quiet", Kernel{"/live/vmlinuz", "/live/initrd", "boot=live quiet"}},
		{"a kernel alone", "linux /vmlinuz", Kernel{Kernel: "/vmlinuz"}},
		{"nothing", "timeout 5\n\n#", Kernel{}},
		{"a line of garbage", "linux\ninitrd\nset\nappend y\nset x", Kernel{}},
	} {
		require.Empty(t, cmp.Diff(c.want, parseMenu(c.text)), c.why)
	}
}

func TestKernel(t *testing.T) {
	base := medium.Bytes(medium.Options{RockRidge: true, Files: kernelAndInitrd(nil)})
	image := open(t, base)
	kernel, err := image.Kernel()
	require.NoError(t, err)
	require.Equal(t, Kernel{"/boot/kernel", "/boot/initrd", "cdrom root=live:CDLABEL=COS_LIVE"}, kernel)

	initrd, err := image.Find(kernel.Initrd)
	require.NoError(t, err)
	archive := Cpio(SeedPath, []byte(config))
	l := WithInitrd(initrd, archive)
	whole := made(t, l, base)
	require.Zero(t, (len(whole)-len(archive))%4, "Linux looks for an archive at multiples of 4")
	require.Equal(t, contentOf(t, image, "/boot/initrd"), string(whole[:initrd.Size]))
	require.Equal(t, archive, whole[l.Personal.Offset:])
	file, err := image.Find(kernel.Kernel)
	require.NoError(t, err)
	require.Equal(t, contentOf(t, image, "/boot/kernel"), string(made(t, Section(file), base)))

	_, err = open(t, medium.Bytes(medium.Options{Files: map[string][]byte{"A.TXT": []byte("x")}})).Kernel()
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestFirmwareOfADisc(t *testing.T) {
	base := medium.Bytes(medium.Options{Files: map[string][]byte{"A.TXT": []byte("x")}})
	at := bytes.Index(base, []byte("EL TORITO"))
	copy(base[at:], "NO TORITO")
	firmware, err := open(t, base).Firmware()
	require.NoError(t, err)
	require.Equal(t, Firmware{}, firmware)
}

// The archive is what a kernel unpacks, field by field.
func TestCpio(t *testing.T) {
	archive := string(Cpio("/rancheros/seed.yaml", []byte("hello")))
	require.Zero(t, len(archive)%4)
	require.Equal(t, "070701"+"00000001"+"000041ED"+"00000000"+"00000000"+"00000002"+"00000000"+"00000000"+"00000000"+"00000000"+"00000000"+"00000000"+"0000000A"+"00000000"+"rancheros\x00", archive[:120])
	require.Contains(t, archive, "rancheros/seed.yaml\x00")
	require.Contains(t, archive, "hello\x00\x00\x00070701")
	require.Contains(t, archive, "TRAILER!!!\x00")
}
