package netboot

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// links are the interfaces to answer on. Their addresses are asked for anew each time: a server may be up before its own
// address is.
type links struct {
	// names of those that were chosen; empty for all but the loopback.
	names []string
}

// check tells of chosen interfaces that are not there, or of none at all.
func (l links) check() error {
	var all []error
	for i, name := range l.names {
		if _, err := net.InterfaceByName(name); err != nil {
			all = append(all, fmt.Errorf("interfaces[%d] %s: there is no such interface; `ip -br address` shows those that are there", i, name))
		}
	}
	if len(all) == 0 && len(l.usable()) == 0 {
		all = append(all, errors.New("no interface has an IPv4 address and is up: machines could not be told where to come to"))
	}
	return errors.Join(all...)
}

// usable are the names and addresses of the interfaces.
func (l links) usable() []string {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var all []string
	for _, found := range interfaces {
		if addresses := l.addresses(found); len(addresses) > 0 {
			all = append(all, found.Name+" "+addresses[0].String())
		}
	}
	return all
}

// addresses are ours on an interface; none when it is not to be used.
func (l links) addresses(on net.Interface) []netip.Addr {
	chosen := slices.Contains(l.names, on.Name)
	if on.Flags&net.FlagUp == 0 || !chosen && (len(l.names) > 0 || on.Flags&net.FlagLoopback != 0) {
		return nil
	}
	listed, err := on.Addrs()
	if err != nil {
		return nil
	}
	var all []netip.Addr
	for _, one := range listed {
		network, ok := one.(*net.IPNet)
		if !ok {
			continue
		}
		if address, ok := netip.AddrFromSlice(network.IP.To4()); ok {
			all = append(all, address)
		}
	}
	return all
}

// address is ours on the interface of the number: the one that the packet was sent to, else the first.
func (l links) address(index int, sentTo net.IP) (netip.Addr, bool) {
	found, err := net.InterfaceByIndex(index)
	if err != nil {
		return netip.Addr{}, false
	}
	addresses := l.addresses(*found)
	if len(addresses) == 0 {
		return netip.Addr{}, false
	}
	if to, ok := netip.AddrFromSlice(sentTo.To4()); ok && slices.Contains(addresses, to) {
		return to, true
	}
	return addresses[0], true
}

// has tells whether the address is ours on one of the interfaces.
func (l links) has(address netip.Addr) bool {
	interfaces, err := net.Interfaces()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(interfaces, func(one net.Interface) bool {
		return slices.Contains(l.addresses(one), address.Unmap())
	})
}

// largestBlock is how much of a file goes into one packet of TFTP without being cut up on the way: firmware cannot always put
// pieces together.
func (l links) largestBlock() int {
	const ethernet, smallest, headers = 1500, 512, 20 + 8 + 4
	least := ethernet
	if interfaces, err := net.Interfaces(); err == nil {
		for _, one := range interfaces {
			if len(l.addresses(one)) > 0 && one.MTU > 0 {
				least = min(least, one.MTU)
			}
		}
	}
	return max(smallest, least-headers)
}
