package lab

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// From a SeedImage to a machine that runs from its own disk, on BIOS. The base has a reserved file: the config is there before any device is.
func TestISOBIOS(t *testing.T) {
	t.Parallel()
	j := isoJourney(t, "lab-iso-bios", "base.iso", Hardware{Name: "ISO-BIOS", MAC: "52:54:00:1a:b0:01"})
	j.travel(t)
	j.bootsTheMediumAgain(t)
}

// The same on UEFI, from a base that knows nothing of us: the config is found on the CD. The power fails once.
func TestISOUEFI(t *testing.T) {
	t.Parallel()
	j := isoJourney(t, "lab-iso-uefi", "plain.iso", Hardware{Name: "ISO-UEFI", UEFI: true, MAC: "52:54:00:1a:b0:02"})
	j.powerFails(t)
	j.travel(t)
}

func isoJourney(t *testing.T, ns, base string, hardware Hardware) *journey {
	t.Helper()
	hardware.Dir = filepath.Join(folder, hardware.Name)
	require.NoError(t, hardware.Prepare(t.Context()))
	url := namespace(t, ns)
	hardware.CD = download(t, ns, seedImage(t, ns, base))
	loader := `LAB 0 GRUB on pc`
	if hardware.UEFI {
		loader = `LAB 0 GRUB on efi`
	}
	return &journey{namespace: ns, registrationURL: url, hardware: &hardware, loader: []string{loader}}
}

// bootsTheMediumAgain is what happens where the medium is left in the drive and comes first: the machine is not erased.
func (j *journey) bootsTheMediumAgain(t *testing.T) {
	t.Helper()
	again := *j
	hardware := *j.hardware
	hardware.CDFirst = true
	again.hardware = &hardware
	guest, r := again.start(t)
	defer func() { require.NoError(t, guest.Stop()) }()
	defer r.print()
	ctx, cancel := context.WithTimeout(t.Context(), bootPatience)
	defer cancel()
	_, at, err := guest.Expect(ctx, `/dev/vda \(.*\) holds an installation already \(/dev/vda1 is labelled COS_OEM\), and is left as it is`)
	require.NoError(t, err)
	r.add("refused to erase the installation", at)
	_, _, err = guest.Expect(ctx, `LAB \S+ install failed: 20`)
	require.NoError(t, err)
}
