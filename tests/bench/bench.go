package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	// rounds is how often each measurement is made; medians are compared with the targets.
	rounds = 3
	// warmUps is how often 2,000 machines register before anything is measured: what that leaves for the garbage collector is more
	// than it lets gather at 20,000 inventories.
	warmUps = 6
	// settle gives the controllers time to do what follows a registration, so that its cost is counted too.
	settle = 10 * time.Second
	empty  = "empty inventory"
	full   = "full inventory"
	// registered, raw and filling are the namespaces of inventories: of machines that have registered, of those that the benchmark wrote to
	// know what the API server gives, and of those that make an inventory full.
	registered = "default"
	raw        = "raw"
	filling    = "filling"
)

// bench is a world with an operator, in which machines register.
type bench struct {
	state    string // empty or full
	world    *harness.World
	serving  *harness.Replica
	swarm    *swarm.Swarm
	path     string // of the registration's URL
	machines int
	known    []*swarm.Machine // to warm up with
	created  atomic.Int64     // inventories past the operator
	profile  string
	rest     spent // per second, when nobody asks for anything
	results  map[string][]result
}

// result is one measurement.
type result struct {
	rate               float64
	p50, p95, p99      time.Duration
	cpu                spent
	writes             float64
	failed, operations int
}

// newBench starts a world in a folder of its own.
func newBench(ctx context.Context, dir, state string, machines int) (*bench, error) {
	s, err := swarm.New()
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making a folder: %w", err)
	}
	b := &bench{state: state, swarm: s, machines: machines, results: map[string][]result{}}
	if b.world, err = harness.Start(ctx, harness.Options{Dir: dir, Quiet: true, Args: []string{"--profile"}}); err != nil {
		return nil, err
	}
	// A second replica, which does not lead, serves the machines: what registration costs is told from what the controllers do.
	if b.serving, err = b.world.StartReplica(ctx, harness.ReplicaOptions{Name: "serving", Args: []string{"--profile"}}); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	if err := b.prepare(ctx); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	return b, nil
}

func (b *bench) stop() error {
	var err error
	if b.serving != nil {
		err = b.serving.Stop()
	}
	return errors.Join(err, b.world.Stop())
}

// prepare makes the registration that machines register at, and namespaces for inventories past the operator.
func (b *bench) prepare(ctx context.Context) error {
	manifest := "apiVersion: rancheros.cattle.io/v1\nkind: MachineRegistration\nmetadata: {name: bench, namespace: " + registered + "}\nspec: {cloudConfig: {rancheros: {install: {device: /dev/sda}}}}\n"
	if _, err := b.world.Apply(ctx, manifest); err != nil {
		return err
	}
	if _, err := b.world.Kubectl(ctx, "wait", "--namespace", registered, "--for=condition=Ready", "machineregistration/bench", "--timeout=30s"); err != nil {
		return err
	}
	url, err := b.world.Kubectl(ctx, "get", "machineregistration", "bench", "--namespace", registered, "-o", "jsonpath={.status.registrationURL}")
	if err != nil {
		return err
	}
	b.path = strings.TrimPrefix(url, b.world.Rancher.URL())
	for _, namespace := range []string{raw, filling} {
		if _, err := b.world.Kubectl(ctx, "create", "namespace", namespace); err != nil {
			return err
		}
	}
	return nil
}

// measure runs do n times on a few clients and prints a line. What everybody uses at rest is not counted, and the API server
// has put away beforehand what it threw away: it has done that at its own time in the midst of a measurement, and on the same cores.
func (b *bench) measure(ctx context.Context, name string, n, workers int, do func(i int) error) error {
	if err := b.world.CollectGarbage(ctx); err != nil {
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
	counted := time.Since(since)
	requests, err := b.world.OperatorRequests(since)
	if err != nil {
		return err
	}
	requests = slices.DeleteFunc(requests, func(r harness.Request) bool {
		return !r.Writes() || r.ObjectRef.Resource == "leases" || r.ObjectRef.Resource == "events"
	})
	slices.Sort(took)
	at := func(share float64) time.Duration { return took[int(share*float64(len(took)-1))] }
	r := result{
		rate: float64(n) / elapsed.Seconds(), p50: at(0.5), p95: at(0.95), p99: at(0.99),
		cpu: after.less(before).less(b.rest.times(counted.Seconds())).times(1 / float64(n)), writes: float64(len(requests)) / float64(n), failed: len(errs), operations: n,
	}
	b.results[name] = append(b.results[name], r)
	fmt.Printf("%-36s %8.0f %8.1f %8.1f %8.1f %9.2f %9.2f %9.2f %9.2f %8.2f\n", name+", "+b.state, r.rate, ms(r.p50), ms(r.p95), ms(r.p99),
		ms(r.cpu.serving), ms(r.cpu.leading), ms(r.cpu.apiServer), ms(r.cpu.clients), r.writes)
	if len(errs) > 0 {
		return fmt.Errorf("%s: %d of %d failed, the first with: %w", name, len(errs), n, errs[0])
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

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
		_, err := machines[i].Register(ctx, b.itself().url)
		return err
	})
}

// round measures everything whose cost must not depend on how many inventories there are.
func (b *bench) round(ctx context.Context) error {
	if err := b.rawCreates(ctx); err != nil {
		return err
	}
	return b.firstAndAgain(ctx)
}

// start makes everything ready to be measured.
func (b *bench) start(ctx context.Context) error {
	if err := b.warmUp(ctx, b.itself()); err != nil {
		return err
	}
	if err := b.clear(ctx); err != nil {
		return err
	}
	return b.atRest(ctx)
}

func (b *bench) firstAndAgain(ctx context.Context) error {
	machines, err := b.newMachines(b.machines)
	if err != nil {
		return err
	}
	for _, what := range []string{"first", "again"} {
		profiled := b.startProfile(ctx, what)
		if err := b.register(ctx, what, machines); err != nil {
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

// warmUp lets known machines register until a server's heap has had its size: a page of memory that is touched for the first
// time costs the kernel up to 40 us, several for each registration, and a full inventory's heap has tens of thousands to touch, once.
func (b *bench) warmUp(ctx context.Context, its contender) error {
	if b.known == nil {
		var err error
		if b.known, err = b.newMachines(2000); err != nil { // So many that none of them comes more often than it may.
			return err
		}
	}
	for range warmUps {
		if err := its.register(ctx, b.known); err != nil {
			return err
		}
	}
	return nil
}

// create writes an inventory as the benchmark itself, past the operator's server.
func (b *bench) create(namespace string) error {
	i := b.created.Add(1)
	name := fmt.Sprintf("raw-%d", i)
	_, err := b.world.Clients.RancherOS.MachineInventory().Create(&v1.MachineInventory{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       v1.MachineInventorySpec{TPM: fmt.Sprintf("%064x", i), SMBIOS: &runtime.RawExtension{Raw: []byte(`{"System Information":{"Serial Number":"` + name + `"}}`)}},
	})
	return err
}

func (b *bench) rawCreates(ctx context.Context) error {
	return b.measure(ctx, "raw creates", b.machines, clients, func(int) error { return b.create(raw) })
}

func (b *bench) fill(ctx context.Context, n int) error {
	return b.measure(ctx, fmt.Sprintf("filling up with %d", n), n, 2*clients, func(int) error { return b.create(filling) })
}

// clear deletes the inventories that measurements have left, so that an empty inventory is one and a full one no fuller.
func (b *bench) clear(ctx context.Context) error {
	for _, namespace := range []string{registered, raw} {
		inventories, err := b.world.Clients.RancherOS.MachineInventory().List(namespace, metav1.ListOptions{})
		if err != nil {
			return err
		}
		errs := swarm.InParallel(len(inventories.Items), 2*clients, func(i int) error {
			return b.world.Clients.RancherOS.MachineInventory().Delete(namespace, inventories.Items[i].Name, &metav1.DeleteOptions{})
		})
		if len(errs) > 0 {
			return fmt.Errorf("deleting inventories: %w", errs[0])
		}
	}
	return b.quiet(ctx)
}

// atRest waits for the controllers to have done what follows, and measures what everybody uses then.
func (b *bench) atRest(ctx context.Context) error {
	if err := b.quiet(ctx); err != nil {
		return err
	}
	if err := b.world.CollectGarbage(ctx); err != nil {
		return err
	}
	before, err := b.cpu()
	if err != nil {
		return err
	}
	<-time.After(settle)
	after, err := b.cpu()
	if err != nil {
		return err
	}
	b.rest = after.less(before).times(1 / settle.Seconds())
	fmt.Printf("%-36s %35s %9.2f %9.2f %9.2f %9.2f\n", "at rest, each second, "+b.state, "",
		ms(b.rest.serving), ms(b.rest.leading), ms(b.rest.apiServer), ms(b.rest.clients))
	return nil
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
	if err := b.clear(ctx); err != nil {
		return err
	}
	machines, err := b.newMachines(stormSize)
	if err != nil {
		return err
	}
	url := b.itself().url
	waiting, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := b.measure(ctx, fmt.Sprintf("storm of %d at once", stormSize), stormSize, stormSize, func(i int) error {
		_, err := machines[i].KeepRegistering(waiting, url, 200*time.Millisecond)
		return err
	}); err != nil {
		return err
	}
	inventories, err := b.world.Clients.RancherOS.MachineInventory().List(registered, metav1.ListOptions{})
	if err != nil {
		return err
	}
	if len(inventories.Items) != stormSize {
		return fmt.Errorf("%d machines were told that they are registered, and there are %d inventories", stormSize, len(inventories.Items))
	}
	return nil
}
