package channel

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
)

// errForbidden is an address that a channel has no business at.
var errForbidden = errors.New("the address is the operator's own host, a service of the cluster, or not one of a server")

// guard decides which addresses are dialled. Whoever may write a channel makes the operator ask any address: those that
// mean something only from where the operator runs are refused. Private networks are not: on bare metal, that is where
// mirrors are.
type guard struct {
	allowed []netip.Prefix
	// proxies are those of the environment that requests were sent to; they are the administrator's choice.
	proxies sync.Map
}

// forbidden are names of the cluster's services, and of the host itself.
var forbidden = []string{"localhost", "svc", "cluster.local"}

// checkName looks at what an address says before anybody looks it up.
func (g *guard) checkName(host string) error {
	if address, err := netip.ParseAddr(host); err == nil {
		return g.checkAddress(address)
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, suffix := range forbidden {
		if host == suffix || strings.HasSuffix(host, "."+suffix) {
			return errForbidden
		}
	}
	return nil
}

// metadata are addresses at which clouds hand out credentials, beside the link-local one.
var metadata = []netip.Addr{netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("192.0.0.192")}

func (g *guard) checkAddress(address netip.Addr) error {
	address = address.Unmap().WithZone("")
	for _, prefix := range g.allowed {
		if prefix.Contains(address) {
			return nil
		}
	}
	if address.IsLoopback() || address.IsUnspecified() || address.IsLinkLocalUnicast() || address.IsMulticast() {
		return errForbidden
	}
	for _, known := range metadata {
		if address == known {
			return errForbidden
		}
	}
	return nil
}

// proxy is asked for every request, whichever way it goes.
func (g *guard) proxy(request *http.Request) (*url.URL, error) {
	if err := g.checkName(request.URL.Hostname()); err != nil {
		return nil, err
	}
	proxy, err := http.ProxyFromEnvironment(request)
	if err == nil && proxy != nil {
		g.proxies.Store(proxy.Host, true)
		if proxy.Port() == "" {
			g.proxies.Store(net.JoinHostPort(proxy.Hostname(), map[string]string{"http": "80", "https": "443", "socks5": "1080"}[proxy.Scheme]), true)
		}
	}
	return proxy, err
}

// dial checks the very address that is about to be connected to, after the look-up: a name that answers with another
// address the second time gains nothing.
func (g *guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{}
	if _, isProxy := g.proxies.Load(address); !isProxy {
		dialer.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
			parsed, err := netip.ParseAddrPort(address)
			if err != nil {
				return errForbidden
			}
			return g.checkAddress(parsed.Addr())
		}
	}
	return dialer.DialContext(ctx, network, address)
}
