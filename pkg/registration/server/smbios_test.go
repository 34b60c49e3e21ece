package server

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// registerRaw registers with the bytes as X-Cattle-Smbios; header is not encoded again.
func (w world) registerRaw(t *testing.T, prover attestation.Prover, header string) int {
	t.Helper()
	proof, err := prover.NewProof()
	require.NoError(t, err)
	authorization, err := proof.Token().EncodeAuthorization()
	require.NoError(t, err)
	headers := http.Header{"Authorization": {authorization}}
	if header != "" {
		headers.Set(protocol.HeaderSMBIOS, header)
	}
	connection, response, err := websocket.DefaultDialer.DialContext(t.Context(), strings.Replace(w.url, "http", "ws", 1)+registrationPath, headers)
	if errors.Is(err, websocket.ErrBadHandshake) {
		return response.StatusCode
	}
	require.NoError(t, err)
	defer connection.Close()
	_, frame, err := connection.ReadMessage()
	require.NoError(t, err)
	challenge, err := protocol.ParseChallenge(frame)
	require.NoError(t, err)
	secret, err := proof.Activate(challenge)
	require.NoError(t, err)
	answer, err := (&protocol.ChallengeResponse{Secret: secret}).Encode()
	require.NoError(t, err)
	require.NoError(t, connection.WriteMessage(websocket.BinaryMessage, answer))
	_, _, err = connection.ReadMessage()
	require.NoError(t, err)
	return http.StatusOK
}

func nested(depth int) string {
	return strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth)
}

func object(keys int) string {
	members := make([]string, keys)
	for i := range members {
		members[i] = fmt.Sprintf("%q:1", fmt.Sprint("k", i))
	}
	return "{" + strings.Join(members, ",") + "}"
}

func gzipped(text string) string {
	var buffer bytes.Buffer
	writer := gzip.NewWriter(&buffer)
	_, _ = writer.Write([]byte(text))
	_ = writer.Close()
	return buffer.String()
}

// S1 to S44, as far as one header and one stored inventory tell; names are package machine's.
func TestHostileSMBIOS(t *testing.T) {
	const refused, tooLarge, headersTooLarge = http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusRequestHeaderFieldsTooLarge
	serial := func(value string) string { return fmt.Sprintf(`{"System Information":{"Serial Number":%s}}`, value) }
	long := strings.Repeat("x", protocol.MaxSMBIOSString+1)
	cut := long[:protocol.MaxSMBIOSString-3] + "..."
	for _, c := range []struct {
		id, data string
		status   int
		// stored is what the inventory has, as JSON; empty for nothing.
		stored string
	}{
		{"S2", `null`, http.StatusOK, ""},
		{"S3 array", `[]`, refused, ""},
		{"S3 string", `"x"`, refused, ""},
		{"S3 number", `7`, refused, ""},
		{"S3 boolean", `true`, refused, ""},
		{"S4", `{}`, http.StatusOK, ""},
		{"S5", `{"a":"` + strings.Repeat("x", protocol.MaxSMBIOS-7) + `"}`, tooLarge, ""},
		{"S6 9", nested(9), refused, ""},
		{"S6 10001", nested(8000), refused, ""},
		{"S6 8 is fine", strings.Replace(nested(8), "1", `"x"`, 1), http.StatusOK, strings.Replace(nested(8), "1", `"x"`, 1)},
		{"S7", object(513), refused, ""},
		{"S8 key", `{"` + long + `":1}`, refused, ""},
		{"S8 value", serial(`"` + long + `"`), http.StatusOK, serial(`"` + cut + `"`)},
		{"S9", `{"a":1,"a":2}`, refused, ""},
		{"S9 escaped", `{"a":1,"\u0061":2}`, refused, ""},
		{"S10", `{"a/b":{"${":"x","}":"y"}}`, http.StatusOK, `{"a/b":{"${":"x","}":"y"}}`},
		{"S11", serial(`"${System Information/UUID}"`), http.StatusOK, serial(`"${System Information/UUID}"`)},
		{"S12", serial(`"To Be Filled By O.E.M."`), http.StatusOK, serial(`"To Be Filled By O.E.M."`)},
		{"S13", `{"System Information":{"UUID":"03000200-0400-0500-0006-000700080009"}}`, http.StatusOK, `{"System Information":{"UUID":"03000200-0400-0500-0006-000700080009"}}`},
		{"S15", serial(`"../../etc/passwd"`), http.StatusOK, serial(`"../../etc/passwd"`)},
		{"S16 newline", serial(`"a\nb"`), http.StatusOK, serial(`"a\\u000ab"`)},
		{"S16 NUL", serial(`"a\u0000b"`), http.StatusOK, serial(`"a\\u0000b"`)},
		{"S16 ESC", serial(`"\u001b[31m"`), http.StatusOK, serial(`"\\u001b[31m"`)},
		{"S16 RTL", serial(`"\u202eb"`), http.StatusOK, serial(`"\\u202eb"`)},
		{"S16 zero width", serial(`"a\u200bb"`), http.StatusOK, serial(`"a\\u200bb"`)},
		{"S17", serial(`"😀漢é"`), http.StatusOK, serial(`"😀漢é"`)},
		{"S18 surrogate", serial(`"\ud800"`), http.StatusOK, serial(`"` + "\ufffd" + `"`)},
		{"S18 no UTF-8", serial("\"\xff\""), refused, ""},
		{"S19", `{"System Information":{"Manufacturer":"` + strings.Repeat("m", 10<<10) + `"}}`, http.StatusOK,
			`{"System Information":{"Manufacturer":"` + strings.Repeat("m", 1021) + `..."}}`},
		{"S20", serial(`"!!!"`), http.StatusOK, serial(`"!!!"`)},
		{"S21", serial(`"--.--"`), http.StatusOK, serial(`"--.--"`)},
		{"S22", serial(`"` + strings.Repeat("s", 100) + `"`), http.StatusOK, serial(`"` + strings.Repeat("s", 100) + `"`)},
		{"S24", serial(`"localhost"`), http.StatusOK, serial(`"localhost"`)},
		{"S25", serial(`"123456"`), http.StatusOK, serial(`"123456"`)},
		{"S28 object", serial(`{"a":"b"}`), http.StatusOK, serial(`{"a":"b"}`)},
		{"S28 null", serial(`null`), http.StatusOK, serial(`null`)},
		{"S30 1e400", serial(`1e400`), http.StatusOK, serial(`"1e400"`)},
		{"S30 2^63", serial(`9223372036854775808`), http.StatusOK, serial(`"9223372036854775808"`)},
		{"S30 -0", serial(`-0`), http.StatusOK, serial(`"-0"`)},
		{"S30 0.1", serial(`0.1`), http.StatusOK, serial(`"0.1"`)},
		{"S31", `{"__proto__":{"constructor":"x"}}`, http.StatusOK, `{"__proto__":{"constructor":"x"}}`},
		{"S32", serial(`"<script>alert(1)</script>"`), http.StatusOK, serial(`"<script>alert(1)</script>"`)},
		{"S33", serial(`"` + strings.Repeat("p", 2000) + `"`), http.StatusOK, serial(`"` + strings.Repeat("p", 1021) + `..."`)},
		{"S35", gzipped(`{}`), refused, ""},
		{"S36 BOM", "\ufeff{}", refused, ""},
		{"S36 UTF-16", "\xff\xfe{\x00}\x00", refused, ""},
		{"S37", "a: b\n", refused, ""},
		{"S38 comment", `{"a":1 /* x */}`, refused, ""},
		{"S38 trailing comma", `{"a":1,}`, refused, ""},
		{"S41", `{"a":[` + strings.Repeat("0,", 33_000) + `0]}`, tooLarge, ""},
		{"S41 100,000", `{"a":[` + strings.Repeat("0,", 100_000) + `0]}`, headersTooLarge, ""},
		{"S43", `{"a":"` + strings.Repeat("x", 300<<10) + `"}`, headersTooLarge, ""},
		{"S44", `{"Network":{"IP Address":"999.1.1.1","MAC":"zz"}}`, http.StatusOK, `{"Network":{"IP Address":"999.1.1.1","MAC":"zz"}}`},
	} {
		t.Run(c.id, func(t *testing.T) {
			w := newWorld(t)
			registration := edge()
			registration.Spec.MachineInventoryLabels = map[string]v1.LabelTemplate{"serial": "${System Information/Serial Number}"}
			registration.Spec.MachineInventoryAnnotations = map[string]v1.AnnotationTemplate{"serial": "${System Information/Serial Number}"}
			w.Put(registration)
			w = w.listening(t)
			require.Equal(t, c.status, w.registerRaw(t, newTPM(t, tpm.ECCP256), base64.StdEncoding.EncodeToString([]byte(c.data))))
			inventories := w.Inventories.All()
			if c.status != http.StatusOK {
				require.Empty(t, inventories, "refused before anything was written")
				return
			}
			require.Len(t, inventories, 1)
			requireStored(t, c.stored, inventories[0])
		})
	}
}

func requireStored(t *testing.T, want string, inventory *v1.MachineInventory) {
	t.Helper()
	require.Regexp(t, `^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`, inventory.Name, "whatever the firmware says, a name comes out")
	if want == "" {
		require.Nil(t, inventory.Spec.SMBIOS, "S1, S2, S4: nothing is nothing")
		return
	}
	require.JSONEq(t, want, string(inventory.Spec.SMBIOS.Raw))
	require.True(t, utf8.Valid(inventory.Spec.SMBIOS.Raw))
	if label, given := inventory.Labels["serial"]; given {
		require.Regexp(t, `^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`, label, "S42")
	}
	for _, text := range []string{inventory.Labels["serial"], inventory.Annotations["serial"], inventory.Name} {
		require.NotContains(t, text, "\n")
		require.LessOrEqual(t, len(text), protocol.MaxSMBIOSString, "S43")
	}
}

// S1, S34, and S34's likes: the header itself.
func TestHostileSMBIOSHeader(t *testing.T) {
	w := newWorld(t).listening(t)
	require.Equal(t, http.StatusOK, w.registerRaw(t, newTPM(t, tpm.ECCP256), ""), "S1")
	require.Nil(t, w.Inventories.All()[0].Spec.SMBIOS)
	for id, header := range map[string]string{"S34": "e30", "URL alphabet": "-_8=", "pad bits": "e31=", "no base64": "{}"} {
		require.Equal(t, http.StatusBadRequest, w.registerRaw(t, newTPM(t, tpm.ECCP256), header), id)
	}
	require.Len(t, w.Inventories.All(), 1)
}
