package server

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/tests/machine"
)

const (
	oneUUID     = "4c4c4544-0042-3010-8054-b7c04f4e3532"
	anotherUUID = "4c4c4544-0042-3010-8054-b7c04f4e3533"
)

// hardwareOf is what a machine says; what is empty it leaves out.
func hardwareOf(serial, uuid string) map[string]any {
	system := map[string]any{}
	if serial != "" {
		system["Serial Number"] = serial
	}
	if uuid != "" {
		system["UUID"] = uuid
	}
	return map[string]any{systemInformation: system}
}

// events are those since the last call.
func (w world) events() []string {
	var events []string
	for len(w.recorder.Events) > 0 {
		events = append(events, <-w.recorder.Events)
	}
	return events
}

// S14, S23: two machines with one serial number are two, and told of with both their names.
func TestSharedSerialNumber(t *testing.T) {
	for _, c := range []struct {
		why, one, two string
		label         string
		told          bool
	}{
		{"S14: the same", "S/N 1", "S/N 1", "S-N-1", true},
		{"S14: another", "S/N 1", "S/N 2", "S-N-1", false},
		{"S14: what the factory left", "System Serial Number", "System Serial Number", "", false},
		{"S14: zeros", "00000000", "00000000", "", false},
		{"S14: none", "", "", "", false},
		{"S14: nothing that a label can hold", "!!!", "!!!", "", false},
	} {
		t.Run(c.why, func(t *testing.T) {
			w := newWorld(t)
			w.register(t, newMachine(t), hardwareOf(c.one, ""))
			first := w.Inventories.All()[0]
			label, labelled := first.Labels[v1.LabelSerialNumber]
			require.Equal(t, c.label, label)
			require.Equal(t, c.label != "", labelled, "left out, not empty")
			w.writes()
			w.events()
			w.register(t, newMachine(t), hardwareOf(c.two, ""))
			require.Len(t, w.Inventories.All(), 2, "they stay two")
			require.Len(t, w.writes(), 1)
			events := w.events()
			if !c.told {
				require.Len(t, events, 1, "that it registered")
				return
			}
			require.Len(t, events, 2)
			require.Contains(t, events[1], `Warning SerialNumberShared machine `+other(w, first)+` says serial number "S/N 1", which machine `+first.Name+` has said before: `)
		})
	}
}

// other is the name of the one inventory that is not the given one.
func other(w world, than *v1.MachineInventory) string {
	for _, inventory := range w.Inventories.All() {
		if inventory.Name != than.Name {
			return inventory.Name
		}
	}
	return ""
}

// S14: whoever comes by an inventory that was written beforehand is new as well; what somebody wrote is not what a machine said.
func TestSharedSerialNumberOfPremadeInventory(t *testing.T) {
	client := newMachine(t)
	w := newWorld(t, inventory("shelf-7", v1.MachineInventorySpec{TPM: client.TPM.EndorsementHash()}))
	w.register(t, newMachine(t), hardwareOf("A1", ""))
	w.events()
	w.register(t, client, hardwareOf("A1", ""))
	require.Contains(t, w.events()[1], "SerialNumberShared machine shelf-7 says")
}

// S14: another namespace is none of ours to tell of.
func TestSharedSerialNumberElsewhere(t *testing.T) {
	there := inventory("theirs", v1.MachineInventorySpec{TPM: strings.Repeat("0", 64)})
	there.Namespace, there.Labels = "tenant-b", map[string]string{v1.LabelSerialNumber: "A1"}
	w := newWorld(t, there)
	w.register(t, newMachine(t), hardwareOf("A1", ""))
	require.Len(t, w.events(), 1)
}

// S14: a maker that gives all its machines one serial number is told of a few times.
func TestSharedSerialNumberOfACrowd(t *testing.T) {
	w := newWorld(t)
	for range registrationEvents.Burst + 5 {
		w.register(t, newMachine(t), hardwareOf("A1", ""))
	}
	told := 0
	for _, event := range w.events() {
		if strings.Contains(event, v1.ReasonSerialNumberShared) {
			told++
		}
	}
	require.Equal(t, registrationEvents.Burst, told)
}

// S39: a known machine that says another serial number or UUID keeps its name and what it said first, and is told of.
func TestChangedHardware(t *testing.T) {
	for _, c := range []struct {
		why           string
		before, after map[string]any
		told          string
	}{
		{"S39: the same", hardwareOf("A1", oneUUID), hardwareOf("A1", oneUUID), ""},
		{"S39: another serial number", hardwareOf("A1", oneUUID), hardwareOf("B2", oneUUID), `serial number was "A1" and is "B2";`},
		{"S39: another UUID", hardwareOf("A1", oneUUID), hardwareOf("A1", anotherUUID), fmt.Sprintf(`UUID was %q and is %q;`, oneUUID, anotherUUID)},
		{"S39: both", hardwareOf("A1", oneUUID), hardwareOf("B2", anotherUUID), fmt.Sprintf(`serial number was "A1" and is "B2", UUID was %q and is %q;`, oneUUID, anotherUUID)},
		{"S39: a UUID in the other case", hardwareOf("A1", oneUUID), hardwareOf("A1", strings.ToUpper(oneUUID)), ""},
		{"S39: nothing any more", hardwareOf("A1", oneUUID), nil, ""},
		{"S39: a part any more", hardwareOf("A1", oneUUID), hardwareOf("", oneUUID), ""},
		{"S39: what the factory left", hardwareOf("A1", oneUUID), hardwareOf("Default string", "00000000-0000-0000-0000-000000000000"), ""},
		{"S39: nothing before", nil, hardwareOf("B2", oneUUID), ""},
		{"S39: a part before", hardwareOf("", oneUUID), hardwareOf("B2", oneUUID), ""},
		{"S39: what the factory left, before", hardwareOf("None", oneUUID), hardwareOf("B2", oneUUID), ""},
		{"S39: something else in its place", map[string]any{systemInformation: "none"}, hardwareOf("B2", oneUUID), ""},
		{"S39: a long one", hardwareOf("A1", ""), hardwareOf(strings.Repeat("漢", 300), ""), `serial number was "A1" and is "` + strings.Repeat(`\u6f22`, 64) + `";`},
	} {
		t.Run(c.why, func(t *testing.T) {
			w := newWorld(t)
			client := newMachine(t)
			first := w.register(t, client, c.before)
			made := w.Inventories.All()[0]
			w.writes()
			w.events()
			log := logged(t)
			require.Equal(t, first, w.register(t, client, c.after), "the name never changes")
			require.Empty(t, w.writes())
			require.Equal(t, made, w.Inventories.All()[0], "nor does what is stored")
			if c.told == "" {
				require.Empty(t, w.events())
				require.NotContains(t, log(), "other hardware")
				return
			}
			require.Contains(t, log(), "machine came again with other hardware")
			events := w.events()
			require.Len(t, events, 1)
			require.Contains(t, events[0], "Warning HardwareChanged the machine came again with other hardware: its "+c.told)
		})
	}
}

// S39: the events are bounded for each machine by itself, and told also of one that waits for approval.
func TestChangedHardwareAgainAndAgain(t *testing.T) {
	w := newWorld(t)
	guarded := edge()
	guarded.Spec.Admission = &v1.AdmissionSpec{Approval: v1.ApprovalManual}
	w.Put(guarded)
	for i := range 2 {
		client := &machine.OldClient{TPM: newTPM(t, tpm.ECCP256)}
		require.Equal(t, "this machine waits for approval", w.register(t, client, hardwareOf(fmt.Sprint("A", i), "")))
		for _, made := range w.Inventories.All() {
			made.UID = types.UID(made.Name) // One of its own, as the API server gives.
			w.Put(made)
		}
		w.events()
		for range registrationEvents.Burst + 5 {
			w.register(t, client, hardwareOf("B2", ""))
		}
		require.Len(t, w.events(), registrationEvents.Burst)
	}
}

// S39: whatever somebody has put there, nothing breaks.
func TestSystemOf(t *testing.T) {
	for _, raw := range []string{"", "null", "[]", `"x"`, "{", "{}", `{"System Information":null}`, `{"system information":{"UUID":"x"}}`} {
		require.Empty(t, changes(systemOf([]byte(raw)), hardwareOf("A1", oneUUID)), raw)
	}
	stored, err := json.Marshal(hardwareOf("B2", oneUUID))
	require.NoError(t, err)
	require.Equal(t, `serial number was "B2" and is "A1"`, changes(systemOf(stored), hardwareOf("A1", oneUUID)))
}
