package channel

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"time"
)

// JSON asks for a document.
type JSON struct {
	// URI is its https address.
	URI string
	Options
}

// Fetch makes JSON a Fetcher.
func (j JSON) Fetch(ctx context.Context, last *Answer) (*Answer, error) {
	address, err := url.Parse(j.URI)
	if err != nil || address.Scheme != "https" || address.Hostname() == "" || address.User != nil {
		return nil, fail(ReasonInvalidSpec, "options.uri is not an https address without a user or password in it; correct it")
	}
	transport, err := newTransport(j.Options, MaxDocument)
	if err != nil {
		return nil, err
	}
	defer transport.close()
	// One deadline for all of it, redirects included.
	ctx, cancel := context.WithTimeout(ctx, j.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, j.URI, nil)
	if err != nil {
		return nil, fail(ReasonInvalidSpec, "options.uri cannot be asked; correct it")
	}
	j.authorize(request)
	request.Header.Set("Accept", "application/json")
	if last != nil && last.ETag != "" {
		request.Header.Set("If-None-Match", last.ETag)
	}
	response, err := transport.client().Do(request)
	if err != nil {
		return nil, failureOf(err, address.Host, MaxDocument)
	}
	defer response.Body.Close()
	switch {
	case response.StatusCode == http.StatusNotModified && last != nil && last.ETag != "":
		return last, nil
	case response.StatusCode != http.StatusOK:
		return nil, statusFailure(response, address.Host, time.Now())
	}
	document, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, failureOf(err, address.Host, MaxDocument)
	}
	answer, err := ParseDocument(document)
	if err != nil {
		return nil, err
	}
	answer.ETag = etag(response)
	return answer, nil
}

func (o *Options) authorize(request *http.Request) {
	switch {
	case o.Token != "":
		request.Header.Set("Authorization", "Bearer "+o.Token)
	case o.Username != "" || o.Password != "":
		request.SetBasicAuth(o.Username, o.Password)
	}
}

// etag is empty where it is larger than anybody's name of anything.
func etag(response *http.Response) string {
	if tag := response.Header.Get("ETag"); len(tag) <= 512 {
		return tag
	}
	return ""
}
