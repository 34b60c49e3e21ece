package registration

import (
	"context"
	"time"

	corev1controllers "github.com/rancher/wrangler/v3/pkg/generated/controllers/core/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/record"

	managementv3 "github.com/rancher/rancheros-operator/pkg/apis/management.cattle.io/v3"
	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/clients"
	rancheroscontrollers "github.com/rancher/rancheros-operator/pkg/generated/controllers/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/pkg/settings"
)

// handlerName is stored nowhere, but shows in logs and metrics: keep it.
const handlerName = "registration"

type handler struct {
	registrations rancheroscontrollers.MachineRegistrationController
	secretCache   corev1controllers.SecretCache
	secrets       corev1controllers.SecretClient
	indexes       *index.Indexes
	settings      *settings.Settings
	events        record.EventRecorder
	now           func() time.Time
	bundles       bundles
	counts        counts
}

// Register adds the controller's handlers to the clients. The last argument judges a CA bundle, PEM, as the server does.
func Register(ctx context.Context, c *clients.Clients, indexes *index.Indexes, settings *settings.Settings, checkBundle func(pem []byte) error) {
	h := &handler{
		registrations: c.RancherOS.MachineRegistration(),
		secretCache:   c.Registrations.Cache(),
		secrets:       c.Secrets,
		indexes:       indexes,
		settings:      settings,
		events:        c.Events,
		now:           time.Now,
		bundles:       bundles{check: checkBundle, seen: map[string]bundle{}},
	}
	h.registrations.OnChange(ctx, handlerName, h.onChange)
	c.Registrations.OnChange(ctx, handlerName, h.onSecret)
	c.Management.Setting().OnChange(ctx, handlerName, h.onSetting)
	c.RancherOS.MachineInventory().OnChange(ctx, handlerName, h.onInventory)
}

// onSecret makes the token again when its Secret was deleted by hand, and follows a restore of it. The Secret's name tells
// whose it is, not its label, which may be what somebody changed.
func (h *handler) onSecret(key string, secret *corev1.Secret) (*corev1.Secret, error) {
	if namespace, registration, ours := index.RegistrationOfSecret(key); ours {
		clients.Enqueue(h.registrations, namespace, registration)
		return secret, h.wakeSharers(namespace, registration, secret)
	}
	return secret, nil
}

// onSetting renews every URL when server-url changes.
func (h *handler) onSetting(key string, setting *managementv3.Setting) (*managementv3.Setting, error) {
	if key != settings.ServerURL {
		return setting, nil
	}
	registrations, err := h.registrations.Cache().List("", labels.Everything())
	if err != nil {
		return setting, err
	}
	for _, registration := range registrations {
		clients.Enqueue(h.registrations, registration.Namespace, registration.Name)
	}
	return setting, nil
}

// onInventory counts machines. A thousand machines that arrive together cost one write, not a thousand.
func (h *handler) onInventory(key string, inventory *v1.MachineInventory) (*v1.MachineInventory, error) {
	if inventory != nil {
		if name := inventory.Labels[v1.LabelRegistration]; name != "" {
			h.registrations.EnqueueAfter(inventory.Namespace, name, countDelay)
		}
		return inventory, nil
	}
	// The label of a machine that is gone went with it: any registration of its namespace may be one short.
	namespace, _ := index.SplitKey(key)
	registrations, err := h.registrations.Cache().List(namespace, labels.Everything())
	for _, registration := range registrations {
		h.registrations.EnqueueAfter(namespace, registration.Name, countDelay)
	}
	return nil, err
}
