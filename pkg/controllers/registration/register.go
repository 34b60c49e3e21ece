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

// countDelay gathers the machines that register within it into one write of the registration's count.
const countDelay = 2 * time.Second

type handler struct {
	registrations rancheroscontrollers.MachineRegistrationController
	secretCache   corev1controllers.SecretCache
	secrets       corev1controllers.SecretClient
	indexes       *index.Indexes
	settings      *settings.Settings
	events        record.EventRecorder
}

// Register adds the controller's handlers to the clients.
func Register(ctx context.Context, c *clients.Clients, indexes *index.Indexes, settings *settings.Settings) {
	h := &handler{
		registrations: c.RancherOS.MachineRegistration(),
		secretCache:   c.Registrations.Cache(),
		secrets:       c.Secrets,
		indexes:       indexes,
		settings:      settings,
		events:        c.Events,
	}
	h.registrations.OnChange(ctx, handlerName, h.onChange)
	c.Registrations.OnChange(ctx, handlerName, h.onSecret)
	c.Management.Setting().OnChange(ctx, handlerName, h.onSetting)
	c.RancherOS.MachineInventory().OnChange(ctx, handlerName, h.onInventory)
}

// onSecret makes the token again when its Secret was deleted by hand, and follows a restore of it.
func (h *handler) onSecret(key string, secret *corev1.Secret) (*corev1.Secret, error) {
	if secret != nil {
		if name := secret.Labels[v1.LabelRegistration]; name != "" {
			h.registrations.Enqueue(secret.Namespace, name)
		}
		return secret, nil
	}
	if namespace, registration, ours := index.RegistrationOfSecret(key); ours {
		h.registrations.Enqueue(namespace, registration)
	}
	return nil, nil
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
		h.registrations.Enqueue(registration.Namespace, registration.Name)
	}
	return setting, nil
}

// onInventory counts machines. A thousand machines that arrive together cost one write, not a thousand.
func (h *handler) onInventory(_ string, inventory *v1.MachineInventory) (*v1.MachineInventory, error) {
	if inventory == nil {
		return nil, nil
	}
	name := inventory.Labels[v1.LabelRegistration]
	if name == "" {
		return inventory, nil
	}
	registration, err := h.registrations.Cache().Get(inventory.Namespace, name)
	if err != nil {
		// A registration may be deleted before its machines are.
		return inventory, nil
	}
	machines, err := h.indexes.InventoriesByRegistration(inventory.Namespace, name)
	if err != nil {
		return inventory, err
	}
	if count(machines) != registration.Status.Machines {
		h.registrations.EnqueueAfter(inventory.Namespace, name, countDelay)
	}
	return inventory, nil
}
