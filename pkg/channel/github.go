package channel

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/google/go-github/v74/github"

	"github.com/rancher/rancheros-operator/pkg/osversion"
)

const (
	// releasesPerPage keeps a page, with its notes and assets, well below maxPage.
	releasesPerPage = 50
	maxPage         = 8 << 20
)

// GitHub asks for the releases of a repository, whose tags are versions.
type GitHub struct {
	// Channel begins the names of the versions.
	Channel string
	// URL is github-releases://owner/repo.
	URL string
	// API is the address of a GitHub Enterprise server's API; empty means GitHub's own.
	API string
	// Image is the repository of images whose tags are those of the releases; empty means owner/repo.
	Image string
	Options
}

// Fetch makes GitHub a Fetcher. Only the first page is asked for conditionally: releases are listed newest first, and a
// new one is on it.
func (g GitHub) Fetch(ctx context.Context, last *Answer) (*Answer, error) {
	owner, repository, found := strings.Cut(strings.TrimPrefix(g.URL, "github-releases://"), "/")
	if !found || owner == "" || repository == "" {
		return nil, fail(ReasonInvalidSpec, "url is not github-releases://owner/repo; correct it")
	}
	transport, err := newTransport(g.Options, maxPage)
	if err != nil {
		return nil, err
	}
	defer transport.close()
	client, err := g.client(transport)
	if err != nil {
		return nil, err
	}
	answer := &Answer{}
	listed := 0
	for page := 1; page != 0 && listed < MaxReleases; {
		request, err := client.NewRequest(http.MethodGet, fmt.Sprintf("repos/%s/%s/releases?per_page=%d&page=%d",
			url.PathEscape(owner), url.PathEscape(repository), releasesPerPage, page), nil)
		if err != nil {
			return nil, fail(ReasonInvalidSpec, "url or options.uri cannot be asked; correct it")
		}
		if page == 1 && last != nil && last.ETag != "" {
			request.Header.Set("If-None-Match", last.ETag)
		}
		var releases []*github.RepositoryRelease
		response, err := client.Do(ctx, request, &releases)
		if page == 1 && last != nil && last.ETag != "" && response != nil && response.StatusCode == http.StatusNotModified {
			return last, nil
		}
		if err != nil {
			return nil, gitHubFailure(err, request.URL.Host, time.Now())
		}
		if page == 1 {
			answer.ETag = etag(response.Response)
		}
		listed += len(releases)
		g.add(answer, releases, owner+"/"+repository)
		page = response.NextPage
	}
	answer.sort()
	return answer, nil
}

func (g GitHub) client(transport *transport) (*github.Client, error) {
	client := github.NewClient(transport.client())
	if g.Token != "" {
		client = client.WithAuthToken(g.Token)
	}
	if g.API == "" {
		return client, nil
	}
	base, err := url.Parse(strings.TrimSuffix(g.API, "/") + "/")
	if err != nil || base.Scheme != "https" || base.Hostname() == "" || base.User != nil {
		return nil, fail(ReasonInvalidSpec, "options.uri is not an https address without a user or password in it; correct it")
	}
	client.BaseURL = base
	return client, nil
}

// add takes the releases that are versions. What GitHub calls a pre-release is one only if its tag says so, too: as a
// version it would be taken for the newest.
func (g GitHub) add(answer *Answer, releases []*github.RepositoryRelease, repository string) {
	repository = strings.ToLower(repository)
	if g.Image != "" {
		repository = g.Image
	}
	for _, release := range releases {
		tag := release.GetTagName()
		version := osversion.Parse(tag)
		switch {
		case release.GetDraft() || len(answer.Releases) >= MaxReleases:
			continue
		case !version.Known():
			answer.Skipped = append(answer.Skipped, fmt.Sprintf("release %s: its tag is not a version such as v1.2.3", shown(tag)))
			continue
		case release.GetPrerelease() && !version.Prerelease():
			answer.Skipped = append(answer.Skipped, fmt.Sprintf("release %s: it is a pre-release, and its tag does not say so", shown(tag)))
			continue
		}
		image := repository + ":" + notInTag.ReplaceAllString(tag, "-")
		if !isImage(image) {
			answer.Skipped = append(answer.Skipped, fmt.Sprintf("release %s: %s is not an image reference", shown(tag), shown(image)))
			continue
		}
		answer.Releases = append(answer.Releases, Release{Name: nameOf(g.Channel, tag), Version: tag, Type: typeContainer, Metadata: imageMetadata(image)})
	}
}

// notInTag is what a tag of an image cannot hold: the plus of v1.2.3+build.
var notInTag = regexp.MustCompile(`[^A-Za-z0-9_.-]`)

// gitHubFailure knows GitHub's two ways to say that it was enough: no requests left until a time, and a pause.
func gitHubFailure(err error, host string, now time.Time) *Failure {
	var limit *github.RateLimitError
	var pause *github.AbuseRateLimitError
	var refused *github.ErrorResponse
	switch {
	case errors.As(err, &limit):
		return &Failure{Reason: ReasonRateLimited, Message: host + " allows no more requests for now; a token in the Secret of spec.secretName has a limit of its own",
			After: min(max(limit.Rate.Reset.Sub(now), 0), maxAfter)}
	case errors.As(err, &pause):
		return &Failure{Reason: ReasonRateLimited, Message: host + " asks for a pause", After: min(max(pause.GetRetryAfter(), 0), maxAfter)}
	case errors.As(err, &refused) && refused.Response != nil:
		return statusFailure(refused.Response, host, now)
	case isSyntax(err):
		return fail(ReasonInvalidDocument, "the answer of %s is not a list of releases", host)
	}
	return failureOf(err, host, maxPage)
}
