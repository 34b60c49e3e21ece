// Package exactlyonce proves that a machine gets one inventory and one name, whatever happens on the way: two replicas
// that are asked at the same moment, an API server that fails at each request that matters, answers that are lost.
package exactlyonce

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/tests/apichaos"
	"github.com/rancher/rancheros-operator/tests/harness"
	"github.com/rancher/rancheros-operator/tests/machine"
	"github.com/rancher/rancheros-operator/tests/swarm"
)

// pause is how long a machine that was sent away waits here; real ones are told how long.
const pause = 20 * time.Millisecond

var (
	world *harness.World
	// second is another replica, that reaches the API server through the proxy.
	second *harness.Replica
	proxy  *apichaos.Proxy
	fleets *swarm.Swarm
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "exactlyonce:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	logrus.SetLevel(logrus.WarnLevel)
	dir, err := os.MkdirTemp("", "rancheros-exactlyonce-")
	if err != nil {
		return 1, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	if world, err = harness.Start(ctx, harness.Options{Dir: dir}); err != nil {
		return 1, fmt.Errorf("%w (the programs in bin/ are built by `make build-test`; logs are in %s)", err, dir)
	}
	defer func() {
		if err = errors.Join(err, world.Stop()); err == nil && code == 0 {
			err = os.RemoveAll(dir)
		}
	}()
	if proxy, err = apichaos.New(world.Config); err != nil {
		return 1, err
	}
	defer proxy.Close()
	if second, err = world.StartReplica(ctx, harness.ReplicaOptions{Name: "second", APIServer: proxy.URL(), APIServerCA: proxy.CACert()}); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, second.Stop()) }()
	if fleets, err = swarm.New(); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// fleet is the path of a registration that takes as many machines as come.
func fleet(t *testing.T, namespace string) string {
	t.Helper()
	manifest := fmt.Sprintf("apiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n---\napiVersion: rancheros.cattle.io/v1\nkind: MachineRegistration\n"+
		"metadata: {name: fleet, namespace: %s}\nspec: {machineName: fleet}\n", namespace, namespace)
	_, err := world.Apply(t.Context(), manifest)
	require.NoError(t, err)
	_, err = world.Kubectl(t.Context(), "wait", "--for=condition=Ready", "machineregistration/fleet", "-n", namespace, "--timeout=30s")
	require.NoError(t, err)
	url, err := world.Kubectl(t.Context(), "get", "machineregistration", "fleet", "-n", namespace, "-o", "jsonpath={.status.registrationURL}")
	require.NoError(t, err)
	path := strings.TrimPrefix(url, world.Rancher.URL())
	// Both replicas know the registration.
	for _, address := range []string{world.Operator.ListenAddr, second.ListenAddr} {
		require.NoError(t, harness.Eventually(t.Context(), 30*time.Second, func() error {
			_, _, err := (&machine.OldClient{}).Sample(t.Context(), "http://"+address+path)
			return err
		}))
	}
	return path
}

// readBody reads what is sent, and leaves it there to be read again.
func readBody(r *http.Request) string {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return ""
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return string(body)
}

// inventories are the names of the namespace's inventories, by TPM hash.
func inventories(t *testing.T, namespace string) map[string][]string {
	t.Helper()
	list, err := world.Clients.RancherOS.MachineInventory().List(namespace, metav1.ListOptions{})
	require.NoError(t, err)
	byHash := map[string][]string{}
	for i := range list.Items {
		hash := index.TPMHash(&list.Items[i])
		byHash[hash] = append(byHash[hash], list.Items[i].Name)
	}
	return byHash
}

// Ten thousand machines ask two replicas each, at the same moment.
func TestTwoReplicasRace(t *testing.T) {
	const races = 10000
	path := fleet(t, "races")
	var mutex sync.Mutex
	given := map[string]string{}
	errs := swarm.InParallel(races, 4, func(int) error {
		machine, err := fleets.Machine()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		names := make([]string, 2)
		var race sync.WaitGroup
		var raceErrs [2]error
		for i, address := range []string{world.Operator.ListenAddr, second.ListenAddr} {
			race.Go(func() { names[i], raceErrs[i] = machine.KeepRegistering(ctx, "http://"+address+path, pause) })
		}
		race.Wait()
		if err := errors.Join(raceErrs[:]...); err != nil {
			return err
		}
		if names[0] != names[1] {
			return fmt.Errorf("one machine was given two names: %v", names)
		}
		mutex.Lock()
		defer mutex.Unlock()
		given[machine.Hash()] = names[0]
		return nil
	})
	require.Empty(t, errs)
	found := inventories(t, "races")
	require.Len(t, found, races, "none is lost, and none is there twice")
	for hash, name := range given {
		require.Equal(t, []string{name}, found[hash])
	}
}

// A thousand machines ask in two namespaces, of two replicas, in the same instant: each ends up in one of them.
func TestTwoNamespacesRace(t *testing.T) {
	const machines = 1000
	paths := []string{fleet(t, "left"), fleet(t, "right")}
	addresses := []string{world.Operator.ListenAddr, second.ListenAddr}
	var both atomic.Int64
	errs := swarm.InParallel(machines, 4, func(int) error {
		machine, err := fleets.Machine()
		if err != nil {
			return err
		}
		var race sync.WaitGroup
		var let [2]error
		for i := range paths {
			race.Go(func() { _, let[i] = machine.Register(t.Context(), "http://"+addresses[i]+paths[i]) })
		}
		race.Wait()
		switch {
		case let[0] != nil && let[1] != nil:
			return errors.Join(let[:]...)
		case let[0] == nil && let[1] == nil:
			both.Add(1)
		}
		return nil
	})
	require.Empty(t, errs, "one of the two lets it in")
	require.Positive(t, both.Load(), "without races nothing is shown")
	require.NoError(t, harness.Eventually(t.Context(), time.Minute, func() error {
		left, right := inventories(t, "left"), inventories(t, "right")
		if len(left)+len(right) != machines {
			return fmt.Errorf("%d machines have %d inventories", machines, len(left)+len(right))
		}
		for hash := range left {
			if len(right[hash]) > 0 {
				return fmt.Errorf("%s is there twice", hash)
			}
		}
		return nil
	}))
	t.Logf("%d of %d machines were let in by both replicas, and have one inventory all the same", both.Load(), machines)
}

// A thousand machines register while the request that saves each fails in one of five ways. Success is answered if and
// only if the inventory is there, and every machine comes to its one inventory in the end.
func TestSavingFails(t *testing.T) {
	const machines = 1000
	path := fleet(t, "faults")
	var mutex sync.Mutex
	failed := map[string]bool{}
	next := 0
	proxy.Inject(func(r *http.Request) apichaos.Fault {
		if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/namespaces/faults/machineinventories") {
			return apichaos.None
		}
		// The first try of each machine fails; the body names the machine.
		body := readBody(r)
		mutex.Lock()
		defer mutex.Unlock()
		if failed[body] {
			return apichaos.None
		}
		failed[body] = true
		next++
		return apichaos.Faults[next%len(apichaos.Faults)]
	})
	defer proxy.Inject(func(*http.Request) apichaos.Fault { return apichaos.None })

	given := map[string]string{}
	errs := swarm.InParallel(machines, 8, func(int) error {
		machine, err := fleets.Machine()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		name, err := machine.KeepRegistering(ctx, "http://"+second.ListenAddr+path, pause)
		if err != nil {
			return err
		}
		// Success was answered: the object is there now, not soon.
		saved, err := world.Clients.RancherOS.MachineInventory().Get("faults", name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("success without an inventory: %w", err)
		}
		if hash := index.TPMHash(saved); hash != machine.Hash() {
			return fmt.Errorf("inventory %s is of TPM %s, not %s", name, hash, machine.Hash())
		}
		mutex.Lock()
		defer mutex.Unlock()
		given[machine.Hash()] = name
		return nil
	})
	require.Empty(t, errs)
	require.Len(t, given, machines)
	found := inventories(t, "faults")
	require.Len(t, found, machines)
	for hash, name := range given {
		require.Equal(t, []string{name}, found[hash])
	}
	for _, fault := range apichaos.Faults {
		require.Positive(t, proxy.Injected()[fault], "fault %d", fault)
	}
}
