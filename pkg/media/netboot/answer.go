package netboot

import (
	"net"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

const (
	portDHCPServer = 67
	portDHCPClient = 68
	portProxy      = 4011
	portTFTP       = 69
)

// answer is the packet that tells the machine of the decision, and where it goes; nil for silence.
func answer(r *Request, d Decision, at Place) (packet []byte, to netip.AddrPort) {
	if d.Registration == nil {
		return nil, netip.AddrPort{}
	}
	reply := &dhcpv4.DHCPv4{
		OpCode: dhcpv4.OpcodeBootReply, HWType: r.packet.HWType, TransactionID: r.packet.TransactionID,
		// The machine has no address yet, or one that is not ours to speak of: yiaddr stays empty.
		ClientHWAddr: net.HardwareAddr(r.MAC[:]), Flags: r.packet.Flags, GatewayIPAddr: r.packet.GatewayIPAddr,
		ClientIPAddr: net.IPv4zero, YourIPAddr: net.IPv4zero, ServerIPAddr: at.Address.AsSlice(), Options: dhcpv4.Options{},
	}
	if at.Proxy {
		reply.ClientIPAddr = r.packet.ClientIPAddr
	}
	reply.UpdateOption(dhcpv4.OptMessageType(d.Reply))
	reply.UpdateOption(dhcpv4.OptServerIdentifier(at.Address.AsSlice()))
	reply.UpdateOption(dhcpv4.OptClassIdentifier(d.Class))
	// PXE wants its own words back; a relay, its own too.
	for _, code := range []dhcpv4.OptionCode{dhcpv4.OptionClientMachineIdentifier, dhcpv4.OptionRelayAgentInformation} {
		if said := r.packet.Options.Get(code); said != nil && len(said) <= 255 {
			reply.UpdateOption(dhcpv4.OptGeneric(code, said))
		}
	}
	if d.BootFile != "" {
		// Old firmware reads the field in the header, new firmware the option. Both have room: config and MAC address bound the name.
		reply.BootFileName = d.BootFile
		reply.UpdateOption(dhcpv4.OptBootFileName(d.BootFile))
		reply.ServerHostName = at.Address.String()
		reply.UpdateOption(dhcpv4.OptTFTPServerName(at.Address.String()))
	}
	if d.Direct {
		// PXE_DISCOVERY_CONTROL 8: take the file of this packet. Then the end of PXE's own options.
		reply.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionVendorSpecificInformation, []byte{6, 1, 8, 255}))
	}
	return reply.ToBytes(), destination(r, at)
}

// destination is the relay, the machine itself, or, while that has no address, everybody.
func destination(r *Request, at Place) netip.AddrPort {
	switch {
	case r.Relay.IsValid():
		return netip.AddrPortFrom(r.Relay, portDHCPServer)
	case at.Proxy && at.From.IsValid() && !at.From.Addr().IsUnspecified():
		return at.From
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}), portDHCPClient)
}
