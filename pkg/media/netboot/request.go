package netboot

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// maxPacket is the largest DHCP packet that is looked at; one that fits an Ethernet frame is smaller.
const maxPacket = 2048

// Firmware is what a machine boots with.
type Firmware string

// The values of Firmware.
const (
	FirmwareBIOS     Firmware = "BIOS"
	FirmwareUEFI     Firmware = "UEFI"
	FirmwareUEFIHTTP Firmware = "UEFI-HTTP"
	FirmwareIPXE     Firmware = "iPXE"
	// FirmwareOther is one that nothing is here for, such as that of another processor.
	FirmwareOther Firmware = "other"
)

// Request is a DHCP packet of a machine that boots from the network.
type Request struct {
	MAC      MAC
	UUID     UUID
	Firmware Firmware
	// Architecture is the firmware's own word, in the numbers of RFC 4578.
	Architecture uint16
	// Asked is DHCPDISCOVER, or, on port 4011, DHCPREQUEST or DHCPINFORM.
	Asked dhcpv4.MessageType
	// Relay is the relay that the packet came by; not valid without one.
	Relay netip.Addr

	packet *dhcpv4.DHCPv4
}

// errNotForUs is a packet that has nothing to do with booting: most are.
var errNotForUs = errors.New("not a machine that boots from the network")

const (
	classPXE  = "PXEClient"
	classHTTP = "HTTPClient"
)

// parse reads a packet. What does not boot from the network is errNotForUs; any other error is garbage.
func parse(data []byte) (*Request, error) {
	if len(data) > maxPacket {
		return nil, errors.New("larger than a packet")
	}
	packet, err := dhcpv4.FromBytes(data)
	if err != nil {
		return nil, err
	}
	class := packet.ClassIdentifier()
	isPXE, isHTTP := strings.HasPrefix(class, classPXE), strings.HasPrefix(class, classHTTP)
	if packet.OpCode != dhcpv4.OpcodeBootRequest || !isPXE && !isHTTP {
		return nil, errNotForUs
	}
	request := &Request{Asked: packet.MessageType(), packet: packet}
	switch request.Asked {
	case dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest, dhcpv4.MessageTypeInform:
	default:
		return nil, errNotForUs
	}
	if packet.HWType != iana.HWTypeEthernet || len(packet.ClientHWAddr) != len(MAC{}) {
		return nil, errors.New("not an Ethernet address")
	}
	request.MAC = MAC(packet.ClientHWAddr)
	if request.MAC == (MAC{}) || request.MAC[0]&1 != 0 {
		return nil, errors.New("an address that no machine has")
	}
	if relay, ok := netip.AddrFromSlice(packet.GatewayIPAddr.To4()); ok && !relay.IsUnspecified() {
		request.Relay = relay
	}
	if err := request.readFirmware(isHTTP); err != nil {
		return nil, err
	}
	return request, request.readUUID()
}

// readFirmware reads options 93 and 77.
func (r *Request) readFirmware(isHTTP bool) error {
	architectures := r.packet.Options.Get(dhcpv4.OptionClientSystemArchitectureType)
	if len(architectures) < 2 || len(architectures)%2 != 0 {
		return errors.New("no architecture")
	}
	// The first is the one that it boots with.
	r.Architecture = uint16(architectures[0])<<8 | uint16(architectures[1])
	user := r.packet.Options.Get(dhcpv4.OptionUserClassInformation)
	isIPXE := bytes.Equal(user, []byte("iPXE")) || bytes.Equal(user, []byte("\x04iPXE"))
	known := map[uint16]Firmware{
		uint16(iana.INTEL_X86PC): FirmwareBIOS,
		uint16(iana.EFI_X86_64):  FirmwareUEFI,
		// The number of the byte code is what x64 firmware says where its maker followed the RFC's first text.
		uint16(iana.EFI_BC):          FirmwareUEFI,
		uint16(iana.EFI_X86_64_HTTP): FirmwareUEFIHTTP,
	}
	firmware, ok := known[r.Architecture]
	switch {
	case !ok || isHTTP != (firmware == FirmwareUEFIHTTP):
		r.Firmware = FirmwareOther
	case isIPXE:
		r.Firmware = FirmwareIPXE
	default:
		r.Firmware = firmware
	}
	return nil
}

// readUUID reads option 97: a zero, and the UUID. Machines without one send none, or all zeros or ones.
func (r *Request) readUUID() error {
	said := r.packet.Options.Get(dhcpv4.OptionClientMachineIdentifier)
	if len(said) == 0 {
		return nil
	}
	if len(said) != 1+len(UUID{}) || said[0] != 0 {
		return errors.New("a machine identifier that is no UUID")
	}
	uuid := UUID(said[1:])
	if uuid == UUID(bytes.Repeat([]byte{0xff}, len(uuid))) {
		return nil
	}
	// Firmware and iPXE send it as SMBIOS keeps it.
	r.UUID = uuid.swapped()
	return nil
}
