package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rancher/rancheros-operator/tests/harness"
	"github.com/rancher/rancheros-operator/tests/swarm"
)

const (
	// turns is how often each of two servers is measured, and machinesPerTurn by how many machines.
	turns           = 16
	machinesPerTurn = 400
)

// contender is a server that machines register at.
type contender struct {
	name string
	// addr is where it listens, and pid its process.
	addr string
	pid  int
}

// duel is the CPU that two contenders used for each machine, in milliseconds, by what the machine did.
type duel struct {
	ours, theirs map[string]float64
}

// against measures the serving replica and another contender in turns in the same world, which tells differences of a few percent: what
// else runs on a shared core changes within minutes by more than that, but hits both.
func (b *bench) against(ctx context.Context, other contender) (duel, error) {
	serving := contender{"serving", b.serving.ListenAddr, b.serving.PID}
	path := strings.TrimPrefix(b.url, "http://"+b.serving.ListenAddr)
	used := map[string]map[contender]time.Duration{"first": {}, "again": {}}
	for turn := range 2 * turns {
		its := serving
		if turn%4 == 1 || turn%4 == 2 { // ABBA
			its = other
		}
		machines, err := b.newMachines(machinesPerTurn)
		if err != nil {
			return duel{}, err
		}
		for _, what := range []string{"first", "again"} {
			before, err := cpuOf(its.pid)
			if err != nil {
				return duel{}, err
			}
			errs := swarm.InParallel(len(machines), clients, func(i int) error {
				_, err := machines[i].Register(ctx, "http://"+its.addr+path)
				return err
			})
			if len(errs) > 0 {
				return duel{}, fmt.Errorf("registering at %s: %w", its.name, errs[0])
			}
			<-time.After(time.Second)
			after, err := cpuOf(its.pid)
			if err != nil {
				return duel{}, err
			}
			used[what][its] += after - before
		}
	}
	outcome := duel{map[string]float64{}, map[string]float64{}}
	for what, cpu := range used {
		outcome.ours[what], outcome.theirs[what] = ms(cpu[serving]/(turns*machinesPerTurn)), ms(cpu[other]/(turns*machinesPerTurn))
	}
	return outcome, nil
}

func (d duel) print(other string) {
	for _, what := range []string{"first", "again"} {
		fmt.Printf("%-6s %8.3f ms of CPU each, of %s %8.3f: %.2f\n", what, d.ours[what], other, d.theirs[what], d.ours[what]/d.theirs[what])
	}
}

// againstOperator compares with another build of the operator.
func (b *bench) againstOperator(ctx context.Context, operator string) error {
	other, err := b.world.StartReplica(ctx, harness.ReplicaOptions{Name: "against", Operator: operator})
	if err != nil {
		return err
	}
	defer func() { _ = other.Stop() }()
	outcome, err := b.against(ctx, contender{operator, other.ListenAddr, other.PID})
	if err != nil {
		return err
	}
	outcome.print(operator)
	return nil
}

// againstPlain compares with the plain server.
func (b *bench) againstPlain(ctx context.Context) (duel, error) {
	plain, stop, err := b.startPlain(ctx)
	if err != nil {
		return duel{}, err
	}
	defer stop()
	outcome, err := b.against(ctx, plain)
	if err != nil {
		return duel{}, err
	}
	outcome.print(plain.name)
	return outcome, nil
}

// startPlain starts the plainest server, which is this program in another process, and returns when its caches are filled.
func (b *bench) startPlain(ctx context.Context) (its contender, stop func(), err error) {
	program, err := os.Executable()
	if err != nil {
		return its, nil, fmt.Errorf("finding this program: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return its, nil, fmt.Errorf("finding a free port: %w", err)
	}
	addr := listener.Addr().String()
	_ = listener.Close()
	command := exec.CommandContext(ctx, program, "-plain", addr, "-kubeconfig", filepath.Join(b.world.Dir, "serving.kubeconfig"))
	command.Stderr = os.Stderr
	// As the chart has it for the operator.
	command.Env = append(os.Environ(), "GOGC=300", "GOMEMLIMIT=503316480")
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		return its, nil, fmt.Errorf("starting the plain server: %w", err)
	}
	stop = func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	}
	if err := harness.Eventually(ctx, time.Minute, func() error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		return err
	}); err != nil {
		stop()
		return its, nil, fmt.Errorf("waiting for the plain server: %w", err)
	}
	return contender{"the plain server", addr, command.Process.Pid}, stop, nil
}
