// Package apichaos is a proxy in front of the API server that lets requests fail, so that a test sees what the operator
// makes of it. What fails, and how, is decided by the test, request by request, and so can be repeated.
package apichaos

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"

	"k8s.io/client-go/rest"
)

// Fault is what happens to a request.
type Fault int

const (
	// None passes the request on.
	None Fault = iota
	// Conflict, TooManyRequests and InternalError answer with 409, 429 (Retry-After 1 s) and 500, and pass nothing on.
	Conflict
	TooManyRequests
	InternalError
	// Reset closes the connection, and passes nothing on.
	Reset
	// LostAnswer passes the request on, waits until it is done, and closes the connection without an answer.
	LostAnswer
)

// Faults are all that go wrong.
var Faults = []Fault{Conflict, TooManyRequests, InternalError, Reset, LostAnswer}

// Proxy is a running proxy.
type Proxy struct {
	server *httptest.Server
	proxy  *httputil.ReverseProxy

	mutex    sync.Mutex
	decide   func(*http.Request) Fault
	injected map[Fault]int
}

// New starts a proxy in front of the API server of config. Callers bring their own credentials.
func New(config *rest.Config) (*Proxy, error) {
	target, err := url.Parse(config.Host)
	if err != nil {
		return nil, fmt.Errorf("reading API server's address: %w", err)
	}
	trust := rest.AnonymousClientConfig(config)
	trust.QPS = -1
	transport, err := rest.TransportFor(trust)
	if err != nil {
		return nil, fmt.Errorf("making transport: %w", err)
	}
	p := &Proxy{
		proxy: &httputil.ReverseProxy{
			Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
			Transport:     transport,
			FlushInterval: -1, // Watches must not be held back.
		},
		decide:   func(*http.Request) Fault { return None },
		injected: map[Fault]int{},
	}
	// kubeconfigs give no token to a server without TLS.
	p.server = httptest.NewTLSServer(p)
	return p, nil
}

// URL is where the proxy listens.
func (p *Proxy) URL() string { return p.server.URL }

// CACert is the CA of URL, in PEM.
func (p *Proxy) CACert() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw})
}

// Close ends the proxy.
func (p *Proxy) Close() {
	p.server.CloseClientConnections()
	p.server.Close()
}

// Inject lets decide choose what happens to each request from now on.
func (p *Proxy) Inject(decide func(*http.Request) Fault) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.decide = decide
}

// Injected is how often each fault has happened.
func (p *Proxy) Injected() map[Fault]int {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	injected := map[Fault]int{}
	for fault, times := range p.injected {
		injected[fault] = times
	}
	return injected
}

// ServeHTTP passes the request on, or lets it fail.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mutex.Lock()
	fault := p.decide(r)
	if fault != None {
		p.injected[fault]++
	}
	p.mutex.Unlock()
	switch fault {
	case None:
		p.proxy.ServeHTTP(w, r)
	case Conflict:
		status(w, http.StatusConflict, "Conflict")
	case TooManyRequests:
		w.Header().Set("Retry-After", "1")
		status(w, http.StatusTooManyRequests, "TooManyRequests")
	case InternalError:
		status(w, http.StatusInternalServerError, "InternalError")
	case Reset:
		panic(http.ErrAbortHandler)
	case LostAnswer:
		// The machine may give up; what the API server has begun is done all the same.
		done := r.WithContext(context.WithoutCancel(r.Context()))
		p.proxy.ServeHTTP(httptest.NewRecorder(), done)
		panic(http.ErrAbortHandler)
	}
}

// status answers as the API server does.
func status(w http.ResponseWriter, code int, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = io.Copy(w, strings.NewReader(fmt.Sprintf(
		`{"kind":"Status","apiVersion":"v1","status":"Failure","message":"injected","reason":%q,"code":%d}`, reason, code)))
}
