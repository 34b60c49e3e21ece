package netboot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/sirupsen/logrus"
)

// Other is a server on the segment, not this one, that tells machines what to boot.
type Other struct {
	Address  string    `json:"address"`
	BootFile string    `json:"bootFile,omitempty"`
	Machine  string    `json:"machine"`
	Seen     time.Time `json:"seen"`
}

const (
	// maxOthers is how many are remembered, and again how long one is no news.
	maxOthers = 16
	again     = time.Hour
)

// others remembers them.
type others struct {
	mutex sync.Mutex
	now   func() time.Time
	log   logrus.FieldLogger
	known map[netip.Addr]*Other
	told  map[netip.Addr]time.Time
}

func newOthers(log logrus.FieldLogger, now func() time.Time) *others {
	return &others{log: log, now: now, known: map[netip.Addr]*Other{}, told: map[netip.Addr]time.Time{}}
}

// offerOf reads an offer to a machine that boots from the network; ok is false for all else, and for what is ours.
func offerOf(data []byte, ours func(netip.Addr) bool) (server netip.Addr, other Other, ok bool) {
	if len(data) > maxPacket {
		return server, other, false
	}
	packet, err := dhcpv4.FromBytes(data)
	if err != nil || packet.OpCode != dhcpv4.OpcodeBootReply {
		return server, other, false
	}
	class := packet.ClassIdentifier()
	file := packet.BootFileName
	if file == "" {
		file = packet.BootFileNameOption()
	}
	if packet.MessageType() != dhcpv4.MessageTypeOffer || file == "" && !strings.HasPrefix(class, classPXE) && !strings.HasPrefix(class, classHTTP) {
		return server, other, false
	}
	server, ok = netip.AddrFromSlice(packet.ServerIdentifier().To4())
	if !ok || ours(server) {
		return server, other, false
	}
	return server, Other{Address: server.String(), BootFile: harmless(file), Machine: packet.ClientHWAddr.String()}, true
}

// saw notes one, and warns of it.
func (o *others) saw(server netip.Addr, other Other) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if _, known := o.known[server]; !known && len(o.known) >= maxOthers {
		return
	}
	other.Seen = o.now()
	o.known[server] = &other
	if at, told := o.told[server]; told && other.Seen.Sub(at) < again {
		return
	}
	o.told[server] = other.Seen
	what := "what to boot"
	if other.BootFile != "" {
		what = "to boot " + other.BootFile
	}
	o.log.WithFields(logrus.Fields{"server": other.Address, "machine": other.Machine}).Warnf(
		"another server on this segment tells machines %s: which of both a machine follows is chance, so stop one, or divide the machines between them with only and never", what)
}

func (o *others) all() []Other {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	list := make([]Other, 0, len(o.known))
	for _, other := range o.known {
		list = append(list, *other)
	}
	slices.SortFunc(list, func(a, b Other) int { return strings.Compare(a.Address, b.Address) })
	return list
}

// listenOthers binds the port that offers are broadcast to, at the broadcast address: what is sent to the host's own DHCP client
// still goes there, and that can bind its address at any time.
func listenOthers(ctx context.Context, address string) (net.PacketConn, error) {
	listen := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) { failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1) })
		return errors.Join(err, failed)
	}}
	conn, err := listen.ListenPacket(ctx, "udp4", address)
	if err != nil {
		return nil, fmt.Errorf("listening for other netboot servers: %w", err)
	}
	return conn, nil
}

// follow reads offers until the socket is closed.
func (o *others) follow(ctx context.Context, conn net.PacketConn, ours func(netip.Addr) bool) error {
	buffer := make([]byte, maxPacket+1)
	for {
		n, _, err := conn.ReadFrom(buffer)
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			continue
		}
		if server, other, ok := offerOf(buffer[:n], ours); ok {
			o.saw(server, other)
		}
	}
}
