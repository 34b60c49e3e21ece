package netboot

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	"github.com/rancher/rancheros-operator/pkg/version"
)

const (
	// stall is how long the operator may send nothing, and headerPatience how long it may think before.
	stall          = time.Minute
	headerPatience = time.Minute
	// maxScript bounds a script, maxRefusal what is read of a refusal.
	maxScript  = 64 << 10
	maxRefusal = 4 << 10
	// resumes is how often a transfer goes on where it broke, before it has come a stride further.
	resumes = 5
)

// upstream fetches what a SeedImage's addresses lead to. Its errors never hold an address: there is a token in it.
type upstream struct {
	client *http.Client
	now    func() time.Time
	// pause is between a transfer that broke and the next try.
	pause time.Duration
}

func newUpstream(config *Config) *upstream {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: config.roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: headerPatience, IdleConnTimeout: time.Minute,
		MaxIdleConnsPerHost: 8, DisableCompression: true,
	}
	client := &http.Client{Transport: transport, CheckRedirect: func(to *http.Request, via []*http.Request) error {
		switch {
		case len(via) > 5:
			return errors.New("it redirects in circles")
		case to.URL.Scheme != "https" && via[0].URL.Scheme == "https":
			return errors.New("it redirects to an address without TLS")
		}
		return nil
	}}
	return &upstream{client: client, now: time.Now, pause: time.Second}
}

// refusal is why a file cannot be had.
type refusal struct {
	status     int
	retryAfter string
	text       string
}

func (r *refusal) Error() string { return r.text }

// unreachable is an error of the transport, without the address that it happened at.
func unreachable(err error) *refusal {
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err
	}
	return &refusal{status: http.StatusBadGateway, text: fmt.Sprintf("the operator cannot be reached: %v", err)}
}

// beside is a file in the folder of the address.
func beside(address, file string) string {
	if address == "" {
		return ""
	}
	return folderOf(address) + file
}

func folderOf(address string) string {
	return strings.TrimSuffix(address, path.Base(address))
}

// get asks for a file, or, with a header Range, for a part. An error is a *refusal.
func (u *upstream) get(ctx context.Context, method, address string, header http.Header) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return nil, unreachable(err)
	}
	request.Header.Set("User-Agent", "rancheros-netboot/"+version.Get().Version)
	for _, name := range []string{"Range", "If-Range"} {
		if value := header.Get(name); value != "" {
			request.Header.Set(name, value)
		}
	}
	response, err := u.client.Do(request)
	if err != nil {
		return nil, unreachable(err)
	}
	switch response.StatusCode {
	case http.StatusOK, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable:
		return response, nil
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxRefusal))
	said := protocol.ReadHTTPError(response.StatusCode, response.Header, body, u.now())
	text := fmt.Sprintf("the operator answered %d: %s", response.StatusCode, said.Message)
	if said.Hint != "" {
		text += "; " + said.Hint
	}
	return nil, &refusal{status: response.StatusCode, retryAfter: response.Header.Get("Retry-After"), text: text}
}

// script is the operator's script for iPXE, without any address of the operator in it.
func (u *upstream) script(ctx context.Context, address string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, stall)
	defer cancel()
	response, err := u.get(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxScript+1))
	switch {
	case err != nil:
		return nil, unreachable(err)
	case len(body) > maxScript || !strings.HasPrefix(string(body), "#!ipxe"):
		return nil, &refusal{status: http.StatusBadGateway, text: "what the ipxeURL leads to is no iPXE script"}
	}
	return ownScript(body, folderOf(address)), nil
}

// body reads the rest of a response. Where the connection breaks or stalls, it asks for the rest; the ETag tells that it is
// still the same file.
type body struct {
	ctx      context.Context
	upstream *upstream
	address  string
	etag     string
	response *http.Response
	watch    *time.Timer
	cancel   context.CancelFunc
	// at is the next byte's place in the file, and end the place behind the last; resumable is false where they are not known.
	at, end   int64
	resumable bool
	// left is how often it may still go on, and broke the place where it last did.
	left  int
	broke int64
}

// open asks for a file and returns the response, whose Body goes on where a connection breaks, and must be closed.
func (u *upstream) open(ctx context.Context, address string, header http.Header) (*http.Response, error) {
	b := &body{ctx: ctx, upstream: u, address: address, left: resumes}
	if err := b.ask(header); err != nil {
		return nil, err
	}
	response := b.response
	b.etag = response.Header.Get("ETag")
	b.resumable = strings.HasPrefix(b.etag, `"`) && response.ContentLength >= 0
	if response.StatusCode == http.StatusPartialContent {
		var total string
		if _, err := fmt.Sscanf(response.Header.Get("Content-Range"), "bytes %d-%d/%s", &b.at, &b.end, &total); err != nil {
			b.resumable = false
		}
		b.end++
	} else {
		b.end = response.ContentLength
	}
	answer := *response
	answer.Body = b
	return &answer, nil
}

// ask sends a request that ends when nothing is heard for a while.
func (b *body) ask(header http.Header) error {
	ctx, cancel := context.WithCancel(b.ctx)
	watch := time.AfterFunc(stall+headerPatience, cancel)
	response, err := b.upstream.get(ctx, http.MethodGet, b.address, header) //nolint:bodyclose // Close closes it.
	if err != nil {
		watch.Stop()
		cancel()
		return err
	}
	b.response, b.watch, b.cancel = response, watch, cancel
	return nil
}

func (b *body) Read(buffer []byte) (int, error) {
	for {
		// The watch is over the operator only: between two reads a machine may take its time.
		b.watch.Reset(stall)
		n, err := b.response.Body.Read(buffer)
		b.watch.Stop()
		b.at += int64(n)
		if b.at-b.broke >= stride {
			b.left = resumes // What goes on well may break again.
		}
		if n > 0 && err != nil && !errors.Is(err, io.EOF) {
			err = nil // It is met again by the next call.
		}
		if err == nil || errors.Is(err, io.EOF) && (!b.resumable || b.at >= b.end) {
			return n, err
		}
		if n > 0 {
			return n, nil
		}
		if err := b.resume(err); err != nil {
			return 0, err
		}
	}
}

// resume asks for the rest.
func (b *body) resume(broke error) error {
	_ = b.Close()
	b.broke = b.at
	for b.resumable && b.left > 0 && b.ctx.Err() == nil {
		b.left--
		select {
		case <-time.After(b.upstream.pause):
		case <-b.ctx.Done():
			return b.ctx.Err()
		}
		header := http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", b.at, b.end-1)}, "If-Range": {b.etag}}
		if err := b.ask(header); err != nil {
			broke = err
			continue
		}
		if b.response.StatusCode == http.StatusPartialContent && b.response.Header.Get("ETag") == b.etag {
			return nil
		}
		_ = b.Close()
		return &refusal{status: http.StatusBadGateway, text: "the medium changed while it was sent"}
	}
	return fmt.Errorf("the operator stopped sending: %w", broke)
}

func (b *body) Close() error {
	b.watch.Stop()
	b.cancel()
	return b.response.Body.Close()
}
