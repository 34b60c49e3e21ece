package netboot

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// MAC is an Ethernet address.
type MAC [6]byte

// ParseMAC reads 52:54:00:12:34:56, also with dashes.
func ParseMAC(text string) (MAC, error) {
	parsed, err := net.ParseMAC(text)
	if err != nil || len(parsed) != len(MAC{}) {
		return MAC{}, errors.New("no MAC address")
	}
	return MAC(parsed), nil
}

func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// dashed is how it stands in an address, where a colon would be one of the address itself.
func (m MAC) dashed() string { return strings.ReplaceAll(m.String(), ":", "-") }

// UUID is the SMBIOS UUID, in the order in which dmidecode prints it; all zeros where there is none.
type UUID [16]byte

// ParseUUID reads 4c4c4544-0042-4210-8051-c4c04f4d4e31.
func ParseUUID(text string) (UUID, error) {
	bare := strings.ReplaceAll(text, "-", "")
	decoded, err := hex.DecodeString(bare)
	if err != nil || len(decoded) != len(UUID{}) || len(text) != 36 || UUID(decoded).String() != strings.ToLower(text) {
		return UUID{}, errors.New("no UUID")
	}
	return UUID(decoded), nil
}

func (u UUID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}

func (u UUID) none() bool { return u == UUID{} }

// swapped is the same UUID from a firmware that has the first three fields the other way round: SMBIOS keeps them in the
// order of Intel's processors, and not everybody turns them.
func (u UUID) swapped() UUID {
	slices.Reverse(u[0:4])
	slices.Reverse(u[4:6])
	slices.Reverse(u[6:8])
	return u
}

// machineSet is a list of machines.
type machineSet struct {
	macs  map[MAC]bool
	uuids map[UUID]bool
}

func (s machineSet) empty() bool { return len(s.macs) == 0 && len(s.uuids) == 0 }

func (s machineSet) hasUUID(uuid UUID) bool {
	return !uuid.none() && (s.uuids[uuid] || s.uuids[uuid.swapped()])
}

func (s machineSet) has(mac MAC, uuid UUID) bool { return s.macs[mac] || s.hasUUID(uuid) }

// keys are its members, sorted.
func (s machineSet) keys() []string {
	var all []string
	for mac := range s.macs {
		all = append(all, mac.String())
	}
	for uuid := range s.uuids {
		all = append(all, uuid.String())
	}
	slices.Sort(all)
	return all
}

// choose is the registration for a machine whose network holds the address; nil, and why, if it is to be left alone.
func (c *Config) choose(mac MAC, uuid UUID, near netip.Addr) (registration *Registration, why string) {
	switch {
	case c.never.has(mac, uuid):
		return nil, "it is listed in never"
	case !c.only.empty() && !c.only.has(mac, uuid):
		return nil, "it is not listed in only"
	}
	var byMAC, bySubnet, byDefault *Registration
	longest := -1
	for _, candidate := range c.Registrations {
		if candidate.machines.hasUUID(uuid) {
			return candidate, ""
		}
		if candidate.machines.macs[mac] {
			byMAC = candidate
		}
		for _, subnet := range candidate.subnets {
			if subnet.Contains(near) && subnet.Bits() > longest {
				bySubnet, longest = candidate, subnet.Bits()
			}
		}
		if candidate.forAll() {
			byDefault = candidate
		}
	}
	for _, found := range []*Registration{byMAC, bySubnet, byDefault} {
		if found != nil {
			return found, ""
		}
	}
	return nil, "no registration is for it"
}
