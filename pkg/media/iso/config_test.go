package iso

import (
	"bytes"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/tests/medium"
)

// What was planned onto a medium is read back from it, whichever way it went.
func TestConfigIsReadBack(t *testing.T) {
	large := bytes.Repeat([]byte("a: b\n"), 50_000)
	for why, c := range map[string]struct {
		files  map[string][]byte
		config []byte
	}{
		"a record":                          {map[string][]byte{"boot/kernel": {1}}, []byte(config)},
		"a reserved file":                   {map[string][]byte{"boot/seed.img": make([]byte, 64<<10)}, []byte(config)},
		"a reserved file, and a lot for it": {map[string][]byte{"boot/seed.img": make([]byte, 1<<20)}, large},
	} {
		base := medium.Bytes(medium.Options{RockRidge: true, Files: c.files})
		_, err := open(t, base).Config()
		require.ErrorIs(t, err, fs.ErrNotExist, "%s: there is nothing on the base", why)
		layout, err := open(t, base).Plan(c.config)
		require.NoError(t, err, why)
		got, err := open(t, made(t, layout, base)).Config()
		require.NoError(t, err, why)
		require.Equal(t, string(c.config), string(got), why)
	}
}

func TestFromCpio(t *testing.T) {
	archive := Cpio(SeedPath, []byte("content"))
	for end := range archive {
		got, err := FromCpio(archive[:end], SeedPath)
		require.True(t, err != nil || string(got) == "content", "cut at %d: %q", end, got)
	}
	_, err := FromCpio(archive, "/rancheros/other")
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = FromCpio(append(Cpio("/other", []byte("x")), archive...), SeedPath)
	require.NoError(t, err, "archives follow one another")
	damaged := bytes.Clone(archive)
	copy(damaged[6+8*6:], "ffffffff")
	_, err = FromCpio(damaged, SeedPath)
	require.ErrorContains(t, err, "damaged")
	copy(damaged[6+8*6:], "zzzzzzzz")
	_, err = FromCpio(damaged, SeedPath)
	require.ErrorContains(t, err, "damaged")
}

func FuzzFromCpio(f *testing.F) {
	f.Add(Cpio(SeedPath, []byte("content")))
	f.Add([]byte("070701"))
	f.Fuzz(func(t *testing.T, archive []byte) {
		if got, err := FromCpio(archive, SeedPath); err == nil && len(got) > len(archive) {
			t.Fatal("more came out than went in")
		}
	})
}
