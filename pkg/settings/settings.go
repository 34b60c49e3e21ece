// Package settings reads the settings of Rancher that we follow, each checked and normalised in one place.
//
// A Setting's effective value is its value, else its default. People type these by hand into Rancher's UI: white space,
// trailing slashes and the like are forgiven, the rest is an error that names the setting.
package settings

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	managementv3 "github.com/rancher/rancheros-operator/pkg/apis/management.cattle.io/v3"
)

// Names of the settings, as Rancher calls them.
const (
	ServerURL             = "server-url"
	CACerts               = "cacerts"
	InternalCACerts       = "internal-cacerts"
	SystemDefaultRegistry = "system-default-registry"
)

// ErrServerURL says that server-url is missing or not a URL; errors.Is finds it.
var ErrServerURL = errors.New("Rancher's setting server-url is not an https address such as https://rancher.example.com")

// Getter finds a Setting; Wrangler's cache of Settings is one.
type Getter interface {
	Get(name string) (*managementv3.Setting, error)
}

// Settings reads Rancher's settings.
type Settings struct {
	settings Getter
}

// New makes Settings of a getter.
func New(settings Getter) *Settings {
	return &Settings{settings: settings}
}

// ServerURL is the address under which machines reach Rancher, without a trailing slash.
func (s *Settings) ServerURL() (string, error) {
	value, err := s.value(ServerURL)
	if err != nil {
		return "", err
	}
	value = strings.TrimSpace(value)
	parsed, err := url.Parse(value)
	if err != nil || parsed.Hostname() == "" || (parsed.Scheme != "https" && parsed.Scheme != "http") ||
		strings.ContainsAny(value, "?#") || parsed.User != nil {
		return "", fmt.Errorf("%w, but %q", ErrServerURL, value)
	}
	return strings.TrimRight(value, "/"), nil
}

// CACerts is the PEM bundle that machines are to trust Rancher's certificate by, newline-terminated; empty when it is
// publicly trusted.
func (s *Settings) CACerts() (string, error) {
	for _, name := range []string{CACerts, InternalCACerts} {
		value, err := s.value(name)
		if err != nil {
			return "", err
		}
		value = strings.TrimSpace(strings.ReplaceAll(value, "\r\n", "\n"))
		if value != "" {
			return value + "\n", nil
		}
	}
	return "", nil
}

// registryPattern is a registry host with an optional port and path.
var registryPattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[a-z0-9._/-]+)?$`)

// SystemDefaultRegistry is the registry that Rancher prefixes to images that name none; empty when there is none.
func (s *Settings) SystemDefaultRegistry() (string, error) {
	value, err := s.value(SystemDefaultRegistry)
	if err != nil {
		return "", err
	}
	value = strings.TrimRight(strings.TrimSpace(value), "/")
	if value != "" && !registryPattern.MatchString(value) {
		return "", fmt.Errorf("Rancher's setting %s is not a registry such as registry.example.com:5000, but %q", SystemDefaultRegistry, value)
	}
	return value, nil
}

func (s *Settings) value(name string) (string, error) {
	setting, err := s.settings.Get(name)
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading setting %s: %w", name, err)
	}
	if setting.Value != "" {
		return setting.Value, nil
	}
	return setting.Default, nil
}
