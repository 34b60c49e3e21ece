package oschannel

import (
	"context"
	"net/netip"
	"time"

	corev1controllers "github.com/rancher/wrangler/v3/pkg/generated/controllers/core/v1"
	typedbatchv1 "k8s.io/client-go/kubernetes/typed/batch/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/clients"
	rancheroscontrollers "github.com/rancher/rancheros-operator/pkg/generated/controllers/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
)

// handlerName is stored nowhere, but shows in logs and metrics: keep it.
const handlerName = "oschannel"

// gatherDelay makes one look at a channel's versions of a thousand that change together.
const gatherDelay = 2 * time.Second

type handler struct {
	channels rancheroscontrollers.ManagedOSVersionChannelController
	versions rancheroscontrollers.ManagedOSVersionController
	secrets  corev1controllers.SecretClient
	jobs     typedbatchv1.JobsGetter
	pods     typedcorev1.PodsGetter
	indexes  *index.Indexes
	events   record.EventRecorder
	poller   *poller
	// networks are those that an administrator lets channels reach although they are forbidden otherwise.
	networks []netip.Prefix
	// jobInterval is how often a Job is looked at.
	jobInterval time.Duration
}

// Options are what a deployment decides about channels.
type Options struct {
	// Networks may be reached by channels although they are the operator's own host, or of another kind that is forbidden
	// otherwise.
	Networks []netip.Prefix
	// Asked, unless nil, is told the result of every try: Synced, or the reason of the failure.
	Asked func(result string)
}

// Register adds the controller's handlers to the clients.
func Register(ctx context.Context, c *clients.Clients, indexes *index.Indexes, options Options) {
	h := &handler{
		channels:    c.RancherOS.ManagedOSVersionChannel(),
		versions:    c.RancherOS.ManagedOSVersion(),
		secrets:     c.Secrets,
		jobs:        c.Jobs,
		pods:        c.Pods,
		indexes:     indexes,
		events:      c.Events,
		networks:    options.Networks,
		jobInterval: 3 * time.Second,
	}
	h.poller = newPoller(ctx, func(namespace, name string) { clients.Enqueue(h.channels, namespace, name) })
	h.poller.asked = options.Asked
	h.channels.OnChange(ctx, handlerName, h.onChange)
	h.versions.OnChange(ctx, handlerName, h.onVersion)
}

// onVersion puts back what somebody changed or deleted. The labels of a version that is gone went with it: any channel of
// its namespace may lack one.
func (h *handler) onVersion(key string, version *v1.ManagedOSVersion) (*v1.ManagedOSVersion, error) {
	if version != nil {
		if name, _ := index.ChannelOf(version); name != "" {
			h.channels.EnqueueAfter(version.Namespace, name, gatherDelay)
		}
		return version, nil
	}
	namespace, _ := index.SplitKey(key)
	for _, name := range h.poller.known(namespace) {
		h.channels.EnqueueAfter(namespace, name, gatherDelay)
	}
	return nil, nil
}
