package server

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// W18 to W27, W38 to W43: what is no answer to the challenge. One constant reason for all but what is not about the answer at all.
func TestAnswers(t *testing.T) {
	w := newWorld(t)
	replay := open(t, w, true, registrationPath)
	const failed = protocol.CodeAttestationFailed
	for _, c := range []struct {
		id, why string
		send    func(right string) string
		code    int
		refusal protocol.Code
	}{
		{"W18", "no JSON", say("secret"), policy, failed},
		{"W19", "{} is a message without type", say("{}"), protocolError, protocol.CodeBadRequest},
		{"W19", "null", say("null"), policy, failed},
		{"W19", "[]", say("[]"), policy, failed},
		{"W19", "a string", say(`"x"`), policy, failed},
		{"W19", "a number", say("1"), policy, failed},
		{"W20", "an empty secret", say(`{"type":"answer","secret":""}`), policy, failed},
		{"W20", "no secret", say(`{"type":"answer"}`), policy, failed},
		{"W20", "31 bytes", say(`{"type":"answer",` + secretJSON("secret", 31) + `}`), policy, failed},
		{"W20", "32 wrong bytes", say(`{"type":"answer",` + secretJSON("secret", 32) + `}`), policy, failed},
		{"W20", "33 bytes", say(`{"type":"answer",` + secretJSON("secret", 33) + `}`), policy, failed},
		{"W20", "40 KiB", say(`{"type":"answer",` + secretJSON("secret", 40<<10) + `}`), policy, failed},
		{"W21", "the right secret, and another after it", func(right string) string {
			return strings.TrimSuffix(right, "}") + "," + secretJSON("secret", 32) + "}"
		}, policy, failed},
		{"W21", "another secret, and the right one after it", func(right string) string {
			return "{" + secretJSON("secret", 32) + "," + right[1:]
		}, policy, failed},
		{"W26", "an unknown field beside the right secret", func(right string) string { return strings.TrimSuffix(right, "}") + `,"x":1}` }, policy, failed},
		{"W27", "no type", func(right string) string { return strings.Replace(right, `"type":"answer",`, "", 1) }, protocolError, protocol.CodeBadRequest},
		{"W27", "an empty type", func(right string) string { return strings.Replace(right, `"answer"`, `""`, 1) }, protocolError, protocol.CodeBadRequest},
		{"W27", "a type that is a number", func(right string) string { return strings.Replace(right, `"answer"`, "0", 1) }, protocolError, protocol.CodeBadRequest},
		{"W28", "an unknown type", func(right string) string { return strings.Replace(right, `"answer"`, `"labels"`, 1) }, policy, protocol.CodeUnsupported},
		{"W28", "another case of the type", func(right string) string { return strings.Replace(right, `"answer"`, `"Answer"`, 1) }, policy, protocol.CodeUnsupported},
		{"W30", "facts before the proof", say(`{"type":"facts"}`), policy, protocol.CodeBadRequest},
		{"W38", "a message of the server's", say(`{"type":"config","config":{}}`), policy, protocol.CodeBadRequest},
		{"W38", "an error", say(`{"type":"error","code":"internal"}`), policy, protocol.CodeBadRequest},
		{"W39", "nested 10,001 deep", say(strings.Repeat("[", 10001)), policy, failed},
		{"W40", "a thousand keys", say(manyKeys(1000)), policy, failed},
		{"W41", "a number that is none", say(`{"type":"answer","secret":NaN}`), policy, failed},
		{"W41", "a number in the place of the secret", say(`{"type":"answer","secret":1e999999}`), policy, failed},
		{"W42", "no UTF-8", say("{\"type\":\"answer\",\"secret\":\"\xff\"}"), policy, failed},
		{"W42", "a lone surrogate", say(`{"type":"answer","secret":"\ud800"}`), policy, failed},
		{"W43", "a byte order mark", func(right string) string { return "\ufeff" + right }, policy, failed},
		{"W43", "something after the end", func(right string) string { return right + "{}" }, policy, failed},
		{"-", "the answer as version 1 has it", func(right string) string {
			return strings.Replace(strings.Replace(right, `"type":"answer",`, "", 1), "secret", "Secret", 1)
		}, protocolError, protocol.CodeBadRequest},
	} {
		x := open(t, w, true, registrationPath)
		right := unmasked(x.right)
		_, err := x.Write(binaryFrame(c.send(right)))
		require.NoError(t, err)
		_, _ = x.Write(x.right) // W24: the right one after it helps nobody.
		o := x.end(t)
		require.Equal(t, c.code, o.code, "%s %s", c.id, c.why)
		require.Len(t, o.messages, 1, "%s %s", c.id, c.why)
		require.Equal(t, c.refusal, o.refusal(t).Code, "%s %s", c.id, c.why)
		if c.refusal == failed {
			require.Equal(t, "attestation failed", o.reason, "%s %s", c.id, c.why)
			require.Equal(t, `{"type":"error","code":"attestation-failed","message":"attestation failed"}`, o.messages[0], "%s %s", c.id, c.why)
		}
	}

	x := open(t, w, true, registrationPath)
	_, err := x.Write(replay.right)
	require.NoError(t, err)
	require.Equal(t, policy, x.end(t).code, "W22 the right secret of another connection")
	x = open(t, w, true, registrationPath, binaryFrame(`{"type":"answer",`+secretJSON("secret", 32)+`}`)...)
	o := x.end(t)
	require.Equal(t, policy, o.code, "W25 an answer before the challenge")
	require.Equal(t, failed, o.refusal(t).Code, "W25")
	require.Empty(t, w.Inventories.Names())
}

// W18 to W24 and W26, as version 1 has them: a constant text, as ever, and now a close frame after it.
func TestAnswersV1(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		id   string
		send func(right string) string
	}{
		{"W18 no JSON", say("secret")},
		{"W19 {}", say("{}")},
		{"W19 null", say("null")},
		{"W20 33 bytes", say("{" + secretJSON("Secret", 33) + "}")},
		{"W21 a duplicate", func(right string) string { return "{" + secretJSON("Secret", 32) + "," + right[1:] }},
		{"W39 depth", say(strings.Repeat("[", 10001))},
		{"W40 keys", say(manyKeys(1000))},
		{"W43 something after the end", func(right string) string { return right + "{}" }},
	} {
		x := open(t, w, false, registrationPath)
		_, err := x.Write(binaryFrame(c.send(unmasked(x.right))))
		require.NoError(t, err)
		_, _ = x.Write(x.right)
		o := x.end(t)
		require.Equal(t, outcome{messages: []string{"attestation failed"}, code: policy, reason: "attestation failed"}, o.still(), c.id)
	}
	require.Empty(t, w.Inventories.Names())

	x := open(t, w, false, registrationPath)
	_, err := x.Write(binaryFrame(strings.Replace(unmasked(x.right), "{", `{"Extra":1,`, 1)))
	require.NoError(t, err)
	o := x.end(t)
	require.Contains(t, o.messages[0], "rancherd", "W26: ignored, as the first server did")
	require.Zero(t, o.code, "the good path of version 1 ends without a close frame")
	require.Len(t, w.Inventories.Names(), 1)
}

// W26 to W43 after the proof: the facts are held to the limits of SMBIOS data, and nothing beside them is let in.
func TestFacts(t *testing.T) {
	w := newWorld(t)
	smbios := func(json string) string { return `{"type":"facts","smbios":` + json + `}` }
	const bad, big = protocol.CodeBadRequest, protocol.CodeTooLarge
	for _, c := range []struct {
		id, why, message string
		code             int
		refusal          protocol.Code
	}{
		{"W18", "no JSON", "facts", policy, bad},
		{"W26", "an unknown field", `{"type":"facts","x":1}`, policy, bad},
		{"W26", "a duplicate", `{"type":"facts","type":"facts"}`, policy, bad},
		{"W27", "no type", `{}`, protocolError, bad},
		{"W28", "an unknown type", `{"type":"inventory"}`, policy, protocol.CodeUnsupported},
		{"W30", "a second answer", `{"type":"answer",` + secretJSON("secret", 32) + `}`, policy, bad},
		{"W32", "10,000 labels", `{"type":"facts","labels":` + manyKeys(5000) + `}`, policy, bad},
		{"W33", "labels, which are the registration's to give", `{"type":"facts","labels":{"a b":"c"}}`, policy, bad},
		{"W34", "a label with a newline", `{"type":"facts","labels":{"a":"b\nc"}}`, policy, bad},
		{"W35", "annotations of 33 KiB", `{"type":"facts","annotations":{"a":"` + strings.Repeat("x", 33<<10) + `"}}`, policy, bad},
		{"W36", "a label that a selector may look for", `{"type":"facts","labels":{"rancheros.cattle.io/assurance":"Certificate"}}`, policy, bad},
		{"W38", "a message of the server's", `{"type":"proven","identity":"x"}`, policy, bad},
		{"W39", "nested 10,001 deep", smbios(strings.Repeat("[", 10001)), policy, bad},
		{"W39, S6", "nested nine deep", smbios(strings.Repeat(`{"a":`, 9) + "1" + strings.Repeat("}", 9)), policy, bad},
		{"W40, S7", "513 keys", smbios(manyKeys(513)), policy, bad},
		{"W41", "a number that is none", smbios(`{"a":NaN}`), policy, bad},
		{"W42", "no UTF-8", smbios("{\"a\":\"\xff\"}"), policy, bad},
		{"W43", "a byte order mark", "\ufeff" + smbios("{}"), policy, bad},
		{"W43", "something after the end", smbios("{}") + "x", policy, bad},
		{"S3", "SMBIOS data that is a list", smbios("[]"), policy, bad},
		{"S5", "SMBIOS data of 64 KiB and more", smbios(`{"a":"` + strings.Repeat("x", 64<<10) + `"}`), tooBig, big},
		{"S8", "a key of 1,025 bytes", smbios(`{"` + strings.Repeat("k", 1025) + `":1}`), policy, bad},
		{"S9", "a duplicate key", smbios(`{"a":1,"a":2}`), policy, bad},
		{"S38", "a comment", smbios(`{/* */}`), policy, bad},
		{"-", "facts that are a list", `{"type":"facts","facts":[]}`, policy, bad},
		{"-", "an unknown fact", `{"type":"facts","facts":{"kernel":"6"}}`, policy, bad},
		{"-", "a host name that is a number", `{"type":"facts","facts":{"hostname":1}}`, policy, bad},
		{"-", "17 addresses", `{"type":"facts","facts":{"addresses":["::1"` + strings.Repeat(`,"::1"`, 16) + `]}}`, policy, bad},
		{"S44", "an address that is none", `{"type":"facts","facts":{"addresses":["10.0.0.256"]}}`, policy, bad},
		{"-", "a call home that is no boolean", `{"type":"facts","callHome":1}`, policy, bad},
		{"-", "a call home to a registration", `{"type":"facts","callHome":true}`, policy, bad},
	} {
		x := open(t, w, true, registrationPath)
		x.prove(t)
		_, err := x.Write(binaryFrame(c.message))
		require.NoError(t, err)
		o := x.end(t)
		require.Equal(t, c.code, o.code, "%s %s", c.id, c.why)
		require.NotNil(t, o.refusal(t), "%s %s", c.id, c.why)
		require.Equal(t, c.refusal, o.refusal(t).Code, "%s %s: %s", c.id, c.why, o.refusal(t).Message)
	}
	require.Empty(t, w.Inventories.Names())

	for _, c := range []struct{ id, why, message, want string }{
		{"S1", "no SMBIOS data", `{"type":"facts"}`, ""},
		{"S2", "null", smbios("null"), ""},
		{"S4", "an empty object", smbios("{}"), ""},
		{"S6", "nested eight deep", smbios(strings.Repeat(`{"a":`, 8) + "1" + strings.Repeat("}", 8)), strings.Repeat(`{"a":`, 8) + `"1"` + strings.Repeat("}", 8)},
		{"W41", "a number beyond all floats", smbios(`{"a":1e999999,"b":-0}`), `{"a":"1e999999","b":"-0"}`},
		{"W42", "a lone surrogate", smbios(`{"a":"\ud800"}`), "{\"a\":\"\ufffd\"}"},
	} {
		x := open(t, w, true, registrationPath)
		x.prove(t)
		_, err := x.Write(binaryFrame(c.message))
		require.NoError(t, err)
		o := x.end(t)
		require.Equal(t, normal, o.code, "%s %s: %v", c.id, c.why, o.messages)
		made := w.Inventories.All()[0]
		if c.want == "" {
			require.Nil(t, made.Spec.SMBIOS, "%s %s", c.id, c.why)
		} else {
			require.JSONEq(t, c.want, string(made.Spec.SMBIOS.Raw), "%s %s", c.id, c.why)
		}
		w.Inventories.Remove(made.Namespace, made.Name)
	}
}

func say(text string) func(string) string { return func(string) string { return text } }

func manyKeys(count int) string {
	keys := make([]string, count)
	for i := range keys {
		keys[i] = fmt.Sprintf(`"%x":1`, i)
	}
	return "{" + strings.Join(keys, ",") + "}"
}

// unmasked is a short frame's payload.
func unmasked(frame []byte) string {
	payload := bytes.Clone(frame[len(frame)-int(frame[1]&0x7f):])
	for i := range payload {
		payload[i] ^= maskKey[i%4]
	}
	return string(payload)
}

// still is the outcome without how long it took.
func (o outcome) still() outcome {
	o.took = 0
	return o
}
