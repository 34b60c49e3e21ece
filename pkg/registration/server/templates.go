package server

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/cloudconfig"
)

// maxTemplates bounds how many registrations' cloud-configs are remembered. Beyond, all are forgotten: whoever has so many
// decodes one anew now and then.
const maxTemplates = 1024

// templates remembers the cloud-config of each registration, decoded: the machines of a site come all at once, and get the same.
type templates struct {
	mutex   sync.Mutex
	decoded map[types.UID]decodedConfig
}

// decodedConfig is what a registration's spec of one generation makes under one address of Rancher's.
type decodedConfig struct {
	generation int64
	serverURL  string
	template   *cloudconfig.Template
}

// get decodes without holding the others up: a large one that cannot be used is decoded for every machine that asks.
func (t *templates) get(registration *v1.MachineRegistration, serverURL string) (*cloudconfig.Template, error) {
	last := t.last(registration.UID)
	if last.template != nil && last.generation == registration.Generation && last.serverURL == serverURL {
		return last.template, nil
	}
	template, err := machineConfig(registration, serverURL)
	if err == nil {
		t.remember(registration.UID, decodedConfig{registration.Generation, serverURL, template})
	}
	return template, err
}

func (t *templates) last(registration types.UID) decodedConfig {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return t.decoded[registration]
}

func (t *templates) remember(registration types.UID, decoded decodedConfig) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.decoded == nil || len(t.decoded) >= maxTemplates {
		t.decoded = map[types.UID]decodedConfig{}
	}
	t.decoded[registration] = decoded
}
