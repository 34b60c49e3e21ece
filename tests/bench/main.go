// Command bench measures what registration costs, against the same API server in the same run, and prints each figure
// beside its target: machines are noisy, ratios are less so. `make bench` builds what it needs and runs it.
//
//	raw creates      objects as large as an inventory, written by the benchmark itself: what the API server gives
//	first            machines that nobody has seen: one inventory each
//	again            the same machines once more: no write
//	plain            first and again, in turns with the plainest server that does the job: package plain
//	storm            1,200 machines at the same moment
//
// Each is measured in two worlds, one with an empty inventory and one with a full one, in turns: what one has cost against the other is
// not what the machine was like meanwhile. Rates are medians of three rounds. CPU is of four processes, from /proc/<pid>/stat: the
// replica that serves the machines, the one that leads and whose controllers follow up, the API server, and the benchmark itself
// with its machines. All share the same cores.
//
// A millisecond of CPU is worth more on one machine than on another: system calls and waking up cost several times as much in a
// virtual machine within another. So what is compared with a target in milliseconds is measured against the plain server, which
// stands for the operator of 2022, and converted to the machine that the targets were set on.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sirupsen/logrus"

	"github.com/rancher/rancheros-operator/tests/bench/plain"
)

func main() {
	inventories := flag.Int("inventories", 20000, "how many inventories a full inventory has")
	profile := flag.String("profile", "", "`FILE`.first and FILE.again get CPU profiles of the serving replica")
	machines := flag.Int("machines", 2000, "how many machines register in each measurement")
	against := flag.String("against", "", "compare with another `OPERATOR`, the name of a program in bin/, or with the plain server, \"plain\", and measure nothing else")
	plainAddr := flag.String("plain", "", "be the plain server at this `ADDRESS`; the benchmark starts itself so")
	kubeconfig := flag.String("kubeconfig", "", "`FILE` by which the plain server reaches the API server")
	flag.Parse()
	logrus.SetLevel(logrus.WarnLevel)
	do := func() error { return run(context.Background(), *inventories, *machines, *profile, *against) }
	if *plainAddr != "" {
		do = func() error { return plain.Run(context.Background(), *kubeconfig, *plainAddr) }
	}
	if err := do(); err != nil {
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
	none, err := newBench(ctx, filepath.Join(dir, "empty"), empty, machines)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, none.stop()) }()
	if against != "" {
		return none.compare(ctx, against)
	}
	many, err := newBench(ctx, filepath.Join(dir, "full"), full, machines)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, many.stop()) }()
	none.profile = profile
	fmt.Printf("%-36s %8s %8s %8s %8s   CPU ms each:\n", "", "per", "p50", "p95", "p99")
	fmt.Printf("%-36s %8s %8s %8s %8s %9s %9s %9s %9s %8s\n", "", "second", "ms", "ms", "ms", "serving", "leading", "API", "clients", "writes")
	if err := many.fill(ctx, inventories); err != nil {
		return err
	}
	for _, b := range []*bench{none, many} {
		if err := b.start(ctx); err != nil {
			return err
		}
	}
	flat, err := compareInTurns(ctx, none.itself(), many.itself())
	if err != nil {
		return err
	}
	for _, b := range []*bench{none, many} {
		if err := b.clear(ctx); err != nil {
			return err
		}
	}
	for range rounds {
		for _, b := range []*bench{none, many} {
			if err := b.round(ctx); err != nil {
				return err
			}
		}
	}
	if err := none.clear(ctx); err != nil {
		return err
	}
	plain, err := none.againstPlain(ctx)
	if err != nil {
		return err
	}
	if err := none.storm(ctx); err != nil {
		return err
	}
	report(none, many, plain, flat)
	return nil
}
