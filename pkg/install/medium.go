package install

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rancher/rancheros-operator/pkg/media/iso"
)

// Seed is the registration data that was found on a medium.
type Seed struct {
	// Device is where.
	Device string
	// Config is a cloud-config.
	Config []byte
}

// FindMedium looks on every device for an image with registration data on it, and remembers which devices those are: they are boot media. Nothing is
// mounted. The seeds are in the order in which they are to be tried, without repetitions: CDs first, and then by name.
func (m *Machine) FindMedium(root string) []Seed {
	var seeds []Seed
	devices := slices.Clone(m.Devices)
	slices.SortStableFunc(devices, func(a, b Device) int {
		switch {
		case a.Optical == b.Optical:
			return 0
		case a.Optical:
			return -1
		default:
			return 1
		}
	})
	for _, device := range devices {
		if device.Virtual || strings.HasPrefix(device.Name, "fd") {
			continue // A floppy drive is too small, and takes its time to say so.
		}
		config := readConfig(filepath.Join(root, device.Path()), device.Size)
		if config == nil {
			continue
		}
		m.Medium = append(m.Medium, device.Name)
		if !slices.ContainsFunc(seeds, func(s Seed) bool { return bytes.Equal(s.Config, config) }) {
			seeds = append(seeds, Seed{Device: device.Path(), Config: config})
		}
	}
	return seeds
}

// readConfig is nil where there is none: no medium in the drive, another file system, a damaged image.
func readConfig(path string, size int64) []byte {
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer file.Close()
	image, err := iso.Open(file, size)
	if err != nil {
		return nil
	}
	config, err := image.Config()
	if err != nil {
		return nil
	}
	return config
}
