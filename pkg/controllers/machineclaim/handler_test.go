package machineclaim

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/tests/memoryapi"
)

type world struct {
	*memoryapi.API
	*handler
	recorder *record.FakeRecorder
}

func newWorld(t *testing.T, claims ...*v1.MachineClaim) world {
	api := memoryapi.New(t)
	for _, claim := range claims {
		api.Put(claim)
	}
	return worldOn(api)
}

// worldOn is another replica on the same API.
func worldOn(api *memoryapi.API) world {
	c := api.Clients()
	recorder := record.NewFakeRecorder(10000)
	return world{API: api, recorder: recorder, handler: &handler{claims: api.Claims, inventories: api.Inventories, indexes: index.Add(c), events: recorder}}
}

// reconcile runs the handler on what the cache shows.
func (w world) reconcile(t *testing.T, name string) error {
	t.Helper()
	cached, err := w.Claims.Cache().Get("ns", name)
	if apierrors.IsNotFound(err) {
		cached = nil
	}
	_, err = w.onChange("ns/"+name, cached)
	return err
}

func (w world) emitted() []string {
	events := []string{}
	for len(w.recorder.Events) > 0 {
		events = append(events, <-w.recorder.Events)
	}
	return events
}

// owners are the machines that have a claim: name=claim/cluster.
func (w world) owners() []string {
	owned := []string{}
	for _, m := range w.Inventories.All() {
		if claim := m.Labels[v1.LabelClaim]; claim != "" || m.Spec.ClusterName != "" {
			owned = append(owned, fmt.Sprintf("%s=%s/%s", m.Name, claim, m.Spec.ClusterName))
		}
	}
	return owned
}

func TestReconcile(t *testing.T) {
	w := newWorld(t, claimOf(workers(2)))
	w.Put(machine("a", 0), machine("b", 1), machine("c", 2))
	require.NoError(t, w.reconcile(t, "site"))
	require.Equal(t, []string{"list machineinventories ns/rancheros.cattle.io/claim=site", "patch machineclaims ns/site", "patch machineinventories ns/a",
		"patch machineinventories ns/b", "patch machineclaims/status ns/site"}, w.Requests(), "the finalizer comes first")
	require.Equal(t, []string{"a=site/c1", "b=site/c1"}, w.owners())
	require.Equal(t, []string{"Normal Claimed claimed by MachineClaim site (pool workers): it joins Cluster c1 as agent",
		"Normal Claimed claimed by MachineClaim site (pool workers): it joins Cluster c1 as agent", "Normal Ready all 2 machines are claimed for Cluster c1"}, w.emitted())

	require.NoError(t, w.reconcile(t, "site"))
	require.Empty(t, w.Requests(), "an unchanged world costs nothing")
	require.Empty(t, w.emitted())

	// Scaled down, then deleted.
	claim := w.Claims.All()[0]
	claim.Spec.Pools[0].Replicas = 1
	w.Put(claim)
	require.NoError(t, w.reconcile(t, "site"))
	require.Equal(t, []string{"a=site/c1"}, w.owners())
	require.NoError(t, w.Claims.Delete("ns", "site", nil))
	require.Len(t, w.Claims.Names(), 1, "the finalizer holds it")
	require.NoError(t, w.reconcile(t, "site"))
	require.Empty(t, w.owners())
	require.Empty(t, w.Claims.Names())
	for _, m := range w.Inventories.All() {
		require.Nil(t, m.Spec.Config, m.Name)
		require.Empty(t, m.Annotations, m.Name)
	}
}

// A pool is full by the API server's count while the cache still shows it empty, and an older machine has come.
func TestNeverTooManyUnderALaggingCache(t *testing.T) {
	w := newWorld(t, claimOf(workers(2)))
	w.Put(machine("a", 0), machine("b", 5), machine("c", 6))
	w.Inventories.Lag(true)
	for _, name := range []string{"b", "c"} {
		m, err := w.Inventories.Get("ns", name, metav1.GetOptions{})
		require.NoError(t, err)
		of(claimOf(workers(2)), 0)(m)
		w.Put(m)
	}
	require.NoError(t, w.reconcile(t, "site"))
	require.Equal(t, []string{"b=site/c1", "c=site/c1"}, w.owners())
	require.Equal(t, "2/2", w.Claims.All()[0].Status.Summary)
}

// Of those who want one machine one gets it; the others are told by the API server, and say nothing wrong.
func TestConflict(t *testing.T) {
	w := newWorld(t, claimOf(workers(1)))
	w.Put(machine("a", 0), machine("b", 1))
	w.Inventories.Lag(true)
	mine := machine("a", 0, assigned("by-hand"))
	w.Put(mine)
	err := w.reconcile(t, "site")
	require.True(t, apierrors.IsConflict(err), "%v", err)
	require.Empty(t, w.Claims.All()[0].Status.Conditions, "a conflict is no news")
	require.Empty(t, w.emitted())
	w.Inventories.Lag(false)
	require.NoError(t, w.reconcile(t, "site"))
	require.Equal(t, []string{"a=/by-hand", "b=site/c1"}, w.owners())
}

// Two replicas and three claims want the same machines at the same moment, again and again. A machine that one has is
// never taken over by another: each claim of a machine is matched by its owner in the end, or by a release before.
func TestRace(t *testing.T) {
	const machines = 50
	names := []string{"one", "three", "two"}
	var claims []*v1.MachineClaim
	for _, name := range names {
		claim := claimOf(workers(20))
		claim.Name, claim.Spec.ClusterName = name, "for-"+name
		claims = append(claims, claim)
	}
	w := newWorld(t, claims...)
	for i := range machines {
		w.Put(machine(fmt.Sprintf("m-%02d", i), i%7))
	}
	replicas := []world{worldOn(w.API), worldOn(w.API)}
	var race sync.WaitGroup
	for _, replica := range replicas {
		for _, name := range names {
			race.Go(func() {
				for range 50 {
					if err := replica.reconcile(t, name); err != nil && !overtaken(err) {
						t.Error(err)
					}
				}
			})
		}
	}
	race.Wait()
	for range 3 { // One leader settles what two have left.
		for _, name := range names {
			require.NoError(t, replicas[0].reconcile(t, name))
		}
	}
	count := map[string]int{}
	for _, m := range w.Inventories.All() {
		require.Equal(t, "for-"+m.Labels[v1.LabelClaim], m.Spec.ClusterName)
		count[m.Labels[v1.LabelClaim]]++
	}
	require.Equal(t, machines, count["one"]+count["two"]+count["three"], "all are used: %v", count)
	events := map[string]int{}
	for _, replica := range replicas {
		for _, event := range replica.emitted() {
			events[strings.Fields(event)[1]]++
		}
	}
	require.Equal(t, machines, events[v1.ReasonClaimed]-events[v1.ReasonClaimReleased], "no machine was claimed over another's claim: %v", events)
	for name, has := range count {
		require.LessOrEqual(t, has, 20, name)
	}
}

func TestForcedAway(t *testing.T) {
	w := newWorld(t, claimOf(workers(2)))
	byHand := machine("b", 1, of(claimOf(workers(2)), 0), assigned("c9"))
	w.Put(machine("a", 0), byHand)
	require.NoError(t, w.reconcile(t, "site"))
	w.Put(machine("d", 3, of(claimOf(workers(2)), 0), assigned("c9")))
	w.Claims.Remove("ns", "site")
	require.NoError(t, w.reconcile(t, "site"))
	require.Equal(t, []string{"b=/c9", "d=/c9"}, w.owners(), "what was taken by hand stays")
	require.Equal(t, "agent", w.Inventories.All()[1].Spec.Config.Role)
}

func TestFailuresAreShown(t *testing.T) {
	w := newWorld(t, claimOf(workers(3)))
	w.Put(machine("a", 0), machine("b", 0), machine("c", 0))
	w.Fail = func(request memoryapi.Request) error {
		if request.Name == "b" {
			return errors.New("refused")
		}
		return nil
	}
	require.ErrorContains(t, w.reconcile(t, "site"), "writing MachineInventory b: refused")
	require.Equal(t, []string{"a=site/c1", "c=site/c1"}, w.owners(), "one that fails does not hold up the others")
	require.Equal(t, v1.ReasonAPIError, w.Claims.All()[0].Status.Conditions[0].Reason)
	w.emitted()
	require.Error(t, w.reconcile(t, "site"))
	require.Empty(t, w.emitted(), "no event on a retry")
	w.Fail = nil
	require.NoError(t, w.reconcile(t, "site"))
	require.Equal(t, "3/3", w.Claims.All()[0].Status.Summary)
}

// A bad selector releases nothing: it might be a slip.
func TestBadSelectorHoldsStill(t *testing.T) {
	w := newWorld(t, claimOf(workers(1)))
	w.Put(machine("a", 0))
	require.NoError(t, w.reconcile(t, "site"))
	claim := w.Claims.All()[0]
	claim.Spec.Pools[0].Selector.MatchExpressions = []v1.MachineSelectorRequirement{{Key: "a", Operator: "Near"}}
	w.Put(claim)
	require.NoError(t, w.reconcile(t, "site"), "a retry would not help")
	require.Equal(t, []string{"a=site/c1"}, w.owners())
	require.Equal(t, v1.ReasonInvalidSpec, w.Claims.All()[0].Status.Conditions[0].Reason)
}

// Who is brought back by which change of which machine.
func TestOnInventory(t *testing.T) {
	full, short, elsewhere := claimOf(workers(1)), claimOf(workers(1)), claimOf(workers(1))
	full.Name, short.Name, elsewhere.Name, elsewhere.Namespace = "full", "short", "short", "elsewhere"
	full.Status.Conditions = []metav1.Condition{{Type: v1.ConditionReady, Status: metav1.ConditionTrue}}
	for _, test := range []struct {
		reason  string
		key     string
		machine *v1.MachineInventory
		want    []string
	}{
		{"a free machine wakes who lacks one", "ns/a", machine("a", 0), []string{"ns/short"}},
		{"a machine that is claimed wakes its claim, too", "ns/a", machine("a", 0, of(full, 0)), []string{"ns/full", "ns/short"}},
		{"and so does one that has only a record left", "ns/a", machine("a", 0, of(full, 0), func(m *v1.MachineInventory) { m.Labels = nil }), []string{"ns/full", "ns/short"}},
		{"one that is gone may have been anybody's", "ns/a", nil, []string{"ns/full", "ns/short"}},
		{"a claim that is gone may have left it", "ns/a", machine("a", 0, labelled(v1.LabelClaim, "gone")), []string{"ns/gone", "ns/short"}},
	} {
		w := newWorld(t, full, short, elsewhere)
		_, err := w.onInventory(test.key, test.machine)
		require.NoError(t, err)
		require.ElementsMatch(t, test.want, w.Claims.Enqueued(), test.reason)
		require.Empty(t, w.Requests())
	}
}

// Claims are blind for other namespaces.
func TestNamespaces(t *testing.T) {
	w := newWorld(t, claimOf(workers(2)))
	foreign := machine("a", 0)
	foreign.Namespace = "elsewhere"
	w.Put(foreign, machine("b", 0))
	require.NoError(t, w.reconcile(t, "site"))
	require.Equal(t, []string{"b=site/c1"}, w.owners())
	require.True(t, strings.HasPrefix(w.Claims.All()[0].Status.Conditions[0].Message, "workers: 1 of 2 claimed; no other machine matches"))
}
