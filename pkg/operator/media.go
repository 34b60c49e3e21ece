package operator

import (
	"fmt"

	"github.com/rancher/rancheros-operator/pkg/clients"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/pkg/media/cache"
	"github.com/rancher/rancheros-operator/pkg/media/library"
	"github.com/rancher/rancheros-operator/pkg/registration/server"
	"github.com/rancher/rancheros-operator/pkg/settings"
)

const gib = 1 << 30

// newLibrary opens the cache of base media, where there is a place for one.
func newLibrary(options Options, c *clients.Clients, indexes *index.Indexes, rancher *settings.Settings) (*library.Library, error) {
	with := library.Options{Indexes: indexes, Settings: rancher, Seeds: c.Serving.RancherOS.SeedImage(), Reports: c.RancherOS.SeedImage()}
	if options.MediaDir == "" {
		return library.New(with), nil
	}
	var shelf *library.Library
	kept, err := cache.New(cache.Options{
		Dir: options.MediaDir, Folder: options.MediaFolder,
		MaxBytes: int64(options.MediaCacheGiB) * gib, MaxBase: int64(options.MediaMaxBaseGiB) * gib,
		InUse: func() map[string]bool { return shelf.InUse() },
	})
	if err != nil {
		return nil, fmt.Errorf("opening --media-dir: %w", err)
	}
	with.Cache = kept
	shelf = library.New(with)
	return shelf, nil
}

// followed are the kinds whose changes make other media.
func followed(c *clients.Clients) library.Informers {
	return library.Informers{Seeds: c.RancherOS.SeedImage(), Registrations: c.RancherOS.MachineRegistration(), Settings: c.Management.Setting()}
}

// media makes the library what the server asks for: neither knows the other.
type media struct{ *library.Library }

// Find is the medium that the token opens.
func (m media) Find(token string) (server.Medium, error) {
	medium, err := m.Library.Find(token)
	if err != nil {
		return nil, err
	}
	return medium, nil
}
