package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/tests/harness"
	"github.com/rancher/rancheros-operator/tests/rancher"
)

// clearing is how long the API server may take to empty some fifty namespaces beside all else; it is not ours to hurry.
const clearing = 3 * time.Minute

// The things that a person deletes, in whatever order.
var deletable = []string{"registration", "inventory", "cluster", "namespace"}

// estate is one registration, one machine of it in a cluster, in a namespace of their own.
type estate struct {
	namespace string
	// clusters is the namespace of the Cluster: the estate's own, or one that outlives it.
	clusters string
	order    []string
}

// All 24 orders, with the operator running and with it stopped meanwhile; the Cluster in the same namespace, and in another
// one; under both Ranchers. Nothing may be left behind, and nothing may be stuck.
func Test11DeletionOrders(t *testing.T) {
	since := time.Now()
	t.Cleanup(func() { world.Rancher.SetTokenForm(rancher.TokenSecret) })
	for _, c := range []struct {
		name  string
		form  rancher.TokenForm
		clear func(*testing.T, []estate)
	}{
		{"running", rancher.TokenLegacy, deleteWhileRunning},
		{"stopped", rancher.TokenSecret, deleteWhileStopped},
	} {
		t.Run(c.name, func(t *testing.T) {
			world.Rancher.SetTokenForm(c.form)
			estates := newEstates(t, "s11-"+c.name)
			c.clear(t, estates)
			ourTime(t, estates)
			nothingLeft(t, estates)
		})
	}
	requireRights(t, since)
}

// newEstates makes two for each order, one with its Cluster beside it and one with its Cluster in a namespace that stays,
// and returns when every machine has its token.
func newEstates(t *testing.T, prefix string) []estate {
	t.Helper()
	shared := namespace(t, prefix+"-clusters")
	var estates []estate
	for i, order := range permutations(deletable) {
		own := fmt.Sprintf("%s-%02d", prefix, i)
		estates = append(estates, estate{own, own, order}, estate{own + "-shared", shared, order})
	}
	var namespaces, manifests strings.Builder
	for i, e := range estates {
		fmt.Fprintf(&namespaces, "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n", e.namespace)
		fmt.Fprintf(&manifests, `---
apiVersion: rancheros.cattle.io/v1
kind: MachineRegistration
metadata: {name: edge, namespace: %[1]s}
---
apiVersion: provisioning.cattle.io/v1
kind: Cluster
metadata: {name: %[1]s, namespace: %[2]s, annotations: {rancheros.cattle.io/allowed-namespaces: %[1]s}}
spec: {rkeConfig: {}}
---
apiVersion: rancheros.cattle.io/v1
kind: MachineInventory
metadata: {name: m, namespace: %[1]s, labels: {rancheros.cattle.io/registration: edge}}
spec: {tpm: "%064[3]x", clusterName: %[1]s, clusterNamespace: %[2]s, config: {role: agent}}
`, e.namespace, e.clusters, i+1)
	}
	apply(t, namespaces.String())
	apply(t, manifests.String())
	eventually(t, func() error {
		for _, e := range estates {
			if err := e.ready(t); err != nil {
				return err
			}
		}
		return nil
	})
	return estates
}

func (e estate) ready(t *testing.T) error {
	registration, err := world.Clients.RancherOS.MachineRegistration().Get(e.namespace, "edge", metav1.GetOptions{})
	require.NoError(t, err)
	if !meta.IsStatusConditionTrue(registration.Status.Conditions, v1.ConditionReady) ||
		!meta.IsStatusConditionTrue(inventory(t, e.namespace, "m").Status.Conditions, v1.ConditionClusterAssigned) {
		return fmt.Errorf("%s is not ready", e)
	}
	return nil
}

// deleteWhileRunning takes one step of every order at a time, and looks after each: what it deletes is gone, and with a
// machine or its Cluster the machine's token.
func deleteWhileRunning(t *testing.T, estates []estate) {
	t.Helper()
	for step := range deletable {
		deleteStep(t, estates, step)
		eventuallyLeft(t, clearing, func(left remains) error {
			for _, e := range estates {
				what := e.order[step]
				if left.has(what, e) {
					return fmt.Errorf("%s: the %s is still there", e, what)
				}
				if what != "registration" && left.tokens[e.namespace] != "" {
					return fmt.Errorf("%s: the token %s is still there", e, left.tokens[e.namespace])
				}
			}
			return nil
		})
	}
}

// deleteWhileStopped lets all of it be deleted while nobody is there to let go of anything.
func deleteWhileStopped(t *testing.T, estates []estate) {
	t.Helper()
	require.NoError(t, world.StopOperator())
	for step := range deletable {
		deleteStep(t, estates, step)
	}
	held := lookAround(t)
	for _, e := range estates {
		require.True(t, held.has("inventory", e), "%s: the finalizer holds it", e)
	}
	started := time.Now()
	require.NoError(t, world.StartOperator(t.Context()))
	require.NoError(t, world.WaitForTunnel(t.Context()))
	waitForLease(t, started)
}

func deleteStep(t *testing.T, estates []estate, step int) {
	t.Helper()
	var running sync.WaitGroup
	errs := make([]error, len(estates))
	for i, e := range estates {
		running.Go(func() { errs[i] = e.delete(t.Context(), e.order[step]) })
	}
	running.Wait()
	require.NoError(t, errors.Join(errs...))
}

// remains are what there is in the whole world, each as namespace/name, but for namespaces and for tokens, which go by the
// namespace of their machine.
type remains struct {
	things map[string]bool
	tokens map[string]string
}

func lookAround(t *testing.T) remains {
	t.Helper()
	left := remains{things: map[string]bool{}, tokens: map[string]string{}}
	registrations, err := world.Clients.RancherOS.MachineRegistration().List("", metav1.ListOptions{})
	require.NoError(t, err)
	for _, registration := range registrations.Items {
		left.things["registration "+registration.Namespace] = true
	}
	machines, err := world.Clients.RancherOS.MachineInventory().List("", metav1.ListOptions{})
	require.NoError(t, err)
	for _, machine := range machines.Items {
		left.things["inventory "+machine.Namespace] = true
	}
	clusters, err := world.Clients.Provisioning.Cluster().List("", metav1.ListOptions{})
	require.NoError(t, err)
	for _, cluster := range clusters.Items {
		left.things["cluster "+cluster.Name] = true
	}
	namespaces, err := world.Kube.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	for _, namespace := range namespaces.Items {
		left.things["namespace "+namespace.Name] = true
	}
	tokens, err := world.Clients.Management.ClusterRegistrationToken().List("", metav1.ListOptions{LabelSelector: v1.LabelMachine})
	require.NoError(t, err)
	for _, token := range tokens.Items {
		left.tokens[token.Labels[v1.LabelMachineNamespace]] = token.Namespace + "/" + token.Name
	}
	return left
}

// has goes by names that only estates have: each kind of theirs is one to a namespace, and Clusters are called as that.
func (r remains) has(what string, e estate) bool { return r.things[what+" "+e.namespace] }

func eventuallyLeft(t *testing.T, patience time.Duration, check func(remains) error) {
	t.Helper()
	require.NoError(t, harness.Eventually(t.Context(), patience, func() error { return errors.Join(world.Died(), check(lookAround(t))) }))
}

// ourTime is what our own part may take: the machines, and their tokens, wherever these are.
func ourTime(t *testing.T, estates []estate) {
	t.Helper()
	eventuallyLeft(t, patience, func(left remains) error {
		for _, e := range estates {
			if left.has("inventory", e) || left.tokens[e.namespace] != "" {
				return fmt.Errorf("%s: the inventory or its token %q is still there", e, left.tokens[e.namespace])
			}
		}
		return nil
	})
}

func nothingLeft(t *testing.T, estates []estate) {
	t.Helper()
	eventuallyLeft(t, clearing, func(left remains) error {
		for _, e := range estates {
			for _, what := range deletable {
				if left.has(what, e) {
					return fmt.Errorf("%s: the %s is still there", e, what)
				}
			}
		}
		return nil
	})
}

func (e estate) String() string { return e.namespace + " " + strings.Join(e.order, ",") }

// delete asks for the deletion; what went with its namespace is gone already, or going.
func (e estate) delete(ctx context.Context, what string) error {
	background := metav1.DeletePropagationBackground
	options := &metav1.DeleteOptions{PropagationPolicy: &background}
	var err error
	switch what {
	case "registration":
		err = world.Clients.RancherOS.MachineRegistration().Delete(e.namespace, "edge", options)
	case "inventory":
		err = world.Clients.RancherOS.MachineInventory().Delete(e.namespace, "m", options)
	case "cluster":
		err = world.Clients.Provisioning.Cluster().Delete(e.clusters, e.namespace, options)
	case "namespace":
		err = world.Kube.CoreV1().Namespaces().Delete(ctx, e.namespace, *options)
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// permutations are all orders of the things.
func permutations(things []string) [][]string {
	if len(things) <= 1 {
		return [][]string{slices.Clone(things)}
	}
	var all [][]string
	for i := range things {
		rest := slices.Delete(slices.Clone(things), i, i+1)
		for _, order := range permutations(rest) {
			all = append(all, append([]string{things[i]}, order...))
		}
	}
	return all
}
