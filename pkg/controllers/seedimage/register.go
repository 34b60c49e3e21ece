package seedimage

import (
	"context"
	"time"

	corev1controllers "github.com/rancher/wrangler/v3/pkg/generated/controllers/core/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"

	managementv3 "github.com/rancher/rancheros-operator/pkg/apis/management.cattle.io/v3"
	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/clients"
	rancheroscontrollers "github.com/rancher/rancheros-operator/pkg/generated/controllers/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/pkg/settings"
)

// handlerName is stored nowhere, but shows in logs and metrics: keep it.
const handlerName = "seed-image"

type handler struct {
	seeds       rancheroscontrollers.SeedImageController
	secretCache corev1controllers.SecretCache
	secrets     corev1controllers.SecretClient
	indexes     *index.Indexes
	settings    *settings.Settings
	events      record.EventRecorder
	now         func() time.Time
}

// Register adds the controller's handlers to the clients.
func Register(ctx context.Context, c *clients.Clients, indexes *index.Indexes, settings *settings.Settings) {
	h := &handler{
		seeds:       c.RancherOS.SeedImage(),
		secretCache: c.SeedImages.Cache(),
		secrets:     c.Secrets,
		indexes:     indexes,
		settings:    settings,
		events:      c.Events,
		now:         time.Now,
	}
	h.seeds.OnChange(ctx, handlerName, h.onChange)
	c.SeedImages.OnChange(ctx, handlerName, h.onSecret)
	c.RancherOS.MachineRegistration().OnChange(ctx, handlerName, h.onRegistration)
	c.Management.Setting().OnChange(ctx, handlerName, h.onSetting)
}

// onSecret makes the token again when its Secret was deleted by hand, and follows a restore of it.
func (h *handler) onSecret(key string, secret *corev1.Secret) (*corev1.Secret, error) {
	if namespace, seed, ours := index.SeedImageOfSecret(key); ours {
		clients.Enqueue(h.seeds, namespace, seed)
	}
	return secret, nil
}

// onRegistration follows a registration that appears, gets its URL, or goes.
func (h *handler) onRegistration(key string, registration *v1.MachineRegistration) (*v1.MachineRegistration, error) {
	namespace, name := index.SplitKey(key)
	seeds, err := h.indexes.SeedImagesByRegistration(namespace, name)
	h.enqueue(seeds)
	return registration, err
}

// onSetting renews every address when server-url changes.
func (h *handler) onSetting(key string, setting *managementv3.Setting) (*managementv3.Setting, error) {
	if key != settings.ServerURL {
		return setting, nil
	}
	seeds, err := h.indexes.SeedImages()
	h.enqueue(seeds)
	return setting, err
}

func (h *handler) enqueue(seeds []*v1.SeedImage) {
	for _, seed := range seeds {
		clients.Enqueue(h.seeds, seed.Namespace, seed.Name)
	}
}
