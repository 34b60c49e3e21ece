package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/tests/harness"
	"github.com/rancher/rancheros-operator/tests/swarm"
)

const (
	clients   = 8
	stormSize = 1200
	// ticksPerSecond is the unit of /proc/<pid>/stat on Linux.
	ticksPerSecond = 100
)

type bench struct {
	world    *harness.World
	serving  *harness.Replica
	anchor   *anchor
	swarm    *swarm.Swarm
	url      string
	machines int
	profile  string
	results  map[string]result
}

// result is one measurement.
type result struct {
	rate               float64
	p50, p95, p99      time.Duration
	cpu                spent
	writes             float64
	slower             float64
	failed, operations int
}

func newBench(ctx context.Context, world *harness.World, serving *harness.Replica, machines int) (*bench, error) {
	s, err := swarm.New()
	if err != nil {
		return nil, err
	}
	manifest := "apiVersion: rancheros.cattle.io/v1\nkind: MachineRegistration\nmetadata: {name: bench, namespace: default}\nspec: {cloudConfig: {rancheros: {install: {device: /dev/sda}}}}\n"
	if _, err := world.Apply(ctx, manifest); err != nil {
		return nil, err
	}
	if _, err := world.Kubectl(ctx, "wait", "--for=condition=Ready", "machineregistration/bench", "--timeout=30s"); err != nil {
		return nil, err
	}
	url, err := world.Kubectl(ctx, "get", "machineregistration", "bench", "-o", "jsonpath={.status.registrationURL}")
	if err != nil {
		return nil, err
	}
	anchor, err := newAnchor(ctx, world)
	if err != nil {
		return nil, err
	}
	url = "http://" + serving.ListenAddr + strings.TrimPrefix(url, world.Rancher.URL())
	return &bench{world: world, serving: serving, anchor: anchor, swarm: s, url: url, machines: machines, results: map[string]result{}}, nil
}

// measure runs do n times on a few clients and prints a line.
func (b *bench) measure(ctx context.Context, name string, n, workers int, do func(i int) error) error {
	slowerBefore, err := b.anchor.slower(ctx)
	if err != nil {
		return err
	}
	since := time.Now()
	before, err := b.cpu()
	if err != nil {
		return err
	}
	var mutex sync.Mutex
	took := make([]time.Duration, 0, n)
	errs := swarm.InParallel(n, workers, func(i int) error {
		start := time.Now()
		err := do(i)
		mutex.Lock()
		took = append(took, time.Since(start))
		mutex.Unlock()
		return err
	})
	elapsed := time.Since(since)
	<-time.After(settle)
	after, err := b.cpu()
	if err != nil {
		return err
	}
	requests, err := b.world.OperatorRequests(since)
	if err != nil {
		return err
	}
	requests = slices.DeleteFunc(requests, func(r harness.Request) bool {
		return !r.Writes() || r.ObjectRef.Resource == "leases" || r.ObjectRef.Resource == "events"
	})
	slower, err := b.anchor.slower(ctx)
	if err != nil {
		return err
	}
	slices.Sort(took)
	at := func(share float64) time.Duration { return took[int(share*float64(len(took)-1))] }
	r := result{
		rate: float64(n) / elapsed.Seconds(), p50: at(0.5), p95: at(0.95), p99: at(0.99),
		cpu: after.since(before, n), writes: float64(len(requests)) / float64(n), slower: (slowerBefore + slower) / 2, failed: len(errs), operations: n,
	}
	b.results[name] = r
	fmt.Printf("%-36s %8.0f %8.1f %8.1f %8.1f %9.2f %9.2f %9.2f %9.2f %8.2f %6.2f\n", name, r.rate, ms(r.p50), ms(r.p95), ms(r.p99),
		ms(r.cpu.serving), ms(r.cpu.leading), ms(r.cpu.apiServer), ms(r.cpu.clients), r.writes, r.slower)
	if len(errs) > 0 {
		return fmt.Errorf("%s: %d of %d failed, the first with: %w", name, len(errs), n, errs[0])
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// spent is CPU time, in user and system, by who used it.
type spent struct {
	// serving is the replica that machines talk to, which is not the leader; leading is the one whose controllers work.
	serving, leading time.Duration
	// apiServer is etcd too.
	apiServer time.Duration
	// clients is the benchmark itself: machines with their TPMs, and the pretend Rancher.
	clients time.Duration
}

func (s spent) since(before spent, n int) spent {
	each := func(after, before time.Duration) time.Duration { return (after - before) / time.Duration(n) }
	return spent{serving: each(s.serving, before.serving), leading: each(s.leading, before.leading),
		apiServer: each(s.apiServer, before.apiServer), clients: each(s.clients, before.clients)}
}

// cpu is what everybody has used so far.
func (b *bench) cpu() (spent, error) {
	var s spent
	var errs []error
	for pid, into := range map[int]*time.Duration{
		b.serving.PID: &s.serving, b.world.Operator.PID: &s.leading, b.world.ControlPlanePID(): &s.apiServer, os.Getpid(): &s.clients,
	} {
		var err error
		*into, err = cpuOf(pid)
		errs = append(errs, err)
	}
	return s, errors.Join(errs...)
}

// cpuOf is what a process has used so far.
func cpuOf(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("reading CPU time: %w", err)
	}
	// The program's name, in brackets, may hold spaces; what follows does not.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading CPU time: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
}

// newMachines are made before the clock starts.
func (b *bench) newMachines(n int) ([]*swarm.Machine, error) {
	machines := make([]*swarm.Machine, n)
	var err error
	for i := range machines {
		if machines[i], err = b.swarm.Machine(); err != nil {
			return nil, err
		}
	}
	return machines, nil
}

func (b *bench) register(ctx context.Context, name string, machines []*swarm.Machine) error {
	return b.measure(ctx, name, len(machines), clients, func(i int) error {
		_, err := machines[i].Register(ctx, b.url)
		return err
	})
}

func (b *bench) firstAndAgain(ctx context.Context, state string) error {
	machines, err := b.newMachines(b.machines)
	if err != nil {
		return err
	}
	for _, what := range []string{"first", "again"} {
		profiled := b.startProfile(ctx, what)
		if err := b.register(ctx, what+", "+state, machines); err != nil {
			return err
		}
		if err := profiled(); err != nil {
			return err
		}
	}
	return nil
}

// startProfile takes the serving replica's CPU profile while machines register, when profiles are asked for.
func (b *bench) startProfile(ctx context.Context, what string) (wait func() error) {
	if b.profile == "" {
		return func() error { return nil }
	}
	done := make(chan error, 1)
	go func() { done <- b.takeProfile(ctx, b.profile+"."+what) }()
	return func() error { return <-done }
}

func (b *bench) takeProfile(ctx context.Context, file string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.serving.HealthAddr+"/debug/pprof/profile?seconds=5", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("taking profile: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("taking profile: %w", err)
	}
	return os.WriteFile(file, body, 0o600)
}

func (b *bench) warmUp(ctx context.Context) error {
	machines, err := b.newMachines(200)
	if err != nil {
		return err
	}
	return b.register(ctx, "warm-up", machines)
}

func (b *bench) empty(ctx context.Context) error { return b.firstAndAgain(ctx, "empty inventory") }
func (b *bench) full(ctx context.Context) error  { return b.firstAndAgain(ctx, "full inventory") }

// create writes an inventory as the benchmark itself, past the operator's server.
func (b *bench) create(namespace, name, hash string) error {
	_, err := b.world.Clients.RancherOS.MachineInventory().Create(&v1.MachineInventory{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       v1.MachineInventorySpec{TPM: hash, SMBIOS: &runtime.RawExtension{Raw: []byte(`{"System Information":{"Serial Number":"` + name + `"}}`)}},
	})
	return err
}

func (b *bench) rawCreates(ctx context.Context) error {
	if _, err := b.world.Kubectl(ctx, "create", "namespace", "raw"); err != nil {
		return err
	}
	return b.measure(ctx, "raw creates", b.machines, clients, func(i int) error {
		return b.create("raw", fmt.Sprintf("raw-%d", i), fmt.Sprintf("%064x", i))
	})
}

func (b *bench) fill(ctx context.Context, n int) error {
	if _, err := b.world.Kubectl(ctx, "create", "namespace", "full"); err != nil {
		return err
	}
	err := b.measure(ctx, fmt.Sprintf("filling up with %d inventories", n), n, 2*clients, func(i int) error {
		return b.create("full", fmt.Sprintf("full-%d", i), fmt.Sprintf("f%063x", i))
	})
	if err != nil {
		return err
	}
	return b.quiet(ctx)
}

// quiet returns when the controllers have done what follows.
func (b *bench) quiet(ctx context.Context) error {
	return harness.Eventually(ctx, 5*time.Minute, func() error {
		since := time.Now()
		<-time.After(2 * time.Second)
		requests, err := b.world.OperatorRequests(since)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(requests, func(r harness.Request) bool { return r.Writes() && r.ObjectRef.Resource != "leases" }) {
			return errors.New("the controllers are still busy")
		}
		return nil
	})
}

// storm is a power cut's end: all at once, and whoever is sent away comes back.
func (b *bench) storm(ctx context.Context) error {
	machines, err := b.newMachines(stormSize)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return b.measure(ctx, fmt.Sprintf("storm of %d at once", stormSize), stormSize, stormSize, func(i int) error {
		_, err := machines[i].KeepRegistering(ctx, b.url, 200*time.Millisecond)
		return err
	})
}

// report compares with the targets.
func (b *bench) report() {
	fmt.Println()
	raw, first, again := b.results["raw creates"], b.results["first, empty inventory"], b.results["again, empty inventory"]
	fullFirst, fullAgain := b.results["first, full inventory"], b.results["again, full inventory"]
	for _, line := range []struct {
		what        string
		value, want float64
		atLeast     bool
	}{
		{"first registrations per raw create", first.rate / raw.rate, 0.5, true},
		{"first, full against empty", fullFirst.rate / first.rate, 0.95, true},
		{"CPU per first registration, ms", ms(first.cpu.serving), 0.7, false},
		{"CPU per repeated registration, ms", ms(again.cpu.serving), 0.4, false},
		{"repeated registrations per second", again.rate, 800, true},
		{"repeated, full against empty", fullAgain.rate / again.rate, 0.95, true},
		{"writes per new machine", first.writes, 2, false},
		{"writes per known machine", again.writes, 0, false},
	} {
		line.value = math.Round(line.value*100) / 100 // As it is printed.
		verdict, sign := "missed", "<="
		if line.atLeast {
			sign = ">="
		}
		if (line.atLeast && line.value >= line.want) || (!line.atLeast && line.value <= line.want) {
			verdict = "held"
		}
		fmt.Printf("%-48s %8.2f   %s %-6.2f %s\n", line.what, line.value, sign, line.want, verdict)
	}
}
