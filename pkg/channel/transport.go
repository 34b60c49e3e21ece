package channel

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/net/http/httpguts"
)

// maxRedirects are followed, within a host.
const maxRedirects = 3

// transport is one HTTP round trip with bounds: time, size, addresses, certificates, redirects.
type transport struct {
	base    *http.Transport
	timeout time.Duration
	// most bounds a body, after decompression.
	most int
	// plain lets requests over http through; go-containerregistry falls back to it for private addresses by itself.
	plain bool
}

// newTransport is good for one Fetch; close it.
func newTransport(options Options, most int) (*transport, error) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if len(options.CABundle) > 0 && !roots.AppendCertsFromPEM(options.CABundle) {
		return nil, fail(ReasonInvalidSpec, "the CA bundle has no certificate in PEM; correct spec.caBundle, or ca.crt in the Secret")
	}
	for _, value := range []string{options.Token, options.Username, options.Password} {
		if !httpguts.ValidHeaderFieldValue(value) {
			return nil, fail(ReasonInvalidSpec, "the Secret of spec.secretName holds a line break or another control character; write its token or password without")
		}
	}
	guard := &guard{allowed: options.Networks}
	return &transport{
		base: &http.Transport{
			Proxy:                  guard.proxy,
			DialContext:            guard.dial,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, InsecureSkipVerify: options.Insecure}, //nolint:gosec // On request, for laboratories.
			MaxResponseHeaderBytes: 64 << 10,
			MaxConnsPerHost:        4,
			ForceAttemptHTTP2:      true,
		},
		timeout: options.Timeout,
		most:    most,
		plain:   options.Insecure,
	}, nil
}

func (t *transport) close() { t.base.CloseIdleConnections() }

// client follows redirects as far as the transport lets it.
func (t *transport) client() *http.Client {
	return &http.Client{Transport: t, CheckRedirect: func(_ *http.Request, via []*http.Request) error {
		if len(via) > maxRedirects {
			return errRedirect
		}
		return nil
	}}
}

var (
	errRedirect = errors.New("too many redirects, or one to another host or scheme")
	errTooLarge = errors.New("the body is too large")
	errPlain    = errors.New("http is not asked without spec.insecure")
)

// RoundTrip makes transport an http.RoundTripper.
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Scheme != "https" && !t.plain {
		return nil, errPlain
	}
	ctx, cancel := context.WithTimeout(request.Context(), t.timeout)
	response, err := t.base.RoundTrip(request.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	if err := checkRedirect(request.URL, response); err != nil {
		cancel()
		response.Body.Close()
		return nil, err
	}
	response.Body = &boundedBody{ReadCloser: response.Body, left: t.most, late: ctx.Err, cancel: cancel}
	return response, nil
}

// checkRedirect refuses to be sent to another host or scheme: credentials would go along, and the address that somebody
// has looked at would not be the one that is asked.
func checkRedirect(from *url.URL, response *http.Response) error {
	if response.StatusCode < 300 || response.StatusCode > 399 || response.Header.Get("Location") == "" {
		return nil
	}
	to, err := response.Location()
	if err != nil || to.Scheme != from.Scheme || to.Host != from.Host || to.User != nil {
		return errRedirect
	}
	return nil
}

// boundedBody ends with an error where a body is larger than agreed, and takes the deadline of its request away when it
// is closed.
type boundedBody struct {
	io.ReadCloser
	left int
	// late is an error once the deadline has passed. A server that sees us hang up may end its body in good order before the
	// connection is gone, and what was cut would look whole.
	late   func() error
	cancel context.CancelFunc
}

func (b *boundedBody) Read(buffer []byte) (int, error) {
	if b.left < 0 {
		return 0, errTooLarge
	}
	// One byte more than agreed tells whether there is more.
	n, err := b.ReadCloser.Read(buffer[:min(len(buffer), b.left+1)])
	if b.left -= n; b.left < 0 {
		return 0, errTooLarge
	}
	if late := b.late(); errors.Is(err, io.EOF) && late != nil {
		return n, late
	}
	return n, err
}

func (b *boundedBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

// failureOf says why a request got no answer, in words that are the same each time: what Go says of a connection has the
// port of this try in it.
func failureOf(err error, host string, most int) *Failure {
	var failure *Failure
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &failure):
		return failure
	case errors.Is(err, errForbidden):
		return fail(ReasonAddressForbidden, "%s is not asked: %v", host, errForbidden)
	case errors.Is(err, errRedirect):
		return fail(ReasonRequestRefused, "%s answers with %v; give the address that it leads to", host, errRedirect)
	case errors.Is(err, errTooLarge):
		return tooLarge(most)
	case isCertificate(err):
		return fail(ReasonCertificateNotTrusted, "the certificate of %s is not trusted, not valid now, or not for that name", host)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return fail(ReasonUnreachable, "%s did not answer in time", host)
	case errors.As(err, &dns):
		return fail(ReasonUnreachable, "the name %s cannot be looked up", host)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fail(ReasonUnreachable, "%s refuses the connection", host)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fail(ReasonUnreachable, "the answer of %s is shorter than it says", host)
	}
	return fail(ReasonUnreachable, "the connection to %s failed or broke", host)
}

func isCertificate(err error) bool {
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var invalid x509.CertificateInvalidError
	var alert tls.AlertError
	return errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &hostname) || errors.As(err, &invalid) || errors.As(err, &alert)
}

// statusFailure says what a status other than 200 means.
func statusFailure(response *http.Response, host string, now time.Time) *Failure {
	after := retryAfter(response.Header.Get("Retry-After"), now)
	switch response.StatusCode {
	case http.StatusTooManyRequests:
		return &Failure{Reason: ReasonRateLimited, Message: host + " has had enough requests for now: HTTP status 429", After: after}
	case http.StatusUnauthorized, http.StatusForbidden:
		return fail(ReasonRequestRefused, "%s answers with HTTP status %d; give in spec.secretName what it asks for, or correct it", host, response.StatusCode)
	}
	return &Failure{Reason: ReasonRequestRefused, Message: host + " answers with HTTP status " + strconv.Itoa(response.StatusCode), After: after}
}

// maxAfter bounds what a server may ask for.
const maxAfter = 24 * time.Hour

// retryAfter reads the header, which holds seconds or a time.
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(header); err == nil {
		return min(max(time.Duration(min(max(seconds, 0), 1<<30))*time.Second, 0), maxAfter)
	}
	if at, err := http.ParseTime(header); err == nil {
		return min(max(at.Sub(now), 0), maxAfter)
	}
	return 0
}
