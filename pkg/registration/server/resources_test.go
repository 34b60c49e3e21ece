package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	"github.com/rancher/rancheros-operator/tests/machine"
)

const (
	// attackers is how many connections each tries to do harm; idlers how many just are there.
	attackers = 256
	idlers    = 5000 / (1 + raceFactor/4)
	// attack is how long it goes on, settle how long all of it may take to be forgotten.
	attack = 10 * time.Second
	settle = 15 * time.Second
	// maxGrowth bounds what the attack may cost in memory.
	maxGrowth = 64 << 20
	// serverVariable makes the test binary be the server under attack, so that only its own memory and descriptors are measured.
	serverVariable = "RANCHEROS_TEST_SERVER"
)

// stolenToken is the URL that the attackers have.
var stolenToken = strings.Repeat("z", 54)

// figures are what a process holds.
type figures struct {
	rss, heap   int
	goroutines  int
	descriptors int
}

func (f figures) String() string {
	return fmt.Sprintf("RSS %d MiB, Go memory %d MiB, %d goroutines, %d descriptors", f.rss>>20, f.heap>>20, f.goroutines, f.descriptors)
}

// serveUnderAttack is the other process of TestResources.
func serveUnderAttack(t *testing.T) {
	other := edge()
	other.Name = "stolen"
	secret := tokenSecret("stolen")
	secret.Data["token"] = []byte(stolenToken)
	w := newWorld(t, other, secret).limited(Limits{}).listening(t)
	logged(t)
	measure := httptest.NewServer(http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		if request.URL.Path == "/settle" {
			debug.FreeOSMemory()
		}
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		fmt.Fprintln(response, memory.Sys-memory.HeapReleased, runtime.NumGoroutine())
	}))
	defer measure.Close()
	fmt.Println("serving", w.url, measure.URL)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// target is the process under attack.
type target struct {
	url, measure string
	pid          int
	client       http.Client
}

func newTarget(t *testing.T) *target {
	t.Helper()
	command := exec.Command(os.Args[0], "-test.run=^TestResources$")
	command.Env = append(os.Environ(), serverVariable+"=1")
	command.Stderr = os.Stderr
	input, err := command.StdinPipe()
	require.NoError(t, err)
	output, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		input.Close()
		_ = command.Wait()
	})
	p := &target{pid: command.Process.Pid, client: http.Client{Timeout: 10 * time.Second}}
	for lines := bufio.NewScanner(output); lines.Scan(); {
		if n, _ := fmt.Sscanf(lines.Text(), "serving %s %s", &p.url, &p.measure); n == 2 {
			go func() { _, _ = io.Copy(io.Discard, output) }()
			return p
		}
	}
	t.Fatal("the server did not start")
	return nil
}

// figures measures; path /settle lets the process give back first what it does not need.
func (p *target) figures(t *testing.T, path string) figures {
	t.Helper()
	response, err := p.client.Get(p.measure + path)
	require.NoError(t, err)
	defer response.Body.Close()
	var f figures
	_, err = fmt.Fscan(response.Body, &f.heap, &f.goroutines)
	require.NoError(t, err)
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.pid))
	require.NoError(t, err)
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	require.NoError(t, err)
	f.rss = pages * os.Getpagesize()
	descriptors, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.pid))
	require.NoError(t, err)
	f.descriptors = len(descriptors)
	return f
}

// TestResources: 256 attackers with a stolen URL and 5,000 idle connections cost little, leave nothing behind, and an honest
// machine is served meanwhile. The race detector, on both sides, keeps the machine busy by itself: then there are fewer
// of them, and how fast the honest one is served is not judged.
func TestResources(t *testing.T) {
	if os.Getenv(serverVariable) != "" {
		serveUnderAttack(t)
		return
	}
	p := newTarget(t)
	honest := newHonest(t, p, 50)
	for range 20 {
		honest.ask()
	}
	before := p.figures(t, "/settle")
	t.Log("before:", before)

	ctx, stop := context.WithTimeout(t.Context(), attack)
	defer stop()
	var group sync.WaitGroup
	crowd := newCrowd(ctx, t, p)
	for i := range attackers {
		group.Go(func() { crowd.attack(i) })
	}
	group.Go(func() { crowd.idle() })
	honest.times, honest.failures = nil, nil
	var most figures
	for ctx.Err() == nil {
		honest.ask()
		now := p.figures(t, "/")
		most = figures{max(most.rss, now.rss), max(most.heap, now.heap), max(most.goroutines, now.goroutines), max(most.descriptors, now.descriptors)}
	}
	group.Wait()
	t.Log("most:", most)
	t.Log(crowd)

	slices.Sort(honest.times)
	p99 := honest.times[len(honest.times)*99/100]
	t.Logf("%d honest registrations, p50 %s, p99 %s", len(honest.times), honest.times[len(honest.times)/2], p99)
	require.Empty(t, honest.failures, "an honest machine is served all the while")
	if raceFactor == 1 {
		require.Greater(t, len(honest.times), 20)
		require.LessOrEqual(t, p99, time.Second)
	}
	if raceFactor == 1 {
		require.LessOrEqual(t, most.rss-before.rss, maxGrowth)
	} else {
		require.LessOrEqual(t, most.heap-before.heap, 2*maxGrowth, "what the race detector holds is not ours")
	}
	require.Greater(t, crowd.opened.Load(), int64(1000), "there was an attack")

	after := figures{}
	require.Eventually(t, func() bool {
		after = p.figures(t, "/settle")
		return after.goroutines <= before.goroutines+5 && after.descriptors <= before.descriptors+5
	}, settle, 200*time.Millisecond, "back to the baseline")
	t.Log("after:", after)
}

// honest are machines with a URL of their own, each of which registers now and then.
type honest struct {
	t        *testing.T
	target   *target
	machines []*machine.OldClient
	next     int
	times    []time.Duration
	failures []error
}

func newHonest(t *testing.T, p *target, count int) *honest {
	h := &honest{t: t, target: p}
	for range count {
		h.machines = append(h.machines, newMachine(t))
	}
	return h
}

func (h *honest) ask() {
	h.next++
	since := time.Now()
	_, err := h.machines[h.next%len(h.machines)].Register(h.t.Context(), h.target.url+registrationPath, nil)
	h.times = append(h.times, time.Since(since))
	if err != nil {
		h.failures = append(h.failures, err)
	}
	time.Sleep(50 * time.Millisecond)
}

// crowd are the attackers, all with the stolen URL and TPMs of their own that are made of software.
type crowd struct {
	ctx            context.Context
	address        string
	proofs         []string
	opened, closed atomic.Int64
	statuses       [600]atomic.Int64
}

func newCrowd(ctx context.Context, t *testing.T, p *target) *crowd {
	c := &crowd{ctx: ctx, address: strings.TrimPrefix(p.url, "http://")}
	for range attackers {
		proof, err := newTPM(t, tpm.ECCP256).NewProof()
		require.NoError(t, err)
		authorization, err := proof.Token().EncodeAuthorization()
		require.NoError(t, err)
		c.proofs = append(c.proofs, "Authorization: "+authorization+"\r\n")
	}
	return c
}

func (c *crowd) String() string {
	text := fmt.Sprintf("%d connections opened, %d closed on us; answers:", c.opened.Load(), c.closed.Load())
	for status := range c.statuses {
		if n := c.statuses[status].Load(); n > 0 {
			text += fmt.Sprintf(" %d x %d", n, status)
		}
	}
	return text
}

// attack opens one connection after the other and does on each what the number stands for.
func (c *crowd) attack(number int) {
	harms := []func(net.Conn, string){c.slowHeaders, c.silent, c.slowAnswer, c.endlessFrames, c.emptyFragments, c.pings, c.wrongAnswers}
	harm := harms[number%len(harms)]
	if number%16 == 0 {
		harm = c.hugeHeaders
	}
	for c.ctx.Err() == nil {
		connection, err := net.DialTimeout("tcp", c.address, time.Second)
		if err == nil {
			c.opened.Add(1)
			end := context.AfterFunc(c.ctx, func() { connection.Close() })
			harm(connection, c.proofs[number])
			end()
			connection.Close()
			c.closed.Add(1)
		}
		c.pause(100 * raceFactor * time.Millisecond)
	}
}

func (c *crowd) pause(d time.Duration) {
	select {
	case <-c.ctx.Done():
	case <-time.After(d):
	}
}

func (c *crowd) slowHeaders(connection net.Conn, _ string) {
	_, _ = io.WriteString(connection, "GET "+protocol.RegistrationPath(stolenToken)+" HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	c.repeat(connection, []byte("x"), time.Second)
}

// hugeHeaders sends as much as is kept in memory, and then nothing.
func (c *crowd) hugeHeaders(connection net.Conn, _ string) {
	_, _ = io.WriteString(connection, "GET / HTTP/1.1\r\nHost: x\r\nX-Huge: "+strings.Repeat("x", 100<<10))
	_, _ = io.Copy(io.Discard, connection)
}

// challenged begins an exchange; false when it is refused.
func (c *crowd) challenged(connection net.Conn, proof string) bool {
	_, _ = io.WriteString(connection, "GET "+protocol.RegistrationPath(stolenToken)+" HTTP/1.1\r\nHost: x\r\n"+proof+upgradeLines+"\r\n")
	response, err := http.ReadResponse(bufio.NewReaderSize(connection, 512), nil)
	if err != nil {
		return false
	}
	c.statuses[response.StatusCode].Add(1)
	return response.StatusCode == http.StatusSwitchingProtocols
}

func (c *crowd) silent(connection net.Conn, proof string) {
	if c.challenged(connection, proof) {
		_, _ = io.Copy(io.Discard, connection)
	}
}

// repeat writes again and again until it fails.
func (c *crowd) repeat(connection net.Conn, data []byte, pause time.Duration) {
	for c.ctx.Err() == nil {
		_ = connection.SetWriteDeadline(time.Now().Add(5 * time.Second))
		if _, err := connection.Write(data); err != nil {
			return
		}
		c.pause(pause)
	}
}

// slowAnswer announces a frame and sends it a byte a second.
func (c *crowd) slowAnswer(connection net.Conn, proof string) {
	if c.challenged(connection, proof) {
		_, _ = connection.Write([]byte{0x82, 0xba, 1, 2, 3, 4})
		c.repeat(connection, []byte{'x'}, time.Second)
	}
}

// endlessFrames sends one message in fragments of 16 KiB, without end.
func (c *crowd) endlessFrames(connection net.Conn, proof string) {
	if c.challenged(connection, proof) {
		_, _ = connection.Write(append([]byte{0x02, 0xfe, 0x40, 0x00, 0, 0, 0, 0}, make([]byte, 16<<10)...))
		c.repeat(connection, append([]byte{0x00, 0xfe, 0x40, 0x00, 0, 0, 0, 0}, make([]byte, 16<<10)...), raceFactor*time.Millisecond)
	}
}

func (c *crowd) emptyFragments(connection net.Conn, proof string) {
	if c.challenged(connection, proof) {
		_, _ = connection.Write([]byte{0x02, 0x80, 0, 0, 0, 0})
		c.repeat(connection, []byte{0x00, 0x80, 0, 0, 0, 0}, raceFactor*time.Millisecond)
	}
}

func (c *crowd) pings(connection net.Conn, proof string) {
	if c.challenged(connection, proof) {
		go func() { _, _ = io.Copy(io.Discard, connection) }()
		c.repeat(connection, []byte{0x89, 0x80, 0, 0, 0, 0}, raceFactor*time.Millisecond)
	}
}

func (c *crowd) wrongAnswers(connection net.Conn, proof string) {
	if c.challenged(connection, proof) {
		_, _ = connection.Write([]byte{0x82, 0x82, 0, 0, 0, 0, '{', '}'})
		_, _ = io.Copy(io.Discard, connection)
	}
}

// idle opens connections and leaves them.
func (c *crowd) idle() {
	var all []net.Conn
	defer func() {
		for _, connection := range all {
			connection.Close()
		}
	}()
	for range idlers {
		if c.ctx.Err() != nil {
			return
		}
		connection, err := net.DialTimeout("tcp", c.address, time.Second)
		if err == nil {
			c.opened.Add(1)
			all = append(all, connection)
		}
	}
	<-c.ctx.Done()
}

// TestPowerCut: 1,200 machines come at once to one URL with the default limits. Each is served, or told at once and in
// numbers when to come back; and who was told it was served has an inventory, nobody else.
func TestPowerCut(t *testing.T) {
	w := newWorld(t).limited(Limits{}).listening(t)
	logged(t)
	const crowd = 1200 / (1 + raceFactor/4)
	clients := make([]*machine.OldClient, crowd)
	for i := range clients {
		clients[i] = newMachine(t)
	}
	var served, told atomic.Int64
	var group sync.WaitGroup
	start := make(chan struct{})
	for _, client := range clients {
		group.Go(func() {
			<-start
			_, err := client.Register(t.Context(), w.url+registrationPath, nil)
			var refusal *machine.Refusal
			switch {
			case err == nil:
				served.Add(1)
			case errors.As(err, &refusal) && refusal.Status == http.StatusServiceUnavailable && refusal.Header.Get("Retry-After") != "":
				told.Add(1)
			default:
				t.Errorf("neither served nor told: %v", err)
			}
		})
	}
	close(start)
	group.Wait()
	t.Logf("%d served, %d told when to come back", served.Load(), told.Load())
	require.EqualValues(t, served.Load(), len(w.Inventories.Names()))
	require.EqualValues(t, crowd, served.Load()+told.Load())
	require.GreaterOrEqual(t, served.Load(), int64(min(crowd, DefaultLimits.Exchanges/2)))
}
