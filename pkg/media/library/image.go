package library

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"time"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/cloudconfig"
	media "github.com/rancher/rancheros-operator/pkg/media/cache"
	"github.com/rancher/rancheros-operator/pkg/media/iso"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// setupRetry is when to come back after something that an administrator has to mend.
const setupRetry = 30 * time.Second

// image is what one file of a SeedImage is made of.
type image struct {
	base   *media.Base
	layout *iso.Layout
}

// identity is the same for the same bytes, and another for others.
func (i image) identity() string {
	same := i.layout.Same()
	sum := sha256.Sum256(append([]byte(i.base.Checksum), same[:]...))
	return hex.EncodeToString(sum[:16])
}

// config is what is put on the medium.
func (l *Library) config(seed *v1.SeedImage) ([]byte, error) {
	registration, err := l.Indexes.Registration(seed.Namespace, seed.Spec.RegistrationName)
	if err != nil {
		return nil, err
	}
	if registration == nil || registration.Status.RegistrationURL == "" {
		return nil, unprepared("the medium's registration has no URL yet", nil)
	}
	ca, err := l.Settings.CACerts()
	if err != nil {
		return nil, err
	}
	var own []byte
	if seed.Spec.CloudConfig != nil {
		own = seed.Spec.CloudConfig.Raw
	}
	config, err := cloudconfig.Medium(own, registration.Status.RegistrationURL, ca)
	if err != nil {
		return nil, unprepared("the medium's cloudConfig cannot be used", err)
	}
	return config, nil
}

func unprepared(message string, err error) error {
	return &protocol.Error{Code: protocol.CodeUnavailable, RetryAfter: setupRetry, Err: err, Message: message,
		Hint: "an administrator must look: `kubectl describe seedimage` says what is wrong"}
}

// iso is the image for discs and sticks.
func (l *Library) iso(seed *v1.SeedImage, base *media.Base) (image, error) {
	config, err := l.config(seed)
	if err != nil {
		return image{}, err
	}
	layout, err := base.Image.Plan(config)
	if err != nil {
		return image{}, err
	}
	return image{base: base, layout: layout}, nil
}

// netboot is what the SeedImage boots over the network: what its spec says, and for the rest what the base would boot.
func netboot(seed *v1.SeedImage, base *media.Base) (iso.Kernel, error) {
	var asked v1.NetbootSpec
	if seed.Spec.Netboot != nil {
		asked = *seed.Spec.Netboot
	}
	own, err := base.Image.Kernel()
	if errors.Is(err, fs.ErrNotExist) && asked.Kernel != "" && asked.Initrd != "" {
		err = nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return iso.Kernel{}, &iso.FormatError{Problem: "the base has no boot menu that names a kernel and an initrd; name them in spec.netboot"}
	}
	if err != nil {
		return iso.Kernel{}, err
	}
	for _, part := range []struct {
		asked string
		into  *string
	}{{asked.Kernel, &own.Kernel}, {asked.Initrd, &own.Initrd}, {asked.Arguments, &own.Arguments}} {
		if part.asked != "" {
			*part.into = part.asked
		}
	}
	return own, nil
}

// file is a file of the base as it is, or, for the initrd, with the config behind it.
func (l *Library) file(seed *v1.SeedImage, base *media.Base, withConfig bool) (image, error) {
	boots, err := netboot(seed, base)
	if err != nil {
		return image{}, err
	}
	path := boots.Kernel
	if withConfig {
		path = boots.Initrd
	}
	file, err := base.Image.Find(path)
	if errors.Is(err, fs.ErrNotExist) {
		return image{}, &iso.FormatError{Problem: "the base has no " + path + "; name what is there in spec.netboot"}
	}
	if err != nil {
		return image{}, err
	}
	if !withConfig {
		return image{base: base, layout: iso.Section(file)}, nil
	}
	config, err := l.config(seed)
	if err != nil {
		return image{}, err
	}
	return image{base: base, layout: iso.WithInitrd(file, iso.Cpio(iso.SeedPath, config))}, nil
}

// makesISO and makesNetboot tell what the SeedImage is for.
func makesISO(seed *v1.SeedImage) bool { return seed.Spec.Type != v1.SeedImageNetboot }

func makesNetboot(seed *v1.SeedImage) bool {
	return seed.Spec.Type == v1.SeedImageNetboot || seed.Spec.Type == v1.SeedImageBoth
}
