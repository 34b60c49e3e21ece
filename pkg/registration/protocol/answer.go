package protocol

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ParseAnswer reads the final frame of an exchange as a JSON object. The server is trusted by then, so its
// cloud-config may be as deep as it likes; size, duplicate keys and trailing bytes are still checked, because a truncated or
// spliced config must not be written to disk.
//
// What is not an object is an Error: nothing at all (a server that failed after the upgrade), plain text (a refusal, which
// is shown as it is), or one of our own typed errors.
func ParseAnswer(data []byte) (map[string]any, error) {
	trimmed := bytes.TrimSpace(data)
	switch {
	case len(data) > MaxAnswer:
		return nil, refuse(CodeTooLarge, "the server's answer is too large", "%d bytes, limit %d", len(data), MaxAnswer)
	case len(trimmed) == 0:
		return nil, &Error{Code: CodeInternal, Message: "the server closed the conversation without an answer",
			Hint: "it could not save this machine; the operator's log says why"}
	case trimmed[0] != '{':
		return nil, textError(trimmed)
	}
	value, err := decodeWithin(data, math.MaxInt, math.MaxInt)
	if err != nil {
		return nil, refuse(CodeInternal, "the server's answer cannot be read", "%v", err)
	}
	object, _ := value.(map[string]any)
	return object, errorAnswer(object)
}

// EncodeErrorAnswer is a refusal in the place of the final frame, for clients that speak v1: text, as the first server sent it.
// A newline and `{` are kept out of the beginning so that no client takes it for a config.
func EncodeErrorAnswer(e *Error) []byte {
	text := strings.TrimLeft(e.Message, " \t\r\n{")
	if text == "" {
		text = string(e.Code)
	}
	return []byte(text)
}

// errorAnswer recognises {"error": {"code": ..., "message": ...}}, our own form.
func errorAnswer(object map[string]any) error {
	inner, ok := object["error"].(map[string]any)
	if !ok || len(object) != 1 {
		return nil
	}
	data, err := json.Marshal(inner)
	if err != nil {
		return nil
	}
	typed := &Error{}
	if err := json.Unmarshal(data, typed); err != nil || typed.Code == "" {
		return nil
	}
	typed.Message, typed.Hint = sentence(typed.Message, typed.Code), CleanText(typed.Hint)
	return typed
}

func textError(text []byte) *Error {
	message := CleanText(string(text))
	if strings.HasPrefix(message, "<") {
		return &Error{Code: CodeUnavailable, Message: "the answer is a web page, not a cloud-config",
			Hint: "a captive portal or a proxy answers in the server's place"}
	}
	code := CodeInternal
	if strings.Contains(message, "not assigned") {
		code = CodeNotAssigned
	}
	return &Error{Code: code, Message: message}
}

// CleanText makes a server's text safe for a console: one line, printable, at most 512 bytes.
func CleanText(text string) string {
	const limit = 512
	clean := strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return -1
		}
		return r
	}, text)
	clean = strings.Join(strings.Fields(clean), " ")
	if len(clean) > limit {
		cut := limit
		for !utf8.RuneStart(clean[cut]) {
			cut--
		}
		clean = clean[:cut] + "..."
	}
	return clean
}
