package netboot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/time/rate"
)

// answersPerSecond bounds the answers to a flood: a rack of machines that are switched on together is far below.
const answersPerSecond = 200

func answerLimit() *rate.Limiter { return rate.NewLimiter(answersPerSecond, 2*answersPerSecond) }

// dhcpSocket is port 67 or 4011.
type dhcpSocket struct {
	conn  *ipv4.PacketConn
	proxy bool
}

func (s *server) listenDHCP(address string, proxy bool) (*dhcpSocket, error) {
	conn, err := net.ListenPacket("udp4", address)
	if err != nil {
		what := "DHCP"
		if proxy {
			what = "PXE"
		}
		return nil, unbound(err, what, "udp", address)
	}
	socket := &dhcpSocket{conn: ipv4.NewPacketConn(conn), proxy: proxy}
	if err := socket.conn.SetControlMessage(ipv4.FlagInterface|ipv4.FlagDst, true); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("asking for the interfaces of packets: %w", err)
	}
	return socket, nil
}

// unbound says what to do about a port that cannot be had.
func unbound(err error, what, protocol, address string) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s: %s port %s is taken: another netboot server, or a DHCP server, TFTP server or proxy, runs on this host (`ss -lnp` shows which); "+
			"stop it, or run netboot on another host of the segment", what, protocol, address)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return fmt.Errorf("%s: %s port %s is not for everybody: start the program as root, or give it CAP_NET_BIND_SERVICE", what, protocol, address)
	}
	return fmt.Errorf("%s: listening on %s port %s: %w", what, protocol, address, err)
}

// serve answers packets until the socket is closed.
func (d *dhcpSocket) serve(ctx context.Context, s *server) error {
	buffer := make([]byte, maxPacket+1)
	for {
		n, control, from, err := d.conn.ReadFrom(buffer)
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil || control == nil {
			// One packet that the network could not deliver is no reason to stop.
			s.log.Debugf("reading a DHCP packet: %v", err)
			continue
		}
		s.onPacket(d, buffer[:n], control, from)
	}
}

// onPacket is parse, decide, answer, and what is noted of it.
func (s *server) onPacket(d *dhcpSocket, data []byte, control *ipv4.ControlMessage, from net.Addr) {
	request, err := parse(data)
	if err != nil {
		if !errors.Is(err, errNotForUs) {
			s.log.Debugf("a packet of %s that is no DHCP request: %v", from, err)
		}
		return
	}
	address, ours := s.links.address(control.IfIndex, control.Dst)
	sender, known := from.(*net.UDPAddr)
	if !ours || !known || !s.answers.Allow() {
		return
	}
	at := Place{Address: address, Proxy: d.proxy, From: netip.AddrPortFrom(sender.AddrPort().Addr().Unmap(), sender.AddrPort().Port())}
	decision := s.config.decide(request, at)
	s.note(request, decision, at)
	packet, to := answer(request, decision, at)
	if packet == nil {
		return
	}
	out := &ipv4.ControlMessage{Src: address.AsSlice()}
	if to.Addr() == broadcast {
		// Everybody on that interface, whatever the routes say.
		out.IfIndex = control.IfIndex
	}
	to = s.ports.moved(to)
	if _, err := d.conn.WriteTo(packet, out, net.UDPAddrFromAddrPort(to)); err != nil {
		s.machines.saw(sighting{mac: request.MAC, stage: StageFailed, detail: fmt.Sprintf("its answer could not be sent: %v", err)})
	}
}

// note tells what a machine was told.
func (s *server) note(r *Request, d Decision, at Place) {
	seen := sighting{mac: r.MAC, uuid: r.UUID, firmware: r.Firmware, stage: StageOffered}
	if at.Proxy && !at.From.Addr().IsUnspecified() {
		seen.address = at.From.Addr().String()
	}
	switch {
	case d.Registration == nil && d.Why == "":
		return
	case d.Registration == nil:
		seen.stage, seen.detail = StageIgnored, "left alone: "+d.Why
	case d.BootFile == "":
		seen.registration, seen.detail = d.Registration.Name, "told to ask again on port 4011"
	default:
		seen.registration, seen.detail = d.Registration.Name, "offered "+d.BootFile
	}
	s.machines.saw(seen)
}
