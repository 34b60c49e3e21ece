package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/url"
	"regexp"
	"strings"

	"github.com/distribution/reference"
)

// Source is where a base comes from, as a user wrote it.
type Source struct {
	// Image is an http or https address, a file below the configured folder (file:///name.iso), or a reference in a
	// registry, with or without oci:// in front.
	Image string
	// Checksum is the base's SHA-256 in hex, with or without sha256: in front; empty where any will do.
	Checksum string
}

// key names the source in the cache's folder.
func (s Source) key() string {
	sum := sha256.Sum256([]byte(s.Image + "\n" + s.checksum()))
	return hex.EncodeToString(sum[:])
}

func (s Source) checksum() string {
	return strings.ToLower(strings.TrimPrefix(s.Checksum, "sha256:"))
}

var hexSum = regexp.MustCompile(`^[0-9a-f]{64}$`)

// origin is a Source that was understood: one of the three.
type origin struct {
	http     *url.URL
	isFile   bool
	file     string // Below the configured folder.
	registry reference.Named
}

func (s Source) parse() (origin, error) {
	if sum := s.checksum(); sum != "" && !hexSum.MatchString(sum) {
		return origin{}, invalid("the base's checksum is no SHA-256: write 64 hex digits")
	}
	scheme, rest, found := strings.Cut(s.Image, "://")
	switch {
	case found && scheme == "file":
		return origin{isFile: true, file: strings.TrimPrefix(rest, "/")}, nil
	case found && (scheme == "http" || scheme == "https"):
		parsed, err := url.Parse(s.Image)
		if err != nil || parsed.Hostname() == "" || parsed.User != nil {
			return origin{}, invalid("the base's address is no URL, or holds a user: write https://host/path")
		}
		if scheme == "http" && s.Checksum == "" && !isLoopback(parsed.Hostname()) {
			return origin{}, invalid("a base over plain http can be changed on its way: give its checksum, or use https")
		}
		return origin{http: parsed}, nil
	case found && scheme != "oci":
		return origin{}, invalid("the base's address must begin with https://, http://, oci:// or file://, or be an image reference")
	}
	named, err := reference.ParseNormalizedNamed(strings.TrimPrefix(s.Image, "oci://"))
	if err != nil {
		return origin{}, invalid("the base is no image reference: write registry.example.com/path/name:tag")
	}
	return origin{registry: reference.TagNameOnly(named)}, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
