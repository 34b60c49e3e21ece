package cache

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/opencontainers/go-digest"
)

const (
	// maxManifest bounds a manifest; registries allow 4 MiB.
	maxManifest = 4 << 20
	// maxLayers bounds how many layers of a container image are looked into.
	maxLayers = 16
	// tokenAge is how old a registry's token may get; most live for five minutes.
	tokenAge = time.Minute
)

// manifestTypes are what we understand.
var manifestTypes = []string{
	"application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json",
	"application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.list.v2+json",
}

// manifest is an image's, or a list of them.
type manifest struct {
	Manifests []descriptor `json:"manifests"`
	Layers    []descriptor `json:"layers"`
}

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      digest.Digest     `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations"`
	Platform    *struct {
		Architecture string `json:"architecture"`
	} `json:"platform"`
}

// isTar tells a layer of a container image from a file that was put into a registry as it is.
func (d descriptor) isTar() bool {
	return strings.Contains(d.MediaType, ".tar") && !strings.HasSuffix(d.Annotations["org.opencontainers.image.title"], ".iso")
}

// repository is one repository of a registry, and the token that it wants.
type repository struct {
	client *http.Client
	base   string // Ends in the repository's name.

	mutex sync.Mutex
	token string
	since time.Time
	ask   string // Where to get a token; empty where none is wanted.
}

func (c *Cache) repository(named reference.Named) *repository {
	host := reference.Domain(named)
	// One registry goes by another name than the one that it answers at.
	if repository, err := name.NewRepository(named.Name()); err == nil {
		host = repository.RegistryStr()
	}
	scheme := "https"
	if hostname, _, _ := strings.Cut(host, ":"); isLoopback(hostname) {
		scheme = "http"
	}
	return &repository{client: c.client, base: scheme + "://" + host + "/v2/" + reference.Path(named)}
}

// pull brings the medium behind a reference: the one file of an artifact, or the .iso in a container image. The file that
// it returns is the partial, or one that was unpacked from it.
func (c *Cache) pull(ctx context.Context, partial *os.File, key string, named reference.Named) (*os.File, error) {
	r := c.repository(named)
	layers, err := r.layers(ctx, named)
	if err != nil {
		return nil, failed("asking the registry", err)
	}
	for _, layer := range layers {
		from := remote{url: r.base + "/blobs/" + layer.Digest.String(), authorize: r.authorize(ctx), immutable: true}
		if err := c.download(ctx, partial, key, from); err != nil {
			return nil, err
		}
		if err := c.verify(ctx, partial, layer.Digest); err != nil {
			return nil, err
		}
		if !layer.isTar() {
			return partial, nil
		}
		unpacked, err := c.unpack(ctx, partial, key, layer)
		if err != nil || unpacked != nil {
			return unpacked, err
		}
		// The next layer is another blob, and the partial begins anew.
		if err := partial.Truncate(0); err != nil {
			return nil, failed("keeping the base", err)
		}
	}
	return nil, invalid("the image holds no file that ends in .iso, and is no artifact of one file")
}

// verify compares a blob with its name.
func (c *Cache) verify(ctx context.Context, partial *os.File, want digest.Digest) error {
	hasher, err := c.hash(ctx, partial)
	if err != nil {
		return err
	}
	if sum := hasher.Sum(); hex.EncodeToString(sum[:]) != want.Encoded() {
		return invalid("the registry sent other bytes than the image's manifest names")
	}
	return nil
}

// layers are those of the manifest that may hold the medium, the likeliest first.
func (r *repository) layers(ctx context.Context, named reference.Named) ([]descriptor, error) {
	what := "latest"
	switch named := named.(type) {
	case reference.Digested:
		what = named.Digest().String()
	case reference.Tagged:
		what = named.Tag()
	}
	m, err := r.manifest(ctx, what)
	if err != nil {
		return nil, err
	}
	if len(m.Manifests) > 0 {
		at := slices.IndexFunc(m.Manifests, func(d descriptor) bool { return d.Platform != nil && d.Platform.Architecture == runtime.GOARCH })
		if m, err = r.manifest(ctx, m.Manifests[max(at, 0)].Digest.String()); err != nil {
			return nil, err
		}
	}
	var layers []descriptor
	for _, layer := range slices.Backward(m.Layers) {
		if layer.Digest.Validate() != nil || layer.Digest.Algorithm() != digest.SHA256 {
			return nil, invalid("the image's manifest names a layer by something else than its SHA-256")
		}
		if layer.isTar() {
			layers = append(layers, layer)
		} else {
			layers = slices.Insert(layers, 0, layer)
		}
	}
	if len(layers) == 0 || len(layers) > maxLayers {
		return nil, invalid("the image has %d layers, and a base medium has from 1 to %d", len(layers), maxLayers)
	}
	return layers, nil
}

func (r *repository) manifest(ctx context.Context, what string) (manifest, error) {
	var m manifest
	response, err := r.get(ctx, r.base+"/manifests/"+what)
	if err != nil {
		return m, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxManifest+1))
	if err != nil {
		return m, err
	}
	if len(body) > maxManifest {
		return m, invalid("the image's manifest is too large")
	}
	if pinned, err := digest.Parse(what); err == nil && pinned.Algorithm() == digest.SHA256 && digest.FromBytes(body) != pinned {
		return m, invalid("the registry sent another manifest than the one that was asked for by its digest")
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return m, invalid("the image's manifest is no JSON")
	}
	return m, nil
}

// get asks, and once more with a token if the registry wants one.
func (r *repository) get(ctx context.Context, address string) (*http.Response, error) {
	for first := true; ; first = false {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return nil, err
		}
		request.Header.Set("Accept", strings.Join(manifestTypes, ", "))
		if err := r.authorize(ctx)(request); err != nil {
			return nil, err
		}
		response, err := r.client.Do(request)
		if err != nil || response.StatusCode == http.StatusOK {
			return response, err
		}
		response.Body.Close()
		if response.StatusCode != http.StatusUnauthorized || !first {
			return nil, unavailable("the registry answers %d %s", response.StatusCode, http.StatusText(response.StatusCode))
		}
		if r.ask, err = challenge(response.Header.Get("WWW-Authenticate")); err != nil {
			return nil, err
		}
	}
}

var parameter = regexp.MustCompile(`([a-z]+)="([^"]*)"`)

// challenge is where a registry wants a token to be got.
func challenge(header string) (string, error) {
	if !strings.HasPrefix(strings.ToLower(header), "bearer ") {
		return "", unavailable("the registry wants a password; only those that hand out tokens to anybody are supported")
	}
	query, realm := url.Values{}, ""
	for _, match := range parameter.FindAllStringSubmatch(header, -1) {
		switch match[1] {
		case "realm":
			realm = match[2]
		case "service", "scope":
			query.Set(match[1], match[2])
		}
	}
	address, err := url.Parse(realm)
	if err != nil || address.Host == "" {
		return "", unavailable("the registry does not say where to get a token")
	}
	address.RawQuery = query.Encode()
	return address.String(), nil
}

// authorize adds a token that is young enough.
func (r *repository) authorize(ctx context.Context) func(*http.Request) error {
	return func(request *http.Request) error {
		r.mutex.Lock()
		defer r.mutex.Unlock()
		if r.ask == "" {
			return nil
		}
		if time.Since(r.since) > tokenAge {
			token, err := r.newToken(ctx)
			if err != nil {
				return err
			}
			r.token, r.since = token, time.Now()
		}
		request.Header.Set("Authorization", "Bearer "+r.token)
		return nil
	}
}

func (r *repository) newToken(ctx context.Context) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.ask, nil)
	if err != nil {
		return "", err
	}
	response, err := r.client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	err = json.NewDecoder(io.LimitReader(response.Body, maxManifest)).Decode(&answer)
	if response.StatusCode != http.StatusOK || err != nil || answer.Token+answer.AccessToken == "" {
		return "", &Error{Reason: Unavailable, Err: errors.Join(err), Message: fmt.Sprintf("the registry gives no token to anybody: %d %s", response.StatusCode, http.StatusText(response.StatusCode))}
	}
	if answer.Token == "" {
		answer.Token = answer.AccessToken
	}
	return answer.Token, nil
}
