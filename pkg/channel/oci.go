package channel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	remotetransport "github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/sync/errgroup"

	"github.com/rancher/rancheros-operator/pkg/osversion"
)

const (
	// maxTags bounds what is looked through for versions.
	maxTags = 20_000
	// tagsPerPage is asked for; registries may give fewer.
	tagsPerPage = 5_000
	// rechecked is how many of the newest tags are looked up again each time, to tell of one that was moved.
	rechecked = 16
	// lookups are made at the same time.
	lookups = 4
)

// OCI asks for the tags of a repository of a registry. Those that are whole versions are releases, pinned to the digest
// that the tag points to.
type OCI struct {
	// Channel begins the names of the versions.
	Channel string
	// URL is the repository: registry.example.com/rancher/os2.
	URL string
	Options
}

// Fetch makes OCI a Fetcher. A digest that was looked up before is looked up again for the newest tags only.
func (o OCI) Fetch(ctx context.Context, last *Answer) (*Answer, error) {
	var options []name.Option
	if o.Insecure {
		options = append(options, name.Insecure)
	}
	repository, err := name.NewRepository(o.URL, options...)
	if err != nil {
		return nil, fail(ReasonInvalidSpec, "url is not a registry repository such as registry.example.com/rancher/os2; correct it")
	}
	transport, err := newTransport(o.Options, MaxDocument)
	if err != nil {
		return nil, err
	}
	defer transport.close()
	keychain, err := newKeychain(o.Options)
	if err != nil {
		return nil, err
	}
	remotes := []remote.Option{
		remote.WithTransport(transport), remote.WithAuthFromKeychain(keychain), remote.WithUserAgent("rancheros-operator"),
		remote.WithPageSize(tagsPerPage),
		// Whether and when to try again is decided in one place, and not here.
		remote.WithRetryBackoff(remote.Backoff{Steps: 1}), remote.WithRetryPredicate(func(error) bool { return false }), remote.WithRetryStatusCodes(),
	}
	versions, skipped, err := o.tags(ctx, repository, remotes)
	if err != nil {
		return nil, err
	}
	digests, err := o.digests(ctx, repository, versions, last, remotes)
	if err != nil {
		return nil, err
	}
	answer := &Answer{Skipped: skipped, digests: digests}
	for _, version := range versions {
		digest, exists := digests[version.String()]
		if !exists {
			continue
		}
		image := fmt.Sprintf("%s:%s@%s", o.URL, version, digest)
		if !isImage(image) {
			answer.Skipped = append(answer.Skipped, fmt.Sprintf("tag %s: %s is not an image reference", shown(version.String()), shown(image)))
			continue
		}
		answer.Releases = append(answer.Releases, Release{Name: nameOf(o.Channel, version.String()), Version: version.String(), Type: typeContainer, Metadata: imageMetadata(image)})
	}
	answer.sort()
	return answer, nil
}

// tags are the newest tags that are versions, newest first.
func (o OCI) tags(ctx context.Context, repository name.Repository, remotes []remote.Option) (versions []osversion.Version, skipped []string, err error) {
	puller, err := remote.NewPuller(remotes...)
	if err != nil {
		return nil, nil, fail(ReasonInvalidSpec, "url cannot be asked; correct it")
	}
	lister, err := puller.Lister(ctx, repository)
	if err != nil {
		return nil, nil, registryFailure(err, repository, time.Now())
	}
	all := map[string]bool{}
	for lister.HasNext() {
		page, err := lister.Next(ctx)
		if err != nil {
			return nil, nil, registryFailure(err, repository, time.Now())
		}
		before := len(all)
		for _, tag := range page.Tags {
			all[tag] = true
		}
		if len(all) > maxTags || len(page.Tags) > 0 && len(all) == before {
			return nil, nil, fail(ReasonInvalidDocument, "the repository has more than %d tags, or a list of them that does not end", maxTags)
		}
	}
	for tag := range all {
		if isVersionTag(tag, all) {
			versions = append(versions, osversion.Parse(tag))
		}
	}
	slices.SortFunc(versions, func(a, b osversion.Version) int { return osversion.Order(b, a) })
	if len(versions) > MaxReleases {
		skipped = append(skipped, fmt.Sprintf("%d tags: older than the newest %d", len(versions)-MaxReleases, MaxReleases))
		versions = versions[:MaxReleases]
	}
	return versions, skipped, nil
}

// isVersionTag leaves out v1 and v1.2, which move, and v1.2.3-arm64 beside v1.2.3, which is a part of it.
func isVersionTag(tag string, all map[string]bool) bool {
	version := osversion.Parse(tag)
	if !version.Known() || !version.Full() {
		return false
	}
	whole := osversion.OfImage("image:" + tag).String()
	return whole == tag || !all[whole]
}

// digests looks up where tags point to. One that was deleted in the meantime is left out; any other failure fails all, so
// that a release is never missing by accident.
func (o OCI) digests(ctx context.Context, repository name.Repository, versions []osversion.Version, last *Answer, remotes []remote.Option) (map[string]string, error) {
	puller, err := remote.NewPuller(remotes...)
	if err != nil {
		return nil, fail(ReasonInvalidSpec, "url cannot be asked; correct it")
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(lookups)
	found := make([]string, len(versions))
	for i, version := range versions {
		if last != nil && i >= rechecked && last.digests[version.String()] != "" {
			found[i] = last.digests[version.String()]
			continue
		}
		group.Go(func() error {
			descriptor, err := puller.Head(ctx, repository.Tag(version.String()))
			switch {
			case err == nil:
				found[i] = descriptor.Digest.String()
			case !isStatus(err, http.StatusNotFound):
				return registryFailure(err, repository, time.Now())
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	digests := map[string]string{}
	for i, version := range versions {
		if found[i] != "" {
			digests[version.String()] = found[i]
		}
	}
	return digests, nil
}

func isStatus(err error, status int) bool {
	var refused *remotetransport.Error
	return errors.As(err, &refused) && refused.StatusCode == status
}

func registryFailure(err error, repository name.Repository, now time.Time) *Failure {
	var refused *remotetransport.Error
	host := repository.RegistryStr()
	switch {
	case errors.As(err, &refused):
		response := &http.Response{StatusCode: refused.StatusCode, Header: http.Header{}}
		if refused.Request != nil && refused.Request.URL != nil {
			host = refused.Request.URL.Host
		}
		return statusFailure(response, host, now)
	case isSyntax(err):
		return fail(ReasonInvalidDocument, "the answer of %s is not a list of tags", host)
	}
	return failureOf(err, host, MaxDocument)
}

// keychain knows the credentials of registries from a docker config.json.
type keychain struct{ config dockerConfig }

type dockerConfig struct {
	Auths map[string]authn.AuthConfig `json:"auths"`
}

func newKeychain(options Options) (*keychain, error) {
	made := &keychain{}
	if len(options.DockerConfig) == 0 {
		return made, nil
	}
	config, err := parseDockerConfig(options.DockerConfig)
	if err != nil {
		return nil, fail(ReasonInvalidSpec, "the Secret of spec.secretName holds no docker config.json with auths; correct it")
	}
	made.config = config
	return made, nil
}

// Resolve finds the credentials of the longest key that the repository, or its registry, begins with.
func (k *keychain) Resolve(resource authn.Resource) (authn.Authenticator, error) {
	best, bestKey := authn.Anonymous, ""
	for key, auth := range k.config.Auths {
		normal := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://"), "/")
		for _, version := range []string{"/v1", "/v2"} {
			normal = strings.TrimSuffix(normal, version)
		}
		if normal != "" && (resource.String() == normal || strings.HasPrefix(resource.String(), normal+"/")) && len(normal) > len(bestKey) {
			best, bestKey = authn.FromConfig(auth), normal
		}
	}
	return best, nil
}

func parseDockerConfig(document []byte) (dockerConfig, error) {
	var config dockerConfig
	if err := json.Unmarshal(document, &config); err != nil {
		return config, fmt.Errorf("reading docker config: %w", err)
	}
	return config, nil
}
