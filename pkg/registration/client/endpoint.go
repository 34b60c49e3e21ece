package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	"github.com/rancher/rancheros-operator/pkg/version"
)

// Endpoint is a server and how to trust it.
type Endpoint struct {
	// URL is https, and http only with AllowHTTP.
	URL string
	// CA is PEM. When given, it replaces the system's roots.
	CA []byte
	// AllowHTTP is for tests and for networks that are safe by other means.
	AllowHTTP bool
	// Timeout bounds one whole exchange; default protocol.ExchangeTimeout.
	Timeout time.Duration

	// proxy is for tests; default http.ProxyFromEnvironment.
	proxy func(*http.Request) (*url.URL, error)
}

func (e *Endpoint) timeout() time.Duration {
	if e.Timeout > 0 {
		return e.Timeout
	}
	return protocol.ExchangeTimeout
}

// parse checks the URL's shape. Its sentences do not repeat the path: a registration's path is its token.
func (e *Endpoint) parse() (*url.URL, error) {
	parsed, err := url.Parse(e.URL)
	switch {
	case e.URL == "":
		return nil, badConfig("no server URL is given", "")
	case err != nil || strings.ContainsAny(e.URL, " \t\r\n") || parsed.Host == "":
		return nil, badConfig("the server URL is malformed", "it looks like https://rancher.example.com/...")
	case parsed.User != nil || parsed.Fragment != "":
		return nil, badConfig("the server URL has a user name or a fragment", "remove what is before @ or after #")
	case parsed.Scheme == "http" && !e.AllowHTTP:
		return nil, badConfig("the server URL is http, which proves nothing about who answers", "use https")
	case parsed.Scheme != "https" && parsed.Scheme != "http":
		return nil, badConfig(fmt.Sprintf("the server URL has the scheme %.20q", parsed.Scheme), "use https")
	}
	return parsed, nil
}

// ParseRegistrationURL checks that an address is a registration's: .../v1-rancheros/registration/<token>.
func (e *Endpoint) ParseRegistrationURL() (*url.URL, error) {
	parsed, err := e.parse()
	if err != nil {
		return nil, err
	}
	_, token, found := strings.Cut(parsed.EscapedPath(), protocol.PathRegistration)
	if !found || !protocol.ValidRegistrationToken(token) || parsed.RawQuery != "" {
		return nil, badConfig("the registration URL does not end in /v1-rancheros/registration/<token>",
			"copy the whole URL from `kubectl get machineregistration -o wide`")
	}
	return parsed, nil
}

// path is the endpoint's URL with another path.
func (e *Endpoint) path(path string) (*url.URL, error) {
	parsed, err := e.parse()
	if err != nil {
		return nil, err
	}
	return &url.URL{Scheme: parsed.Scheme, Host: parsed.Host, Path: path}, nil
}

// host is how sentences call the server.
func (e *Endpoint) host() string {
	if parsed, err := url.Parse(e.URL); err == nil && parsed.Host != "" {
		return parsed.Host
	}
	return "the server"
}

// tlsConfig trusts the given CA and nothing else, or the system.
func (e *Endpoint) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(e.CA) == 0 {
		return config, nil
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(e.CA) {
		return nil, badConfig("the given CA is not a PEM certificate", "it begins with -----BEGIN CERTIFICATE-----")
	}
	return config, nil
}

// httpClient follows no redirects: a registration URL or a token must not be carried to another server.
func (e *Endpoint) httpClient(config *tls.Config, proxy *url.URL) *http.Client {
	return &http.Client{
		Timeout: e.timeout(),
		Transport: &http.Transport{
			Proxy:                 http.ProxyURL(proxy),
			TLSClientConfig:       config,
			TLSHandshakeTimeout:   e.timeout(),
			ResponseHeaderTimeout: e.timeout(),
			DisableKeepAlives:     true,
			ForceAttemptHTTP2:     false,
			OnProxyConnectResponse: func(_ context.Context, proxy *url.URL, _ *http.Request, response *http.Response) error {
				return refusedByProxy(proxy, response)
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// get reads an answer of limited size. Anything but 200 is the server's refusal.
func (e *Endpoint) get(request *http.Request, config *tls.Config) ([]byte, http.Header, error) {
	request.Header.Set("User-Agent", userAgent())
	proxy, err := e.proxyFor(request.URL)
	if err != nil {
		return nil, nil, err
	}
	client := e.httpClient(config, proxy)
	defer client.CloseIdleConnections()
	response, err := client.Do(request)
	if err != nil {
		return nil, nil, onTheWay(err, proxy)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, protocol.MaxAnswer+1))
	if err != nil {
		return nil, nil, onTheWay(err, proxy)
	}
	if response.StatusCode != http.StatusOK {
		refusal := protocol.ReadHTTPError(response.StatusCode, response.Header, body, time.Now())
		return nil, nil, withClock(refusal, clockProblem(response.Header, time.Now()))
	}
	if len(body) > protocol.MaxAnswer {
		return nil, nil, &Failure{Cause: CauseBadAnswer, Message: e.host() + " answers with more than 1 MiB", Hint: "a proxy may answer in its place"}
	}
	return body, response.Header, nil
}

func userAgent() string { return "rancheros-register/" + version.Get().Version }

func badConfig(message, hint string) *Failure {
	return &Failure{Cause: CauseConfig, Message: message, Hint: hint}
}
