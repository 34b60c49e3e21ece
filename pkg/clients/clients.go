// Package clients holds one typed controller for each kind that the operator touches, all on shared informer caches.
//
// Most kinds share one factory. Secrets do not: a Rancher cluster holds tens of thousands, and caching them all would
// cost memory and ask for trust that we do not need. Each kind of Secret that we follow has its own factory, whose
// list and watch are narrowed by the API server to the type, or to the one name, that it is about. Nor do the kinds of
// Rancher and Fleet, which may not be there (foreign.go). Inventories are decoded faster than the rest (decode.go), and their
// events gathered while there are many (gathering.go). On a replica that does not lead, caches are filled and nothing is remembered for handlers (standby.go). Events are lines in the log, too (audit.go).
package clients

import (
	"context"
	"fmt"
	"slices"

	"github.com/rancher/lasso/pkg/cache"
	"github.com/rancher/lasso/pkg/client"
	"github.com/rancher/lasso/pkg/controller"
	corev1controllers "github.com/rancher/wrangler/v3/pkg/generated/controllers/core/v1"
	"github.com/rancher/wrangler/v3/pkg/schemes"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	typedbatchv1 "k8s.io/client-go/kubernetes/typed/batch/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/transport"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	fleetv1 "github.com/rancher/rancheros-operator/pkg/generated/controllers/fleet.cattle.io/v1alpha1"
	managementv3 "github.com/rancher/rancheros-operator/pkg/generated/controllers/management.cattle.io/v3"
	provisioningv1 "github.com/rancher/rancheros-operator/pkg/generated/controllers/provisioning.cattle.io/v1"
	rancherosv1 "github.com/rancher/rancheros-operator/pkg/generated/controllers/rancheros.cattle.io/v1"
)

// Options are the few things that a deployment decides.
type Options struct {
	// Config reaches the API server.
	Config *rest.Config
	// TunnelSecretNamespace and TunnelSecretName name the Secret in which Rancher hands us the tunnel; empty without one.
	TunnelSecretNamespace, TunnelSecretName string
	// SecretNamespaces are those in which we may list and write Secrets; nil means all.
	SecretNamespaces []string
	// Fence, unless nil, holds back what only the leader may write: all writes but those of Serving and Events. FenceEvents does
	// so with Events.
	Fence, FenceEvents transport.WrapperFunc
}

// Serving writes what every replica may write, whoever leads.
type Serving struct {
	RancherOS rancherosv1.Interface
	// Secrets reads and writes any Secret that our rights allow, uncached.
	Secrets corev1controllers.SecretClient
	// Events tells people what happened to an object. Of machines there may be a storm: what the log says of them is for the caller.
	Events record.EventRecorder
}

// Clients are the typed controllers, by the API group of their kind.
type Clients struct {
	RancherOS    rancherosv1.Interface
	Management   managementv3.Interface
	Provisioning provisioningv1.Interface
	Fleet        fleetv1.Interface
	// Registrations, MachineTokens, CloudConfigs and SeedImages are the Secrets of our four types.
	Registrations, MachineTokens, CloudConfigs, SeedImages corev1controllers.SecretController
	// Rollouts are the BundleDeployments of images, and no others: a large Rancher has ten thousands.
	Rollouts fleetv1.BundleDeploymentController
	// Tunnel is the one Secret that Rancher fills with the tunnel's address and token; nil without a tunnel.
	Tunnel corev1controllers.SecretController
	// Secrets reads any Secret by its name, and writes those of the namespaces that are served, uncached.
	Secrets corev1controllers.SecretClient
	// Jobs runs containers in the cluster, and Pods shows what became of them; uncached, since they are looked at by name.
	Jobs typedbatchv1.JobsGetter
	// Pods: see Jobs.
	Pods typedcorev1.PodsGetter
	// Events tells people what happened to an object, and the log.
	Events record.EventRecorder
	// Serving is for those who answer machines.
	Serving Serving

	clients   client.SharedClientFactory
	factories []controller.SharedControllerFactory
	foreign   []*foreign
	tunnel    controller.SharedControllerFactory
}

// New makes the clients. Nothing runs yet: add indexers (package index) and handlers, then Start.
func New(ctx context.Context, options Options) (*Clients, error) {
	fenced, events := rest.CopyConfig(options.Config), rest.CopyConfig(options.Config)
	fenced.Wrap(options.Fence)
	events.Wrap(options.FenceEvents)
	shared, err := newShared(fenced)
	if err != nil {
		return nil, err
	}
	clients := &Clients{clients: shared}
	if clients.Serving, err = newServing(options.Config); err != nil {
		return nil, err
	}
	clients.RancherOS = rancherosv1.New(clients.addFactory(nil))
	clients.addForeign()

	clients.Registrations = clients.secretsOfType(v1.SecretTypeRegistration, options.SecretNamespaces)
	clients.MachineTokens = clients.secretsOfType(v1.SecretTypeMachineToken, options.SecretNamespaces)
	clients.CloudConfigs = clients.secretsOfType(v1.SecretTypeCloudConfig, options.SecretNamespaces)
	clients.SeedImages = clients.secretsOfType(v1.SecretTypeSeedImage, options.SecretNamespaces)
	if options.TunnelSecretName != "" {
		clients.tunnel = clients.addSecretFactory(fields.OneTermEqualSelector("metadata.name", options.TunnelSecretName), options.TunnelSecretNamespace)
		clients.Tunnel = corev1controllers.New(clients.tunnel).Secret()
	}
	clients.Secrets = clients.Registrations
	return clients, clients.addTyped(ctx, fenced, events)
}

// newServing makes clients behind no fence, with connections of their own, so that no controller makes a machine wait.
// Nobody starts their caches.
func newServing(config *rest.Config) (Serving, error) {
	shared, err := newShared(config)
	if err != nil {
		return Serving{}, err
	}
	factory := controller.NewSharedControllerFactory(cache.NewSharedCachedFactory(shared, nil), nil)
	return Serving{RancherOS: rancherosv1.New(factory), Secrets: corev1controllers.New(factory).Secret()}, nil
}

func newShared(config *rest.Config) (client.SharedClientFactory, error) {
	shared, err := client.NewSharedClientFactory(config, nil)
	if err != nil {
		return nil, fmt.Errorf("making clients: %w", err)
	}
	return newFastInventories(shared, config)
}

// secretsOfType are the Secrets of one type, in all namespaces or in those that are served.
func (c *Clients) secretsOfType(kind corev1.SecretType, namespaces []string) corev1controllers.SecretController {
	selector := fields.OneTermEqualSelector("type", string(kind))
	if namespaces == nil {
		return corev1controllers.New(c.addSecretFactory(selector, metav1.NamespaceAll)).Secret()
	}
	parts := map[string]corev1controllers.SecretController{}
	for _, namespace := range namespaces {
		parts[namespace] = c.addServed(selector, namespace)
	}
	return newServed(parts)
}

func (c *Clients) addSecretFactory(selector fields.Selector, namespace string) controller.SharedControllerFactory {
	return c.addFactory(secretCache(selector, namespace))
}

func secretCache(selector fields.Selector, namespace string) *cache.SharedCacheFactoryOptions {
	return &cache.SharedCacheFactoryOptions{
		DefaultNamespace: namespace,
		DefaultTweakList: func(list *metav1.ListOptions) { list.FieldSelector = selector.String() },
	}
}

// addFactory makes a factory whose caches must be filled before anything is served.
func (c *Clients) addFactory(options *cache.SharedCacheFactoryOptions) controller.SharedControllerFactory {
	factory := c.newFactory(options)
	c.factories = append(c.factories, factory)
	return factory
}

// newFactory makes a factory with caches of its own, on the connections that all factories share.
func (c *Clients) newFactory(options *cache.SharedCacheFactoryOptions) controller.SharedControllerFactory {
	return newStandbyFactory(cache.NewSharedCachedFactory(c.clients, options))
}

func (c *Clients) addTyped(ctx context.Context, fenced, events *rest.Config) error {
	jobs, err := typedbatchv1.NewForConfig(fenced)
	if err != nil {
		return fmt.Errorf("making client of Jobs: %w", err)
	}
	client, err := typedcorev1.NewForConfig(events)
	if err != nil {
		return fmt.Errorf("making client of Pods and Events: %w", err)
	}
	c.Jobs, c.Pods = jobs, client
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.Events("")})
	c.Serving.Events = broadcaster.NewRecorder(schemes.All, corev1.EventSource{Component: "rancheros-operator"})
	c.Events = audited{c.Serving.Events}
	return nil
}

// StartCaches fills the caches, and returns when they are filled or ctx ends. Every replica does this: registration is
// served from them.
func (c *Clients) StartCaches(ctx context.Context) error {
	if err := c.startCaches(ctx); err != nil {
		return err
	}
	for _, factory := range c.factories {
		if err := filled(ctx, factory); err != nil {
			return err
		}
	}
	for _, foreign := range c.foreign {
		if err := foreign.fill(ctx); err != nil {
			return err
		}
	}
	return nil
}

func filled(ctx context.Context, factory controller.SharedControllerFactory) error {
	for kind, synced := range factory.SharedCacheFactory().WaitForCacheSync(ctx) {
		if !synced {
			return fmt.Errorf("filling the cache of %s: %w", kind, context.Cause(ctx))
		}
	}
	return nil
}

// startCaches returns when the API server has been reached, or ctx ends. Lasso waits for the former without an eye on
// the latter: a process that cannot reach the API server must end all the same when it is told to.
func (c *Clients) startCaches(ctx context.Context) error {
	started := make(chan error, 1)
	go func() {
		for _, factory := range c.all() {
			if err := factory.SharedCacheFactory().Start(ctx); err != nil {
				started <- fmt.Errorf("starting caches: %w", err)
				return
			}
		}
		started <- nil
	}()
	select {
	case err := <-started:
		return err
	case <-ctx.Done():
		return fmt.Errorf("reaching the API server: %w", context.Cause(ctx))
	}
}

// StartTunnel starts the handlers of the tunnel's Secret. Every replica has a tunnel of its own.
func (c *Clients) StartTunnel(ctx context.Context) error {
	if c.tunnel == nil {
		return nil
	}
	if err := c.tunnel.Start(ctx, 1); err != nil {
		return fmt.Errorf("starting the tunnel's handlers: %w", err)
	}
	return nil
}

// StartHandlers starts the workers of every handler that was added. Only the leader does this.
//
// Handlers may be about kinds that nobody had asked for before. All caches are filled before the first handler runs: it
// reads those of other kinds, in other factories, than its own.
func (c *Clients) StartHandlers(ctx context.Context, workers int) error {
	if err := c.StartCaches(ctx); err != nil {
		return err
	}
	for _, factory := range c.factories {
		if err := factory.Start(ctx, workers); err != nil {
			return fmt.Errorf("starting handlers: %w", err)
		}
	}
	for _, foreign := range c.foreign {
		if err := foreign.startHandlers(ctx, workers); err != nil {
			return err
		}
	}
	return nil
}

func (c *Clients) all() []controller.SharedControllerFactory {
	all := slices.Clone(c.factories)
	for _, foreign := range c.foreign {
		all = append(all, foreign.factory)
	}
	return all
}
