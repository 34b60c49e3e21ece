package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
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

// phases are what machines do in a turn, one after the other, and times how often: the second costs less, and is lost in the noise sooner.
var (
	phases = []string{"first", "again"}
	times  = map[string]int{"first": 1, "again": 3}
)

// contender is a server that machines register at.
type contender struct {
	name string
	// url is where machines register, and pid its process.
	url string
	pid int
	// newMachines are the world's.
	newMachines func(int) ([]*swarm.Machine, error)
}

// duel is the CPU that two contenders used for each machine, in milliseconds, by what the machine did.
type duel struct {
	first, second map[string]float64
}

// compareInTurns measures two contenders in turns, which tells differences of a few percent: what else runs on a shared core changes
// within minutes by more than that, but hits both.
func compareInTurns(ctx context.Context, first, second contender) (duel, error) {
	outcome := duel{map[string]float64{}, map[string]float64{}}
	for turn := range 2 * turns {
		its, used := first, outcome.first
		if turn%4 == 1 || turn%4 == 2 { // ABBA
			its, used = second, outcome.second
		}
		machines, err := its.newMachines(machinesPerTurn)
		if err != nil {
			return duel{}, err
		}
		for _, what := range phases {
			before, err := cpuOf(its.pid)
			if err != nil {
				return duel{}, err
			}
			for range times[what] {
				if err := its.register(ctx, machines); err != nil {
					return duel{}, err
				}
			}
			<-time.After(time.Second)
			after, err := cpuOf(its.pid)
			if err != nil {
				return duel{}, err
			}
			used[what] += ms(after-before) / float64(turns*machinesPerTurn*times[what])
		}
	}
	for _, what := range phases {
		fmt.Printf("%-6s %8.3f ms of CPU each, %s; %8.3f, %s: %.2f\n", what, outcome.first[what], first.name, outcome.second[what], second.name, outcome.first[what]/outcome.second[what])
	}
	return outcome, nil
}

// register lets machines register, a few at a time.
func (c contender) register(ctx context.Context, machines []*swarm.Machine) error {
	errs := swarm.InParallel(len(machines), clients, func(i int) error {
		_, err := machines[i].Register(ctx, c.url)
		return err
	})
	if len(errs) > 0 {
		return fmt.Errorf("registering at %s: %w", c.name, errs[0])
	}
	return nil
}

// compare does nothing but compare with the other.
func (b *bench) compare(ctx context.Context, other string) error {
	if err := b.warmUp(ctx, b.itself()); err != nil {
		return err
	}
	if other == "plain" {
		_, err := b.againstPlain(ctx)
		return err
	}
	return b.againstOperator(ctx, other)
}

// againstOperator compares with another build of the operator.
func (b *bench) againstOperator(ctx context.Context, operator string) error {
	other, err := b.world.StartReplica(ctx, harness.ReplicaOptions{Name: "against", Operator: operator})
	if err != nil {
		return err
	}
	defer func() { _ = other.Stop() }()
	_, err = b.against(ctx, b.at(operator, other.ListenAddr, other.PID))
	return err
}

// againstPlain compares with the plain server.
func (b *bench) againstPlain(ctx context.Context) (duel, error) {
	plain, stop, err := b.startPlain(ctx)
	if err != nil {
		return duel{}, err
	}
	defer stop()
	return b.against(ctx, plain)
}

// against compares the serving replica, which is warm, with another server in the same world.
func (b *bench) against(ctx context.Context, other contender) (duel, error) {
	if err := b.warmUp(ctx, other); err != nil {
		return duel{}, err
	}
	return compareInTurns(ctx, b.itself(), other)
}

// itself is the replica that serves, as a contender.
func (b *bench) itself() contender {
	return b.at(b.state, b.serving.ListenAddr, b.serving.PID)
}

// at is a server at an address, at which this world's machines register.
func (b *bench) at(name, addr string, pid int) contender {
	return contender{name, "http://" + addr + b.path, pid, b.newMachines}
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
	command.Env = append(os.Environ(), "GOGC=400", "GOMEMLIMIT=503316480")
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
	return b.at("the plain server", addr, command.Process.Pid), stop, nil
}
