package netboot

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/stretchr/testify/require"
)

const (
	biosMAC  = "52:54:00:00:00:01"
	uefiMAC  = "52:54:00:00:00:02"
	labUUID  = "11223344-5566-7788-99aa-bbccddeeff00"
	httpBase = "http://10.77.0.1:8080/boot/"
)

var (
	ourAddress = netip.MustParseAddr("10.77.0.1")
	onDHCP     = Place{Address: ourAddress, From: netip.MustParseAddrPort("0.0.0.0:68")}
	onProxy    = Place{Address: ourAddress, Proxy: true, From: netip.MustParseAddrPort("10.77.0.157:4011")}
)

// captured are packets as real firmware sent them: SeaBIOS with iPXE, and OVMF with PXE, HTTP boot, and iPXE, all of QEMU.
func captured(t testing.TB, name string) []byte {
	t.Helper()
	packet, err := os.ReadFile(filepath.Join("testdata", name+".bin"))
	require.NoError(t, err)
	return packet
}

// made is a captured packet with changes.
func made(t testing.TB, name string, change func(p *dhcpv4.DHCPv4)) []byte {
	t.Helper()
	packet, err := dhcpv4.FromBytes(captured(t, name))
	require.NoError(t, err)
	change(packet)
	return packet.ToBytes()
}

// intelROM is what the boot ROM of an Intel network card sends: no user class, a short list of wishes, padded to 548 bytes.
func intelROM(t testing.TB) []byte {
	packet := made(t, "ipxe-bios-discover", func(p *dhcpv4.DHCPv4) {
		p.SetBroadcast()
		p.NumSeconds = 4
		for _, code := range []uint8{61, 77, 175} {
			p.Options.Del(dhcpv4.GenericOptionCode(code))
		}
		p.UpdateOption(dhcpv4.OptMaxMessageSize(1260))
		p.UpdateOption(dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(94), []byte{1, 2, 1}))
	})
	return append(packet, make([]byte, 548-len(packet))...)
}

func TestParse(t *testing.T) {
	set := func(options ...dhcpv4.Option) func(*dhcpv4.DHCPv4) {
		return func(p *dhcpv4.DHCPv4) {
			for _, option := range options {
				p.UpdateOption(option)
			}
		}
	}
	machineID := func(bytes ...byte) dhcpv4.Option {
		return dhcpv4.OptGeneric(dhcpv4.OptionClientMachineIdentifier, bytes)
	}
	for _, c := range []struct {
		why    string
		packet []byte
		want   Firmware
		uuid   string
		err    string
	}{
		{"SeaBIOS with iPXE", captured(t, "ipxe-bios-discover"), FirmwareIPXE, labUUID, ""},
		{"a ROM of an Intel card", intelROM(t), FirmwareBIOS, labUUID, ""},
		{"OVMF, PXE", captured(t, "uefi-pxe-discover"), FirmwareUEFI, labUUID, ""},
		{"OVMF, PXE, its request to the site's server", captured(t, "uefi-pxe-request"), FirmwareUEFI, labUUID, ""},
		{"OVMF, PXE, on 4011", captured(t, "uefi-pxe-proxy-request"), FirmwareUEFI, labUUID, ""},
		{"OVMF, HTTP boot", captured(t, "uefi-http-discover"), FirmwareUEFIHTTP, labUUID, ""},
		{"iPXE on UEFI", captured(t, "ipxe-uefi-discover"), FirmwareIPXE, labUUID, ""},
		{"iPXE that counts its user class", made(t, "ipxe-uefi-discover", set(dhcpv4.OptRFC3004UserClass([]string{"iPXE"}))), FirmwareIPXE, labUUID, ""},
		{"x64 with the byte code's number", made(t, "uefi-pxe-discover", set(dhcpv4.OptClientArch(iana.EFI_BC))), FirmwareUEFI, labUUID, ""},
		{"an ARM machine", made(t, "uefi-pxe-discover", set(dhcpv4.OptClientArch(iana.EFI_ARM64))), FirmwareOther, labUUID, ""},
		{"iPXE on an ARM machine", made(t, "ipxe-uefi-discover", set(dhcpv4.OptClientArch(iana.EFI_ARM64))), FirmwareOther, labUUID, ""},
		{"HTTP of a PXE client", made(t, "uefi-pxe-discover", set(dhcpv4.OptClientArch(iana.EFI_X86_64_HTTP))), FirmwareOther, labUUID, ""},
		{"no UUID", made(t, "uefi-pxe-discover", func(p *dhcpv4.DHCPv4) { p.Options.Del(dhcpv4.OptionClientMachineIdentifier) }), FirmwareUEFI, UUID{}.String(), ""},
		{"a UUID of ones, which is none", made(t, "uefi-pxe-discover", set(machineID(append([]byte{0}, bytes.Repeat([]byte{0xff}, 16)...)...))), FirmwareUEFI, UUID{}.String(), ""},
		{"an empty UUID", made(t, "uefi-pxe-discover", set(machineID())), FirmwareUEFI, UUID{}.String(), ""},

		{"a laptop that wants an address", made(t, "uefi-pxe-discover", func(p *dhcpv4.DHCPv4) { p.Options.Del(dhcpv4.OptionClassIdentifier) }), "", "", errNotForUs.Error()},
		{"a phone", made(t, "uefi-pxe-discover", set(dhcpv4.OptClassIdentifier("android-dhcp-14"))), "", "", errNotForUs.Error()},
		{"another server's offer", captured(t, "dnsmasq-offer"), "", "", errNotForUs.Error()},
		{"an address given back", made(t, "uefi-pxe-discover", set(dhcpv4.OptMessageType(dhcpv4.MessageTypeRelease))), "", "", errNotForUs.Error()},
		{"BOOTP", made(t, "uefi-pxe-discover", func(p *dhcpv4.DHCPv4) { p.Options.Del(dhcpv4.OptionDHCPMessageType) }), "", "", errNotForUs.Error()},

		{"nothing", nil, "", "", "buffer"},
		{"half a packet", captured(t, "uefi-pxe-discover")[:200], "", "", "buffer"},
		{"options that end in the middle", captured(t, "uefi-pxe-discover")[:300], "", "", ""},
		{"a packet without an end", captured(t, "uefi-pxe-discover")[:243], "", "", "EOF"},
		{"another cookie", append(append([]byte{}, captured(t, "uefi-pxe-discover")[:236]...), 1, 2, 3, 4, 255), "", "", "cookie"},
		{"larger than a frame", make([]byte, maxPacket+1), "", "", "larger"},
		{"no architecture", made(t, "uefi-pxe-discover", func(p *dhcpv4.DHCPv4) { p.Options.Del(dhcpv4.OptionClientSystemArchitectureType) }), "", "", "no architecture"},
		{"half an architecture", made(t, "uefi-pxe-discover", set(dhcpv4.OptGeneric(dhcpv4.OptionClientSystemArchitectureType, []byte{0, 7, 0}))), "", "", "no architecture"},
		{"a UUID that is too long", made(t, "uefi-pxe-discover", set(machineID(make([]byte, 600)...))), "", "", "no UUID"},
		{"a machine identifier of another type", made(t, "uefi-pxe-discover", set(machineID(append([]byte{1}, make([]byte, 16)...)...))), "", "", "no UUID"},
		{"a token ring", made(t, "uefi-pxe-discover", func(p *dhcpv4.DHCPv4) { p.HWType = 6 }), "", "", "Ethernet"},
		{"a long hardware address", made(t, "uefi-pxe-discover", func(p *dhcpv4.DHCPv4) { p.ClientHWAddr = make([]byte, 16) }), "", "", "Ethernet"},
		{"a MAC address of many", made(t, "uefi-pxe-discover", func(p *dhcpv4.DHCPv4) { p.ClientHWAddr = net.HardwareAddr{1, 0, 0x5e, 0, 0, 1} }), "", "", "no machine has"},
	} {
		request, err := parse(c.packet)
		if c.want == "" || c.err != "" {
			require.Error(t, err, c.why)
			require.Contains(t, err.Error(), c.err, c.why)
			continue
		}
		require.NoError(t, err, c.why)
		require.Equal(t, c.want, request.Firmware, c.why)
		require.Equal(t, c.uuid, request.UUID.String(), c.why)
		require.Contains(t, []string{biosMAC, uefiMAC, "52:54:00:00:00:03"}, request.MAC.String(), c.why)
	}
}

const twoRegistrations = `registrations:
- {name: edge, ipxeURL: '` + ipxeURL + `', downloadURL: '` + downloadURL + `'}
- {name: gpu, ipxeURL: '` + ipxeURL + `', machines: ['` + biosMAC + `', 'FFEEDDCC-0000-0000-0000-000000000001']}
- {name: isos, downloadURL: '` + downloadURL + `', subnets: [10.9.0.0/16]}
`

// What each kind of machine is told.
func TestDecide(t *testing.T) {
	iso, files := httpBase+"52-54-00-00-00-03/"+labUUID+"/boot.iso", labUUID+"/boot.ipxe"
	byRelay := func(t *testing.T, name, relay string) []byte {
		return made(t, name, func(p *dhcpv4.DHCPv4) { p.GatewayIPAddr = net.ParseIP(relay) })
	}
	for _, c := range []struct {
		why          string
		config       string
		packet       []byte
		at           Place
		registration string
		file         string
		class        string
		direct       bool
		silent       string
	}{
		{"BIOS gets iPXE", twoRegistrations, intelROM(t), onDHCP, "gpu", "52-54-00-00-00-01/undionly.kpxe", classPXE, true, ""},
		{"BIOS asks again where it need not", twoRegistrations, made(t, "ipxe-bios-discover", func(p *dhcpv4.DHCPv4) {
			p.Options.Del(dhcpv4.OptionUserClassInformation)
			p.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeRequest))
		}), onProxy, "gpu", "52-54-00-00-00-01/undionly.kpxe", classPXE, true, ""},
		{"UEFI is to ask on 4011", twoRegistrations, captured(t, "uefi-pxe-discover"), onDHCP, "edge", "", classPXE, false, ""},
		{"UEFI, on 4011", twoRegistrations, captured(t, "uefi-pxe-proxy-request"), onProxy, "edge", "52-54-00-00-00-02/snponly.efi", classPXE, false, ""},
		{"iPXE gets the script", twoRegistrations, captured(t, "ipxe-bios-discover"), onDHCP, "gpu", httpBase + "52-54-00-00-00-01/" + files, classPXE, true, ""},
		{"iPXE on UEFI, too", twoRegistrations, captured(t, "ipxe-uefi-discover"), onDHCP, "edge", httpBase + "52-54-00-00-00-02/" + files, classPXE, true, ""},
		{"HTTP boot gets the ISO", twoRegistrations, captured(t, "uefi-http-discover"), onDHCP, "edge", iso, classHTTP, false, ""},
		{"HTTP boot without an ISO gets iPXE", "registrations: [{name: edge, ipxeURL: '" + ipxeURL + "'}]", captured(t, "uefi-http-discover"), onDHCP, "edge", "http://10.77.0.1:8080/ipxe/snponly.efi", classHTTP, false, ""},
		{"by the relay's subnet", twoRegistrations, byRelay(t, "uefi-http-discover", "10.9.1.1"), onDHCP, "isos", iso, classHTTP, false, ""},
		{"by its own subnet", twoRegistrations, captured(t, "uefi-http-discover"), Place{Address: netip.MustParseAddr("10.9.3.3"), From: onDHCP.From}, "isos", strings.Replace(iso, "10.77.0.1", "10.9.3.3", 1), classHTTP, false, ""},

		{"PXE where there are ISOs only", twoRegistrations, byRelay(t, "uefi-pxe-discover", "10.9.1.1"), onDHCP, "", "", "", false, "registration isos has no ipxeURL, which UEFI needs"},
		{"a DHCPREQUEST on 67 is the site's server's", twoRegistrations, captured(t, "uefi-pxe-request"), onDHCP, "", "", "", false, ""},
		{"a DHCPDISCOVER on 4011", twoRegistrations, captured(t, "uefi-pxe-discover"), onProxy, "", "", "", false, ""},
		{"another processor", twoRegistrations, made(t, "uefi-pxe-discover", func(p *dhcpv4.DHCPv4) { p.UpdateOption(dhcpv4.OptClientArch(iana.EFI_ARM64)) }), onDHCP, "", "", "", false, "nothing is here for its architecture, 11"},
		{"nobody's machine", "registrations: [{name: gpu, ipxeURL: '" + ipxeURL + "', machines: ['" + biosMAC + "']}]", captured(t, "uefi-pxe-discover"), onDHCP, "", "", "", false, "no registration is for it"},
		{"one that is not in only", twoRegistrations + "only: ['" + biosMAC + "']", captured(t, "uefi-pxe-discover"), onDHCP, "", "", "", false, "it is not listed in only"},
		{"one that is, by its UUID", twoRegistrations + "only: ['" + strings.ToUpper(labUUID) + "']", captured(t, "uefi-pxe-proxy-request"), onProxy, "edge", "52-54-00-00-00-02/snponly.efi", classPXE, false, ""},
		{"one that is in never", twoRegistrations + "never: ['52-54-00-00-00-02']", captured(t, "uefi-pxe-discover"), onDHCP, "", "", "", false, "it is listed in never"},
		{"never goes before only", twoRegistrations + "only: ['" + uefiMAC + "']\nnever: ['" + labUUID + "']", captured(t, "uefi-pxe-discover"), onDHCP, "", "", "", false, "it is listed in never"},
	} {
		config := configOf(t, c.config)
		request, err := parse(c.packet)
		require.NoError(t, err, c.why)
		decision := config.decide(request, c.at)
		packet, to := answer(request, decision, c.at)
		if c.registration == "" {
			require.Nil(t, decision.Registration, c.why)
			require.Equal(t, c.silent, decision.Why, c.why)
			require.Nil(t, packet, c.why)
			continue
		}
		require.NotNil(t, decision.Registration, c.why+decision.Why)
		require.Equal(t, c.registration, decision.Registration.Name, c.why)
		require.Equal(t, c.file, decision.BootFile, c.why)
		require.Equal(t, c.class, decision.Class, c.why)
		require.Equal(t, c.direct, decision.Direct, c.why)
		require.NotContains(t, string(packet), "secret-token", "no address of the operator's is on the wire")
		requireAnswer(t, request, c.at, packet, to)
	}
}

// requireAnswer holds what is true of every answer.
func requireAnswer(t testing.TB, request *Request, at Place, packet []byte, to netip.AddrPort) {
	t.Helper()
	require.LessOrEqual(t, len(packet), 1200, "it fits a frame, whatever was asked")
	reply, err := dhcpv4.FromBytes(packet)
	require.NoError(t, err)
	require.Equal(t, dhcpv4.OpcodeBootReply, reply.OpCode)
	require.Equal(t, request.packet.TransactionID, reply.TransactionID)
	require.Equal(t, request.MAC.String(), reply.ClientHWAddr.String())
	require.True(t, reply.YourIPAddr.IsUnspecified(), "it never assigns an address")
	for _, code := range []dhcpv4.OptionCode{dhcpv4.OptionIPAddressLeaseTime, dhcpv4.OptionRouter, dhcpv4.OptionSubnetMask, dhcpv4.OptionDomainNameServer} {
		require.False(t, reply.Options.Has(code), "nor anything that goes with one")
	}
	require.Equal(t, at.Address.String(), reply.ServerIdentifier().String())
	require.Equal(t, at.Address.String(), reply.ServerIPAddr.String())
	want := dhcpv4.MessageTypeOffer
	if at.Proxy {
		want = dhcpv4.MessageTypeAck
	}
	require.Equal(t, want, reply.MessageType())
	require.Equal(t, reply.BootFileName, reply.BootFileNameOption())
	switch {
	case request.Relay.IsValid():
		require.Equal(t, netip.AddrPortFrom(request.Relay, 67), to)
	case at.Proxy && !at.From.Addr().IsUnspecified():
		require.Equal(t, at.From, to)
	default:
		require.Equal(t, "255.255.255.255:68", to.String())
	}
}

// The whole answers, for those who know what firmware wants to read.
func TestAnswerBytes(t *testing.T) {
	config := configOf(t, twoRegistrations)
	request, err := parse(intelROM(t))
	require.NoError(t, err)
	packet, _ := answer(request, config.decide(request, onDHCP), onDHCP)
	reply, err := dhcpv4.FromBytes(packet)
	require.NoError(t, err)
	require.Equal(t, []byte{6, 1, 8, 255}, reply.Options.Get(dhcpv4.OptionVendorSpecificInformation), "take the file, show no menu")
	require.Equal(t, request.packet.Options.Get(dhcpv4.OptionClientMachineIdentifier), reply.Options.Get(dhcpv4.OptionClientMachineIdentifier))
	require.Equal(t, "52-54-00-00-00-01/undionly.kpxe", string(packet[108:108+31]), "in the header, for old ROMs")
	require.True(t, reply.IsBroadcast(), "flags as asked")

	uefi, err := parse(captured(t, "uefi-pxe-discover"))
	require.NoError(t, err)
	packet, _ = answer(uefi, config.decide(uefi, onDHCP), onDHCP)
	reply, err = dhcpv4.FromBytes(packet)
	require.NoError(t, err)
	require.False(t, reply.Options.Has(dhcpv4.OptionVendorSpecificInformation), "without it, UEFI asks on 4011")
	require.Empty(t, reply.BootFileName)
}

// A relay's own option comes back, unless it is longer than an option can be.
func TestAnswerToARelay(t *testing.T) {
	config := configOf(t, twoRegistrations)
	for _, c := range []struct{ length, back int }{{40, 40}, {255, 255}, {600, 0}} {
		request, err := parse(made(t, "uefi-pxe-discover", func(p *dhcpv4.DHCPv4) {
			p.GatewayIPAddr = net.IPv4(10, 3, 0, 1)
			p.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionRelayAgentInformation, make([]byte, c.length)))
		}))
		require.NoError(t, err)
		packet, to := answer(request, config.decide(request, onDHCP), onDHCP)
		requireAnswer(t, request, onDHCP, packet, to)
		reply, err := dhcpv4.FromBytes(packet)
		require.NoError(t, err)
		require.Len(t, reply.Options.Get(dhcpv4.OptionRelayAgentInformation), c.back)
		require.Equal(t, "10.3.0.1", reply.GatewayIPAddr.String())
	}
}

func TestChoose(t *testing.T) {
	config := configOf(t, `registrations:
- {name: rest, ipxeURL: '`+ipxeURL+`'}
- {name: wide, ipxeURL: '`+ipxeURL+`', subnets: [10.0.0.0/8]}
- {name: narrow, ipxeURL: '`+ipxeURL+`', subnets: [10.1.0.0/16]}
- {name: mac, ipxeURL: '`+ipxeURL+`', machines: ['52:54:00:00:00:09']}
- {name: uuid, ipxeURL: '`+ipxeURL+`', machines: ['`+labUUID+`']}
`)
	uuid, err := ParseUUID(labUUID)
	require.NoError(t, err)
	plain, listed := MAC{2, 0, 0, 0, 0, 1}, MAC{0x52, 0x54, 0, 0, 0, 9}
	for _, c := range []struct {
		why  string
		mac  MAC
		uuid UUID
		near string
		want string
	}{
		{"none", plain, UUID{}, "192.168.0.1", "rest"},
		{"its subnet", plain, UUID{}, "10.2.0.1", "wide"},
		{"the longest subnet", plain, UUID{}, "10.1.0.1", "narrow"},
		{"its MAC before its subnet", listed, UUID{}, "10.1.0.1", "mac"},
		{"its UUID before its MAC", listed, uuid, "10.1.0.1", "uuid"},
		{"its UUID, turned", listed, uuid.swapped(), "10.1.0.1", "uuid"},
	} {
		registration, _ := config.choose(c.mac, c.uuid, netip.MustParseAddr(c.near))
		require.Equal(t, c.want, registration.Name, c.why)
	}
}

func TestUUIDs(t *testing.T) {
	uuid, err := ParseUUID("4C4C4544-0042-4210-8051-C4C04F4D4E31")
	require.NoError(t, err)
	require.Equal(t, "4c4c4544-0042-4210-8051-c4c04f4d4e31", uuid.String())
	require.Equal(t, "44454c4c-4200-1042-8051-c4c04f4d4e31", uuid.swapped().String())
	require.Equal(t, uuid, uuid.swapped().swapped())
	for _, bad := range []string{"", "x", "4c4c454400424210-8051-c4c0-4f4d4e3-1", "4c4c4544-0042-4210-8051-c4c04f4d4e3", strings.Repeat("-", 36), "4c4c4544-0042-4210-8051-c4c04f4d4e3111"} {
		_, err := ParseUUID(bad)
		require.Error(t, err, bad)
	}
}
