// Package index holds every secondary index on the informer caches, each with its typed lookup.
//
// An index answers "which objects have this" without a scan, so that no request and no reconcile gets slower as the
// fleet grows. Indexers must be added before the caches start, hence all of them in one place, in Add.
//
// What a lookup returns lies in the cache and is shared: never change it, DeepCopy first.
package index

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	fleetv1 "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	provisioningv1 "github.com/rancher/rancher/pkg/apis/provisioning.cattle.io/v1"
	corev1controllers "github.com/rancher/wrangler/v3/pkg/generated/controllers/core/v1"
	"github.com/rancher/wrangler/v3/pkg/generic"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	managementv3 "github.com/rancher/rancheros-operator/pkg/apis/management.cattle.io/v3"
	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/clients"
	fleetcontrollers "github.com/rancher/rancheros-operator/pkg/generated/controllers/fleet.cattle.io/v1alpha1"
	managementcontrollers "github.com/rancher/rancheros-operator/pkg/generated/controllers/management.cattle.io/v3"
	provisioningcontrollers "github.com/rancher/rancheros-operator/pkg/generated/controllers/provisioning.cattle.io/v1"
	rancheroscontrollers "github.com/rancher/rancheros-operator/pkg/generated/controllers/rancheros.cattle.io/v1"
)

const (
	byToken        = "rancheros.cattle.io/by-token"
	byTPMDigest    = "rancheros.cattle.io/by-tpm-digest"
	byClusterName  = "rancheros.cattle.io/by-cluster-name"
	byName         = "rancheros.cattle.io/by-name"
	byReplaced     = "rancheros.cattle.io/by-replaced"
	byTokenSecret  = "rancheros.cattle.io/by-token-secret"
	byRegistration = "rancheros.cattle.io/by-registration"
	bySerialNumber = "rancheros.cattle.io/by-serial-number"
	byMachine      = "rancheros.cattle.io/by-machine"
	byTokenName    = "rancheros.cattle.io/by-token-name"
	byObjectName   = "rancheros.cattle.io/by-object-name"
	byVersion      = "rancheros.cattle.io/by-version"
	byClaim        = "rancheros.cattle.io/by-claim"
	byNeed         = "rancheros.cattle.io/by-need"
	byChannel      = "rancheros.cattle.io/by-channel"
	byFollowed     = "rancheros.cattle.io/by-followed-channel"
	byBundle       = "rancheros.cattle.io/by-bundle"
)

// Indexes looks objects up in the caches.
type Indexes struct {
	registrations       rancheroscontrollers.MachineRegistrationCache
	registrationSecrets corev1controllers.SecretCache
	machineTokens       corev1controllers.SecretCache
	inventories         rancheroscontrollers.MachineInventoryCache
	claims              rancheroscontrollers.MachineClaimCache
	images              rancheroscontrollers.ManagedOSImageCache
	versions            rancheroscontrollers.ManagedOSVersionCache
	channels            rancheroscontrollers.ManagedOSVersionChannelCache
	seeds               rancheroscontrollers.SeedImageCache
	seedSecrets         corev1controllers.SecretCache
	clusters            provisioningcontrollers.ClusterCache
	clusterTokens       managementcontrollers.ClusterRegistrationTokenCache
	rollouts            fleetcontrollers.BundleDeploymentCache
}

// Add adds every index to the caches of the clients, which must not have been started.
func Add(c *clients.Clients) *Indexes {
	indexes := &Indexes{
		registrations:       c.RancherOS.MachineRegistration().Cache(),
		registrationSecrets: c.Registrations.Cache(),
		machineTokens:       c.MachineTokens.Cache(),
		inventories:         c.RancherOS.MachineInventory().Cache(),
		claims:              c.RancherOS.MachineClaim().Cache(),
		images:              c.RancherOS.ManagedOSImage().Cache(),
		versions:            c.RancherOS.ManagedOSVersion().Cache(),
		channels:            c.RancherOS.ManagedOSVersionChannel().Cache(),
		seeds:               c.RancherOS.SeedImage().Cache(),
		seedSecrets:         c.SeedImages.Cache(),
		clusters:            c.Provisioning.Cluster().Cache(),
		clusterTokens:       c.Management.ClusterRegistrationToken().Cache(),
		rollouts:            c.Rollouts.Cache(),
	}
	indexes.registrationSecrets.AddIndexer(byToken, secretByTokens)
	indexes.machineTokens.AddIndexer(byToken, secretByToken)
	indexes.inventories.AddIndexer(byTPMDigest, inventoryByTPMDigest)
	indexes.inventories.AddIndexer(byClusterName, inventoryByClusterName)
	indexes.inventories.AddIndexer(byReplaced, inventoryByReplaced)
	indexes.inventories.AddIndexer(byTokenSecret, inventoryByTokenSecret)
	indexes.inventories.AddIndexer(byRegistration, inventoryByRegistration)
	indexes.inventories.AddIndexer(bySerialNumber, inventoryBySerialNumber)
	indexes.inventories.AddIndexer(byTokenName, inventoryByTokenName)
	indexes.clusters.AddIndexer(byName, clusterByName)
	indexes.inventories.AddIndexer(byClaim, inventoryByClaim)
	indexes.claims.AddIndexer(byNeed, claimByNeed)
	indexes.clusterTokens.AddIndexer(byMachine, clusterTokenByMachine)
	indexes.images.AddIndexer(byVersion, imageByVersion)
	indexes.images.AddIndexer(byObjectName, imageByObjectName)
	indexes.images.AddIndexer(byFollowed, imageByFollowed)
	indexes.versions.AddIndexer(byChannel, versionByChannel)
	indexes.rollouts.AddIndexer(byBundle, rolloutByBundle)
	indexes.seeds.AddIndexer(byRegistration, seedByRegistration)
	indexes.seedSecrets.AddIndexer(byToken, secretByToken)
	return indexes
}

func secretByToken(secret *corev1.Secret) ([]string, error) {
	token := secret.Data[v1.SecretKeyToken]
	if len(token) == 0 {
		return nil, nil
	}
	return []string{digest(token)}, nil
}

// secretByTokens finds a registration's Secret by its present token and by the one before; whether that one still works
// is for the lookup to say, since an index knows no time.
func secretByTokens(secret *corev1.Secret) ([]string, error) {
	tokens, err := secretByToken(secret)
	if previous := secret.Data[v1.SecretKeyPreviousToken]; len(previous) > 0 {
		tokens = append(tokens, digest(previous))
	}
	return tokens, err
}

// stillWorks tells a registration's present token, and the one before within its grace, from one that was rotated away.
func stillWorks(secret *corev1.Secret, token string, now time.Time) bool {
	if string(secret.Data[v1.SecretKeyToken]) == token {
		return true
	}
	expires, err := time.Parse(time.RFC3339, string(secret.Data[v1.SecretKeyPreviousTokenExpires]))
	return err == nil && now.Before(expires) && string(secret.Data[v1.SecretKeyPreviousToken]) == token
}

// inventoryByTPMDigest serves who knows a TPM's hash and who knows the hash's digest alone: an entry of an index costs memory
// for each inventory.
func inventoryByTPMDigest(inventory *v1.MachineInventory) ([]string, error) {
	hash := TPMHash(inventory)
	if hash == "" {
		return nil, nil
	}
	return []string{digest([]byte(hash))}, nil
}

func inventoryByTokenSecret(inventory *v1.MachineInventory) ([]string, error) {
	if inventory.Spec.MachineTokenSecretName == "" {
		return nil, nil
	}
	return []string{key(inventory.Namespace, inventory.Spec.MachineTokenSecretName)}, nil
}

func inventoryByRegistration(inventory *v1.MachineInventory) ([]string, error) {
	registration := inventory.Labels[v1.LabelRegistration]
	if registration == "" {
		return nil, nil
	}
	return []string{key(inventory.Namespace, registration)}, nil
}

// inventoryBySerialNumber reads the label: spec.smbios is many kilobytes of JSON, and an index is asked at every change.
func inventoryBySerialNumber(inventory *v1.MachineInventory) ([]string, error) {
	serial := inventory.Labels[v1.LabelSerialNumber]
	if serial == "" {
		return nil, nil
	}
	return []string{key(inventory.Namespace, serial)}, nil
}

// inventoryByTokenName is for machines that have a token, or are to have one.
func inventoryByTokenName(inventory *v1.MachineInventory) ([]string, error) {
	if inventory.Spec.ClusterName == "" && inventory.Status.ClusterRegistrationTokenName == "" {
		return nil, nil
	}
	return []string{ClusterTokenName(inventory)}, nil
}

func clusterTokenByMachine(token *managementv3.ClusterRegistrationToken) ([]string, error) {
	if token.Labels[v1.LabelMachine] == "" {
		return nil, nil
	}
	return []string{key(token.Labels[v1.LabelMachineNamespace], token.Labels[v1.LabelMachine])}, nil
}

func imageByVersion(image *v1.ManagedOSImage) ([]string, error) {
	if image.Spec.ManagedOSVersionName == "" {
		return nil, nil
	}
	return []string{key(image.Namespace, image.Spec.ManagedOSVersionName)}, nil
}

func imageByObjectName(image *v1.ManagedOSImage) ([]string, error) {
	return []string{key(image.Namespace, BundleName(image)), key(image.Namespace, ObjectName(image))}, nil
}

func rolloutByBundle(deployment *fleetv1.BundleDeployment) ([]string, error) {
	bundle := deployment.Labels[fleetv1.BundleLabel]
	if bundle == "" {
		return nil, nil
	}
	return []string{key(deployment.Labels[fleetv1.BundleNamespaceLabel], bundle)}, nil
}

// RegistrationsByToken are the registrations whose URL ends in token: one, unless somebody copied a Secret.
func (i *Indexes) RegistrationsByToken(token string) ([]*v1.MachineRegistration, error) {
	secrets, err := lookup(i.registrationSecrets, byToken, digest([]byte(token)))
	if err != nil {
		return nil, err
	}
	var registrations []*v1.MachineRegistration
	for _, secret := range secrets {
		if _, registration, ours := RegistrationOfSecret(key(secret.Namespace, secret.Name)); !ours || registration != secret.Labels[v1.LabelRegistration] {
			continue
		}
		if !stillWorks(secret, token, time.Now()) {
			continue
		}
		registration, err := i.registrations.Get(secret.Namespace, secret.Labels[v1.LabelRegistration])
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("looking up registration: %w", err)
		}
		registrations = append(registrations, registration)
	}
	return registrations, nil
}

// InventoriesByTPMHash are the machines with that TPM, in every namespace.
func (i *Indexes) InventoriesByTPMHash(hash string) ([]*v1.MachineInventory, error) {
	return lookup(i.inventories, byTPMDigest, digest([]byte(hash)))
}

// InventoriesByTPMDigest are the machines the SHA-256 of whose TPM hash, as text, is the given one.
func (i *Indexes) InventoriesByTPMDigest(sum [sha256.Size]byte) ([]*v1.MachineInventory, error) {
	return lookup(i.inventories, byTPMDigest, hex.EncodeToString(sum[:]))
}

// InventoriesByRegistration are the machines that came from the registration.
func (i *Indexes) InventoriesByRegistration(namespace, registration string) ([]*v1.MachineInventory, error) {
	return lookup(i.inventories, byRegistration, key(namespace, registration))
}

// InventoriesBySerialNumber are the machines of the namespace that have said that serial number, given as a label's value.
func (i *Indexes) InventoriesBySerialNumber(namespace, serial string) ([]*v1.MachineInventory, error) {
	return lookup(i.inventories, bySerialNumber, key(namespace, serial))
}

// InventoriesByTokenSecret are the machines that share the token in the Secret.
func (i *Indexes) InventoriesByTokenSecret(namespace, secret string) ([]*v1.MachineInventory, error) {
	return lookup(i.inventories, byTokenSecret, key(namespace, secret))
}

// MachineTokensByToken are the shared-secret Secrets whose token is the given one.
func (i *Indexes) MachineTokensByToken(token []byte) ([]*corev1.Secret, error) {
	return lookup(i.machineTokens, byToken, digest(token))
}

// MachineTokensByDigest are the shared-secret Secrets the SHA-256 of whose token is the given one.
func (i *Indexes) MachineTokensByDigest(sum [sha256.Size]byte) ([]*corev1.Secret, error) {
	return lookup(i.machineTokens, byToken, hex.EncodeToString(sum[:]))
}

// InventoriesByTokenName are the machines whose ClusterRegistrationToken has that name.
func (i *Indexes) InventoriesByTokenName(name string) ([]*v1.MachineInventory, error) {
	return lookup(i.inventories, byTokenName, name)
}

// ClusterTokensByMachine are the ClusterRegistrationTokens made for the machine, in every cluster.
func (i *Indexes) ClusterTokensByMachine(namespace, machine string) ([]*managementv3.ClusterRegistrationToken, error) {
	return lookup(i.clusterTokens, byMachine, key(namespace, machine))
}

// ImagesByVersion are the ManagedOSImages that name the ManagedOSVersion.
func (i *Indexes) ImagesByVersion(namespace, version string) ([]*v1.ManagedOSImage, error) {
	return lookup(i.images, byVersion, key(namespace, version))
}

// ImagesByObjectName are the images whose Bundle, or cloud-config Secret, has that name.
func (i *Indexes) ImagesByObjectName(namespace, name string) ([]*v1.ManagedOSImage, error) {
	return lookup(i.images, byObjectName, key(namespace, name))
}

// RolloutsByBundle are the BundleDeployments of the Bundle, one for each cluster.
func (i *Indexes) RolloutsByBundle(namespace, bundle string) ([]*fleetv1.BundleDeployment, error) {
	return lookup(i.rollouts, byBundle, key(namespace, bundle))
}

// Cluster is the provisioning Cluster of that name; nil when there is none.
func (i *Indexes) Cluster(namespace, name string) (*provisioningv1.Cluster, error) {
	return getOrNil(i.clusters, namespace, name)
}

func getOrNil[T generic.RuntimeMetaObject](cache generic.CacheInterface[T], namespace, name string) (T, error) {
	var none T
	object, err := cache.Get(namespace, name)
	if apierrors.IsNotFound(err) {
		return none, nil
	}
	if err != nil {
		return none, fmt.Errorf("looking up %s/%s: %w", namespace, name, err)
	}
	return object, nil
}

func lookup[T generic.RuntimeMetaObject](cache generic.CacheInterface[T], name, value string) ([]T, error) {
	objects, err := cache.GetByIndex(name, value)
	if err != nil {
		return nil, fmt.Errorf("looking up %s: %w", name, err)
	}
	return objects, nil
}

func key(namespace, name string) string {
	return namespace + "/" + name
}

// digest keeps tokens themselves out of the index, and so out of memory dumps and logs of it.
func digest(token []byte) string {
	sum := sha256.Sum256(token)
	return hex.EncodeToString(sum[:])
}
