package library

import (
	"io"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/rancher/rancheros-operator/pkg/media/iso"
)

const (
	// firstStride is how much is sent at a time, at first, and patience how long that may take: a client that takes less than
	// 35 kB per second for two minutes is cut off, and may come back for the rest.
	firstStride = 4 << 20
	patience    = 2 * time.Minute
	// lastStride is what strides grow to for clients that take one within quick: the fewer there are, the less they cost.
	lastStride = 32 << 20
	quick      = time.Second
)

// sending is a response on whose way the personal part of an image is watched. What of the base stands around it goes from
// file to connection as that of a plain file does.
type sending struct {
	http.ResponseWriter
	personal iso.Range
	handOut  func() error
	handed   bool
	stride   int64
	deadline func(time.Time) error
}

func newSending(w http.ResponseWriter, layout *iso.Layout, handOut func() error) *sending {
	controller := http.NewResponseController(w)
	// The server's own time for reading a request is over long before the last byte is sent.
	_ = controller.SetReadDeadline(time.Time{})
	return &sending{ResponseWriter: w, personal: layout.Personal, handOut: handOut, stride: firstStride, deadline: controller.SetWriteDeadline}
}

// ReadFrom is how http.ServeContent sends a range.
func (s *sending) ReadFrom(from io.Reader) (int64, error) {
	limited, ok := from.(*io.LimitedReader)
	if !ok {
		return io.Copy(onlyWriter{s.ResponseWriter}, from)
	}
	reader, ok := limited.R.(*iso.Reader)
	if !ok {
		return io.Copy(onlyWriter{s.ResponseWriter}, from)
	}
	sent := int64(0)
	for limited.N > 0 {
		n, err := s.next(reader, limited.N)
		sent, limited.N = sent+n, limited.N-n
		if err != nil {
			return sent, err
		}
	}
	return sent, nil
}

// next sends one stride. It ends in front of the personal part: that is handed out before its first byte is sent.
func (s *sending) next(reader *iso.Reader, most int64) (int64, error) {
	at, err := reader.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	part := iso.Range{Offset: at, Length: min(most, s.stride)}
	if !s.handed && part.Overlaps(s.personal) {
		if at < s.personal.Offset {
			part.Length = s.personal.Offset - at
		} else {
			if err := s.handOut(); err != nil {
				return 0, err
			}
			s.handed = true
		}
	}
	// A response that knows no deadlines has no slow client.
	began := time.Now()
	_ = s.deadline(began.Add(patience))
	n, err := reader.CopyTo(s.ResponseWriter, part.Length)
	if time.Since(began) < quick {
		s.stride = min(2*s.stride, lastStride)
	} else {
		s.stride = firstStride
	}
	return n, err
}

// onlyWriter hides what else a response can do.
type onlyWriter struct{ io.Writer }

var oneRange = regexp.MustCompile(`^bytes=([0-9]*)-([0-9]*)$`)

// asked is the part of the image that the request will be answered with, as far as that can be told beforehand.
func asked(r *http.Request, etag string, size int64) iso.Range {
	whole := iso.Range{Length: size}
	match := oneRange.FindStringSubmatch(r.Header.Get("Range"))
	if condition := r.Header.Get("If-Range"); match == nil || condition != "" && condition != etag {
		return whole
	}
	first, firstErr := strconv.ParseInt(match[1], 10, 63)
	last, lastErr := strconv.ParseInt(match[2], 10, 63)
	switch {
	case firstErr != nil && lastErr != nil, firstErr == nil && first >= size:
		return iso.Range{}
	case firstErr != nil:
		last = min(last, size)
		return iso.Range{Offset: size - last, Length: last}
	case lastErr != nil || last >= size:
		last = size - 1
	}
	return iso.Range{Offset: first, Length: max(0, last-first+1)}
}
