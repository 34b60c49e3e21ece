package client

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// maxProxyAnswer is what a proxy may say before it connects.
const maxProxyAnswer = 64 << 10

// exchangeError is an error between this machine and the server, whichever. It may pass, as a defect of this program does not.
type exchangeError struct {
	error
	// proxy is the host of the proxy on the way; empty without one.
	proxy string
}

func (e *exchangeError) Unwrap() error { return e.error }

// proxyFor is the proxy on the way to a URL; nil when there is none. No sentence repeats its address as it was given: a password may be in it.
func (e *Endpoint) proxyFor(target *url.URL) (*url.URL, error) {
	find := e.proxy
	if find == nil {
		find = http.ProxyFromEnvironment
	}
	proxy, err := find(&http.Request{URL: target})
	const hint = "correct HTTPS_PROXY (HTTP_PROXY for http): it looks like http://proxy.example.com:3128"
	switch {
	case err != nil:
		return nil, badConfig("the proxy's address in the environment is malformed", hint)
	case proxy == nil:
		return nil, nil
	case !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, proxy.Scheme):
		return nil, badConfig(fmt.Sprintf("the proxy's address in the environment has the scheme %.20q", proxy.Scheme), hint)
	}
	return proxy, nil
}

// onTheWay makes any error of a connection one that may pass, and says when it is the proxy's.
func onTheWay(err error, proxy *url.URL) error {
	if err == nil {
		return nil
	}
	// Its sentence repeats the URL, and with it a token.
	var address *url.Error
	if errors.As(err, &address) {
		err = address.Err
	}
	if proxy == nil {
		return &exchangeError{error: err}
	}
	var failure *Failure
	if errors.As(err, &failure) {
		return failure
	}
	var operation *net.OpError
	if errors.As(err, &operation) && (operation.Op == "proxyconnect" || operation.Op == "socks connect") {
		return explainProxy(operation.Err, proxy)
	}
	return &exchangeError{error: err, proxy: proxy.Host}
}

// explainProxy is the failure of a machine that did not get past its proxy.
func explainProxy(err error, proxy *url.URL) *Failure {
	name := "the proxy " + protocol.CleanText(proxy.Host)
	f := explainTLS(err, name, time.Now())
	if f == nil {
		f = explainNetwork(&exchangeError{error: err}, name)
		f.Cause = CauseUnreachable
	}
	if !errors.Is(err, context.Canceled) {
		f.Hint = "check that the proxy runs, and that HTTPS_PROXY is right; NO_PROXY names the servers that need none"
	}
	return f
}

// refusedByProxy is what a proxy answers that does not connect; nil when it does.
func refusedByProxy(proxy *url.URL, response *http.Response) error {
	if response.StatusCode == http.StatusOK {
		return nil
	}
	_, reason, _ := strings.Cut(response.Status, " ")
	reason = cmp.Or(protocol.CleanText(reason), http.StatusText(response.StatusCode), fmt.Sprintf("status %d", response.StatusCode))
	f := &Failure{Cause: CauseUnreachable, Message: fmt.Sprintf("the proxy %s answered: %s", protocol.CleanText(proxy.Host), reason),
		Hint: "the proxy does not connect to this server: look at its log, and at HTTPS_PROXY; NO_PROXY names the servers that need none"}
	if response.StatusCode == http.StatusProxyAuthRequired {
		f.Hint = "the proxy wants credentials, or others: look at HTTPS_PROXY, which has them as in http://<user>:<password>@<proxy>:<port>"
	}
	return f
}

// connectBy makes connections by way of an HTTP proxy. gorilla's own way does not tell which status the proxy has answered, and panics
// at one without a reason.
func connectBy(proxy *url.URL, config *tls.Config) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := connectProxy(ctx, network, proxy, config)
		if err != nil {
			return nil, explainProxy(err, proxy)
		}
		// Neither a deadline nor an end of the context interrupts a read otherwise.
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		response, err := askToConnect(conn, proxy, address) //nolint:bodyclose // to close it is to read on, in what the server says
		if !stop() {
			err = ctx.Err()
		}
		if err != nil {
			conn.Close()
			return nil, explainProxy(err, proxy)
		}
		if err := refusedByProxy(proxy, response); err != nil {
			conn.Close()
			return nil, err
		}
		return conn, nil
	}
}

func connectProxy(ctx context.Context, network string, proxy *url.URL, config *tls.Config) (net.Conn, error) {
	port := proxy.Port()
	switch {
	case port != "":
	case proxy.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(proxy.Hostname(), port))
	if err != nil || proxy.Scheme != "https" {
		return conn, err
	}
	config = config.Clone()
	config.ServerName = proxy.Hostname()
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secured, nil
}

func askToConnect(conn net.Conn, proxy *url.URL, address string) (*http.Response, error) {
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{"User-Agent": {userAgent()}}}
	if user := proxy.User; user != nil {
		password, _ := user.Password()
		credentials := base64.StdEncoding.EncodeToString([]byte(user.Username() + ":" + password))
		request.Header.Set("Proxy-Authorization", "Basic "+credentials)
	}
	if err := request.Write(conn); err != nil {
		return nil, err
	}
	// What is buffered beyond the answer is lost, which is nothing: the server does not speak before it is spoken to.
	return http.ReadResponse(bufio.NewReader(io.LimitReader(conn, maxProxyAnswer)), request)
}

// notHTTP tells an answer that net/http could not read; its errors for that have no type. What is in them is not for showing: an echo of what
// was sent has the token.
func notHTTP(err error) bool {
	return strings.Contains(err.Error(), "malformed ")
}
