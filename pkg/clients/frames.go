package clients

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"k8s.io/apimachinery/pkg/runtime"
)

// lineBytes is room for the line of nearly every inventory; a longer one is read in parts.
const lineBytes = 16 << 10

// fastFramer cuts a watch into events. The API server writes each on a line of its own, and JSON has no line ends within strings; so
// the end of an event need not be found by counting brackets. From the first line on that does not look so, that is what happens.
// Were there two on a line, decoding them as one would fail, and client-go list anew.
type fastFramer struct{ runtime.Framer }

// NewFrameReader is runtime.Framer's.
func (f fastFramer) NewFrameReader(body io.ReadCloser) io.ReadCloser {
	return &lineReader{ReadCloser: body, lines: bufio.NewReaderSize(body, lineBytes), framer: f.Framer}
}

type lineReader struct {
	io.ReadCloser
	lines  *bufio.Reader
	framer runtime.Framer

	// left is what of a line did not fit into the buffer that was given; it is part of the buffer of lines, mostly.
	left []byte
	// byBrackets reads what does not come in lines; nil until then.
	byBrackets io.Reader
}

// Read gives one event, and io.ErrShortBuffer with the first part of one that is too long: what client-go expects of it.
func (r *lineReader) Read(into []byte) (int, error) {
	if r.byBrackets == nil && len(r.left) == 0 {
		line, err := r.line()
		if err != nil || !bytes.HasPrefix(line, eventStart) || !bytes.HasSuffix(line, eventEnd) {
			read := io.NopCloser(io.MultiReader(bytes.NewReader(bytes.Clone(line)), r.lines))
			r.byBrackets = r.framer.NewFrameReader(read)
		} else {
			r.left = line
		}
	}
	if r.byBrackets != nil {
		return r.byBrackets.Read(into)
	}
	n := copy(into, r.left)
	r.left = r.left[n:]
	if len(r.left) > 0 {
		return n, io.ErrShortBuffer
	}
	return n, nil
}

// line is the next one with its end, good until the one after it is asked for.
func (r *lineReader) line() ([]byte, error) {
	line, err := r.lines.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, err
	}
	start := bytes.Clone(line)
	rest, err := r.lines.ReadBytes('\n')
	return append(start, rest...), err
}
