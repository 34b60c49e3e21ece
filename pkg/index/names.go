package index

import (
	"strings"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// The names of what we make are the same on every replica and every try, so that the API server itself refuses a
// second one, and what was deleted is found by its name alone.

const tokenSecretSuffix = "-registration-token"

// TokenSecretName is the name of the Secret that holds a registration's token, in the registration's namespace.
func TokenSecretName(registration string) string {
	return registration + tokenSecretSuffix
}

// RegistrationOfSecret undoes TokenSecretName for a cache key, namespace/name; ours is false for Secrets of other names.
func RegistrationOfSecret(key string) (namespace, registration string, ours bool) {
	namespace, name := SplitKey(key)
	registration, ours = strings.CutSuffix(name, tokenSecretSuffix)
	return namespace, registration, ours
}

const seedSecretSuffix = "-seed-token"

// SeedSecretName is the name of the Secret that holds a SeedImage's token, in the SeedImage's namespace.
func SeedSecretName(seed string) string {
	return seed + seedSecretSuffix
}

// SeedImageOfSecret undoes SeedSecretName for a cache key, namespace/name; ours is false for Secrets of other names.
func SeedImageOfSecret(key string) (namespace, seed string, ours bool) {
	namespace, name := SplitKey(key)
	seed, ours = strings.CutSuffix(name, seedSecretSuffix)
	return namespace, seed, ours
}

// ClusterTokenName is the name of the ClusterRegistrationToken of a machine, the same on every replica and every try. It
// differs for machines of one name in two namespaces. 52 characters of the machine's name leave room for the digest.
func ClusterTokenName(inventory *v1.MachineInventory) string {
	return abridged(inventory.Name, 52) + digest([]byte(key(inventory.Namespace, inventory.Name)))[:10]
}

// BundleName is the name of an image's Bundle, in the image's namespace. Fleet makes a Helm release of it, whose name
// holds at most 53 characters.
func BundleName(image *v1.ManagedOSImage) string {
	if name := "mos-" + image.Name; len(name) <= 53 {
		return name
	}
	return "mos-" + abridged(image.Name, 38) + digest([]byte(image.Name))[:10]
}

// ObjectName is the name of everything that an image brings to a cluster, and of its cloud-config's Secret. The digest
// keeps images of one name in two namespaces apart; with it, it stays within the 63 characters of a label.
func ObjectName(image *v1.ManagedOSImage) string {
	return "os-upgrader-" + abridged(image.Name, 38) + digest([]byte(key(image.Namespace, image.Name)))[:10]
}

// abridged is at most so much of the name, and a dash for the digest to follow. What the cut leaves at the end must not be
// a dot: no part of a name may begin with a dash.
func abridged(name string, most int) string {
	return strings.TrimRight(name[:min(len(name), most)], "-.") + "-"
}

// SplitKey splits a cache key, namespace/name or name.
func SplitKey(key string) (namespace, name string) {
	if namespace, name, namespaced := strings.Cut(key, "/"); namespaced {
		return namespace, name
	}
	return "", key
}

// TPMHash is the machine's TPM hash under whichever of its two names it was given; empty without one.
func TPMHash(inventory *v1.MachineInventory) string {
	if inventory.Spec.TPM != "" {
		return inventory.Spec.TPM
	}
	return inventory.Spec.TPMHash
}
