package netboot

import (
	"fmt"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Place is where a packet came in.
type Place struct {
	// Address is ours on the interface: what the machine is told to come to.
	Address netip.Addr
	// Proxy is port 4011 instead of 67.
	Proxy bool
	// From is who sent it; 0.0.0.0 before a machine has an address.
	From netip.AddrPort
}

// near is an address of the machine's network: its own, its relay's, or ours on the interface.
func (p Place) near(relay netip.Addr) netip.Addr {
	switch {
	case relay.IsValid():
		return relay
	case p.Proxy && p.From.Addr().IsValid() && !p.From.Addr().IsUnspecified():
		return p.From.Addr()
	}
	return p.Address
}

// Decision is what a machine is told.
type Decision struct {
	// Registration is what it boots into; nil when it is left alone, for the reason in Why.
	Registration *Registration
	Why          string
	// Reply is DHCPOFFER on port 67, and DHCPACK on 4011.
	Reply dhcpv4.MessageType
	// Class is what makes firmware take the answer as one about booting.
	Class string
	// BootFile is a name for TFTP or an http address. It is empty where firmware is to ask again on port 4011.
	BootFile string
	// Direct tells PXE to take the file as it is, without looking for boot servers or showing a menu.
	Direct bool
}

// decide is pure: the same packet at the same place is always answered alike.
func (c *Config) decide(r *Request, at Place) Decision {
	// On port 67 a DHCPREQUEST is to the server whose address the machine takes, and a DHCPINFORM is to that as well.
	if !at.Proxy && r.Asked != dhcpv4.MessageTypeDiscover || at.Proxy && r.Asked == dhcpv4.MessageTypeDiscover {
		return Decision{}
	}
	registration, why := c.choose(r.MAC, r.UUID, at.near(r.Relay))
	if registration == nil {
		return Decision{Why: why}
	}
	decision := Decision{Registration: registration, Reply: dhcpv4.MessageTypeOffer, Class: classPXE}
	if at.Proxy {
		decision.Reply = dhcpv4.MessageTypeAck
	}
	files := c.files(r, at)
	switch {
	case r.Firmware == FirmwareOther:
		return Decision{Why: fmt.Sprintf("nothing is here for its architecture, %d", r.Architecture)}
	case r.Firmware == FirmwareUEFIHTTP && registration.DownloadURL != "":
		decision.Class, decision.BootFile = classHTTP, files.of(isoFile)
	case registration.IPXEURL == "":
		return Decision{Why: "registration " + registration.Name + " has no ipxeURL, which " + string(r.Firmware) + " needs"}
	case r.Firmware == FirmwareUEFIHTTP:
		// Firmware that fetches iPXE over HTTP.
		decision.Class, decision.BootFile = classHTTP, files.binary(c.IPXE.UEFI)
	case r.Firmware == FirmwareIPXE:
		decision.BootFile, decision.Direct = files.of(scriptFile), true
	case r.Firmware == FirmwareBIOS:
		decision.BootFile, decision.Direct = tftpName(r.MAC, c.IPXE.BIOS), true
	case at.Proxy:
		decision.BootFile = tftpName(r.MAC, c.IPXE.UEFI)
	default:
		// Some UEFI firmware does not take a file in this offer. All take an offer without one for a server to ask on port 4011.
	}
	return decision
}
