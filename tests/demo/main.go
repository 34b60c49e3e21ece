// Command demo takes a new user through the whole product, from an empty machine to a fleet that is registered, assigned
// and upgraded, on a real control plane that it starts for the purpose. `make demo` builds what it needs and runs it.
//
// Every step says what happens and after how long, and shows the command that a user would type with its real output.
// At the end everything keeps running, to be explored with kubectl until Ctrl-C; with -once it ends there, and any step
// that did not do what it says ends it with exit code 1.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/rancher/rancheros-operator/tests/harness"
)

func main() {
	once := flag.Bool("once", false, "end after the last step instead of leaving everything running")
	flag.Parse()
	os.Exit(demonstrate(*once))
}

// demonstrate returns the exit code.
func demonstrate(once bool) int {
	// The tunnel's own chatter would stand between the steps.
	logrus.SetLevel(logrus.WarnLevel)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, once); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		return 1
	}
	return 0
}

func run(ctx context.Context, once bool) (err error) {
	dir, err := os.MkdirTemp("", "rancheros-demo-")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	defer os.RemoveAll(dir)
	n := &narrator{started: time.Now()}
	n.title("A control plane, a pretend Rancher, and the operator")
	world, err := harness.Start(ctx, harness.Options{Dir: dir, Narrate: n.say})
	if err != nil {
		return err
	}
	defer func() {
		n.say("stopping everything")
		if stopErr := world.Stop(); err == nil {
			err = stopErr
		}
	}()
	demo := &demo{narrator: n, world: world, seeds: filepath.Join(world.Root, "tests", "e2e", "testdata", "seeds")}
	for _, step := range demo.steps() {
		n.title(step.title)
		if err := step.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.title, err)
		}
	}
	n.title("Done")
	if once {
		return nil
	}
	n.say("everything keeps running; in another terminal:")
	n.command("export KUBECONFIG="+world.Kubeconfig, "")
	n.command(filepath.Join(world.Bin(), "kubectl")+" get rancheros --all-namespaces", "")
	n.say("Ctrl-C ends it")
	<-ctx.Done()
	return nil
}
