package server

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
)

// H1 to H13: one answer to all that is not there, whatever is wrong with it, so that it tells nothing.
func TestWhatIsNotThere(t *testing.T) {
	w := newWorld(t)
	other := strings.Repeat("z", 54)
	want := w.get(t, "/v1-rancheros/registration/"+other)
	require.Equal(t, http.StatusNotFound, want.status)
	require.Equal(t, "not found\n", want.body)
	for _, c := range []struct{ id, path string }{
		{"H1 an empty token", "/v1-rancheros/registration/"},
		{"H1 no token", "/v1-rancheros/registration"},
		{"H3 one character short", registrationPath[:len(registrationPath)-1]},
		{"H3 one character long", registrationPath + "b"},
		{"H4 another case", strings.Replace(registrationPath, "bcdf", "BCDF", 1)},
		{"H5 10 KiB", "/v1-rancheros/registration/" + strings.Repeat("b", 10<<10)},
		{"H6 a parent", "/v1-rancheros/registration/../registration/" + goodToken},
		{"H6 a parent, escaped", "/v1-rancheros/registration/%2e%2e/registration/" + goodToken},
		{"H6 a parent and a slash, escaped", "/v1-rancheros/registration/x%2e%2e%2f" + goodToken},
		{"H7 a slash in the token", "/v1-rancheros/registration/" + goodToken[:20] + "%2F" + goodToken[20:]},
		{"H7 an escaped letter of the token", "/v1-rancheros/registration/%62" + goodToken[1:]},
		{"H8 NUL", registrationPath + "%00"},
		{"H8 a newline", registrationPath + "%0a"},
		{"H8 ESC", "/v1-rancheros/registration/%1b[31m" + goodToken},
		{"H9 no UTF-8", registrationPath + "%ff%fe"},
		{"H10 a slash at the end", registrationPath + "/"},
		{"H10 something after the token", registrationPath + "/x"},
		{"H11 something before", "/v1-rancheros/x/registration/" + goodToken},
		{"H11 another prefix", "/x" + registrationPath},
		{"H12 anything before cacerts", "/v1-rancheros/anything/cacerts"},
		{"H12 cacerts as a directory", "/v1-rancheros/cacerts/"},
		{"H13 double slashes", "//v1-rancheros//registration//" + goodToken},
		{"H13 double slashes before cacerts", "/v1-rancheros//cacerts"},
		{"an escaped letter of a route", "/v1-rancheros/%63acerts"},
		{"another case of a route", "/v1-rancheros/Inventory"},
		{"what the first operator took for the inventory: any other path", "/v1-rancheros/"},
		{"the root", "/"},
	} {
		t.Run(c.id, func(t *testing.T) {
			require.Equal(t, want, w.get(t, c.path), "the same bytes as for an unknown token")
		})
	}
	require.Empty(t, want.header.Get("Location"))
	require.Equal(t, "not-found", want.header.Get("X-Rancheros-Code"))
}

// H14.
func TestQueryIsIgnored(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, w.get(t, registrationPath), w.get(t, registrationPath+"?token="+strings.Repeat("z", 54)+"&debug=1"))
	require.Equal(t, http.StatusNotFound, w.get(t, "/v1-rancheros/registration/?token="+goodToken).status)
}

// H15 and H17.
func TestMethods(t *testing.T) {
	w := newWorld(t)
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "CONNECT", "BREW"} {
		for _, path := range []string{registrationPath, "/v1-rancheros/inventory", "/v1-rancheros/cacerts", "/v1-rancheros/none"} {
			got := w.raw(t, method+" "+path+" HTTP/1.1\r\nHost: x\r\nOrigin: https://evil\r\nAccess-Control-Request-Method: POST\r\n\r\n")
			require.Equal(t, http.StatusMethodNotAllowed, got.status, "%s %s", method, path)
			require.Equal(t, "GET, HEAD", got.header.Get("Allow"))
			for name := range got.header {
				require.NotContains(t, name, "Access-Control", "no page of another origin may read us")
			}
		}
	}
}

// H16.
func TestHead(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{registrationPath, "/v1-rancheros/cacerts", "/v1-rancheros/none"} {
		get := w.get(t, path)
		head := w.raw(t, "HEAD "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
		require.Empty(t, head.body)
		require.Equal(t, get.status, head.status)
		require.Equal(t, get.header, head.header)
	}
}

// H18 and H45: a body is refused before a byte of it is read.
func TestBodies(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		why, lines string
		status     int
	}{
		{"a gigabyte is announced", "Content-Length: 1073741824\r\n\r\n", http.StatusRequestEntityTooLarge},
		{"one byte", "Content-Length: 1\r\n\r\nx", http.StatusRequestEntityTooLarge},
		{"chunks without end", "Transfer-Encoding: chunked\r\n\r\n", http.StatusBadRequest},
	} {
		since := time.Now()
		got := w.raw(t, "GET "+registrationPath+" HTTP/1.1\r\nHost: x\r\n"+c.lines)
		require.Equal(t, c.status, got.status, c.why)
		require.True(t, got.closed, "%s: the connection cannot be used again", c.why)
		require.Less(t, time.Since(since), 5*time.Second, "%s: nothing is waited for", c.why)
	}
	got := w.raw(t, "POST "+registrationPath+" HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n")
	require.Equal(t, http.StatusMethodNotAllowed, got.status)
	require.True(t, got.closed)
}

// H35 to H37: who asks is decided by the proof alone, and addresses come from Rancher's settings alone.
func TestHeadersOfProxiesAreNotBelieved(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, w.get(t, registrationPath), w.raw(t, "GET "+registrationPath+" HTTP/1.1\r\nHost: evil.example.com\r\n"+
		"X-Forwarded-Host: evil.example.com\r\nX-Forwarded-Proto: http\r\nX-Forwarded-For: 127.0.0.1\r\nX-API-URL-Prefix: https://evil\r\nForwarded: host=evil\r\n"+
		"Impersonate-User: admin\r\nImpersonate-Group: system:masters\r\n\r\n"))
	got := w.get(t, "/v1-rancheros/inventory", "Impersonate-User: admin", "Impersonate-Group: system:masters")
	require.Equal(t, http.StatusUnauthorized, got.status)
}

// H40.
func TestUpgradeToSomethingElseIsAPlainRequest(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, w.get(t, registrationPath), w.get(t, registrationPath, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"))
}

// While all places are taken, a machine is told to come back, at once.
func TestFull(t *testing.T) {
	w := newWorld(t)
	places := w.server.limits.requests
	for places.take("one") || places.take("another") {
		continue
	}
	got := w.get(t, registrationPath)
	require.Equal(t, http.StatusServiceUnavailable, got.status)
	require.NotEmpty(t, got.header.Get("Retry-After"))
	require.Equal(t, "unavailable", got.header.Get("X-Rancheros-Code"))
	places.give("one")
	require.Equal(t, http.StatusOK, w.get(t, registrationPath).status)
	require.Equal(t, http.StatusOK, w.get(t, registrationPath).status, "the place is given back")
}

// A machine that is asked for its proof holds a place until it has answered, and gives it back when it vanishes (H58).
func TestVanishingMachineGivesItsPlaceBack(t *testing.T) {
	w := newWorld(t)
	connection, _ := dial(t, w, newTPM(t, tpm.ECCP256), registrationPath)
	places := w.server.limits.exchanges
	held := func() int {
		places.mutex.Lock()
		defer places.mutex.Unlock()
		return len(places.taken)
	}
	require.Equal(t, 1, held())
	require.NoError(t, connection.NetConn().Close())
	require.Eventually(t, func() bool { return held() == 0 }, 2*time.Second, 5*time.Millisecond)
	require.Empty(t, w.Inventories.Names())
}

func TestSurface(t *testing.T) {
	for path, want := range map[string]string{registrationPath: "registration", "/v1-rancheros/inventory": "inventory", "/v1-rancheros/cacerts": "cacerts", "/v1-rancheros/x": "other"} {
		request := httptest.NewRequest(http.MethodGet, path, nil)
		require.Equal(t, want, surface(request))
		require.NotContains(t, surface(request), goodToken)
	}
}

// H38, H39, H41 to H44: whoever proves, proves over a websocket as it should be.
func TestBadUpgrades(t *testing.T) {
	w := newWorld(t)
	proof, err := newTPM(t, tpm.ECCP256).NewProof()
	require.NoError(t, err)
	authorization, err := proof.Token().EncodeAuthorization()
	require.NoError(t, err)
	lines := func(change map[string]string) []string {
		headers := map[string]string{"Authorization": authorization, "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
		for name, value := range change {
			headers[name] = value
		}
		var lines []string
		for name, value := range headers {
			if value != "" {
				lines = append(lines, name+": "+value)
			}
		}
		return lines
	}
	for _, c := range []struct {
		id     string
		change map[string]string
		status int
	}{
		{"no upgrade: a proxy in between has taken it out", map[string]string{"Connection": "", "Upgrade": ""}, http.StatusBadRequest},
		{"H38 no key", map[string]string{"Sec-WebSocket-Key": ""}, http.StatusBadRequest},
		{"H38 a short key", map[string]string{"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAA"}, http.StatusBadRequest},
		{"H39 version 12", map[string]string{"Sec-WebSocket-Version": "12"}, http.StatusUpgradeRequired},
		{"H43 a protocol that nobody knows", map[string]string{"Sec-WebSocket-Protocol": "other"}, http.StatusBadRequest},
		{"H41 a browser", map[string]string{"Origin": "https://evil.example.com"}, http.StatusForbidden},
	} {
		got := w.get(t, registrationPath, lines(c.change)...)
		require.Equal(t, c.status, got.status, c.id)
		require.NotEmpty(t, got.header.Get("X-Rancheros-Code"), c.id)
	}
	got := w.get(t, registrationPath, lines(map[string]string{"Sec-WebSocket-Extensions": "permessage-deflate"})...)
	require.Equal(t, http.StatusSwitchingProtocols, got.status)
	require.Empty(t, got.header.Get("Sec-WebSocket-Extensions"), "H42: no compression, no bombs")
	require.Empty(t, got.header.Get("Sec-WebSocket-Protocol"))
	require.Empty(t, w.Inventories.Names())
}

// What failed inside is for the log: the machine is told that it did, and no more.
func TestInternalErrorsStayInside(t *testing.T) {
	recorder := httptest.NewRecorder()
	refuseHTTP(recorder, httptest.NewRequest(http.MethodGet, "/", nil), errors.New("etcd at 10.0.0.7 said no"))
	require.Equal(t, http.StatusInternalServerError, recorder.Code)
	require.Equal(t, "internal error\n", recorder.Body.String())
}
