// Command bench measures what registration costs, against the same API server in the same run, and prints each figure
// beside its target: machines are noisy, ratios are less so. `make bench` builds what it needs and runs it.
//
//	raw creates      objects as large as an inventory, written by the benchmark itself: what the API server gives
//	first            machines that nobody has seen: one inventory each
//	again            the same machines once more: no write
//	storm            1,200 machines at the same moment
//
// All but the storm are measured three times with an empty and three times with a full inventory, and medians are compared. CPU is of four processes, from /proc/<pid>/stat: the
// replica that serves the machines, the one that leads and whose controllers follow up, the API server, and the benchmark
// itself with its machines. All share the same cores. How much slower these are than the ones that the targets were set on
// is measured before and after each line, and taken out of what is compared with a target in milliseconds.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/rancher/rancheros-operator/tests/harness"
)

func main() {
	inventories := flag.Int("inventories", 20000, "how many inventories a full inventory has")
	profile := flag.String("profile", "", "`FILE`.first and FILE.again get CPU profiles of the serving replica")
	machines := flag.Int("machines", 2000, "how many machines register in each measurement")
	against := flag.String("against", "", "compare with another `OPERATOR`, the name of a program in bin/, and measure nothing else")
	flag.Parse()
	logrus.SetLevel(logrus.WarnLevel)
	if err := run(context.Background(), *inventories, *machines, *profile, *against); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, inventories, machines int, profile, against string) (err error) {
	dir, err := os.MkdirTemp("", "rancheros-bench-")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	defer os.RemoveAll(dir)
	world, err := harness.Start(ctx, harness.Options{Dir: dir, Quiet: true, Args: []string{"--profile"}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, world.Stop()) }()
	// A second replica, which does not lead, serves the machines: what registration costs is told from what the controllers do.
	serving, err := world.StartReplica(ctx, harness.ReplicaOptions{Name: "serving", Args: []string{"--profile"}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(serving.Stop(), err) }()
	b, err := newBench(ctx, world, serving, machines)
	if err != nil {
		return err
	}
	b.profile = profile
	if against != "" {
		return b.against(ctx, against)
	}
	fmt.Printf("%-36s %8s %8s %8s %8s   CPU ms each:\n", "", "per", "p50", "p95", "p99")
	fmt.Printf("%-36s %8s %8s %8s %8s %9s %9s %9s %9s %8s %6s\n", "", "second", "ms", "ms", "ms", "serving", "leading", "API", "clients", "writes", "slower")
	if err := b.warmUp(ctx); err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return b.state(ctx, empty) },
		func() error { return b.storm(ctx) },
		func() error { return b.fill(ctx, inventories) },
		func() error { return b.state(ctx, full) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	b.report()
	return nil
}

// settle gives the controllers time to do what follows a registration, so that its cost is counted too.
const settle = 10 * time.Second
