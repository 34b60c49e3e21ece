package osimage

import (
	"context"
	"sync"
	"time"

	fleetv1 "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	corev1controllers "github.com/rancher/wrangler/v3/pkg/generated/controllers/core/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/record"

	managementv3 "github.com/rancher/rancheros-operator/pkg/apis/management.cattle.io/v3"
	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/clients"
	fleetcontrollers "github.com/rancher/rancheros-operator/pkg/generated/controllers/fleet.cattle.io/v1alpha1"
	managementcontrollers "github.com/rancher/rancheros-operator/pkg/generated/controllers/management.cattle.io/v3"
	rancheroscontrollers "github.com/rancher/rancheros-operator/pkg/generated/controllers/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/pkg/settings"
)

// handlerName is stored nowhere, but shows in logs and metrics: keep it.
const handlerName = "osimage"

type handler struct {
	images   rancheroscontrollers.ManagedOSImageController
	versions rancheroscontrollers.ManagedOSVersionCache
	bundles  fleetcontrollers.BundleController
	secrets  corev1controllers.SecretController
	clusters fleetcontrollers.ClusterCache
	groups   fleetcontrollers.ClusterGroupCache
	managed  managementcontrollers.ClusterCache
	nodes    managementcontrollers.NodeCache
	indexes  *index.Indexes
	settings *settings.Settings
	events   record.EventRecorder

	claims  *claims
	prints  *prints
	pace    *pace
	loading sync.Mutex
	loaded  bool
	// settle is the constant of that name, and now the time; tests have their own.
	settle time.Duration
	now    func() time.Time
}

func newHandler(c *clients.Clients, indexes *index.Indexes, settings *settings.Settings) *handler {
	return &handler{
		images:   c.RancherOS.ManagedOSImage(),
		versions: c.RancherOS.ManagedOSVersion().Cache(),
		bundles:  c.Fleet.Bundle(),
		secrets:  c.CloudConfigs,
		clusters: c.Fleet.Cluster().Cache(),
		groups:   c.Fleet.ClusterGroup().Cache(),
		managed:  c.Management.Cluster().Cache(),
		nodes:    c.Management.Node().Cache(),
		indexes:  indexes,
		settings: settings,
		events:   c.Events,
		claims:   newClaims(),
		prints:   newPrints(),
		pace:     newPace(),
		settle:   settle,
		now:      time.Now,
	}
}

// Register adds the controller's handlers to the clients.
func Register(ctx context.Context, c *clients.Clients, indexes *index.Indexes, settings *settings.Settings) {
	h := newHandler(c, indexes, settings)
	h.images.OnChange(ctx, handlerName, h.onChange)
	c.RancherOS.ManagedOSVersion().OnChange(ctx, handlerName, h.onVersion)
	h.followChannels(ctx, c)
	h.bundles.OnChange(ctx, handlerName, h.onBundle)
	h.secrets.OnChange(ctx, handlerName, h.onSecret)
	c.Management.Setting().OnChange(ctx, handlerName, h.onSetting)
	c.Management.Node().OnChange(ctx, handlerName, h.onNode)
	c.Management.Cluster().OnChange(ctx, handlerName, h.onManaged)
	c.Fleet.Cluster().OnChange(ctx, handlerName, h.onFleetCluster)
	c.Fleet.ClusterGroup().OnChange(ctx, handlerName, h.onClusterGroup)
	c.Rollouts.OnChange(ctx, handlerName, h.onRollout)
}

func (h *handler) onVersion(key string, version *v1.ManagedOSVersion) (*v1.ManagedOSVersion, error) {
	namespace, name := index.SplitKey(key)
	images, err := h.indexes.ImagesByVersion(namespace, name)
	h.enqueue(images)
	if err != nil {
		return version, err
	}
	// It may be the one on the way to another.
	all, err := h.images.Cache().List(namespace, labels.Everything())
	for _, image := range all {
		if image.Spec.OSImage == "" && image.Spec.ManagedOSVersionName != name {
			h.later(keyOf(image))
		}
	}
	return version, err
}

func (h *handler) onBundle(key string, bundle *fleetv1.Bundle) (*fleetv1.Bundle, error) {
	if bundle != nil {
		h.enqueueOwner(bundle)
		return bundle, nil
	}
	return nil, h.enqueueByObjectName(key)
}

func (h *handler) onSecret(key string, secret *corev1.Secret) (*corev1.Secret, error) {
	if secret != nil {
		h.enqueueOwner(secret)
		return secret, nil
	}
	return nil, h.enqueueByObjectName(key)
}

func (h *handler) onSetting(key string, setting *managementv3.Setting) (*managementv3.Setting, error) {
	if key != settings.SystemDefaultRegistry {
		return setting, nil
	}
	images, err := h.images.Cache().List("", labels.Everything())
	h.enqueue(images)
	return setting, err
}

// enqueueByObjectName puts back what somebody deleted: the labels are gone, but the name tells.
func (h *handler) enqueueByObjectName(key string) error {
	namespace, name := index.SplitKey(key)
	images, err := h.indexes.ImagesByObjectName(namespace, name)
	h.enqueue(images)
	return err
}

func (h *handler) enqueueOwner(object metav1.Object) {
	if image := object.GetLabels()[v1.LabelImage]; image != "" {
		clients.Enqueue(h.images, object.GetNamespace(), image)
	}
}

func (h *handler) enqueue(images []*v1.ManagedOSImage) {
	for _, image := range images {
		clients.Enqueue(h.images, image.Namespace, image.Name)
	}
}
