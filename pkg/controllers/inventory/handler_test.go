package inventory

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	provisioningv1 "github.com/rancher/rancher/pkg/apis/provisioning.cattle.io/v1"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"

	managementv3 "github.com/rancher/rancheros-operator/pkg/apis/management.cattle.io/v3"
	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/tests/memoryapi"
)

var tokenName = index.ClusterTokenName(machine(""))

type world struct {
	*memoryapi.API
	*handler
	recorder *record.FakeRecorder
}

func newWorld(t *testing.T, objects ...runtime.Object) world {
	api := memoryapi.New(t, objects...)
	recorder := record.NewFakeRecorder(1000)
	return world{API: api, recorder: recorder, handler: &handler{
		inventories: api.Inventories,
		tokens:      api.ClusterTokens,
		indexes:     index.Add(api.Clients()),
		events:      recorder,
		now:         func() time.Time { return time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC) },
	}}
}

// reconcile runs the handler on what the cache shows.
func (w world) reconcile(t *testing.T) error {
	t.Helper()
	cached, err := w.Inventories.Cache().Get("ns", "m")
	if err != nil {
		cached = nil
	}
	_, err = w.onChange("ns/m", cached)
	return err
}

// settle reconciles until nothing is written any more, as the watches would.
func (w world) settle(t *testing.T) {
	t.Helper()
	for range 10 {
		w.Requests()
		require.NoError(t, w.reconcile(t))
		if len(w.Requests()) == 0 {
			return
		}
	}
	t.Fatal("writes go on and on")
}

// assign is what a user does.
func (w world) assign(t *testing.T, cluster string) {
	t.Helper()
	m := w.Inventories.All()[0]
	m.Spec.ClusterName = cluster
	m.Generation++
	w.Put(m)
}

func (w world) reason() string { return w.Inventories.All()[0].Status.Conditions[0].Reason }

func (w world) emitted() []string {
	events := []string{}
	for len(w.recorder.Events) > 0 {
		kind, rest, _ := strings.Cut(<-w.recorder.Events, " ")
		reason, _, _ := strings.Cut(rest, " ")
		events = append(events, kind+" "+reason)
	}
	return events
}

// fill is what Rancher does with a new token.
func (w world) fill() {
	for _, token := range w.ClusterTokens.All() {
		token.Status.TokenSecretName = "crt-token-" + token.Name
		w.Put(token)
	}
}

func TestAssign(t *testing.T) {
	w := newWorld(t, machine("site"), cluster("site", "c-m-a"))
	require.NoError(t, w.reconcile(t))
	require.Equal(t, []string{
		"patch machineinventories ns/m",
		"create clusterregistrationtokens c-m-a/" + tokenName,
		"patch machineinventories/status ns/m",
	}, w.Requests(), "the finalizer comes before there is anything to clean up")
	require.Equal(t, v1.ReasonWaitingForToken, w.reason())
	w.fill()
	w.settle(t)
	require.Equal(t, v1.ReasonTokenReady, w.reason())
	m := w.Inventories.All()[0]
	require.Equal(t, []string{v1.FinalizerClusterToken}, m.Finalizers)
	require.Equal(t, "c-m-a/"+tokenName, m.Status.ClusterRegistrationTokenNamespace+"/"+m.Status.ClusterRegistrationTokenName)
	require.Equal(t, []string{"Normal TokenReady"}, w.emitted(), "once; Ready stays silent, and so does what passes in a moment")
}

func TestUnassignedCostsOneStatus(t *testing.T) {
	w := newWorld(t, machine(""))
	require.NoError(t, w.reconcile(t))
	require.Equal(t, []string{"patch machineinventories/status ns/m"}, w.Requests())
	require.Empty(t, w.emitted(), "that a new machine has no cluster is no news")
	w.settle(t)
}

// The first seed's first known issue: the Cluster is made after the machine was assigned to it.
func TestClusterComesLater(t *testing.T) {
	w := newWorld(t, machine("site"))
	w.settle(t)
	require.Equal(t, v1.ReasonWaitingForCluster, w.reason())
	require.Empty(t, w.Inventories.All()[0].Finalizers)
	w.Put(cluster("site", ""))
	w.settle(t)
	require.Equal(t, v1.ReasonWaitingForManagementCluster, w.reason())
	w.Put(cluster("site", "c-m-a"))
	w.settle(t)
	w.fill()
	w.settle(t)
	require.Equal(t, v1.ReasonTokenReady, w.reason())
	require.Equal(t, []string{"Normal WaitingForCluster", "Normal WaitingForManagementCluster", "Normal TokenReady"}, w.emitted(), "P25: at most three")
}

func TestMovesReleaseAndBack(t *testing.T) {
	w := newWorld(t, machine("a"), cluster("a", "c-m-a"), cluster("b", "c-m-b"))
	for _, c := range []struct{ to, only string }{{"a", "c-m-a/"}, {"b", "c-m-b/"}, {"a", "c-m-a/"}, {"", ""}, {"b", "c-m-b/"}, {"nowhere", ""}} {
		w.assign(t, c.to)
		w.settle(t)
		w.fill()
		w.settle(t)
		if c.only == "" {
			require.Empty(t, w.ClusterTokens.Names(), "assigned to %q", c.to)
			require.Empty(t, w.Inventories.All()[0].Finalizers, "nothing holds a machine that has no token")
			continue
		}
		require.Equal(t, []string{c.only + tokenName}, w.ClusterTokens.Names(), "assigned to %q", c.to)
		require.Equal(t, v1.ReasonTokenReady, w.reason())
	}
}

// What is wrong with the new cluster does not keep the way into the former one open (B28).
func TestFormerTokenGoesFirst(t *testing.T) {
	foreign := changed(tokenIn("c-m-b"), func(t *managementv3.ClusterRegistrationToken) { t.Labels = nil })
	w := newWorld(t, machine("a"), cluster("a", "c-m-a"), cluster("b", "c-m-b"), foreign)
	w.settle(t)
	w.assign(t, "b")
	require.Error(t, w.reconcile(t))
	require.Equal(t, []string{"c-m-b/" + tokenName}, w.ClusterTokens.Names())
	require.Equal(t, v1.ReasonForeignToken, w.reason())
}

func TestForeignToken(t *testing.T) {
	foreign := changed(tokenIn("c-m-a"), func(t *managementv3.ClusterRegistrationToken) { t.Labels = map[string]string{"theirs": "yes"} })
	w := newWorld(t, machine("site"), cluster("site", "c-m-a"), foreign)
	require.ErrorContains(t, w.reconcile(t), "was not made by the operator")
	require.Equal(t, v1.ReasonForeignToken, w.reason())
	m := w.Inventories.All()[0]
	require.Empty(t, m.Status.ClusterRegistrationTokenName, "it is not used")
	require.Equal(t, foreign.Labels, w.ClusterTokens.All()[0].Labels, "nor touched")
	require.Error(t, w.reconcile(t))
	require.Equal(t, []string{"Warning ForeignToken"}, w.emitted(), "told once")
	w.ClusterTokens.Remove("c-m-a", tokenName)
	require.NoError(t, w.reconcile(t))
	require.Equal(t, v1.ReasonWaitingForToken, w.reason())
}

// Between any two requests the operator may die. Whatever it leaves, the next one brings to the same end.
func TestCrashAnywhere(t *testing.T) {
	for crash := 1; crash <= 8; crash++ {
		t.Run(fmt.Sprintf("before request %d", crash), func(t *testing.T) {
			w := newWorld(t, machine("a"), cluster("a", "c-m-a"), cluster("b", "c-m-b"))
			requests := 0
			w.Fail = func(memoryapi.Request) error {
				if requests++; requests >= crash {
					return errors.New("dead")
				}
				return nil
			}
			for _, to := range []string{"a", "b"} {
				w.assign(t, to)
				_ = w.reconcile(t)
				_ = w.reconcile(t)
			}
			w.Fail = nil
			w.settle(t)
			w.fill()
			w.settle(t)
			require.Equal(t, []string{"c-m-b/" + tokenName}, w.ClusterTokens.Names())
			require.Equal(t, v1.ReasonTokenReady, w.reason())
			require.NoError(t, w.Inventories.Delete("ns", "m", nil))
			require.NoError(t, w.reconcile(t))
			require.Empty(t, w.ClusterTokens.Names())
			require.Empty(t, w.Inventories.Names())
		})
	}
}

// The same machine on every cache that lags: there is one token, and the status says so.
func TestLaggingCaches(t *testing.T) {
	w := newWorld(t, machine("site"), cluster("site", "c-m-a"))
	w.ClusterTokens.Lag(true)
	for range 3 {
		require.NoError(t, w.reconcile(t))
	}
	require.Equal(t, []string{"c-m-a/" + tokenName}, w.ClusterTokens.Names())
	require.Equal(t, v1.ReasonWaitingForToken, w.reason())

	w.Inventories.Lag(true)
	w.assign(t, "")
	require.NoError(t, w.reconcile(t), "an old view decides as before")
	w.Inventories.Lag(false)
	w.ClusterTokens.Lag(false)
	w.settle(t)
	require.Empty(t, w.ClusterTokens.Names())
	require.Equal(t, v1.ReasonReleased, w.reason())
}

func TestConflictIsNotShown(t *testing.T) {
	w := newWorld(t, machine("site"), cluster("site", "c-m-a"))
	w.Inventories.Lag(true)
	w.Put(changed(machine("site"), func(m *v1.MachineInventory) { m.Labels = map[string]string{"new": "yes"} }))
	require.Error(t, w.reconcile(t), "the view is older than the object")
	require.Empty(t, w.Inventories.All()[0].Status.Conditions)
	require.Empty(t, w.emitted())
	require.Empty(t, w.ClusterTokens.Names(), "and no token without its finalizer")
}

func TestDeletion(t *testing.T) {
	deleting := changed(machine("site"), func(m *v1.MachineInventory) {
		m.DeletionTimestamp, m.Finalizers = &deleted, []string{"other", v1.FinalizerClusterToken}
	})
	w := newWorld(t, deleting, cluster("site", "c-m-a"), tokenIn("c-m-a"), tokenIn("c-m-old"))
	require.NoError(t, w.reconcile(t))
	require.Empty(t, w.ClusterTokens.Names(), "in whatever cluster, and whatever the status remembers")
	require.Equal(t, []string{"other"}, w.Inventories.All()[0].Finalizers, "others' are left alone")
	w.Requests()
	require.NoError(t, w.reconcile(t))
	require.Empty(t, w.Requests(), "what is going gets no token and no status any more")

	w = newWorld(t, changed(machine("site"), func(m *v1.MachineInventory) {
		m.DeletionTimestamp, m.Finalizers = &deleted, []string{v1.FinalizerClusterToken}
	}))
	require.NoError(t, w.reconcile(t))
	require.Empty(t, w.Inventories.Names(), "gone")
}

func TestDeletionHoldsUntilTheTokenIsGone(t *testing.T) {
	w := newWorld(t, changed(machine("site"), func(m *v1.MachineInventory) {
		m.DeletionTimestamp, m.Finalizers = &deleted, []string{v1.FinalizerClusterToken}
	}), tokenIn("c-m-a"))
	w.Fail = func(request memoryapi.Request) error {
		if request.Verb == "delete" {
			return errors.New("Rancher is away")
		}
		return nil
	}
	require.ErrorContains(t, w.reconcile(t), "Rancher is away")
	require.Equal(t, []string{v1.FinalizerClusterToken}, w.Inventories.All()[0].Finalizers)
}

// The finalizer was taken off by hand, and the inventory went before its token.
func TestOrphans(t *testing.T) {
	w := newWorld(t, tokenIn("c-m-a"), changed(tokenIn("c-m-b"), func(t *managementv3.ClusterRegistrationToken) { t.Labels = nil }))
	require.NoError(t, w.reconcile(t))
	require.Equal(t, []string{"c-m-b/" + tokenName}, w.ClusterTokens.Names(), "ours goes, and a foreign one stays")
}

// A view of the past must not delete what took the name since.
func TestDeletesOnlyWhatItSaw(t *testing.T) {
	w := newWorld(t, machine(""), tokenIn("c-m-a"))
	w.ClusterTokens.Lag(true)
	w.ClusterTokens.Remove("c-m-a", tokenName)
	w.Put(changed(tokenIn("c-m-a"), func(t *managementv3.ClusterRegistrationToken) { t.UID = "another" }))
	require.NoError(t, w.reconcile(t))
	require.Equal(t, []string{"c-m-a/" + tokenName}, w.ClusterTokens.Names())
}

// The inventory went while it was looked at: no token is made for a machine that does not exist.
func TestNoTokenForAMachineThatIsGone(t *testing.T) {
	w := newWorld(t, machine("site"), cluster("site", "c-m-a"))
	w.Inventories.Lag(true)
	w.Inventories.Remove("ns", "m")
	require.Error(t, w.reconcile(t))
	require.Empty(t, w.ClusterTokens.Names())
	w.Inventories.Lag(false)
	require.NoError(t, w.reconcile(t))
}

func TestClusterIsDeleted(t *testing.T) {
	w := newWorld(t, machine("site"), cluster("site", "c-m-a"))
	w.settle(t)
	w.Put(changed(cluster("site", "c-m-a"), func(c *provisioningv1.Cluster) { c.DeletionTimestamp, c.Finalizers = &deleted, []string{"x"} }))
	w.settle(t)
	require.Equal(t, v1.ReasonClusterDeleting, w.reason())
	require.Empty(t, w.ClusterTokens.Names())
	require.Contains(t, w.emitted(), "Warning ClusterDeleting")
}

func TestTriggers(t *testing.T) {
	assigned := machine("site")
	other := changed(machine("site"), func(m *v1.MachineInventory) { m.Name = "n" })
	elsewhere := changed(machine("site"), func(m *v1.MachineInventory) { m.Namespace = "elsewhere" })
	served := changed(machine("site"), func(m *v1.MachineInventory) { m.Namespace = "served" })
	across := changed(machine("site"), func(m *v1.MachineInventory) { m.Namespace, m.Spec.ClusterNamespace = "across", "ns" })
	replacing := changed(machine(""), func(m *v1.MachineInventory) { m.Name, m.Spec.Replaces = "new", "m" })
	w := newWorld(t, assigned, other, elsewhere, served, across, replacing, changed(cluster("site", "c"), func(c *provisioningv1.Cluster) { c.Namespace = "served" }))
	onCluster := []string{"across/m", "elsewhere/m", "ns/m", "ns/n"}
	for _, c := range []struct {
		why  string
		do   func() error
		want []string
	}{
		{"a Cluster came, or changed: its machines, and those that wait for one of its name", func() error { _, err := w.onCluster("ns/site", cluster("site", "")); return err }, onCluster},
		{"a Cluster went", func() error { _, err := w.onCluster("ns/site", nil); return err }, onCluster},
		{"a Cluster that nobody asked for", func() error { _, err := w.onCluster("ns/other", cluster("other", "")); return err }, nil},
		{"a machine whose place another wants", func() error { _, err := w.onReplaced("ns/m", assigned); return err }, []string{"ns/new"}},
		{"it went", func() error { _, err := w.onReplaced("ns/m", nil); return err }, []string{"ns/new"}},
		{"a machine whose place nobody wants", func() error { _, err := w.onReplaced("ns/n", other); return err }, nil},
		{"Rancher filled a token in", func() error { _, err := w.onToken("c-m-a/"+tokenName, tokenIn("c-m-a")); return err }, []string{"ns/m"}},
		{"a token was deleted: its labels are gone, its name is not", func() error { _, err := w.onToken("c-m-a/"+tokenName, nil); return err }, []string{"ns/m"}},
		{"another's token", func() error {
			_, err := w.onToken("c-m-a/default", &managementv3.ClusterRegistrationToken{ObjectMeta: metav1.ObjectMeta{Namespace: "c-m-a", Name: "default"}})
			return err
		}, nil},
		{"another's token went", func() error { _, err := w.onToken("c-m-a/default", nil); return err }, nil},
	} {
		require.NoError(t, c.do(), c.why)
		got := w.Inventories.Enqueued()
		slices.Sort(got)
		require.Equal(t, c.want, got, c.why)
	}
}
