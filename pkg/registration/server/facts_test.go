package server

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/machine"
)

// patches takes the place of the API server.
type patches struct{ written []map[string]any }

func (p *patches) Patch(_, _ string, _ types.PatchType, data []byte, subresources ...string) (*v1.MachineInventory, error) {
	decoded := map[string]any{}
	if err := json.Unmarshal(data, &decoded); err != nil {
		return nil, err
	}
	p.written = append(p.written, decoded["status"].(map[string]any))
	return &v1.MachineInventory{}, nil
}

// A machine that has nothing new to say costs one small write in an hour, and none in between.
func TestFactsAreCoalesced(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	api := &patches{}
	writer := NewFactsWriter(api)
	writer.now = func() time.Time { return now }
	inventory := &v1.MachineInventory{Status: v1.MachineInventoryStatus{ObservedGeneration: 1}}
	facts := machine.Facts{Hostname: "m-1", Addresses: []string{"192.0.2.1"}, OSImage: "RancherOS v1", OSVersion: "v1"}
	say := func(facts machine.Facts) []map[string]any {
		api.written = nil
		writer.Record(t.Context(), inventory, facts)
		for len(writer.reports) > 0 {
			writer.write(<-writer.reports)
		}
		if len(api.written) > 0 { // The cache shows it next time.
			seen := metav1.NewTime(now)
			inventory.Status.Hostname, inventory.Status.Addresses = facts.Hostname, facts.Addresses
			inventory.Status.OSImage, inventory.Status.OSVersion, inventory.Status.LastSeen = facts.OSImage, facts.OSVersion, &seen
		}
		return api.written
	}
	require.Equal(t, []map[string]any{{"hostname": "m-1", "addresses": []any{"192.0.2.1"}, "osImage": "RancherOS v1", "osVersion": "v1", "lastSeen": "2026-11-20T12:00:00Z"}}, say(facts))
	now = now.Add(seenEvery - time.Second)
	require.Empty(t, say(facts))
	now = now.Add(time.Second)
	require.Equal(t, []map[string]any{{"lastSeen": "2026-11-20T13:00:00Z"}}, say(facts))
	facts.OSVersion = "v2"
	require.Len(t, say(facts), 1, "news is written at once")
	require.Len(t, api.written[0], 1, "and nothing but the news")
}

// Ten thousand reports at once wait for nobody, and take no more than their place.
func TestFactsAreBounded(t *testing.T) {
	writer := NewFactsWriter(&patches{})
	for i := range 10 * maxReports {
		writer.Record(t.Context(), &v1.MachineInventory{}, machine.Facts{Hostname: fmt.Sprint(i)})
	}
	require.Len(t, writer.reports, maxReports)
	many := make([]string, 1000)
	writer.write(report{&v1.MachineInventory{}, machine.Facts{Addresses: many}})
	require.Len(t, bounded(many), maxAddresses)
}
