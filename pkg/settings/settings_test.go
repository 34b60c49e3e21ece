package settings

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	managementv3 "github.com/rancher/rancheros-operator/pkg/apis/management.cattle.io/v3"
)

// getter is a Setting's value and default, by name.
type getter map[string][2]string

func (g getter) Get(name string) (*managementv3.Setting, error) {
	setting, ok := g[name]
	if !ok {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "settings"}, name)
	}
	return &managementv3.Setting{ObjectMeta: metav1.ObjectMeta{Name: name}, Value: setting[0], Default: setting[1]}, nil
}

type broken struct{}

func (broken) Get(string) (*managementv3.Setting, error) { return nil, errors.New("no cache") }

func TestServerURL(t *testing.T) {
	for _, c := range []struct{ why, value, want string }{
		{"as it should be", "https://rancher.example.com", "https://rancher.example.com"},
		{"trailing slashes", "https://rancher.example.com//", "https://rancher.example.com"},
		{"white space around, as pasted", " \thttps://rancher.example.com\n", "https://rancher.example.com"},
		{"a port", "https://rancher.example.com:8443/", "https://rancher.example.com:8443"},
		{"a path, for Rancher behind a proxy", "https://example.com/rancher/", "https://example.com/rancher"},
		{"an IPv6 address", "https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"},
		{"plain http, for a demo", "http://127.0.0.1:8080", "http://127.0.0.1:8080"},

		{"empty", "", ""},
		{"spaces", "   ", ""},
		{"no scheme", "rancher.example.com", ""},
		{"a scheme that a machine would run", "javascript:alert(1)", ""},
		{"another scheme", "ftp://rancher.example.com", ""},
		{"no host", "https://", ""},
		{"no host but a port", "https://:8443", ""},
		{"a query, which would swallow our path", "https://rancher.example.com?a=b", ""},
		{"an empty query does, too", "https://rancher.example.com?", ""},
		{"a fragment", "https://rancher.example.com#a", ""},
		{"an empty fragment", "https://rancher.example.com/#", ""},
		{"a password, which would be in every machine's config", "https://admin:pw@rancher.example.com", ""},
		{"a line break in the middle, which would forge config", "https://rancher\n.example.com", ""},
		{"a space in the host", "https://rancher example.com", ""},
		{"no URL at all", "::::", ""},
	} {
		t.Run(c.why, func(t *testing.T) {
			got, err := New(getter{ServerURL: {c.value, ""}}).ServerURL()
			require.Equal(t, c.want, got)
			if c.want == "" {
				require.ErrorIs(t, err, ErrServerURL)
				require.ErrorContains(t, err, "server-url", "the message names the setting")
				return
			}
			require.NoError(t, err)
		})
	}
}

func TestEffectiveValue(t *testing.T) {
	for _, c := range []struct {
		why      string
		settings getter
		want     string
	}{
		{"the value", getter{ServerURL: {"https://value", "https://default"}}, "https://value"},
		{"the default where there is no value", getter{ServerURL: {"", "https://default"}}, "https://default"},
		{"a setting that does not exist is empty", getter{}, ""},
	} {
		got, err := New(c.settings).ServerURL()
		require.Equal(t, c.want, got, c.why)
		require.Equal(t, c.want == "", errors.Is(err, ErrServerURL), c.why)
	}
}

func TestFailureIsNoValue(t *testing.T) {
	settings := New(broken{})
	_, err := settings.ServerURL()
	require.ErrorContains(t, err, "reading setting server-url: no cache")
	require.NotErrorIs(t, err, ErrServerURL, "a failure is tried again, a wrong value is not")
	_, err = settings.CACerts()
	require.ErrorContains(t, err, "reading setting cacerts", "an unread CA is not the same as none")
	_, err = settings.SystemDefaultRegistry()
	require.ErrorContains(t, err, "reading setting system-default-registry")
}

func TestCACerts(t *testing.T) {
	const pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
	for _, c := range []struct {
		why      string
		settings getter
		want     string
	}{
		{"as it should be", getter{CACerts: {pem, ""}}, pem},
		{"without the last newline: the HMAC is over exactly what is sent", getter{CACerts: {strings.TrimSpace(pem), ""}}, pem},
		{"from Windows", getter{CACerts: {strings.ReplaceAll(pem, "\n", "\r\n"), ""}}, pem},
		{"space around", getter{CACerts: {"\n " + pem + "\n\n", ""}}, pem},
		{"the internal one where there is no other", getter{CACerts: {"", ""}, InternalCACerts: {pem, ""}}, pem},
		{"a blank one counts as none", getter{CACerts: {" \n", ""}, InternalCACerts: {pem, ""}}, pem},
		{"cacerts wins", getter{CACerts: {pem, ""}, InternalCACerts: {"other", ""}}, pem},
		{"publicly trusted", getter{CACerts: {"", ""}}, ""},
		{"no settings at all", getter{}, ""},
	} {
		got, err := New(c.settings).CACerts()
		require.NoError(t, err, c.why)
		require.Equal(t, c.want, got, c.why)
	}
}

// C65.
func TestSystemDefaultRegistry(t *testing.T) {
	for _, c := range []struct {
		why, value, want string
		bad              bool
	}{
		{"none", "", "", false},
		{"blank", "  ", "", false},
		{"a host", "registry.example.com", "registry.example.com", false},
		{"a port", "registry.example.com:5000", "registry.example.com:5000", false},
		{"a namespace below it", "registry.example.com/mirror/a", "registry.example.com/mirror/a", false},
		{"trailing slashes and spaces", " registry.example.com:5000// ", "registry.example.com:5000", false},
		{"a scheme", "https://registry.example.com", "", true},
		{"a space", "registry example.com", "", true},
		{"a command", "registry.example.com;id", "", true},
		{"a line break", "registry.example.com\nx", "", true},
	} {
		got, err := New(getter{SystemDefaultRegistry: {c.value, ""}}).SystemDefaultRegistry()
		require.Equal(t, c.want, got, c.why)
		if c.bad {
			require.ErrorContains(t, err, "system-default-registry", c.why)
			require.ErrorContains(t, err, "registry.example.com:5000", c.why+": with an example")
		} else {
			require.NoError(t, err, c.why)
		}
	}
}
