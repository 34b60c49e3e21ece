package server

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/pkg/machine"
)

// systemInformation is the part of the SMBIOS data that is about the machine as a whole.
const systemInformation = "System Information"

// What tells one machine's hardware from another's; absent, or left blank by its maker, it is nothing.
const (
	serialNumber = "${" + systemInformation + "/Serial Number}"
	uuid         = "${" + systemInformation + "/UUID}"
)

// tellShared tells of a new machine with a serial number that another one of the namespace has said. They are compared as labels are.
//
// Where thousands share one, finding them takes time, too: they are looked for only when they can be told of.
func (s *Server) tellShared(n newcomer, inventory *v1.MachineInventory) {
	serial, said := machine.RenderLabelValue(serialNumber, n.smbios)
	if !said || s.told.check(topic(n.registration, v1.ReasonSerialNumberShared)) != nil {
		return
	}
	sharing, err := s.Indexes.InventoriesBySerialNumber(inventory.Namespace, serial)
	if err != nil {
		logrus.WithField("machine", inventory.Namespace+"/"+inventory.Name).Warnf("comparing serial numbers: %v", err)
		return
	}
	other := slices.IndexFunc(sharing, func(other *v1.MachineInventory) bool { return other.Name != inventory.Name })
	if other < 0 {
		return
	}
	s.tell(n.registration, corev1.EventTypeWarning, v1.ReasonSerialNumberShared,
		"machine %s says serial number %s, which machine %s has said before: if it is the same hardware with another TPM, delete the old inventory, or set spec.replaces of the new one; else look at both",
		inventory.Name, shown(machine.RenderValue(serialNumber, n.smbios)), sharing[other].Name)
}

// tellChanged tells of a machine that comes again with another serial number or UUID. Its name and spec.smbios stay what they were.
func (s *Server) tellChanged(known *v1.MachineInventory, smbios map[string]any) {
	if len(smbios) == 0 || known.Spec.SMBIOS == nil {
		return
	}
	changed := changes(systemOf(known.Spec.SMBIOS.Raw), smbios)
	if changed == "" {
		return
	}
	logrus.WithFields(logrus.Fields{"machine": known.Namespace + "/" + known.Name, "tpm": index.TPMHash(known), "changed": changed}).
		Warn("machine came again with other hardware")
	s.tell(known, corev1.EventTypeWarning, v1.ReasonHardwareChanged,
		"the machine came again with other hardware: its %s; if its mainboard was not replaced, look whether its TPM is in another machine now, or was copied there", changed)
}

// changes says what is another one than before. What was or is missing has not changed, nor has what is written in the other case.
func changes(before, smbios map[string]any) string {
	var changed []string
	for _, part := range []struct{ name, template string }{{"serial number", serialNumber}, {"UUID", uuid}} {
		was, is := machine.RenderValue(part.template, before), machine.RenderValue(part.template, smbios)
		if was != "" && is != "" && !strings.EqualFold(was, is) {
			changed = append(changed, fmt.Sprintf("%s was %s and is %s", part.name, shown(was), shown(is)))
		}
	}
	return strings.Join(changed, ", ")
}

// systemOf decodes as little as needs be. What somebody else has written in its place says nothing.
func systemOf(raw []byte) map[string]any {
	var parts map[string]json.RawMessage
	var system any
	if json.Unmarshal(raw, &parts) != nil || json.Unmarshal(parts[systemInformation], &system) != nil {
		return nil
	}
	return map[string]any{systemInformation: system}
}

// shown is what a machine said, short and plain enough for an event and the log.
func shown(value string) string {
	return fmt.Sprintf("%+.64q", value)
}
