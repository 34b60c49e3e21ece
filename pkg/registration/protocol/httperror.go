package protocol

import (
	"net/http"
	"strconv"
	"time"
)

// Headers beside a refusal over HTTP. The first clients print the body and ignore these.
const (
	HeaderCode       = "X-Rancheros-Code"
	HeaderHint       = "X-Rancheros-Hint"
	HeaderRetryAfter = "Retry-After"
)

// maxRetryAfter bounds how long a server can send a client to sleep.
const maxRetryAfter = 24 * time.Hour

// WriteHTTPError answers a request with a refusal: status, one line of text, and for clients of ours the code, hint and
// time to come back as headers. Nothing but the public half of the error is written.
func WriteHTTPError(w http.ResponseWriter, e *Error) {
	header := w.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	header.Set(HeaderCode, string(e.Code))
	if e.Hint != "" {
		header.Set(HeaderHint, CleanText(e.Hint))
	}
	if e.RetryAfter > 0 {
		header.Set(HeaderRetryAfter, strconv.FormatInt(int64((e.RetryAfter+time.Second-1)/time.Second), 10))
	}
	w.WriteHeader(e.Code.Status())
	_, _ = w.Write([]byte(CleanText(e.Message) + "\n"))
}

// ReadHTTPError is the refusal in an HTTP answer. A server that sends no code, because it is old or because a proxy
// answers for it, is understood by its status.
func ReadHTTPError(status int, header http.Header, body []byte, now time.Time) *Error {
	e := &Error{
		Code:       Code(header.Get(HeaderCode)),
		Message:    CleanText(string(body)),
		Hint:       CleanText(header.Get(HeaderHint)),
		RetryAfter: parseRetryAfter(header.Get(HeaderRetryAfter), now),
		Reason:     "HTTP status " + strconv.Itoa(status),
	}
	if e.Code == "" {
		e.Code = CodeOfStatus(status)
	}
	if e.Message == "" || e.Message[0] == '<' {
		e.Message = "the server answered " + strconv.Itoa(status) + " " + http.StatusText(status)
	}
	return e
}

// parseRetryAfter reads seconds or a date, whichever a server or proxy prefers.
func parseRetryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil && seconds > 0 {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(value); err == nil && at.After(now) {
		return min(at.Sub(now), maxRetryAfter)
	}
	return 0
}
