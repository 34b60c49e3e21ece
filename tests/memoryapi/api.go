package memoryapi

import (
	"fmt"
	"sync"
	"testing"

	fleetv1 "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	provisioningv1 "github.com/rancher/rancher/pkg/apis/provisioning.cattle.io/v1"
	"github.com/rancher/wrangler/v3/pkg/generic"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	managementv3 "github.com/rancher/rancheros-operator/pkg/apis/management.cattle.io/v3"
	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/clients"
	fleetcontrollers "github.com/rancher/rancheros-operator/pkg/generated/controllers/fleet.cattle.io/v1alpha1"
	managementcontrollers "github.com/rancher/rancheros-operator/pkg/generated/controllers/management.cattle.io/v3"
	provisioningcontrollers "github.com/rancher/rancheros-operator/pkg/generated/controllers/provisioning.cattle.io/v1"
	rancheroscontrollers "github.com/rancher/rancheros-operator/pkg/generated/controllers/rancheros.cattle.io/v1"
)

// API holds the objects of every kind that the operator touches.
type API struct {
	Registrations *Store[*v1.MachineRegistration, *v1.MachineRegistrationList]
	Inventories   *Store[*v1.MachineInventory, *v1.MachineInventoryList]
	Claims        *Store[*v1.MachineClaim, *v1.MachineClaimList]
	Images        *Store[*v1.ManagedOSImage, *v1.ManagedOSImageList]
	Versions      *Store[*v1.ManagedOSVersion, *v1.ManagedOSVersionList]
	Channels      *Store[*v1.ManagedOSVersionChannel, *v1.ManagedOSVersionChannelList]
	Seeds         *Store[*v1.SeedImage, *v1.SeedImageList]
	ClusterTokens *Store[*managementv3.ClusterRegistrationToken, *managementv3.ClusterRegistrationTokenList]
	Clusters      *Store[*provisioningv1.Cluster, *provisioningv1.ClusterList]
	Bundles       *Store[*fleetv1.Bundle, *fleetv1.BundleList]
	Rollouts      *Store[*fleetv1.BundleDeployment, *fleetv1.BundleDeploymentList]
	FleetClusters *Store[*fleetv1.Cluster, *fleetv1.ClusterList]
	ClusterGroups *Store[*fleetv1.ClusterGroup, *fleetv1.ClusterGroupList]
	Nodes         *Store[*managementv3.Node, *managementv3.NodeList]
	// Managed are Rancher's own clusters.
	Managed *Store[*managementv3.Cluster, *managementv3.ClusterList]
	// Secrets are all of them; the clients' caches show the types that they are about.
	Secrets  *Store[*corev1.Secret, *corev1.SecretList]
	Settings Settings

	// Fail, unless nil, is asked before every request; its error is the answer.
	Fail func(request Request) error

	mutex    sync.Mutex
	requests []Request
	versions int
}

// Request is one call of a client.
type Request struct {
	// Verb is create, update, patch, delete, get or list; Resource is the plural, with "/status" for that.
	Verb, Resource, Namespace, Name string
}

func (r Request) String() string {
	return fmt.Sprintf("%s %s %s/%s", r.Verb, r.Resource, r.Namespace, r.Name)
}

// Settings are Rancher's, by name.
type Settings map[string]string

// Get makes Settings a settings.Getter.
func (s Settings) Get(name string) (*managementv3.Setting, error) {
	value, ok := s[name]
	if !ok {
		return nil, apierrors.NewNotFound(schema.GroupResource{Group: "management.cattle.io", Resource: "settings"}, name)
	}
	return &managementv3.Setting{ObjectMeta: metav1.ObjectMeta{Name: name}, Value: value}, nil
}

// New makes an API that holds the objects. When the test ends, whoever wrote to an object in a cache fails it.
func New(t testing.TB, objects ...runtime.Object) *API {
	t.Helper()
	a := &API{Settings: Settings{}}
	a.Registrations = newStore[*v1.MachineRegistration, *v1.MachineRegistrationList](t, a, "machineregistrations")
	a.Inventories = newStore[*v1.MachineInventory, *v1.MachineInventoryList](t, a, "machineinventories")
	a.Claims = newStore[*v1.MachineClaim, *v1.MachineClaimList](t, a, "machineclaims")
	a.Images = newStore[*v1.ManagedOSImage, *v1.ManagedOSImageList](t, a, "managedosimages")
	a.Versions = newStore[*v1.ManagedOSVersion, *v1.ManagedOSVersionList](t, a, "managedosversions")
	a.Channels = newStore[*v1.ManagedOSVersionChannel, *v1.ManagedOSVersionChannelList](t, a, "managedosversionchannels")
	a.Seeds = newStore[*v1.SeedImage, *v1.SeedImageList](t, a, "seedimages")
	a.ClusterTokens = newStore[*managementv3.ClusterRegistrationToken, *managementv3.ClusterRegistrationTokenList](t, a, "clusterregistrationtokens")
	a.Clusters = newStore[*provisioningv1.Cluster, *provisioningv1.ClusterList](t, a, "clusters")
	a.Bundles = newStore[*fleetv1.Bundle, *fleetv1.BundleList](t, a, "bundles")
	a.Rollouts = newStore[*fleetv1.BundleDeployment, *fleetv1.BundleDeploymentList](t, a, "bundledeployments")
	a.FleetClusters = newStore[*fleetv1.Cluster, *fleetv1.ClusterList](t, a, "fleetclusters")
	a.ClusterGroups = newStore[*fleetv1.ClusterGroup, *fleetv1.ClusterGroupList](t, a, "clustergroups")
	a.Nodes = newStore[*managementv3.Node, *managementv3.NodeList](t, a, "nodes")
	a.Managed = newStore[*managementv3.Cluster, *managementv3.ClusterList](t, a, "managementclusters")
	a.Secrets = newStore[*corev1.Secret, *corev1.SecretList](t, a, "secrets")
	a.Put(objects...)
	return a
}

// Put makes the objects be there, or replaces them, as somebody else's doing: it is not counted as a request.
func (a *API) Put(objects ...runtime.Object) {
	for _, object := range objects {
		switch object := object.(type) {
		case *v1.MachineRegistration:
			a.Registrations.put(object)
		case *v1.MachineInventory:
			a.Inventories.put(object)
		case *v1.MachineClaim:
			a.Claims.put(object)
		case *v1.ManagedOSImage:
			a.Images.put(object)
		case *v1.ManagedOSVersion:
			a.Versions.put(object)
		case *v1.ManagedOSVersionChannel:
			a.Channels.put(object)
		case *v1.SeedImage:
			a.Seeds.put(object)
		case *managementv3.ClusterRegistrationToken:
			a.ClusterTokens.put(object)
		case *provisioningv1.Cluster:
			a.Clusters.put(object)
		case *fleetv1.Bundle:
			a.Bundles.put(object)
		case *fleetv1.BundleDeployment:
			a.Rollouts.put(object)
		case *fleetv1.Cluster:
			a.FleetClusters.put(object)
		case *fleetv1.ClusterGroup:
			a.ClusterGroups.put(object)
		case *managementv3.Node:
			a.Nodes.put(object)
		case *managementv3.Cluster:
			a.Managed.put(object)
		case *corev1.Secret:
			a.Secrets.put(object)
		default:
			panic(fmt.Sprintf("memoryapi knows no %T", object))
		}
	}
}

// Requests are those since the last call, in order.
func (a *API) Requests() []string {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	requests := []string{}
	for _, request := range a.requests {
		requests = append(requests, request.String())
	}
	a.requests = nil
	return requests
}

// ask records the request, and fails it when the test wants that.
func (a *API) ask(request Request) error {
	a.mutex.Lock()
	a.requests = append(a.requests, request)
	a.mutex.Unlock()
	if a.Fail != nil {
		return a.Fail(request)
	}
	return nil
}

// nextVersion is a resource version, and good for a UID as well.
func (a *API) nextVersion() string {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.versions++
	return fmt.Sprint(a.versions)
}

// Clients shows the API as the operator sees it.
func (a *API) Clients() *clients.Clients {
	return &clients.Clients{
		RancherOS:     rancheros{api: a},
		Management:    management{api: a},
		Provisioning:  provisioning{api: a},
		Fleet:         fleet{api: a},
		Rollouts:      a.Rollouts,
		Registrations: a.SecretsOfType(v1.SecretTypeRegistration),
		MachineTokens: a.SecretsOfType(v1.SecretTypeMachineToken),
		CloudConfigs:  a.SecretsOfType(v1.SecretTypeCloudConfig),
		SeedImages:    a.SecretsOfType(v1.SecretTypeSeedImage),
		Secrets:       a.Secrets,
	}
}

// SecretsOfType are the Secrets through a cache that shows one type only.
func (a *API) SecretsOfType(kind corev1.SecretType) *Store[*corev1.Secret, *corev1.SecretList] {
	return a.Secrets.narrowed(func(secret *corev1.Secret) bool { return secret.Type == kind })
}

type rancheros struct {
	rancheroscontrollers.Interface
	api *API
}

func (r rancheros) MachineRegistration() rancheroscontrollers.MachineRegistrationController {
	return r.api.Registrations
}

func (r rancheros) MachineInventory() rancheroscontrollers.MachineInventoryController {
	return r.api.Inventories
}

func (r rancheros) MachineClaim() rancheroscontrollers.MachineClaimController {
	return r.api.Claims
}

func (r rancheros) ManagedOSImage() rancheroscontrollers.ManagedOSImageController {
	return r.api.Images
}

func (r rancheros) ManagedOSVersion() rancheroscontrollers.ManagedOSVersionController {
	return r.api.Versions
}

func (r rancheros) ManagedOSVersionChannel() rancheroscontrollers.ManagedOSVersionChannelController {
	return r.api.Channels
}
func (r rancheros) SeedImage() rancheroscontrollers.SeedImageController { return r.api.Seeds }

type management struct {
	managementcontrollers.Interface
	api *API
}

func (m management) ClusterRegistrationToken() managementcontrollers.ClusterRegistrationTokenController {
	return m.api.ClusterTokens
}

func (m management) Node() managementcontrollers.NodeController { return m.api.Nodes }

func (m management) Cluster() managementcontrollers.ClusterController {
	return managed{api: m.api}
}

// managed is a kind without a namespace, of which the cache alone is there.
type managed struct {
	managementcontrollers.ClusterController
	api *API
}

func (m managed) Cache() generic.NonNamespacedCacheInterface[*managementv3.Cluster] {
	return managedCache{view: m.api.Managed.Cache()}
}

type managedCache struct {
	generic.NonNamespacedCacheInterface[*managementv3.Cluster]
	view generic.CacheInterface[*managementv3.Cluster]
}

func (m managedCache) Get(name string) (*managementv3.Cluster, error) { return m.view.Get("", name) }

type provisioning struct {
	provisioningcontrollers.Interface
	api *API
}

func (p provisioning) Cluster() provisioningcontrollers.ClusterController { return p.api.Clusters }

type fleet struct {
	fleetcontrollers.Interface
	api *API
}

func (f fleet) Bundle() fleetcontrollers.BundleController { return f.api.Bundles }

func (f fleet) Cluster() fleetcontrollers.ClusterController { return f.api.FleetClusters }

func (f fleet) ClusterGroup() fleetcontrollers.ClusterGroupController { return f.api.ClusterGroups }
