package iso

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/tests/medium"
)

const config = "#cloud-config\nrancheros:\n    install:\n        registrationURL: https://rancher.example.com/v1-rancheros/registration/t\n"

// kernelAndInitrd are what every base has.
func kernelAndInitrd(more map[string][]byte) map[string][]byte {
	files := map[string][]byte{
		"boot/kernel":         bytes.Repeat([]byte("kernel"), 3000),
		"boot/initrd":         bytes.Repeat([]byte("initrd"), 5001),
		"boot/grub2/grub.cfg": []byte("set timeout=1\nmenuentry x {\n  linux ($root)/boot/kernel cdrom root=live:CDLABEL=COS_LIVE\n  initrd ($root)/boot/initrd\n}\n"),
		"rootfs.squashfs":     bytes.Repeat([]byte("squash"), 40000),
	}
	for name, content := range more {
		files[name] = content
	}
	return files
}

// fillers are so many files in the root.
func fillers(count int) map[string][]byte {
	files := map[string][]byte{}
	for n := range count {
		files[fmt.Sprintf("filler-with-a-long-name-%03d.txt", n)] = fmt.Appendf(nil, "filler %d", n)
	}
	return files
}

// full and fullJoliet are how many fillers leave no room for another record in the root of one tree, or of Joliet's.
const full, fullJoliet = 14, 18

func open(t *testing.T, base []byte) *Image {
	t.Helper()
	image, err := Open(bytes.NewReader(base), int64(len(base)))
	require.NoError(t, err)
	return image
}

// made is the whole image.
func made(t *testing.T, l *Layout, base []byte) []byte {
	t.Helper()
	whole, err := io.ReadAll(l.Reader(bytes.NewReader(base)))
	require.NoError(t, err)
	require.Len(t, whole, int(l.Size()))
	return whole
}

func contentOf(t *testing.T, image *Image, path string) string {
	t.Helper()
	content, err := image.ReadFile(path, 1<<20)
	require.NoError(t, err)
	return string(content)
}

func TestPlan(t *testing.T) {
	zeros := make([]byte, 64<<10)
	for _, c := range []struct {
		why    string
		base   medium.Options
		method Method
		grows  bool
	}{
		{"a reserved file", medium.Options{RockRidge: true, Files: kernelAndInitrd(map[string][]byte{"boot/seed.img": zeros})}, MethodReserved, false},
		{"a reserved file in capitals, without long names", medium.Options{Files: kernelAndInitrd(map[string][]byte{"boot/SEED.IMG": zeros})}, MethodReserved, false},
		{"room in the root, Rock Ridge", medium.Options{RockRidge: true, Files: kernelAndInitrd(nil)}, MethodRecord, true},
		{"Joliet alone", medium.Options{Joliet: true, Files: kernelAndInitrd(nil)}, MethodRecord, true},
		{"both", medium.Options{RockRidge: true, Joliet: true, Files: kernelAndInitrd(nil)}, MethodRecord, true},
		{"neither", medium.Options{Files: kernelAndInitrd(nil)}, MethodRecord, true},
		{"a hybrid", medium.Options{RockRidge: true, Hybrid: true, Files: kernelAndInitrd(nil)}, MethodRecord, true},
		{"a config that the base's maker left", medium.Options{RockRidge: true, Joliet: true, Files: kernelAndInitrd(map[string][]byte{"livecd-cloud-config.yaml": []byte("old")})}, MethodRecord, true},
		{"a root that is full", medium.Options{RockRidge: true, Joliet: true, Files: kernelAndInitrd(fillers(full))}, MethodMoved, true},
		{"Joliet's is full", medium.Options{RockRidge: true, Joliet: true, Files: kernelAndInitrd(fillers(fullJoliet))}, MethodMoved, true},
	} {
		t.Run(c.why, func(t *testing.T) {
			base := medium.Bytes(c.base)
			image := open(t, base)
			require.Equal(t, medium.Label, image.Label)
			l, err := image.Plan([]byte(config))
			require.NoError(t, err)
			require.Equal(t, c.method, l.Method)
			whole := made(t, l, base)
			require.Equal(t, c.grows, len(whole) > len(base))
			result := open(t, whole)
			if c.method == MethodReserved {
				archive := contentOf(t, result, ReservedPath)
				require.True(t, strings.HasPrefix(archive, string(Cpio(SeedPath, []byte(config)))))
				require.Empty(t, strings.Trim(archive[l.Personal.Length:], "\x00"))
			} else {
				for n, tree := range result.volumes[0].trees {
					// Each tree by itself shows the config.
					alone := *result
					alone.volumes = []volume{{trees: []treeAlias{tree}}}
					require.Equal(t, config, contentOf(t, &alone, ConfigPath), "tree %d", n)
				}
			}
			require.Equal(t, whole[l.Personal.Offset:l.Personal.Offset+l.Personal.Length], personal(l))
			// All else is as it was.
			for name, content := range c.base.Files {
				if !strings.EqualFold("/"+name, ReservedPath) && "/"+name != ConfigPath {
					require.Equal(t, string(content), contentOf(t, result, name), name)
				}
			}
			again, err := image.Plan([]byte(config))
			require.NoError(t, err)
			require.Equal(t, l.Same(), again.Same(), "the same every time")
			other, err := image.Plan([]byte(strings.Replace(config, "/t\n", "/u\n", 1)))
			require.NoError(t, err)
			require.NotEqual(t, l.Same(), other.Same())
			requireOnlyChanges(t, base, whole, 8)
		})
	}
}

// treeAlias is tree, where a variable has that name.
type treeAlias = tree

// personal are the bytes of the layout where it says that the config is.
func personal(l *Layout) []byte {
	for _, p := range l.pieces {
		if p.at == l.Personal.Offset && p.data != nil {
			return p.data[:l.Personal.Length]
		}
	}
	return nil
}

// requireOnlyChanges holds that few blocks of the base are not as they were.
func requireOnlyChanges(t *testing.T, base, whole []byte, most int) {
	t.Helper()
	changed := 0
	for at := 0; at+blockSize <= len(base); at += blockSize {
		if !bytes.Equal(base[at:at+blockSize], whole[at:at+blockSize]) {
			changed++
		}
	}
	require.LessOrEqual(t, changed, most)
}

// A root that moved is found on every way that leads to it: the descriptors, the path tables, the parents.
func TestMovedRootIsFoundOnEveryWay(t *testing.T) {
	base := medium.Bytes(medium.Options{RockRidge: true, Joliet: true, Files: kernelAndInitrd(fillers(full))})
	l, err := open(t, base).Plan([]byte(config))
	require.NoError(t, err)
	whole := made(t, l, base)
	result := open(t, whole)
	for _, tree := range result.volumes[0].trees {
		root, err := result.readDirectory(tree, tree.root)
		require.NoError(t, err)
		require.Equal(t, tree.root, root.records[0].extent)
		require.Equal(t, tree.root, root.records[1].extent)
		for _, table := range tree.tables {
			require.Equal(t, tree.root.lba, table.order.Uint32(whole[tree.at(table.lba)+2:]))
		}
		folders := 0
		for _, r := range root.records[2:] {
			if r.flags&flagDirectory != 0 {
				folder, err := result.readDirectory(tree, r.extent)
				require.NoError(t, err)
				require.Equal(t, tree.root, folder.records[1].extent)
				folders++
			}
		}
		require.Positive(t, folders)
	}
}

func TestHybridReachesToItsNewEnd(t *testing.T) {
	base := medium.Bytes(medium.Options{RockRidge: true, Hybrid: true, Files: kernelAndInitrd(nil)})
	l, err := open(t, base).Plan([]byte(config))
	require.NoError(t, err)
	result := open(t, made(t, l, base))
	require.Equal(t, []partition{{start: 0, end: l.Size(), entry: 446}}, result.partitions)
	firmware, err := result.Firmware()
	require.NoError(t, err)
	require.Equal(t, Firmware{BIOS: true, UEFI: true}, firmware)
}

func TestPlanRefuses(t *testing.T) {
	tiny := medium.Bytes(medium.Options{RockRidge: true, Files: map[string][]byte{"boot/seed.img": make([]byte, 100)}})
	folder := medium.Bytes(medium.Options{RockRidge: true, Files: map[string][]byte{"livecd-cloud-config.yaml/x": []byte("x")}})
	good := medium.Bytes(medium.Options{RockRidge: true, Files: kernelAndInitrd(nil)})
	for _, c := range []struct {
		why, want string
		base      []byte
		config    string
	}{
		{"a reserved file that is too small", "/boot/seed.img has 100 bytes, and the config needs", tiny, config},
		{"a folder of the config's name", "is no plain file", folder, config},
		{"no config", "the config has 0 bytes", good, ""},
		{"a config of a megabyte", "must have from 1 to 524288", good, strings.Repeat("x", 1<<20)},
	} {
		_, err := open(t, c.base).Plan([]byte(c.config))
		var format *FormatError
		require.ErrorAs(t, err, &format, c.why)
		require.ErrorContains(t, err, c.want, c.why)
	}
}

// Ranges, in any order and of any length, are those of the whole.
func TestReaderIsTheWhole(t *testing.T) {
	base := medium.Bytes(medium.Options{RockRidge: true, Joliet: true, Files: kernelAndInitrd(nil)})
	l, err := open(t, base).Plan([]byte(config))
	require.NoError(t, err)
	whole := made(t, l, base)
	reader := l.Reader(bytes.NewReader(base))
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		at := random.Int64N(l.Size() + 10)
		buffer := make([]byte, random.IntN(3*blockSize))
		n, err := reader.ReadAt(buffer, at)
		if n < len(buffer) {
			require.ErrorIs(t, err, io.EOF)
		}
		require.True(t, bytes.Equal(whole[min(at, l.Size()):][:n], buffer[:n]))
	}
	var copied bytes.Buffer
	_, err = reader.Seek(-5000, io.SeekEnd)
	require.NoError(t, err)
	_, err = reader.CopyTo(&copied, 5000)
	require.NoError(t, err)
	require.True(t, bytes.Equal(whole[len(whole)-5000:], copied.Bytes()))
	_, err = reader.CopyTo(&copied, 1)
	require.ErrorIs(t, err, io.EOF)
	_, err = reader.Seek(-1, io.SeekStart)
	require.Error(t, err)
	_, err = reader.Seek(0, 9)
	require.Error(t, err)

	_, err = l.Reader(bytes.NewReader(base[:len(base)/2])).ReadAt(make([]byte, len(base)), 0)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF, "a base that became shorter")
}
