package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	"github.com/rancher/rancheros-operator/pkg/settings"
)

// listening is the world behind the listener that the product has, with all its timeouts.
func (w world) listening(t *testing.T) world {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.server.Serve(ctx, listener, nil) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-done)
	})
	w.url = "http://" + listener.Addr().String()
	return w
}

// limited is the world with other limits.
func (w world) limited(l Limits) world {
	w.server.limits = newLimits(l.or(DefaultLimits))
	return w
}

func (w world) dial(t *testing.T) net.Conn {
	t.Helper()
	connection, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { connection.Close() })
	require.NoError(t, connection.SetDeadline(time.Now().Add(20*time.Second)))
	return connection
}

const upgradeLines = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// proofLine is the Authorization of a machine with a TPM.
func proofLine(t *testing.T) string {
	t.Helper()
	proof, err := newTPM(t, tpm.ECCP256).NewProof()
	require.NoError(t, err)
	authorization, err := proof.Token().EncodeAuthorization()
	require.NoError(t, err)
	return "Authorization: " + authorization + "\r\n"
}

// hostile is a request that no machine sends, and what it is answered.
type hostile struct {
	id      string
	path    string // default: a good registration URL
	start   string // in the place of `GET path HTTP/1.1`
	lines   string // header lines, each with its end
	rest    string // after the headers
	status  int
	code    protocol.Code
	headers map[string]string
	closed  bool
}

func (h hostile) request() string {
	if h.path == "" {
		h.path = registrationPath
	}
	if h.start == "" {
		h.start = "GET " + h.path + " HTTP/1.1"
	}
	return h.start + "\r\nHost: stv-1\r\n" + h.lines + "\r\n" + h.rest
}

// hostiles are those of H1 to H53 that one request and one answer tell.
func hostiles(t *testing.T) []hostile {
	proof := proofLine(t)
	rawProof := strings.TrimSuffix(strings.TrimPrefix(proof, "Authorization: Bearer TPM"), "\r\n")
	authorization := func(value string) string { return "Authorization: " + value + "\r\n" + upgradeLines }
	notFound := func(id, path string) hostile {
		return hostile{id: id, path: path, status: http.StatusNotFound, code: protocol.CodeNotFound}
	}
	unproven := func(id, value string) hostile {
		return hostile{id: id, lines: authorization(value), status: http.StatusUnauthorized, code: protocol.CodeUnauthorized}
	}
	wrong := func(id, lines string) hostile {
		return hostile{id: id, lines: lines, status: http.StatusBadRequest, code: protocol.CodeBadRequest}
	}
	method := func(id, name, lines string) hostile {
		return hostile{id: id, start: name + " " + registrationPath + " HTTP/1.1", lines: lines, status: http.StatusMethodNotAllowed, code: codeMethod,
			headers: map[string]string{"Allow": "GET, HEAD", "Access-Control-Allow-Origin": "", "Access-Control-Allow-Methods": ""}}
	}
	prefix := protocol.PathRegistration
	nonceLine := "X-Cattle-Nonce: "
	return []hostile{
		notFound("H1", prefix), notFound("H2", prefix+strings.Repeat("z", 54)), notFound("H3 short", registrationPath[:len(registrationPath)-1]),
		notFound("H3 long", registrationPath+"b"), notFound("H4", strings.Replace(registrationPath, "bcdf", "BCDF", 1)),
		notFound("H5", prefix+strings.Repeat("b", 10<<10)), notFound("H6 ..", prefix+"../registration/"+goodToken),
		notFound("H6 %2e%2e", prefix+"%2e%2e/registration/"+goodToken), notFound("H6 %2e%2e%2f", prefix+"x/%2e%2e%2f"+goodToken),
		notFound("H7", prefix+goodToken[:9]+"%2F"+goodToken[9:]), notFound("H8 NUL", registrationPath+"%00"), notFound("H8 newline", registrationPath+"%0a"),
		notFound("H8 ESC", prefix+"%1b"+goodToken), notFound("H9", registrationPath+"\xff\xfe"), notFound("H10 slash", registrationPath+"/"),
		notFound("H10 segment", registrationPath+"/x"), notFound("H11", "/v1-rancheros/x/registration/"+goodToken),
		notFound("H12", "/v1-rancheros/anything/cacerts"), notFound("H13", "//v1-rancheros//registration//"+goodToken),
		{id: "H14", path: registrationPath + "?token=" + strings.Repeat("z", 54) + "&debug=1", status: http.StatusOK},
		method("H15 POST", "POST", ""), method("H15 PUT", "PUT", ""), method("H15 DELETE", "DELETE", ""), method("H15 PATCH", "PATCH", ""),
		method("H15 TRACE", "TRACE", ""), method("H17", "OPTIONS", "Origin: https://evil\r\nAccess-Control-Request-Method: GET\r\n"),
		{id: "H17 asterisk", start: "OPTIONS * HTTP/1.1", status: http.StatusMethodNotAllowed, code: codeMethod},
		{id: "H16", start: "HEAD " + registrationPath + " HTTP/1.1", status: http.StatusOK},
		{id: "H18", lines: "Content-Length: 1073741824\r\n", status: http.StatusRequestEntityTooLarge, code: protocol.CodeTooLarge, closed: true},
		{id: "H21", lines: strings.Repeat("X-Header: x\r\n", 500), status: http.StatusRequestHeaderFieldsTooLarge, code: codeHeaders, closed: true},
		{id: "H21 other names", lines: manyHeaders(500), status: http.StatusRequestHeaderFieldsTooLarge, code: codeHeaders, closed: true},
		{id: "H22", lines: "X-Header: " + strings.Repeat("x", 1<<20) + "\r\n", status: http.StatusRequestHeaderFieldsTooLarge, closed: true},
		wrong("H23", proof+proof+upgradeLines), wrong("H23 two kinds", proof+"Authorization: Basic eDp5\r\n"+upgradeLines),
		unproven("H24", "Bearer TPM"), unproven("H25", "Bearer TPM!!!!"), unproven("H26", "Bearer TPM"+strings.Map(urlAlphabet, rawProof)+"-_"),
		unproven("H27 escaped", "Bearer TPM"+rawProof[:40]+"\\r\\n"+rawProof[40:]), unproven("H27 space", "Bearer TPM"+rawProof[:40]+" "+rawProof[40:]),
		unproven("H28 garbage", "Bearer TPM"+rawProof+"AAAA"), unproven("H28 pad bits", "Bearer TPMe31="), unproven("H29 lower", "bearer tpm"+rawProof),
		unproven("H29 upper", "BEARER TPM"+rawProof), unproven("H30 Basic", "Basic YWRtaW46YWRtaW4="), unproven("H30 unknown", "Negotiate AAAA"),
		unproven("H31", "Bearer PLAINaa:bb:cc:dd:ee:ff"), unproven("H32", "Bearer token-abcde:bcdfghjklmnpqrstvwxz"),
		{id: "H32 inventory", path: protocol.PathInventory, lines: authorization("Bearer token-abcde:bcdfghjklmnpqrstvwxz"), status: http.StatusUnauthorized, code: protocol.CodeUnauthorized},
		wrong("H33 no base64", proof+upgradeLines+"X-Cattle-Smbios: !!!!\r\n"), wrong("H33 no JSON", proof+upgradeLines+"X-Cattle-Smbios: AAAA\r\n"),
		{id: "H34", lines: proof + upgradeLines + "X-Cattle-Smbios: " + strings.Repeat("A", 900<<10) + "\r\n", status: http.StatusRequestHeaderFieldsTooLarge, closed: true},
		{id: "H35", path: protocol.PathInventory, lines: "Impersonate-User: admin\r\nImpersonate-Group: system:masters\r\n", status: http.StatusUnauthorized, code: protocol.CodeUnauthorized},
		{id: "H36", lines: "X-Forwarded-Host: evil\r\nX-Forwarded-Proto: ftp\r\n", status: http.StatusOK},
		{id: "H37", lines: "X-API-URL-Prefix: https://evil\r\n", status: http.StatusOK},
		wrong("H38 no key", proof+strings.Replace(upgradeLines, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 1)),
		wrong("H38 15 bytes", proof+strings.Replace(upgradeLines, "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j", 1)),
		{id: "H39", lines: proof + strings.Replace(upgradeLines, ": 13", ": 12", 1), status: http.StatusUpgradeRequired, code: codeVersion,
			headers: map[string]string{"Sec-Websocket-Version": "13"}},
		{id: "H40", lines: "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n", status: http.StatusOK},
		{id: "H41 upgrade", lines: proof + upgradeLines + "Origin: https://evil\r\n", status: http.StatusForbidden, code: protocol.CodeForbidden},
		{id: "H41 fetch", lines: "Origin: https://evil\r\n", status: http.StatusForbidden, code: protocol.CodeForbidden, headers: map[string]string{"Access-Control-Allow-Origin": ""}},
		{id: "H42", lines: proof + upgradeLines + "Sec-WebSocket-Extensions: permessage-deflate\r\n", status: http.StatusSwitchingProtocols,
			headers: map[string]string{"Sec-Websocket-Extensions": ""}},
		{id: "H43", lines: proof + upgradeLines + "Sec-WebSocket-Protocol: unknown\r\n", status: http.StatusBadRequest, code: protocol.CodeUnsupported},
		{id: "H44", start: "GET " + registrationPath + " HTTP/1.0", lines: proof + upgradeLines, status: http.StatusBadRequest, code: protocol.CodeBadRequest},
		{id: "H45", lines: "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", rest: "0\r\n\r\n", status: http.StatusBadRequest, code: protocol.CodeBadRequest, closed: true},
		{id: "H45 twice", lines: "Content-Length: 4\r\nContent-Length: 5\r\n", status: http.StatusBadRequest, closed: true},
		{id: "H51 one byte", path: protocol.PathCACerts, lines: nonceLine + "x\r\n", status: http.StatusBadRequest, code: protocol.CodeBadRequest},
		{id: "H51 1 KiB", path: protocol.PathCACerts, lines: nonceLine + strings.Repeat("x", 1<<10) + "\r\n", status: http.StatusBadRequest, code: protocol.CodeBadRequest},
		{id: "H51 NUL", path: protocol.PathCACerts, lines: nonceLine + "xxxxxxxx\x00xxxxxxxx\r\n", status: http.StatusBadRequest},
		{id: "H53", path: protocol.PathCACerts, status: http.StatusOK},
	}
}

func manyHeaders(n int) string {
	var lines strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, "X-Header-%d: x\r\n", i)
	}
	return lines.String()
}

func urlAlphabet(r rune) rune {
	switch r {
	case '+':
		return '-'
	case '/':
		return '_'
	}
	return r
}

// Every bad request gets its answer within a second, says the same as all of its class, writes nothing, and is logged in
// one short line without anything that it brought.
func TestHostileRequests(t *testing.T) {
	w := newWorld(t).listening(t)
	lines := logged(t)
	bodies := map[protocol.Code]map[string]bool{}
	sample := w.get(t, registrationPath)
	for _, h := range hostiles(t) {
		since := time.Now()
		got := w.raw(t, h.request())
		require.Less(t, time.Since(since), time.Second, h.id)
		require.Equal(t, h.status, got.status, "%s: %s", h.id, got.body)
		require.Equal(t, string(h.code), got.header.Get(protocol.HeaderCode), h.id)
		require.True(t, got.closed || !h.closed, "%s: the connection is closed", h.id)
		for name, want := range h.headers {
			require.Equal(t, want, got.header.Get(name), "%s: %s", h.id, name)
		}
		if h.status != http.StatusOK {
			require.NotContains(t, fmt.Sprint(got.body, got.header), goodToken[:20], "%s: nothing is echoed", h.id)
		}
		switch {
		case h.status == http.StatusOK && h.path != protocol.PathCACerts && !strings.HasPrefix(h.start, "HEAD"):
			require.Equal(t, sample, got, "%s: as if it had not been sent", h.id)
		case h.code == protocol.CodeNotFound || h.code == codeMethod || h.code == codeHeaders:
			if bodies[h.code] == nil {
				bodies[h.code] = map[string]bool{}
			}
			bodies[h.code][fmt.Sprint(got.body, got.header)] = true
		}
	}
	for code, seen := range bodies {
		require.Len(t, seen, 1, "%s: %v", code, seen)
	}
	require.Empty(t, w.Inventories.Names())
	for _, request := range w.Requests() {
		require.NotContains(t, request, "create", "nothing is written")
	}
	rejected := w.server.Rejected()
	require.EqualValues(t, 1, rejected[Refusal{"registration", "downgrade"}], "H31")
	require.GreaterOrEqual(t, rejected[Refusal{"registration", "not-found"}], uint64(10))
	for _, line := range strings.Split(lines(), "\n") {
		require.LessOrEqual(t, len(line), 512)
		for _, secret := range []string{goodToken, "token-abcde", "bcdfghjklmnpqrstvwxz", "aa:bb:cc", "YWRtaW4"} {
			require.NotContains(t, line, secret)
		}
		require.False(t, bytes.ContainsFunc([]byte(line), func(r rune) bool { return r < ' ' || r > '~' }), "%q", line)
	}
}

// logged is what logrus writes until the test ends.
func logged(t *testing.T) func() string {
	t.Helper()
	var mutex sync.Mutex
	var buffer bytes.Buffer
	before := logrus.StandardLogger().Out
	logrus.SetOutput(writerFunc(func(line []byte) (int, error) {
		mutex.Lock()
		defer mutex.Unlock()
		return buffer.Write(line)
	}))
	t.Cleanup(func() { logrus.SetOutput(before) })
	return func() string {
		mutex.Lock()
		defer mutex.Unlock()
		return buffer.String()
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(data []byte) (int, error) { return f(data) }

// H2 to H4, with a proof: who has a good TPM and no URL learns as much as who has nothing.
func TestUnknownTokensAreAlike(t *testing.T) {
	w := newWorld(t).listening(t)
	proof := proofLine(t)
	want := w.get(t, protocol.PathRegistration+strings.Repeat("z", 54))
	for _, path := range []string{protocol.PathRegistration, registrationPath[:60], strings.ToUpper(registrationPath), registrationPath + "/", protocol.PathRegistration + strings.Repeat("b", 54)} {
		for _, lines := range []string{"", proof + upgradeLines, "Authorization: Basic eDp5\r\n", "X-Cattle-Smbios: AAAA\r\n"} {
			require.Equal(t, want, w.raw(t, hostile{path: path, lines: lines}.request()), path)
		}
	}
	deleting := edge()
	now := metav1.Now()
	deleting.DeletionTimestamp, deleting.Finalizers = &now, []string{"x"}
	w.Put(deleting)
	require.Equal(t, want, w.raw(t, hostile{lines: proof + upgradeLines}.request()), "H46: one that is being deleted")
}

// H47 to H49: what only an administrator can mend.
func TestNotReady(t *testing.T) {
	for id, breaks := range map[string]func(world){
		"H47": func(w world) { w.Settings[settings.ServerURL] = "" },
		"H48": func(w world) { w.server.Ready = func() bool { return false } },
		"H49": func(w world) {
			other := edge()
			other.Name = "other"
			w.Put(other, tokenSecret("other"))
		},
	} {
		w := newWorld(t)
		breaks(w)
		got := w.listening(t).get(t, registrationPath)
		require.Equal(t, http.StatusServiceUnavailable, got.status, id)
		require.NotEmpty(t, got.header.Get("Retry-After"), id)
		require.NotContains(t, got.body, "edge", "%s: objects are nobody's business", id)
	}
}

// H19 and H20: who sends slowly, or for ever, is closed in time.
func TestSlowRequests(t *testing.T) {
	w := newWorld(t).listening(t)
	t.Run("H19", func(t *testing.T) {
		t.Parallel()
		connection := w.dial(t)
		_, err := io.WriteString(connection, "GET "+registrationPath+" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
		require.NoError(t, err)
		requireEnded(t, connection, "1\r\nx\r\n", 10*time.Second)
	})
	t.Run("H20", func(t *testing.T) {
		t.Parallel()
		connection := w.dial(t)
		_, err := io.WriteString(connection, "GET "+registrationPath+" HTTP/1.1\r\nHost: x\r\nX-Slow: ")
		require.NoError(t, err)
		requireEnded(t, connection, "x", 7*time.Second)
	})
}

// requireClosed sends the text again and again, twice a second, until the other side has closed.
func requireEnded(t *testing.T, connection net.Conn, text string, within time.Duration) {
	t.Helper()
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, connection)
		close(ended)
	}()
	since := time.Now()
	for ticks := time.NewTicker(500 * time.Millisecond); ; {
		select {
		case <-ended:
			require.Less(t, time.Since(since), within)
			return
		case <-ticks.C:
			_, _ = io.WriteString(connection, text)
			require.Less(t, time.Since(since), within, "still open")
		}
	}
}

// H56: 10,000 requests in about a second on one URL are told when to come back, at once, and others do not notice.
func TestFloodOfOneURL(t *testing.T) {
	other := edge()
	other.Name = "other"
	secret := tokenSecret("other")
	otherToken := strings.Repeat("z", 54)
	secret.Data["token"] = []byte(otherToken)
	w := newWorld(t, other, secret).limited(Limits{URL: Rate{PerSecond: 10, Burst: 100}}).listening(t)
	lines := logged(t)
	after := map[string]bool{}
	var mutex sync.Mutex
	var group sync.WaitGroup
	statuses := map[int]int{}
	bodies := map[string]bool{}
	for range 10 {
		group.Go(func() {
			connection := w.dial(t)
			reader := bufio.NewReader(connection)
			for range 1000 {
				_, _ = io.WriteString(connection, hostile{}.request())
				response, err := http.ReadResponse(reader, nil)
				if err != nil {
					t.Error(err)
					return
				}
				body, _ := io.ReadAll(response.Body)
				mutex.Lock()
				statuses[response.StatusCode]++
				if response.StatusCode == http.StatusTooManyRequests {
					after[response.Header.Get("Retry-After")] = true
					bodies[string(body)] = true
				}
				mutex.Unlock()
			}
		})
	}
	for range 20 {
		since := time.Now()
		require.Equal(t, http.StatusOK, w.get(t, protocol.RegistrationPath(otherToken)).status)
		require.Less(t, time.Since(since), time.Second)
	}
	group.Wait()
	require.Equal(t, 10_000, statuses[http.StatusOK]+statuses[http.StatusTooManyRequests], "%v", statuses)
	require.GreaterOrEqual(t, statuses[http.StatusOK], 100)
	require.Less(t, statuses[http.StatusOK], 500)
	require.Greater(t, len(after), 20, "spread")
	for value := range after {
		seconds, err := strconv.Atoi(value)
		require.NoError(t, err)
		require.True(t, seconds >= 1 && seconds <= 60, value)
	}
	require.Len(t, bodies, 1)
	require.EqualValues(t, statuses[http.StatusTooManyRequests], w.server.Rejected()[Refusal{"registration", "rate-limited"}])
	require.Eventually(t, func() bool { return strings.Contains(lines(), " more\"") }, 2*time.Second, 10*time.Millisecond)
	require.Less(t, strings.Count(lines(), "rate-limited"), 200, "10 lines a second, and one for the rest")
}

// H52: guesses are cheap to refuse, and the one that would hit is refused with the others.
func TestGuessesAreLimited(t *testing.T) {
	w := newWorld(t, inventory("shared", v1.MachineInventorySpec{MachineTokenSecretName: "shared"}), sharedSecret("shared", sharedToken)).
		limited(Limits{Stranger: Rate{PerSecond: 1, Burst: 10}}).listening(t)
	plain := w.get(t, protocol.PathCACerts)
	for i := range 10 {
		require.Equal(t, plain, w.cacerts(t, fmt.Sprint("guess ", i)), "H52: as without Authorization")
	}
	since := time.Now()
	miss, hit := w.cacerts(t, "another"), w.cacerts(t, sharedToken)
	require.Less(t, time.Since(since), 2*50*time.Millisecond*raceFactor)
	require.Equal(t, http.StatusTooManyRequests, miss.status)
	require.NotEmpty(t, miss.header.Get("Retry-After"))
	miss.header.Del("Retry-After")
	hit.header.Del("Retry-After")
	require.Equal(t, miss, hit)
	bearer := w.get(t, protocol.PathInventory, protocolAuthorization(sharedToken))
	require.Equal(t, http.StatusTooManyRequests, bearer.status, "the guesser cannot go on next door")
	require.Equal(t, plain, w.get(t, protocol.PathCACerts), "who names nothing guesses nothing")
}

func protocolAuthorization(token string) string {
	return "Authorization: " + protocol.SharedTokenAuthorization(token)
}

// A shared secret is its machine's, so its uses are counted, for each path; a TPM hash is public, and counting it would let
// anybody shut the machine out.
func TestWhoseUsesAreCounted(t *testing.T) {
	client := newMachine(t)
	w := newWorld(t, inventory("tpm", v1.MachineInventorySpec{TPM: client.TPM.EndorsementHash()}),
		inventory("shared", v1.MachineInventorySpec{MachineTokenSecretName: "shared"}), sharedSecret("shared", sharedToken)).
		limited(Limits{Stranger: Rate{PerSecond: 1, Burst: 1}}).listening(t)
	for range DefaultLimits.Machine.Burst {
		require.Equal(t, http.StatusOK, w.cacerts(t, sharedToken).status)
		require.NotEqual(t, http.StatusTooManyRequests, w.get(t, protocol.PathInventory, protocolAuthorization(sharedToken)).status)
	}
	require.Equal(t, http.StatusTooManyRequests, w.cacerts(t, sharedToken).status)
	require.Equal(t, http.StatusTooManyRequests, w.get(t, protocol.PathInventory, protocolAuthorization(sharedToken)).status)
	for range 20 {
		require.Equal(t, http.StatusOK, w.cacerts(t, client.TPM.EndorsementHash()).status)
	}
}

// One machine that asks in a loop is told to wait; its neighbour is not.
func TestMachineInALoop(t *testing.T) {
	w := newWorld(t).limited(Limits{}).listening(t)
	looping, neighbour := newMachine(t), newMachine(t)
	for range DefaultLimits.Machine.Burst {
		w.register(t, looping, nil)
	}
	_, err := looping.Register(t.Context(), w.url+registrationPath, nil)
	require.Equal(t, http.StatusTooManyRequests, refused(t, err).Status)
	require.NotEmpty(t, refused(t, err).Header.Get("Retry-After"))
	w.register(t, neighbour, nil)
	require.Len(t, w.Inventories.Names(), 2)
}

// While half of the exchanges hang on one URL, the other half is open to others, and the refusal comes at once.
func TestStuckExchangesLeaveRoom(t *testing.T) {
	other := edge()
	other.Name = "other"
	secret := tokenSecret("other")
	otherToken := strings.Repeat("z", 54)
	secret.Data["token"] = []byte(otherToken)
	w := newWorld(t, other, secret).limited(Limits{Exchanges: 8}).listening(t)
	proof := proofLine(t)
	var stuck []net.Conn
	for range 4 {
		connection := w.dial(t)
		_, err := io.WriteString(connection, hostile{lines: proof + upgradeLines}.request())
		require.NoError(t, err)
		response, err := http.ReadResponse(bufio.NewReader(connection), nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusSwitchingProtocols, response.StatusCode)
		stuck = append(stuck, connection)
	}
	since := time.Now()
	got := w.raw(t, hostile{lines: proof + upgradeLines}.request())
	require.Less(t, time.Since(since), 50*time.Millisecond*raceFactor)
	require.Equal(t, http.StatusServiceUnavailable, got.status)
	seconds, err := strconv.Atoi(got.header.Get("Retry-After"))
	require.NoError(t, err)
	require.True(t, seconds >= 5 && seconds <= 60, seconds)
	conversation, err := newMachine(t).Register(t.Context(), w.url+protocol.RegistrationPath(otherToken), nil)
	require.NoError(t, err, "W49: the other URL is served")
	require.Contains(t, string(conversation.Final), "hostname")
	require.Equal(t, http.StatusOK, w.get(t, registrationPath).status, "and what is no exchange needs none of its slots")

	// H58: the machine vanishes, and leaves nothing behind.
	for _, connection := range stuck {
		require.NoError(t, connection.(*net.TCPConn).SetLinger(0))
		connection.Close()
	}
	require.Eventually(t, func() bool {
		w.server.limits.exchanges.mutex.Lock()
		defer w.server.limits.exchanges.mutex.Unlock()
		return w.server.limits.exchanges.free == 8
	}, time.Second, 5*time.Millisecond)
}

// H57: idle connections make room, the oldest first, and a machine that sends its request is served all the while.
func TestIdleConnectionsAreCapped(t *testing.T) {
	w := newWorld(t).limited(Limits{Connections: 50}).listening(t)
	var idle []net.Conn
	for range 200 {
		idle = append(idle, w.dial(t))
		if len(idle)%20 == 0 {
			require.Equal(t, http.StatusOK, w.get(t, registrationPath).status)
		}
	}
	one := make([]byte, 1)
	for _, connection := range idle[:90] {
		require.NoError(t, connection.SetReadDeadline(time.Now().Add(5*time.Second)))
		_, err := connection.Read(one)
		require.Error(t, err)
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "an old one is still open")
	}
	w.server.limits.connections.mutex.Lock()
	defer w.server.limits.connections.mutex.Unlock()
	require.LessOrEqual(t, w.server.limits.connections.quiet.Len(), 100)
}

// H54, H55 and C39: two Secrets of one token, a short one, and a newline at the end.
func TestSharedSecrets(t *testing.T) {
	machine := func(name string) *v1.MachineInventory {
		return inventory(name, v1.MachineInventorySpec{MachineTokenSecretName: name})
	}
	ask := func(w world, token string) answer {
		return w.listening(t).get(t, protocol.PathInventory, protocolAuthorization(token))
	}
	unknown := ask(newWorld(t), sharedToken)
	require.Equal(t, http.StatusUnauthorized, unknown.status)
	elsewhere := sharedSecret("two", sharedToken)
	elsewhere.Namespace = "elsewhere"
	require.Equal(t, unknown, ask(newWorld(t, machine("one"), sharedSecret("one", sharedToken), elsewhere), sharedToken), "H54: not the first wins")
	require.Equal(t, unknown, ask(newWorld(t, machine("one"), sharedSecret("one", "abc")), "abc"), "H55")
	require.Equal(t, unknown, ask(newWorld(t, machine("one"), sharedSecret("one", strings.Repeat("x", 31))), strings.Repeat("x", 31)), "C39: 31 characters")
	newline := newWorld(t, machine("one"), sharedSecret("one", sharedToken+"\n"))
	require.Equal(t, unknown, ask(newline, sharedToken), "C39: the newline is part of the token")
	require.NotEqual(t, http.StatusUnauthorized, ask(newline, sharedToken+"\n").status)
	require.Equal(t, unknown, ask(newWorld(t, machine("one"), sharedSecret("one", "")), ""))
	require.Equal(t, 32, v1.MinMachineToken)
}

func TestLoggable(t *testing.T) {
	for _, text := range []string{"", "plain", strings.Repeat("x", 5000), strings.Repeat("\\\"", 3000), strings.Repeat("\x1b\n\x00ü\U0001f600", 500)} {
		got := loggable(text)
		require.LessOrEqual(t, len(strconv.Quote(got)), maxDetail)
		require.False(t, strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r > '~' }))
	}
	require.Equal(t, "plain", loggable("plain"))
	require.Equal(t, `a\nb`, loggable("a\nb"))
}

// What is kept about a registration URL is a digest.
func TestURLKey(t *testing.T) {
	sum := sha256.Sum256([]byte(goodToken))
	require.Equal(t, string(sum[:]), urlKey(registrationPath))
	require.Equal(t, protocol.PathInventory, urlKey(protocol.PathInventory))
}
