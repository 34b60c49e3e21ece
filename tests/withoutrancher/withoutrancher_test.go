// Package withoutrancher proves that the operator starts, and lets go of its own objects, when Rancher's kinds are gone, and
// that it goes on when they come back. It has a control plane of its own, because it takes those kinds away from it.
package withoutrancher

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/tests/harness"
	"github.com/rancher/rancheros-operator/tests/rancher"
)

const (
	// letGo is how long a deletion may take, whatever is missing.
	letGo = 30 * time.Second
	// notice is how long client-go's informers may take to see that a kind is back: they ask less and less often.
	notice = 2 * time.Minute
)

type world struct{ *harness.World }

func (w world) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	output, err := w.Kubectl(t.Context(), args...)
	require.NoError(t, err)
	return output
}

// rancherGoes takes Rancher away, and every kind of its and of Fleet's with all their objects.
func (w world) rancherGoes(t *testing.T) {
	t.Helper()
	w.Rancher.Close()
	args := []string{"delete", "--timeout=60s"}
	for _, name := range strings.Fields(w.kubectl(t, "get", "crd", "-o", "name")) {
		if !strings.HasSuffix(name, ".rancheros.cattle.io") {
			args = append(args, name)
		}
	}
	require.Greater(t, len(args), 5)
	w.kubectl(t, args...)
}

func (w world) rancherReturns(t *testing.T) {
	t.Helper()
	require.NoError(t, rancher.Install(t.Context(), w.Config))
	returned, err := rancher.Start(context.WithoutCancel(t.Context()), rancher.Options{Config: w.Config})
	require.NoError(t, err)
	w.Rancher = returned
	w.createCluster(t)
}

func (w world) createCluster(t *testing.T) {
	t.Helper()
	_, err := w.Apply(t.Context(), "apiVersion: provisioning.cattle.io/v1\nkind: Cluster\nmetadata: {name: site, namespace: fleet}\nspec: {rkeConfig: {}}\n")
	require.NoError(t, err)
}

func (w world) waitFor(t *testing.T, machine, reason string, patience time.Duration) {
	t.Helper()
	require.NoError(t, harness.Eventually(t.Context(), patience, func() error {
		got, err := w.Kubectl(t.Context(), "get", "machineinventory", machine, "-n", "fleet", "-o",
			`jsonpath={.status.conditions[?(@.type=="ClusterAssigned")].reason}`)
		return errors.Join(err, w.Died(), expect(got, reason))
	}))
}

func expect(got, want string) error {
	if got != want {
		return fmt.Errorf("%q, not %q", got, want)
	}
	return nil
}

func (w world) waitGone(t *testing.T, machine string) {
	t.Helper()
	require.NoError(t, harness.Eventually(t.Context(), letGo, func() error {
		got, err := w.Kubectl(t.Context(), "get", "machineinventory", machine, "-n", "fleet", "--ignore-not-found", "-o", "name")
		return errors.Join(err, w.Died(), expect(got, ""))
	}))
}

func (w world) finalizers(t *testing.T, machine string) string {
	t.Helper()
	return w.kubectl(t, "get", "machineinventory", machine, "-n", "fleet", "-o", "jsonpath={.metadata.finalizers}")
}

func TestRancherGoesAndReturns(t *testing.T) {
	logrus.SetLevel(logrus.WarnLevel)
	dir, err := os.MkdirTemp("", "rancheros-withoutrancher-")
	require.NoError(t, err)
	started, err := harness.Start(t.Context(), harness.Options{Dir: dir})
	require.NoError(t, err, "the programs in bin/ are built by `make build-test`; logs are in %s", dir)
	w := world{started}
	t.Cleanup(func() {
		if err := w.Stop(); err != nil || t.Failed() {
			t.Errorf("stopping: %v; logs are in %s", err, dir)
			return
		}
		_ = os.RemoveAll(dir)
	})
	w.kubectl(t, "create", "namespace", "fleet")
	w.createCluster(t)
	machines := []string{"one", "two", "three"}
	for i, name := range machines {
		_, err := w.Apply(t.Context(), fmt.Sprintf("apiVersion: rancheros.cattle.io/v1\nkind: MachineInventory\nmetadata: {name: %s, namespace: fleet}\n"+
			"spec: {tpm: %q, clusterName: site, config: {role: agent}}\n", name, strings.Repeat(fmt.Sprint(i), 64)))
		require.NoError(t, err)
	}
	for _, name := range machines {
		w.waitFor(t, name, "TokenReady", letGo)
		require.NotEmpty(t, w.finalizers(t, name))
	}

	// They go while the operator runs.
	w.rancherGoes(t)
	w.kubectl(t, "delete", "machineinventory", "one", "-n", "fleet", "--wait=false")
	w.waitGone(t, "one")
	w.waitFor(t, "two", "WaitingForCluster", letGo)

	w.rancherReturns(t)
	w.waitFor(t, "two", "TokenReady", notice)
	w.waitFor(t, "three", "TokenReady", notice)

	// They go while it does not, and it starts into a world without them.
	require.NoError(t, w.StopOperator())
	w.rancherGoes(t)
	require.NotEmpty(t, w.finalizers(t, "two"), "nobody was there to take it off")
	w.kubectl(t, "delete", "machineinventory", "two", "-n", "fleet", "--wait=false")
	require.NoError(t, w.StartOperator(t.Context()))
	w.waitGone(t, "two")
	w.waitFor(t, "three", "WaitingForCluster", letGo)

	w.rancherReturns(t)
	w.waitFor(t, "three", "TokenReady", notice)
	log, err := w.Log()
	require.NoError(t, err)
	require.Contains(t, log, "the API server does not know the kinds of provisioning.cattle.io")
	require.Contains(t, log, "the kinds of provisioning.cattle.io have appeared")
	require.NotContains(t, log, "panic")
}
