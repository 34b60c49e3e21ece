package rancher

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Names of the settings that the operator reads, and of the one that Rancher keeps to itself.
const (
	settingServerURL         = "server-url"
	settingCACerts           = "cacerts"
	settingInternalCACerts   = "internal-cacerts"
	settingInternalServerURL = "internal-server-url"
	settingRegistry          = "system-default-registry"
	settingAgentTLSMode      = "agent-tls-mode"
)

// Namespaces that Rancher makes.
const (
	systemNamespace  = "cattle-system"
	localWorkspace   = "fleet-local"
	defaultWorkspace = "fleet-default"
	fleetNamespace   = "cattle-fleet-system"
	localCluster     = "local"
)

// ensureNamespaces makes the namespaces that are there in every Rancher.
func (a *api) ensureNamespaces(ctx context.Context) error {
	for _, name := range []string{systemNamespace, localWorkspace, defaultWorkspace, fleetNamespace, localCluster} {
		if err := a.ensureNamespace(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// ensureSettings writes what this Rancher knows about itself. It happens once, at the start: what a test changes later
// stays changed.
func (a *api) ensureSettings(ctx context.Context, opts Options, ownURL, ca string) error {
	type setting struct{ value, fallback string }
	settings := map[string]setting{
		settingServerURL:         {value: opts.ServerURL},
		settingCACerts:           {value: ca},
		settingInternalCACerts:   {value: ca},
		settingInternalServerURL: {value: ownURL},
		settingRegistry:          {value: opts.SystemDefaultRegistry},
		settingAgentTLSMode:      {fallback: "strict"},
	}
	for name, s := range settings {
		obj := manifest("management.cattle.io/v3", "Setting", key{Name: name}, map[string]any{
			"value": s.value, "default": s.fallback, "customized": false, "source": "",
		})
		if err := a.apply(ctx, settingsGVR, obj); err != nil {
			return err
		}
	}
	return nil
}

// setting returns what a setting is worth now: its value, else its default.
func (a *api) setting(name string) string {
	obj, found := a.cached(settingsGVR, key{Name: name})
	if !found {
		return ""
	}
	if value := text(obj, "value"); value != "" {
		return value
	}
	return text(obj, "default")
}

// publicCA is the setting cacerts as /cacerts serves it and as --ca-checksum counts it: with a line end.
func (a *api) publicCA() string {
	ca := a.setting(settingCACerts)
	if ca != "" && !strings.HasSuffix(ca, "\n") {
		ca += "\n"
	}
	return ca
}

func checksum(ca string) string {
	sum := sha256.Sum256([]byte(ca))
	return hex.EncodeToString(sum[:])
}
