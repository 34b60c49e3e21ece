package cache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// newClient is careful: it reads no metadata services of clouds, leaves no https for http, and waits for nobody forever.
func newClient(transport http.RoundTripper) *http.Client {
	if transport == nil {
		dialer := &net.Dialer{Timeout: 10 * time.Second, Control: refuseLinkLocal}
		transport = &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           dialer.DialContext,
			TLSHandshakeTimeout:   10 * time.Second,
			ResponseHeaderTimeout: 30 * time.Second,
			IdleConnTimeout:       30 * time.Second,
			MaxIdleConnsPerHost:   2,
			ForceAttemptHTTP2:     true,
			// A range is one of the bytes as they are.
			DisableCompression: true,
		}
	}
	return &http.Client{Transport: transport, CheckRedirect: func(request *http.Request, via []*http.Request) error {
		if len(via) >= 5 {
			return errors.New("the server redirects too often")
		}
		if via[0].URL.Scheme == "https" && request.URL.Scheme != "https" {
			return errors.New("the server redirects from https to http")
		}
		return nil
	}}
}

// refuseLinkLocal keeps whoever may write SeedImages from reading what only this machine's cloud may be asked.
func refuseLinkLocal(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if ip := at.Addr().Unmap(); ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() {
		return errors.New("the server's address is link-local, and no base is fetched from there")
	}
	return nil
}

// remote is one thing to download.
type remote struct {
	url string
	// authorize adds what a registry asks for.
	authorize func(*http.Request) error
	// immutable is true where the bytes behind the address never change, or are checked later: they can be resumed without
	// the server's word.
	immutable bool
}

// validator is what the server said of the bytes that arrived so far.
type validator struct {
	URL          string `json:"url"`
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"lastModified,omitempty"`
}

// ifRange is what resumes only the same bytes; empty where the server gave nothing for that.
func (v validator) ifRange() string {
	if v.ETag != "" && !strings.HasPrefix(v.ETag, "W/") {
		return v.ETag
	}
	return v.LastModified
}

// download brings all of it into the partial, in as many tries as it takes, each of which goes on where the last one broke.
func (c *Cache) download(ctx context.Context, partial *os.File, key string, from remote) error {
	delay := c.options.Retry
	for tries := 1; ; tries++ {
		before, err := partial.Seek(0, io.SeekEnd)
		if err != nil {
			return failed("keeping the base", err)
		}
		err = c.try(ctx, partial, key, from)
		if err == nil {
			_ = os.Remove(validatorPath(partial))
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var known *Error
		if errors.As(err, &known) && known.Reason != Unavailable {
			return known
		}
		if after, _ := partial.Seek(0, io.SeekEnd); after > before {
			tries, delay = 0, c.options.Retry
		}
		if tries == maxTries {
			return failed("fetching the base", err)
		}
		if err := wait(ctx, delay); err != nil {
			return err
		}
		delay *= 2
	}
}

func validatorPath(partial *os.File) string { return partial.Name() + ".json" }

// try is one request, and what comes of it.
func (c *Cache) try(ctx context.Context, partial *os.File, key string, from remote) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, from.url, nil)
	if err != nil {
		return invalid("the base's address is no URL")
	}
	request.Header.Set("User-Agent", "rancheros-operator")
	if from.authorize != nil {
		if err := from.authorize(request); err != nil {
			return err
		}
	}
	c.resume(request, partial, from)
	response, err := c.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	at, err := c.begin(partial, response, from)
	if err != nil {
		return err
	}
	if response.ContentLength >= 0 {
		if err := c.roomFor(key, at+response.ContentLength); err != nil {
			return err
		}
	}
	if _, err := partial.Seek(at, io.SeekStart); err != nil {
		return failed("keeping the base", err)
	}
	watch := time.AfterFunc(c.options.Stall, func() {
		cancel(unavailable("the server of the base stalls: it sent next to nothing for %s", c.options.Stall))
	})
	defer watch.Stop()
	arriving := &arriving{cache: c, key: key, body: response.Body, size: at, known: response.ContentLength >= 0, progress: func() { watch.Reset(c.options.Stall) }}
	if _, err := io.CopyBuffer(onlyWriter{partial}, arriving, make([]byte, 256<<10)); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	return nil
}

// onlyWriter hides what else a file can do, so that the buffer is used.
type onlyWriter struct{ io.Writer }

// resume asks for what is missing only, if that can be told to belong to what is there.
func (c *Cache) resume(request *http.Request, partial *os.File, from remote) {
	size, err := partial.Seek(0, io.SeekEnd)
	if err != nil || size == 0 {
		return
	}
	var said validator
	written, err := os.ReadFile(validatorPath(partial))
	if err == nil {
		err = json.Unmarshal(written, &said)
	}
	match := said.ifRange()
	if err != nil || said.URL != from.url || match == "" && !from.immutable {
		return
	}
	request.Header.Set("Range", fmt.Sprintf("bytes=%d-", size))
	if match != "" {
		request.Header.Set("If-Range", match)
	}
}

// begin looks at an answer: where in the base its bytes belong.
func (c *Cache) begin(partial *os.File, response *http.Response, from remote) (int64, error) {
	size, err := partial.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, failed("keeping the base", err)
	}
	switch response.StatusCode {
	case http.StatusPartialContent:
		first, _, _ := strings.Cut(strings.TrimPrefix(response.Header.Get("Content-Range"), "bytes "), "-")
		if at, err := strconv.ParseInt(first, 10, 64); err != nil || at != size || size == 0 {
			return 0, errors.Join(partial.Truncate(0), unavailable("the server of the base answers with another range than was asked for"))
		}
		return size, nil
	case http.StatusOK:
	case http.StatusRequestedRangeNotSatisfiable:
		return 0, errors.Join(partial.Truncate(0), unavailable("the server of the base has fewer bytes than it had before"))
	default:
		return 0, unavailable("the server of the base answers %d %s", response.StatusCode, http.StatusText(response.StatusCode))
	}
	said, err := json.Marshal(validator{URL: from.url, ETag: response.Header.Get("ETag"), LastModified: response.Header.Get("Last-Modified")})
	if err == nil {
		err = errors.Join(partial.Truncate(0), writeWhole(validatorPath(partial), said))
	}
	if err != nil {
		return 0, failed("keeping the base", err)
	}
	return 0, nil
}

// enough is how much must arrive in the time of a stall.
const enough = 64 << 10

// roomStep is how much room is made at a time where the server does not say how much comes.
const roomStep = 256 << 20

// arriving is a body on its way: bounded, and watched.
type arriving struct {
	cache    *Cache
	key      string
	body     io.Reader
	size     int64
	known    bool
	reserved int64
	since    int
	progress func()
}

func (a *arriving) Read(buffer []byte) (int, error) {
	n, err := a.body.Read(buffer)
	a.size += int64(n)
	if a.since += n; a.since >= enough {
		a.since = 0
		a.progress()
	}
	if n > 0 && !a.known && a.size > a.reserved {
		if a.size > a.cache.options.MaxBase {
			return 0, a.cache.roomFor(a.key, a.size)
		}
		a.reserved = min(a.size+roomStep, a.cache.options.MaxBase)
		if err := a.cache.reserve(a.key, a.reserved); err != nil {
			return 0, err
		}
	}
	return n, err
}
