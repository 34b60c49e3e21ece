package cache

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"
)

// registry is one that speaks the distribution protocol, as far as pulling goes.
type registry struct {
	*httptest.Server
	manifests map[string][]byte
	blobs     map[string][]byte
	token     string
}

func newRegistry(t *testing.T) *registry {
	r := &registry{manifests: map[string][]byte{}, blobs: map[string][]byte{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /token", func(w http.ResponseWriter, request *http.Request) {
		require.Equal(t, "repository:os/iso:pull", request.URL.Query().Get("scope"))
		_ = json.NewEncoder(w).Encode(map[string]string{"token": r.token})
	})
	mux.HandleFunc("GET /v2/os/iso/", func(w http.ResponseWriter, request *http.Request) {
		if r.token != "" && request.Header.Get("Authorization") != "Bearer "+r.token {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+r.URL+`/token",service="here",scope="repository:os/iso:pull"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		kind, name, _ := strings.Cut(strings.TrimPrefix(request.URL.Path, "/v2/os/iso/"), "/")
		content, found := map[string]map[string][]byte{"manifests": r.manifests, "blobs": r.blobs}[kind][name]
		if !found {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		http.ServeContent(w, request, "", time.Time{}, bytes.NewReader(content))
	})
	r.Server = httptest.NewServer(mux)
	t.Cleanup(r.Close)
	return r
}

// push makes the layers an image of that tag, and returns its digest.
func (r *registry) push(tag string, layers ...map[string]any) digest.Digest {
	body, _ := json.Marshal(map[string]any{"schemaVersion": 2, "layers": layers})
	r.manifests[tag] = body
	sum := digest.FromBytes(body)
	r.manifests[sum.String()] = body
	return sum
}

func (r *registry) layer(mediaType string, content []byte, title string) map[string]any {
	sum := digest.FromBytes(content)
	r.blobs[sum.String()] = content
	return map[string]any{"mediaType": mediaType, "digest": sum, "size": len(content), "annotations": map[string]string{"org.opencontainers.image.title": title}}
}

func packed(t *testing.T, zip bool, name string, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	require.NoError(t, archive.WriteHeader(&tar.Header{Name: name, Size: int64(len(content)), Mode: 0o644, Typeflag: tar.TypeReg}))
	_, err := archive.Write(content)
	require.NoError(t, err)
	require.NoError(t, archive.Close())
	if !zip {
		return out.Bytes()
	}
	var zipped bytes.Buffer
	writer := gzip.NewWriter(&zipped)
	_, err = writer.Write(out.Bytes())
	require.NoError(t, err)
	require.NoError(t, writer.Close())
	return zipped.Bytes()
}

func TestRegistry(t *testing.T) {
	const tarType, gzipType = "application/vnd.oci.image.layer.v1.tar", "application/vnd.docker.image.rootfs.diff.tar.gzip"
	iso := base("a")
	for _, c := range []struct {
		why, ref string
		prepare  func(r *registry) digest.Digest
		want     string
	}{
		{"an artifact", ":v1", func(r *registry) digest.Digest { return r.push("v1", r.layer("application/vnd.example.iso", iso, "")) }, ""},
		{"an artifact pushed as a tar by its type only", ":v1", func(r *registry) digest.Digest { return r.push("v1", r.layer(tarType, iso, "base.iso")) }, ""},
		{"no tag", "", func(r *registry) digest.Digest {
			return r.push("latest", r.layer("application/vnd.example.iso", iso, ""))
		}, ""},
		{"a container image with the medium in its first layer", ":v1", func(r *registry) digest.Digest {
			return r.push("v1", r.layer(gzipType, packed(t, true, "elemental-iso/base.iso", iso), ""), r.layer(tarType, packed(t, false, "etc/os-release", []byte("x")), ""))
		}, ""},
		{"a registry that wants a token", ":v1", func(r *registry) digest.Digest {
			r.token = "t0k3n"
			return r.push("v1", r.layer("application/vnd.example.iso", iso, ""))
		}, ""},
		{"by digest", "@digest", func(r *registry) digest.Digest { return r.push("v1", r.layer("application/vnd.example.iso", iso, "")) }, ""},
		{"a list of images", ":multi", func(r *registry) digest.Digest {
			sum := r.push("v1", r.layer("application/vnd.example.iso", iso, ""))
			r.manifests["multi"], _ = json.Marshal(map[string]any{"manifests": []any{map[string]any{"digest": sum, "platform": map[string]string{"architecture": "amd64"}}}})
			return sum
		}, ""},
		{"another manifest than its digest says", "@digest", func(r *registry) digest.Digest {
			sum := r.push("v1", r.layer("application/vnd.example.iso", iso, ""))
			r.manifests[sum.String()] = []byte("{}")
			return sum
		}, "sent another manifest"},
		{"other bytes than the manifest says", ":v1", func(r *registry) digest.Digest {
			layer := r.layer("application/vnd.example.iso", iso, "")
			r.blobs[layer["digest"].(digest.Digest).String()] = base("b")
			return r.push("v1", layer)
		}, "sent other bytes"},
		{"no such tag", ":v2", func(r *registry) digest.Digest { return r.push("v1") }, "the registry answers 404 Not Found"},
		{"no layers", ":v1", func(r *registry) digest.Digest { return r.push("v1") }, "has 0 layers"},
		{"no medium in it", ":v1", func(r *registry) digest.Digest {
			return r.push("v1", r.layer(gzipType, packed(t, true, "etc/os-release", []byte("x")), ""))
		}, "holds no file that ends in .iso"},
		{"a layer of garbage", ":v1", func(r *registry) digest.Digest { return r.push("v1", r.layer(gzipType, []byte("garbage"), "")) }, "is no gzip"},
		{"another way of packing", ":v1", func(r *registry) digest.Digest { return r.push("v1", r.layer(tarType+"+zstd", []byte("x"), "")) }, "push it with gzip"},
		{"a layer that has a path for a name", ":v1", func(r *registry) digest.Digest {
			return r.push("v1", map[string]any{"mediaType": "x", "digest": "../../etc/passwd", "size": 1})
		}, "by something else than its SHA-256"},
		{"a manifest of garbage", ":v1", func(r *registry) digest.Digest { r.manifests["v1"] = []byte("garbage"); return "" }, "is no JSON"},
		{"a manifest of 5 MB", ":v1", func(r *registry) digest.Digest {
			r.manifests["v1"] = bytes.Repeat([]byte(" "), 5<<20)
			return ""
		}, "too large"},
	} {
		t.Run(c.why, func(t *testing.T) {
			r := newRegistry(t)
			sum := c.prepare(r)
			cache := newCache(t, nil)
			ref := strings.TrimPrefix(r.URL, "http://") + "/os/iso" + strings.Replace(c.ref, "digest", sum.String(), 1)
			b, err := cache.Fetch(t.Context(), Source{Image: ref})
			if c.want != "" {
				require.ErrorContains(t, err, c.want)
				return
			}
			require.NoError(t, err)
			require.Equal(t, sumOf(iso), b.Checksum)
			_, names := onDisk(t, cache.options.Dir)
			require.NotContains(t, strings.Join(names, " "), ".iso.iso")
		})
	}
}

func TestChallenge(t *testing.T) {
	for header, want := range map[string]string{
		`Bearer realm="https://auth.example.com/token",service="r",scope="repository:a/b:pull"`: "https://auth.example.com/token?scope=repository%3Aa%2Fb%3Apull&service=r",
		`Basic realm="x"`:    "",
		`Bearer realm=""`:    "",
		`Bearer service="x"`: "",
		``:                   "",
	} {
		got, err := challenge(header)
		require.Equal(t, want, got, header)
		require.Equal(t, want == "", err != nil, header)
	}
}
