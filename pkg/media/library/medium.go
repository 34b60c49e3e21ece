package library

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	media "github.com/rancher/rancheros-operator/pkg/media/cache"
	"github.com/rancher/rancheros-operator/pkg/media/iso"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// The files of a medium, beside <name>.iso and <name>.iso.sha256.
const (
	ipxeFile   = "boot.ipxe"
	kernelFile = "kernel"
	initrdFile = "initrd"
)

// fetchRetry is when to come back for a base that is on its way.
const fetchRetry = 10 * time.Second

// Medium is a SeedImage that may be downloaded.
type Medium struct {
	library *Library
	seed    *v1.SeedImage
}

func notFound() error {
	return &protocol.Error{Code: protocol.CodeNotFound, Message: "not found", Hint: "check the address: `kubectl describe seedimage` shows it"}
}

func usedUp() error {
	return &protocol.Error{Code: protocol.CodeFull, Message: "the medium was downloaded as often as it may be",
		Hint: "an administrator can raise spec.maxDownloads of its SeedImage"}
}

// Find is the medium that the token opens. Only who knows the token learns that it has expired.
func (l *Library) Find(token string) (*Medium, error) {
	seeds, err := l.Indexes.SeedImagesByToken(token)
	if err != nil {
		return nil, err
	}
	switch {
	case len(seeds) == 0 || seeds[0].DeletionTimestamp != nil:
		return nil, notFound()
	case len(seeds) > 1:
		return nil, unprepared("two media share this address", nil)
	case l.expired(seeds[0]):
		return nil, &protocol.Error{Code: protocol.CodeExpired, Message: "the address has expired",
			Hint: "an administrator can set a later spec.expiresAt of its SeedImage"}
	}
	return &Medium{library: l, seed: seeds[0]}, nil
}

// Serve answers a request for one of the medium's files.
func (m *Medium) Serve(w http.ResponseWriter, r *http.Request, file string) error {
	if !m.has(file) {
		return notFound()
	}
	base, err := m.base()
	if err != nil {
		return err
	}
	var image image
	switch file {
	case ipxeFile:
		return m.serveScript(w, base)
	case m.seed.Name + ".iso.sha256":
		return m.serveSum(w, base)
	case kernelFile, initrdFile:
		image, err = m.library.file(m.seed, base, file == initrdFile)
	default:
		image, err = m.library.iso(m.seed, base)
	}
	if err != nil {
		return known(err)
	}
	return m.send(w, r, file, image)
}

// has tells whether the medium has the file, from its name alone.
func (m *Medium) has(file string) bool {
	switch file {
	case ipxeFile, kernelFile, initrdFile:
		return makesNetboot(m.seed)
	case m.seed.Name + ".iso", m.seed.Name + ".iso.sha256":
		return makesISO(m.seed)
	}
	return false
}

// base is the medium's base; where it is not there yet, it is sent for.
func (m *Medium) base() (*media.Base, error) {
	if m.library.Cache == nil {
		return nil, unprepared("no media are kept here", nil)
	}
	if base, found := m.library.Cache.Lookup(source(m.seed)); found {
		return base, nil
	}
	m.library.queue.Add(keyOf(m.seed))
	return nil, &protocol.Error{Code: protocol.CodeUnavailable, RetryAfter: fetchRetry, Message: "the base medium is on its way",
		Hint: "come back later; `kubectl describe seedimage` shows how far it is"}
}

// known turns what is wrong with a base into an answer.
func known(err error) error {
	var format *iso.FormatError
	if errors.As(err, &format) {
		return unprepared("the base medium cannot be used", err)
	}
	return err
}

// send sends the file, or the part of it that is asked for.
func (m *Medium) send(w http.ResponseWriter, r *http.Request, file string, image image) error {
	etag := strconv.Quote(image.identity())
	// One range at a time: a client that wants several asks for them one by one, and nobody makes us send pieces in circles.
	if strings.Contains(r.Header.Get("Range"), ",") {
		r = r.Clone(r.Context())
		r.Header.Del("Range")
	}
	if limit := m.seed.Spec.MaxDownloads; limit != nil && m.seed.Status.Downloads >= *limit && asked(r, etag, image.layout.Size()).Overlaps(image.layout.Personal) {
		return usedUp()
	}
	reading, err := image.base.Open()
	if err != nil {
		// Somebody who shares the cache's folder has made room this very moment.
		m.library.queue.Add(keyOf(m.seed))
		return unprepared("the base medium is on its way", err)
	}
	defer func() { _ = reading.Close() }()
	header := w.Header()
	header.Set("ETag", etag)
	header.Set("Content-Type", contentType(file))
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	if sum, ok := m.sum(image); ok && file == m.seed.Name+".iso" {
		header.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", file))
		header.Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum)+":")
	}
	sending := newSending(w, image.layout, func() error { return m.library.handOut(m.seed) })
	http.ServeContent(sending, r, "", time.Time{}, image.layout.Reader(reading.File))
	return nil
}

// contentType is what firmware that boots over HTTP wants to read.
func contentType(file string) string {
	if strings.HasSuffix(file, ".iso") {
		return "application/vnd.efi-iso"
	}
	return "application/octet-stream"
}

// sum is the image's SHA-256, if it is known.
func (m *Medium) sum(image image) ([]byte, bool) {
	found := m.seed.Status.Base
	if found == nil || found.Identity != image.identity() {
		return nil, false
	}
	sum, err := hex.DecodeString(strings.TrimPrefix(m.seed.Status.Checksum, "sha256:"))
	return sum, err == nil && len(sum) > 0
}

func (m *Medium) serveSum(w http.ResponseWriter, base *media.Base) error {
	image, err := m.library.iso(m.seed, base)
	if err != nil {
		return known(err)
	}
	sum, ok := m.sum(image)
	if !ok {
		return &protocol.Error{Code: protocol.CodeUnavailable, RetryAfter: fetchRetry, Message: "the checksum is not known yet", Hint: "come back in a moment"}
	}
	writeText(w, fmt.Appendf(nil, "%x  %s.iso\n", sum, m.seed.Name))
	return nil
}

func (m *Medium) serveScript(w http.ResponseWriter, base *media.Base) error {
	boots, err := netboot(m.seed, base)
	if err != nil {
		return known(err)
	}
	writeText(w, script(boots))
	return nil
}

func writeText(w http.ResponseWriter, body []byte) {
	header := w.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}
