package channel

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type gitHubRelease struct {
	Tag        string `json:"tag_name"`
	Draft      bool   `json:"draft"`
	Prerelease bool   `json:"prerelease"`
}

// gitHub is the part of GitHub's API that lists releases.
func gitHub(t *testing.T, releases *[]gitHubRelease, requests *[]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "/api/v3/repos/Rancher/os2/releases", r.URL.Path)
		require.Equal(t, "Bearer "+canary, r.Header.Get("Authorization"))
		page, err := strconv.Atoi(r.URL.Query().Get("page"))
		require.NoError(t, err)
		from := min((page-1)*releasesPerPage, len(*releases))
		to := min(page*releasesPerPage, len(*releases))
		if to < len(*releases) {
			w.Header().Set("Link", fmt.Sprintf(`<https://%s%s?page=%d>; rel="next"`, r.Host, r.URL.Path, page+1))
		}
		encoded, err := json.Marshal((*releases)[from:to])
		require.NoError(t, err)
		tag := fmt.Sprintf(`W/"%x"`, len(encoded))
		w.Header().Set("ETag", tag)
		status := http.StatusOK
		if r.Header.Get("If-None-Match") == tag {
			status, encoded = http.StatusNotModified, nil
		}
		*requests = append(*requests, fmt.Sprintf("%d %d", page, status))
		w.WriteHeader(status)
		_, _ = w.Write(encoded)
	}
}

func TestGitHub(t *testing.T) {
	releases := []gitHubRelease{
		{Tag: "v1.2.0-rc1", Prerelease: true}, {Tag: "v1.1.0"}, {Tag: "v1.0.0+build.1"}, {Tag: "nightly", Prerelease: true},
		{Tag: "v1.3.0", Prerelease: true}, {Tag: "v9.0.0", Draft: true},
	}
	requests := []string{}
	server, options := serve(t, gitHub(t, &releases, &requests))
	fetcher := GitHub{Channel: "stable", URL: "github-releases://Rancher/os2", API: server.URL + "/api/v3", Options: options}
	first, err := fetcher.Fetch(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, []Release{
		{Name: "stable-v1.0.0-build.1", Version: "v1.0.0+build.1", Type: "container", Metadata: []byte(`{"upgradeImage":"rancher/os2:v1.0.0-build.1"}`)},
		{Name: "stable-v1.1.0", Version: "v1.1.0", Type: "container", Metadata: []byte(`{"upgradeImage":"rancher/os2:v1.1.0"}`)},
		{Name: "stable-v1.2.0-rc1", Version: "v1.2.0-rc1", Type: "container", Metadata: []byte(`{"upgradeImage":"rancher/os2:v1.2.0-rc1"}`)},
	}, first.Releases)
	require.Len(t, first.Skipped, 2)
	require.Contains(t, first.Skipped[1], "it is a pre-release, and its tag does not say so")

	again, err := fetcher.Fetch(t.Context(), first)
	require.NoError(t, err)
	require.Same(t, first, again)
	require.Equal(t, []string{"1 200", "1 304"}, requests)

	releases = append([]gitHubRelease{{Tag: "v1.4.0"}}, releases...)
	fetcher.Image = "registry.example.com:5000/rancher/os2"
	news, err := fetcher.Fetch(t.Context(), first)
	require.NoError(t, err)
	require.Contains(t, names(news), "stable-v1.4.0")
	require.JSONEq(t, `{"upgradeImage":"registry.example.com:5000/rancher/os2:v1.4.0"}`, string(news.Releases[3].Metadata))
}

func TestGitHubPages(t *testing.T) {
	releases := []gitHubRelease{}
	for i := range MaxReleases + 200 {
		releases = append(releases, gitHubRelease{Tag: fmt.Sprintf("v1.%d.0", 2000-i)})
	}
	requests := []string{}
	server, options := serve(t, gitHub(t, &releases, &requests))
	answer, err := GitHub{Channel: "c", URL: "github-releases://Rancher/os2", API: server.URL + "/api/v3/", Options: options}.Fetch(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, answer.Releases, MaxReleases, "the newest of them")
	require.Contains(t, names(answer), "c-v1.2000.0")
	require.Len(t, requests, 21)
}

func TestGitHubRefuses(t *testing.T) {
	reset := time.Now().Add(30 * time.Minute).Unix()
	for _, c := range []struct {
		id      string
		handler http.HandlerFunc
		want    Reason
		least   time.Duration
	}{
		{"no requests left until a time", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-RateLimit-Remaining", "0")
			w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(reset, 10))
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"message":"API rate limit exceeded for `+canary+`"}`)
		}, ReasonRateLimited, 29 * time.Minute},
		{"a pause", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "600")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"message":"secondary","documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`)
		}, ReasonRateLimited, 10 * time.Minute},
		{"429", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(http.StatusTooManyRequests)
		}, ReasonRateLimited, time.Minute},
		{"no such repository", body(404, `{"message":"Not Found"}`), ReasonRequestRefused, 0},
		{"a bad token", body(401, `{"message":"Bad credentials `+canary+`"}`), ReasonRequestRefused, 0},
		{"no JSON", body(200, "<html>"), ReasonInvalidDocument, 0},
		{"no list", body(200, `{"a":1}`), ReasonInvalidDocument, 0},
		{"a number for a tag", body(200, `[{"tag_name":1}]`), ReasonInvalidDocument, 0},
		{"too large", body(200, `["`+strings.Repeat("x", maxPage)+`"]`), ReasonInvalidDocument, 0},
		{"to another host", redirect(302, "https://other.example.com/"), ReasonRequestRefused, 0},
		{"304 that nobody asked for", body(304, ""), ReasonRequestRefused, 0},
	} {
		server, options := serve(t, c.handler)
		answer, err := GitHub{Channel: "c", URL: "github-releases://rancher/os2", API: server.URL, Options: options}.Fetch(t.Context(), nil)
		require.Nil(t, answer, c.id)
		failure := requireFailure(t, c.id, c.want, err)
		require.GreaterOrEqual(t, failure.After, c.least, c.id)
		server.Close()
	}
	for _, url := range []string{"", "github-releases://", "github-releases://owner", "github-releases:///repo"} {
		_, err := GitHub{URL: url}.Fetch(t.Context(), nil)
		requireFailure(t, url, ReasonInvalidSpec, err)
	}
	_, err := GitHub{URL: "github-releases://owner/repo", API: "http://github.example.com"}.Fetch(t.Context(), nil)
	requireFailure(t, "plain http", ReasonInvalidSpec, err)
}
