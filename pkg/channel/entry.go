package channel

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/distribution/reference"

	"github.com/rancher/rancheros-operator/pkg/osversion"
)

const (
	typeContainer = "container"
	// maxMetadata and maxValue bound a version's metadata and each of its texts; maxKeys is the API's limit.
	maxMetadata = 32 << 10
	maxValue    = 4 << 10
	maxKeys     = 128
)

// entry is what is looked at of an entry. Labels, finalizers, owners, a status, an upgradeContainer, a namespace: whatever
// else it says is not.
type entry struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		Version    string          `json:"version"`
		Type       string          `json:"type"`
		MinVersion string          `json:"minVersion"`
		Metadata   json.RawMessage `json:"metadata"`
	} `json:"spec"`
}

var (
	// namePattern is that of names in Kubernetes, which are at most 253 characters long.
	namePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	keyPattern  = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,63}$`)
)

// parseEntry returns the name also of an entry that it refuses.
func parseEntry(raw json.RawMessage) (release Release, name string, err error) {
	var e entry
	if err := json.Unmarshal(raw, &e); err != nil {
		return Release{}, "", errors.New("a field is not of the type that it should be")
	}
	name = e.Metadata.Name
	if err := e.check(); err != nil {
		return Release{}, name, err
	}
	metadata, err := parseMetadata(e.Spec.Metadata)
	if err != nil {
		return Release{}, name, err
	}
	return Release{Name: name, Version: e.Spec.Version, Type: e.Spec.Type, MinVersion: e.Spec.MinVersion, Metadata: metadata}, name, nil
}

func (e *entry) check() error {
	group, _, _ := strings.Cut(e.APIVersion, "/")
	switch {
	case e.Kind != "" && e.Kind != "ManagedOSVersion", e.APIVersion != "" && group != "rancheros.cattle.io":
		return errors.New("it is not a ManagedOSVersion of rancheros.cattle.io")
	case len(e.Metadata.Name) > 253 || !namePattern.MatchString(e.Metadata.Name):
		return errors.New("metadata.name is not a name in Kubernetes")
	case e.Spec.Type != typeContainer:
		return fmt.Errorf("type is %s, and not container", shown(e.Spec.Type))
	}
	return checkVersions(e.Spec.Version, e.Spec.MinVersion)
}

func checkVersions(version, minVersion string) error {
	parsed := osversion.Parse(version)
	if !parsed.Known() {
		return fmt.Errorf("version %s is not a version such as v1.2.3", shown(version))
	}
	if minVersion == "" {
		return nil
	}
	least := osversion.Parse(minVersion)
	if !least.Known() {
		return fmt.Errorf("minVersion %s is not a version such as v1.2.3", shown(minVersion))
	}
	if osversion.Older(parsed, least) {
		return fmt.Errorf("minVersion %s is newer than the version itself, %s", shown(minVersion), shown(version))
	}
	return nil
}

// parseMetadata checks a version's metadata and puts it into one order. A key that could not be the name of an
// environment variable is left out.
func parseMetadata(raw json.RawMessage) (json.RawMessage, error) {
	if len(raw) > maxMetadata {
		return nil, fmt.Errorf("spec.metadata is larger than %d KiB", maxMetadata>>10)
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber() // 1000000 is not 1e+06.
	var metadata map[string]any
	if err := decoder.Decode(&metadata); err != nil || metadata == nil {
		return nil, errors.New("spec.metadata is not a map with upgradeImage")
	}
	for key, value := range metadata {
		if !keyPattern.MatchString(key) {
			delete(metadata, key)
			continue
		}
		if text, ok := value.(string); ok && (len(text) > maxValue || strings.ContainsAny(text, "\x00\r\n")) {
			return nil, fmt.Errorf("spec.metadata.%s is longer than %d KiB, or more than one line", key, maxValue>>10)
		}
	}
	if len(metadata) > maxKeys {
		return nil, fmt.Errorf("spec.metadata has more than %d keys", maxKeys)
	}
	image, _ := metadata["upgradeImage"].(string)
	if !isImage(image) {
		return nil, fmt.Errorf("spec.metadata.upgradeImage %s is not an image reference", shown(image))
	}
	return json.Marshal(metadata)
}

func isImage(image string) bool {
	_, err := reference.ParseDockerRef(image)
	return err == nil
}

// imageMetadata is the metadata of a release of which nothing but its image is known.
func imageMetadata(image string) json.RawMessage {
	// A string can always be encoded.
	metadata, _ := json.Marshal(map[string]string{"upgradeImage": image})
	return metadata
}

var notInName = regexp.MustCompile(`[^a-z0-9.]+`)

// nameOf is the name of the version with a tag, below the channel's: two channels may have the same tags.
func nameOf(channel, tag string) string {
	return strings.Trim(notInName.ReplaceAllString(strings.ToLower(channel+"-"+tag), "-"), "-.")
}
