package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/rancher/rancheros-operator/tests/harness"
)

// patience bounds each wait. An idle machine needs well below a second for any of them; a busy one gets its time.
const patience = 30 * time.Second

// canary stands in every secret that the scenarios put anywhere; it must show up in no log, event or status.
const canary = "canary-5f1d2c"

var (
	world *harness.World
	// secrets are those of the whole run.
	secrets *needles
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	logrus.SetLevel(logrus.WarnLevel)
	dir, err := os.MkdirTemp("", "rancheros-e2e-")
	if err != nil {
		return 1, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	world, err = harness.Start(ctx, harness.Options{
		Dir: dir, Operator: "rancheros-operator-race", Replicas: 2,
		// The servers of channels are in this process.
		Args: []string{"--channel-networks", "127.0.0.0/8"},
	})
	if err != nil {
		return 1, fmt.Errorf("%w (the programs in bin/ are built by `make build-test`; logs are in %s)", err, dir)
	}
	following, stop := context.WithCancel(context.Background())
	defer stop()
	if secrets, err = gatherNeedles(following); err != nil {
		return 1, errors.Join(err, world.Stop())
	}
	code := m.Run()
	stop()
	err = errors.Join(world.Stop(), checkLog())
	if code == 0 && err == nil {
		return 0, os.RemoveAll(dir)
	}
	fmt.Fprintln(os.Stderr, "e2e: logs are kept in", dir)
	return code, err
}

// checkLog reads the operator's whole log for what must never be in it.
func checkLog() error {
	log, err := world.Log()
	if err != nil {
		return err
	}
	for _, never := range []string{"panic", "mutated", canary} {
		if at := strings.Index(log, never); at >= 0 {
			return fmt.Errorf("the operator's log holds %q: %.600s", never, log[max(0, at-200):])
		}
	}
	for _, report := range strings.Split(log, "WARNING: DATA RACE")[1:] {
		if !foreignRace(report) {
			return fmt.Errorf("the operator has a data race:%.4000s", report)
		}
	}
	return nil
}

// foreignRace tells whether both accesses of a race report are in remotedialer: its connections read and write their
// error without a lock when both ends close at once (v0.6.1). Nothing of ours is touched, and nothing of ours can help.
func foreignRace(report string) bool {
	accesses := 0
	lines := strings.Split(report, "\n")
	for i, line := range lines[:len(lines)-1] {
		if strings.HasPrefix(line, "Read at") || strings.HasPrefix(line, "Write at") || strings.HasPrefix(line, "Previous ") {
			if !strings.HasPrefix(strings.TrimSpace(lines[i+1]), "github.com/rancher/remotedialer.") {
				return false
			}
			accesses++
		}
	}
	return accesses == 2
}
