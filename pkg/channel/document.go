package channel

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds how deep a document is nested; a version's metadata needs four.
const maxDepth = 16

// ParseDocument reads a JSON list of versions. What is wrong with the document refuses all of it: nothing of a half is
// taken over. What is wrong with an entry skips that entry.
func ParseDocument(document []byte) (*Answer, error) {
	if err := checkDocument(document); err != nil {
		return nil, err
	}
	var entries []json.RawMessage
	if err := json.Unmarshal(document, &entries); err != nil || entries == nil {
		return nil, fail(ReasonInvalidDocument, "the answer is JSON, but not a list of versions")
	}
	if len(entries) > MaxReleases {
		return nil, fail(ReasonInvalidDocument, "the list has %d versions; the most is %d", len(entries), MaxReleases)
	}
	answer := &Answer{}
	named := map[string]bool{}
	for i, raw := range entries {
		release, name, err := parseEntry(raw)
		if name != "" && named[name] {
			return nil, fail(ReasonInvalidDocument, "the list has two versions with the name %s", shown(name))
		}
		named[name] = true
		if err != nil {
			answer.Skipped = append(answer.Skipped, fmt.Sprintf("entry %d (%s): %v", i+1, shown(name), err))
			continue
		}
		answer.Releases = append(answer.Releases, release)
	}
	answer.sort()
	return answer, nil
}

func (a *Answer) sort() {
	slices.SortFunc(a.Releases, func(a, b Release) int { return strings.Compare(a.Name, b.Name) })
}

// checkDocument refuses what is too large, no text, nested too deep, or more or less than one JSON document.
func checkDocument(document []byte) error {
	switch {
	case len(document) > MaxDocument:
		return tooLarge(MaxDocument)
	case len(bytes.TrimSpace(document)) == 0:
		return fail(ReasonInvalidDocument, "the answer is empty")
	case !utf8.Valid(document) || bytes.HasPrefix(document, []byte("\xef\xbb\xbf")):
		return fail(ReasonInvalidDocument, "the answer is not UTF-8 without a byte order mark")
	}
	decoder := json.NewDecoder(bytes.NewReader(document))
	for depth := 0; ; {
		token, err := decoder.Token()
		switch {
		case errors.Is(err, io.EOF) && depth == 0:
			return nil
		case err != nil:
			return fail(ReasonInvalidDocument, "the answer is not one whole JSON document")
		}
		switch token {
		case json.Delim('['), json.Delim('{'):
			if depth++; depth > maxDepth {
				return fail(ReasonInvalidDocument, "the answer is nested deeper than %d levels", maxDepth)
			}
		case json.Delim(']'), json.Delim('}'):
			depth--
		}
	}
}

func tooLarge(most int) *Failure {
	return fail(ReasonInvalidDocument, "the answer is larger than %d MiB", most>>20)
}

// shown quotes what a stranger wrote, and not all of it.
func shown(text string) string {
	const most = 64
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return fmt.Sprintf("%q", text)
}

// isSyntax tells an answer that is no JSON, or other JSON than was asked for, from one that did not arrive.
func isSyntax(err error) bool {
	var syntax *json.SyntaxError
	var other *json.UnmarshalTypeError
	return errors.As(err, &syntax) || errors.As(err, &other)
}
