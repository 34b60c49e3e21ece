package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/rancher/rancheros-operator/tests/harness"
	"github.com/rancher/rancheros-operator/tests/swarm"
)

const (
	// turns is how often each of two operators is measured, and machinesPerTurn by how many machines.
	turns           = 16
	machinesPerTurn = 400
)

// against measures two operators in turns in the same world, which tells differences of a few percent: what else runs on a shared core
// changes within minutes by more than that, but hits both.
func (b *bench) against(ctx context.Context, operator string) error {
	other, err := b.world.StartReplica(ctx, harness.ReplicaOptions{Name: "against", Operator: operator})
	if err != nil {
		return err
	}
	defer func() { _ = other.Stop() }()
	path := strings.TrimPrefix(b.url, "http://"+b.serving.ListenAddr)
	cpu := map[string]map[*harness.Replica]time.Duration{"first": {}, "again": {}}
	for turn := range 2 * turns {
		replica := b.serving
		if turn%4 == 1 || turn%4 == 2 { // ABBA
			replica = other
		}
		machines, err := b.newMachines(machinesPerTurn)
		if err != nil {
			return err
		}
		for _, what := range []string{"first", "again"} {
			before, err := cpuOf(replica.PID)
			if err != nil {
				return err
			}
			errs := swarm.InParallel(len(machines), clients, func(i int) error {
				_, err := machines[i].Register(ctx, "http://"+replica.ListenAddr+path)
				return err
			})
			if len(errs) > 0 {
				return errs[0]
			}
			<-time.After(time.Second)
			after, err := cpuOf(replica.PID)
			if err != nil {
				return err
			}
			cpu[what][replica] += after - before
		}
	}
	for _, what := range []string{"first", "again"} {
		each := func(replica *harness.Replica) float64 { return ms(cpu[what][replica] / (turns * machinesPerTurn)) }
		fmt.Printf("%-6s %8.3f ms of CPU each, of %s %8.3f: %.2f\n", what, each(b.serving), operator, each(other), each(b.serving)/each(other))
	}
	return nil
}
