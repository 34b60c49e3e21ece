package osimage

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/kubereboot/kured/pkg/timewindow"
	upgradev1 "github.com/rancher/system-upgrade-controller/pkg/apis/upgrade.cattle.io/v1"
	corev1 "k8s.io/api/core/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// upgradeContainer is the image's own upgradeContainer, else the version's, else the OS image with its upgrade command.
func upgradeContainer(in input, image reference.Named) (*upgradev1.ContainerSpec, error) {
	custom, field := in.image.Spec.UpgradeContainer, "upgradeContainer"
	if custom == nil && in.version != nil {
		custom, field = in.version.Spec.UpgradeContainer, fmt.Sprintf("upgradeContainer of ManagedOSVersion %s", in.version.Name)
	}
	container, err := newContainer(custom, field)
	if err != nil {
		return nil, err
	}
	if container == nil {
		container = &upgradev1.ContainerSpec{Image: image.String(), Command: []string{upgradeCommand}}
	}
	metadata, err := versionMetadata(in.version)
	if err != nil {
		return nil, err
	}
	container.Env = withMetadata(container.Env, metadata)
	return container, nil
}

// newContainer is nil for nil. An image without tag and digest gets the tag latest: system-upgrade-controller would give
// it the OS image's tag.
func newContainer(spec *v1.ContainerSpec, field string) (*upgradev1.ContainerSpec, error) {
	if spec == nil {
		return nil, nil
	}
	image, err := parseImage(spec.Image, "", v1.ReasonInvalidSpec, field+".image")
	if err != nil {
		return nil, err
	}
	copied := spec.DeepCopy()
	return &upgradev1.ContainerSpec{
		Image:           image.String(),
		Command:         copied.Command,
		Args:            copied.Args,
		Env:             copied.Env,
		EnvFrom:         copied.EnvFrom,
		Volumes:         copied.Volumes,
		SecurityContext: copied.SecurityContext,
	}, nil
}

var notInEnvName = regexp.MustCompile(`[^A-Z0-9_]`)

// withMetadata adds a version's metadata as METADATA_<KEY>, sorted, after the container's own variables, and never over
// one of them. Only strings, numbers and booleans can be given so.
func withMetadata(env []corev1.EnvVar, metadata map[string]any) []corev1.EnvVar {
	taken := map[string]bool{}
	for _, variable := range env {
		taken[variable.Name] = true
	}
	keys := make([]string, 0, len(metadata))
	for key := range metadata {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		name := "METADATA_" + notInEnvName.ReplaceAllString(strings.ToUpper(key), "_")
		switch value := metadata[key].(type) {
		case string, bool, json.Number:
			if !taken[name] {
				taken[name] = true
				env = append(env, corev1.EnvVar{Name: name, Value: fmt.Sprint(value)})
			}
		}
	}
	return env
}

// readWindow reads the window as system-upgrade-controller will, which takes one that it cannot read for never.
func readWindow(window *upgradev1.TimeWindowSpec) (*timewindow.TimeWindow, error) {
	days := make([]string, len(window.Days))
	for i, day := range window.Days {
		days[i] = string(day)
	}
	return timewindow.New(days, window.StartTime, window.EndTime, window.TimeZone)
}

// closed tells whether there is a window, and it is not now.
func closed(spec *v1.WindowSpec, now time.Time) bool {
	window, err := newWindow(spec)
	if err != nil || window == nil {
		return false
	}
	read, err := readWindow(window)
	return err == nil && !read.Contains(now)
}
