package index

import (
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

func seedByRegistration(seed *v1.SeedImage) ([]string, error) {
	return []string{key(seed.Namespace, seed.Spec.RegistrationName)}, nil
}

// SeedImage is the SeedImage of that name; nil when there is none.
func (i *Indexes) SeedImage(namespace, name string) (*v1.SeedImage, error) {
	seed, err := i.seeds.Get(namespace, name)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking up SeedImage: %w", err)
	}
	return seed, nil
}

// SeedImages are all of them.
func (i *Indexes) SeedImages() ([]*v1.SeedImage, error) {
	return i.seeds.List("", labels.Everything())
}

// SeedImagesByRegistration are those that register at the MachineRegistration.
func (i *Indexes) SeedImagesByRegistration(namespace, registration string) ([]*v1.SeedImage, error) {
	return lookup(i.seeds, byRegistration, key(namespace, registration))
}

// SeedImagesByToken are the SeedImages whose addresses hold token: one, unless somebody copied a Secret.
func (i *Indexes) SeedImagesByToken(token string) ([]*v1.SeedImage, error) {
	secrets, err := lookup(i.seedSecrets, byToken, digest([]byte(token)))
	if err != nil {
		return nil, err
	}
	var seeds []*v1.SeedImage
	for _, secret := range secrets {
		_, name, ours := SeedImageOfSecret(key(secret.Namespace, secret.Name))
		if !ours || name != secret.Labels[v1.LabelSeedImage] {
			continue
		}
		seed, err := i.SeedImage(secret.Namespace, name)
		if err != nil {
			return nil, err
		}
		if seed != nil {
			seeds = append(seeds, seed)
		}
	}
	return seeds, nil
}

// Registration is the MachineRegistration of that name; nil when there is none.
func (i *Indexes) Registration(namespace, name string) (*v1.MachineRegistration, error) {
	registration, err := i.registrations.Get(namespace, name)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking up registration: %w", err)
	}
	return registration, nil
}
