package netboot

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

const token = "secret-token"

// operator is one as netboot sees it: media behind TLS, below a token, that are refused or break when a test says so.
type operator struct {
	*httptest.Server
	mutex sync.Mutex
	files map[string][]byte
	// refuse is what every request is answered with; breakAt, unless 0, after how many bytes connections break, so many times.
	refuse  *protocol.Error
	breakAt int
	breaks  int
	etag    string
	asked   []string
}

func newOperator(t *testing.T) *operator {
	o := &operator{etag: `"one"`, files: map[string][]byte{
		"boot.ipxe": []byte("#!ipxe\nkernel " + "kernel initrd=initrd quiet\ninitrd " + "initrd\nboot\n"),
		"kernel":    bytes.Repeat([]byte("kernel "), 300_000), "initrd": bytes.Repeat([]byte("initrd "), 400_000), "usb.iso": bytes.Repeat([]byte("iso "), 900_000),
	}}
	o.Server = httptest.NewTLSServer(o)
	t.Cleanup(o.Close)
	return o
}

func (o *operator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mutex.Lock()
	refuse, breakAt, etag := o.refuse, 0, o.etag
	o.asked = append(o.asked, r.Method+" "+strings.TrimPrefix(r.URL.Path, "/seedimage/"+token+"/")+" "+r.Header.Get("Range"))
	if o.breaks > 0 && r.Method == http.MethodGet && !strings.HasSuffix(r.URL.Path, ".ipxe") {
		o.breaks, breakAt = o.breaks-1, o.breakAt
	}
	o.mutex.Unlock()
	if refuse != nil {
		protocol.WriteHTTPError(w, refuse)
		return
	}
	content, found := o.files[strings.TrimPrefix(r.URL.Path, "/seedimage/"+token+"/")]
	if !found {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("ETag", etag)
	w.Header().Set("Content-Type", "application/octet-stream")
	if breakAt > 0 {
		w = &breaking{ResponseWriter: w, left: breakAt}
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

func (o *operator) set(change func()) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	change()
}

func (o *operator) requests() []string {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return append([]string{}, o.asked...)
}

// breaking is a connection that breaks in the middle.
type breaking struct {
	http.ResponseWriter
	left int
}

func (b *breaking) Write(data []byte) (int, error) {
	if len(data) >= b.left {
		_, _ = b.ResponseWriter.Write(data[:b.left])
		_ = http.NewResponseController(b.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	b.left -= len(data)
	return b.ResponseWriter.Write(data)
}

// world is a server on the loopback interface, with ports of its own.
type world struct {
	*server
	operator *operator
	log      *recorder
	tftpAddr string
	http     string
	stop     func() error
}

// recorder keeps what is logged.
type recorder struct {
	mutex sync.Mutex
	text  bytes.Buffer
}

func (r *recorder) Write(line []byte) (int, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.text.Write(line)
}

func (r *recorder) String() string {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.text.String()
}

// configFor is a config for the operator's registration, with changes.
func configFor(t *testing.T, o *operator, more string) *Config {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, pemOf(o.Certificate().Raw), 0o600))
	return configOf(t, fmt.Sprintf("interfaces: [lo]\nstatusAddress: 127.0.0.1:0\ncaFile: %s\nregistrations:\n- {name: edge, ipxeURL: '%s/seedimage/%s/boot.ipxe', downloadURL: '%s/seedimage/%s/usb.iso'}\n%s",
		ca, o.URL, token, o.URL, token, more))
}

func newWorld(t *testing.T, more string, changes ...func(w *world)) *world {
	t.Helper()
	o := newOperator(t)
	w := &world{operator: o, log: &recorder{}}
	log := logrus.New()
	log.SetOutput(w.log)
	log.SetLevel(logrus.DebugLevel)
	config := configFor(t, o, more)
	w.server = newServer(config, log)
	w.upstream.pause = time.Millisecond
	// Ports that nobody has, which then are the config's.
	w.ports = Ports{}
	config.HTTPPort = 0
	open, err := w.listen(t.Context())
	require.NoError(t, err)
	config.HTTPPort = open.http.Addr().(*net.TCPAddr).Port
	config.StatusAddress = open.status.Addr().String()
	w.ports.DHCP, w.ports.Proxy = portOf(open.dhcp.conn.LocalAddr()), portOf(open.proxy.conn.LocalAddr())
	w.tftpAddr = "127.0.0.1:" + strconv.Itoa(portOf(open.tftp.LocalAddr()))
	w.http = "http://127.0.0.1:" + strconv.Itoa(config.HTTPPort)
	for _, change := range changes {
		change(w)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.serve(ctx, open) }()
	var once sync.Once
	var stopped error
	w.stop = func() error {
		once.Do(func() {
			cancel()
			stopped = <-done
		})
		return stopped
	}
	t.Cleanup(func() {
		require.NoError(t, w.stop())
		require.NotContains(t, w.log.String(), token, "no log has the token")
	})
	return w
}

func portOf(address net.Addr) int { return address.(*net.UDPAddr).Port }

// ask sends a packet to one of the server's ports and returns the answer; nil when there is none.
func ask(t *testing.T, port int, packet []byte, patience time.Duration) []byte {
	t.Helper()
	conn, err := net.Dial("udp4", "127.0.0.1:"+strconv.Itoa(port))
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write(packet)
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	buffer := make([]byte, 4096)
	n, err := conn.Read(buffer)
	if err != nil {
		return nil
	}
	return buffer[:n]
}

type got struct {
	status int
	header http.Header
	body   []byte
	err    error
}

func (w *world) get(t *testing.T, method, path string, header http.Header) got {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, w.http+path, nil)
	require.NoError(t, err)
	for name, values := range header {
		request.Header[name] = values
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}).Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return got{response.StatusCode, response.Header, body, err}
}

func (w *world) machine(t *testing.T, mac string) Machine {
	t.Helper()
	status, err := ReadStatus(t.Context(), w.config.StatusAddress)
	require.NoError(t, err)
	for _, machine := range status.Machines {
		if machine.MAC == mac {
			return machine
		}
	}
	return Machine{}
}

// waitForStage waits until the machine has come that far.
func (w *world) waitForStage(t *testing.T, mac string, stage Stage) Machine {
	t.Helper()
	var last Machine
	require.Eventually(t, func() bool {
		last = w.machine(t, mac)
		return last.Stage == stage
	}, 30*time.Second, 10*time.Millisecond, "stage %s of %s", stage, mac)
	return last
}
