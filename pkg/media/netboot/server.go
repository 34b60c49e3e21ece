package netboot

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
)

// stopPatience is how long transfers may go on when the server is told to stop.
const stopPatience = 10 * time.Second

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// moved is the same destination, on other ports than the usual.
func (p Ports) moved(to netip.AddrPort) netip.AddrPort {
	switch to.Port() {
	case portDHCPServer:
		return netip.AddrPortFrom(to.Addr(), uint16(p.DHCP))
	case portDHCPClient:
		return netip.AddrPortFrom(to.Addr(), uint16(p.Client))
	}
	return to
}

// server is what the parts share.
type server struct {
	config   *Config
	links    links
	ports    Ports
	log      logrus.FieldLogger
	started  time.Time
	machines *machines
	others   *others
	checks   *checks
	upstream *upstream
	answers  *rate.Limiter
	streams  *places
}

func newServer(config *Config, log logrus.FieldLogger) *server {
	up := newUpstream(config)
	return &server{
		config: config, links: links{names: config.Interfaces}, ports: config.Ports, log: log, started: time.Now(),
		machines: newMachines(log, time.Now), others: newOthers(log, time.Now), upstream: up,
		checks:  &checks{config: config, upstream: up, log: log, now: time.Now, found: map[string]RegistrationStatus{}},
		answers: answerLimit(), streams: newPlaces(maxStreams, maxStreamsEach),
	}
}

// Run boots machines until ctx ends. It returns nil then, and before, an error that names every port that it cannot have.
func Run(ctx context.Context, config *Config, log logrus.FieldLogger) error {
	return newServer(config, log).run(ctx)
}

// sockets are all that are listened on.
type sockets struct {
	dhcp, proxy  *dhcpSocket
	tftp         net.PacketConn
	others       net.PacketConn
	http, status net.Listener
}

// listen takes all ports, or none.
func (s *server) listen(ctx context.Context) (*sockets, error) {
	var all []error
	keep := func(err error) { all = append(all, err) }
	open := &sockets{}
	var err error
	open.dhcp, err = s.listenDHCP(anyAddress(s.ports.DHCP), false)
	keep(err)
	open.proxy, err = s.listenDHCP(anyAddress(s.ports.Proxy), true)
	keep(err)
	if open.tftp, err = net.ListenPacket("udp4", anyAddress(s.ports.TFTP)); err != nil {
		keep(unbound(err, "TFTP", "udp", anyAddress(s.ports.TFTP)))
	}
	if open.http, err = net.Listen("tcp4", anyAddress(s.config.HTTPPort)); err != nil {
		keep(fmt.Errorf("%w; or choose another httpPort", unbound(err, "HTTP", "tcp", anyAddress(s.config.HTTPPort))))
	}
	if open.status, err = net.Listen("tcp", s.config.StatusAddress); err != nil {
		keep(fmt.Errorf("%w; or choose another statusAddress", unbound(err, "status", "tcp", s.config.StatusAddress)))
	}
	if err := errors.Join(all...); err != nil {
		open.close()
		return nil, err
	}
	if *s.config.NoticeOthers {
		if open.others, err = listenOthers(ctx, netip.AddrPortFrom(broadcast, uint16(s.ports.Client)).String()); err != nil {
			s.log.Infof("other netboot servers on the segment will not be noticed: %v", err)
			open.others = nil
		}
	}
	return open, nil
}

func anyAddress(port int) string { return ":" + strconv.Itoa(port) }

func (o *sockets) close() {
	for _, socket := range []*dhcpSocket{o.dhcp, o.proxy} {
		if socket != nil {
			_ = socket.conn.Close()
		}
	}
	for _, socket := range []net.PacketConn{o.tftp, o.others} {
		if socket != nil {
			_ = socket.Close()
		}
	}
	for _, socket := range []net.Listener{o.http, o.status} {
		if socket != nil {
			_ = socket.Close()
		}
	}
}

func (s *server) run(ctx context.Context) error {
	if err := s.links.check(); err != nil {
		return err
	}
	open, err := s.listen(ctx)
	if err != nil {
		return err
	}
	return s.serve(ctx, open)
}

// serve works on the sockets until ctx ends or one of the parts fails.
func (s *server) serve(ctx context.Context, open *sockets) error {
	group, ctx := errgroup.WithContext(ctx)
	// TFTP's reader sees the end of ctx itself.
	transfers := s.newTFTP(ctx)
	context.AfterFunc(ctx, func() {
		s.log.Infof("stops; what is being sent has %s", stopPatience)
		for _, socket := range []*dhcpSocket{open.dhcp, open.proxy} {
			_ = socket.conn.Close()
		}
		if open.others != nil {
			_ = open.others.Close()
		}
		transfers.library.Shutdown()
	})
	group.Go(func() error { return open.dhcp.serve(ctx, s) })
	group.Go(func() error { return open.proxy.serve(ctx, s) })
	group.Go(func() error { return transfers.library.Serve(open.tftp) })
	group.Go(func() error { return serveHTTP(ctx, netutil.LimitListener(open.http, maxConnections), s) })
	group.Go(func() error { return serveHTTP(ctx, open.status, s.statusHandler()) })
	group.Go(func() error { return s.checks.run(ctx) })
	if open.others != nil {
		group.Go(func() error { return s.others.follow(ctx, open.others, s.links.has) })
	}
	s.log.WithField("interfaces", s.links.usable()).Infof("boots machines from the network: DHCP %d and %d, TFTP %d, HTTP %d; status at %s",
		s.ports.DHCP, s.ports.Proxy, s.ports.TFTP, s.config.HTTPPort, open.status.Addr())
	return group.Wait()
}

// serveHTTP serves until ctx ends, and lets requests under way end for a while.
func serveHTTP(ctx context.Context, listener net.Listener, handler http.Handler) error {
	httpServer := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: quietLog()}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
		defer cancel()
		if httpServer.Shutdown(patient) != nil {
			_ = httpServer.Close()
		}
	})
	err := httpServer.Serve(listener)
	if stop() {
		return err
	}
	<-stopped
	return nil
}

// quietLog is where the HTTP library's own words go: a stranger could fill a log with them.
func quietLog() *stdlog.Logger { return stdlog.New(io.Discard, "", 0) }
