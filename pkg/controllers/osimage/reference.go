package osimage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/distribution/reference"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// resolveImage is the OS image to roll out: osImage, else the version's upgradeImage, else the upgrade container's own
// image, since then that is what identifies the rollout.
func resolveImage(in input) (reference.Named, error) {
	switch {
	case in.image.Spec.OSImage != "":
		return parseImage(in.image.Spec.OSImage, in.registry, v1.ReasonInvalidSpec, "osImage")
	case in.version != nil:
		image, err := upgradeImage(in.version)
		if err != nil {
			return nil, err
		}
		return parseImage(image, in.registry, v1.ReasonVersionWithoutImage,
			fmt.Sprintf("metadata.upgradeImage of ManagedOSVersion %s", in.version.Name))
	case in.image.Spec.UpgradeContainer != nil:
		return parseImage(in.image.Spec.UpgradeContainer.Image, "", v1.ReasonInvalidSpec, "upgradeContainer.image")
	}
	return nil, refuse(v1.ReasonNothingToDo,
		"none of osImage, managedOSVersionName and managedOSVersionChannelName is given; give one to upgrade nodes; a rollout that is under way goes on")
}

func upgradeImage(version *v1.ManagedOSVersion) (string, error) {
	metadata, err := versionMetadata(version)
	if err != nil {
		return "", err
	}
	image, ok := metadata["upgradeImage"].(string)
	if !ok || image == "" {
		return "", refuse(v1.ReasonVersionWithoutImage, "ManagedOSVersion %s has no metadata.upgradeImage; add it", version.Name)
	}
	return image, nil
}

func versionMetadata(version *v1.ManagedOSVersion) (map[string]any, error) {
	if version == nil || version.Spec.Metadata == nil {
		return nil, nil
	}
	// json.Number keeps a number as it was written: 1000000 is not 1e+06.
	decoder := json.NewDecoder(bytes.NewReader(version.Spec.Metadata.Raw))
	decoder.UseNumber()
	var metadata map[string]any
	if err := decoder.Decode(&metadata); err != nil {
		return nil, refuse(v1.ReasonVersionWithoutImage, "metadata of ManagedOSVersion %s is not a map; correct it", version.Name)
	}
	return metadata, nil
}

// parseImage adds the registry to an image that names none, as Rancher does, and the tag latest to one without tag and
// digest.
func parseImage(image, registry, reason, field string) (reference.Named, error) {
	named, err := reference.ParseDockerRef(image)
	if err != nil {
		return nil, refuse(reason, "%s %q is not an image reference: %v; correct it", field, image, err)
	}
	if registry != "" && !namesRegistry(image) {
		// Rancher keeps what Docker Hub calls library images under rancher/ in a private registry.
		if !strings.Contains(image, "/") {
			image = "rancher/" + image
		}
		if named, err = reference.ParseDockerRef(registry + "/" + image); err != nil {
			return nil, refuse(reason, "%s %q does not make an image reference below Rancher's system-default-registry %q: %v; correct either",
				field, image, registry, err)
		}
		return named, nil
	}
	return familiar{named}, nil
}

// namesRegistry tells whether the reference's first part is a host: it has a dot, a port or a capital, or is localhost.
func namesRegistry(image string) bool {
	host, _, found := strings.Cut(image, "/")
	return found && (strings.ContainsAny(host, ".:[") || host == "localhost" || strings.ToLower(host) != host)
}

// familiar prints a reference as people write it: rancher/os2:v1, not docker.io/rancher/os2:v1, so that a node's own
// registry mirrors apply as before.
type familiar struct{ reference.Named }

func (f familiar) String() string { return reference.FamiliarString(f.Named) }

// maxLabel is the longest value of a label.
const maxLabel = 63

// planVersion identifies the image to system-upgrade-controller, which puts it into a label: its tag, else a part of its
// digest.
func planVersion(named reference.Named) string {
	if f, ok := named.(familiar); ok {
		named = f.Named
	}
	// A digest says more than the tag beside it, which may move.
	if digested, ok := named.(reference.Digested); ok {
		return digested.Digest().Algorithm().String() + "-" + digested.Digest().Encoded()[:32]
	}
	// Without a tag that a label can hold, the image itself still tells rollouts apart: see digestAnnotation.
	if tagged, ok := named.(reference.Tagged); ok {
		tag := tagged.Tag()
		if version := strings.Trim(tag[:min(len(tag), maxLabel)], "-_."); version != "" {
			return version
		}
	}
	return "latest"
}
