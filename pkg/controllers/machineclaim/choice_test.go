package machineclaim

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

var birth = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// machine is a free one, younger the higher its age.
func machine(name string, age int, edits ...func(*v1.MachineInventory)) *v1.MachineInventory {
	m := &v1.MachineInventory{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, ResourceVersion: "7",
		CreationTimestamp: metav1.NewTime(birth.Add(time.Duration(age) * time.Minute)), Labels: map[string]string{v1.LabelRegistration: "edge", "rack": "a"}}}
	for _, edit := range edits {
		edit(m)
	}
	return m
}

func labelled(key, value string) func(*v1.MachineInventory) {
	return func(m *v1.MachineInventory) { m.Labels[key] = value }
}

func configured(config v1.MachineConfig) func(*v1.MachineInventory) {
	return func(m *v1.MachineInventory) { m.Spec.Config = &config }
}

func assigned(cluster string) func(*v1.MachineInventory) {
	return func(m *v1.MachineInventory) { m.Spec.ClusterName = cluster }
}

// of makes it a machine of the claim's pool, as the controller leaves it.
func of(claim *v1.MachineClaim, pool int) func(*v1.MachineInventory) {
	return func(m *v1.MachineInventory) {
		after, err := claimed(m, claim, &claim.Spec.Pools[pool])
		if err != nil {
			panic(err)
		}
		apply(m, after)
	}
}

func apply(m *v1.MachineInventory, after belongings) {
	patch, err := after.patch(m)
	if err != nil {
		panic(err)
	}
	if patch != nil {
		*m = *patched(m, patch)
	}
}

func patched(m *v1.MachineInventory, patch []byte) *v1.MachineInventory {
	before, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	merged, err := jsonpatch.MergePatch(before, patch)
	if err != nil {
		panic(err)
	}
	after := &v1.MachineInventory{}
	if err := json.Unmarshal(merged, after); err != nil {
		panic(err)
	}
	return after
}

func claimOf(pools ...v1.MachinePool) *v1.MachineClaim {
	return &v1.MachineClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "site", Generation: 1},
		Spec: v1.MachineClaimSpec{ClusterName: "c1", Pools: pools}}
}

func workers(replicas int32) v1.MachinePool {
	return v1.MachinePool{Name: "workers", Replicas: replicas, Role: "agent", Selector: &v1.MachineSelector{MatchLabels: map[string]v1.LabelValue{"rack": "a"}}}
}

// told is what a choice comes to: the events of its changes, and what each pool has and lacks.
func told(c choice) []string {
	var lines []string
	for _, change := range c.changes {
		lines = append(lines, strings.TrimSpace(change.reason+" "+change.machine.Name))
	}
	for i := range c.pools {
		pool := &c.pools[i]
		line := fmt.Sprintf("%s %d/%d", pool.Name, len(pool.machines), pool.Replicas)
		if pool.lacks() > 0 {
			line = shortage(pool)
		}
		lines = append(lines, line)
	}
	return lines
}

func TestDecide(t *testing.T) {
	no, yes := false, true
	three, two, none := claimOf(workers(3)), claimOf(workers(2)), claimOf(workers(0))
	other := claimOf(workers(3))
	other.Name = "other"
	elsewhere := claimOf(workers(3))
	elsewhere.Spec.ClusterName = "c2"
	any1 := v1.MachinePool{Name: "any", Replicas: 1, Role: "server"}
	renamed := workers(1)
	renamed.Name = "nodes"
	expression := v1.MachinePool{Name: "x", Replicas: 2, Role: "agent", Selector: &v1.MachineSelector{MatchExpressions: []v1.MachineSelectorRequirement{
		{Key: "rack", Operator: metav1.LabelSelectorOpIn, Values: []v1.LabelValue{"b", "c"}}, {Key: "old", Operator: metav1.LabelSelectorOpDoesNotExist}}}}
	deleted := func(m *v1.MachineInventory) {
		now := metav1.NewTime(birth)
		m.DeletionTimestamp, m.Finalizers = &now, []string{"x"}
	}
	tests := []struct {
		reason string
		claim  *v1.MachineClaim
		mine   []*v1.MachineInventory
		others []*v1.MachineInventory
		want   []string
	}{
		{"the oldest are claimed, by name among those of one age", two, nil,
			[]*v1.MachineInventory{machine("d", 0), machine("b", 1), machine("a", 1), machine("c", 1)},
			[]string{"Claimed d", "Claimed a", "workers 2/2"}},
		{"the words of the brief: who has those that match", three, nil,
			[]*v1.MachineInventory{machine("a", 0), machine("b", 1), machine("c", 2, of(other, 0))},
			[]string{"Claimed a", "Claimed b", "workers: 2 of 3 claimed; 3 machines match, 1 is claimed by MachineClaim ns/other"}},
		{"each reason is counted, what others have first", three, nil,
			[]*v1.MachineInventory{
				machine("a", 0, assigned("c9")), machine("b", 0, assigned("c9")), machine("c", 0, of(other, 0)),
				machine("d", 0, func(m *v1.MachineInventory) { m.Spec.Approved = &no }), machine("e", 0, configured(v1.MachineConfig{Role: "server"})),
				machine("f", 0, func(m *v1.MachineInventory) { delete(m.Labels, v1.LabelRegistration) }), machine("g", 0, deleted),
			},
			[]string{"workers: 0 of 3 claimed; 7 machines match, 1 is claimed by MachineClaim ns/other, 2 are assigned to Cluster c9, 1 waits for approval, " +
				"1 has role server, 1 cannot prove itself, 1 other is not free either"}},
		{"those that are to replace, were replaced, or are for other namespaces", three, nil,
			[]*v1.MachineInventory{
				machine("a", 0, func(m *v1.MachineInventory) { m.Spec.Replaces, m.Spec.Approved = "x", &yes }),
				machine("b", 0, func(m *v1.MachineInventory) { m.Spec.Replaces = "x" }),
				machine("c", 0, func(m *v1.MachineInventory) { m.Spec.ReplacedBy = "x" }),
				machine("d", 0, func(m *v1.MachineInventory) { m.Spec.ClusterNamespace = "fleet-default" }),
			}, []string{"workers: 0 of 3 claimed; 4 machines match, 1 waits for approval, 1 is to replace x, 1 is for clusters of namespace fleet-default, 1 was replaced"}},
		{"a replaced machine holds its slot until the other has it", claimOf(workers(1)),
			[]*v1.MachineInventory{machine("a", 1, of(two, 0), func(m *v1.MachineInventory) { m.Spec.ReplacedBy = "b" })},
			[]*v1.MachineInventory{machine("c", 1)}, []string{"workers 1/1"}},
		{"and then gives it up", claimOf(workers(1)),
			[]*v1.MachineInventory{machine("a", 1, of(two, 0), func(m *v1.MachineInventory) { m.Spec.ReplacedBy = "b" }), machine("b", 2, of(two, 0))},
			[]*v1.MachineInventory{machine("c", 1)}, []string{"workers 1/1"}},
		{"assigned to the same name in another namespace by hand", claimOf(workers(1)),
			[]*v1.MachineInventory{machine("a", 1, of(two, 0), func(m *v1.MachineInventory) { m.Spec.ClusterNamespace = "elsewhere" })}, nil,
			[]string{"ClaimLost a", "workers: 0 of 1 claimed; no machine matches"}},
		{"nobody fits", three, nil, []*v1.MachineInventory{machine("a", 0, labelled("rack", "b"))}, []string{"workers: 0 of 3 claimed; no machine matches"}},
		{"all that fit are claimed", three, nil, []*v1.MachineInventory{machine("a", 0)},
			[]string{"Claimed a", "workers: 1 of 3 claimed; no other machine matches"}},
		{"a machine that somebody wrote proves itself by its TPM or by a shared secret", two, nil,
			[]*v1.MachineInventory{
				machine("a", 0, func(m *v1.MachineInventory) { delete(m.Labels, v1.LabelRegistration); m.Spec.TPMHash = "ab" }),
				machine("b", 0, func(m *v1.MachineInventory) {
					delete(m.Labels, v1.LabelRegistration)
					m.Spec.MachineTokenSecretName = "s"
				}),
			}, []string{"Claimed a", "Claimed b", "workers 2/2"}},
		{"a machine with the pool's role of its own is welcome", two, nil,
			[]*v1.MachineInventory{machine("a", 0, configured(v1.MachineConfig{Role: "agent"}))},
			[]string{"Claimed a", "workers: 1 of 2 claimed; no other machine matches"}},
		{"what is as it should be is not written", two, []*v1.MachineInventory{machine("a", 0, of(two, 0)), machine("b", 0, of(two, 0))}, nil,
			[]string{"workers 2/2"}},
		{"fewer replicas release the newest", two,
			[]*v1.MachineInventory{machine("new", 9, of(two, 0)), machine("a", 1, of(two, 0)), machine("b", 1, of(two, 0))}, nil,
			[]string{"ClaimReleased new", "workers 2/2"}},
		{"none at all", none, []*v1.MachineInventory{machine("a", 1, of(two, 0))}, nil, []string{"ClaimReleased a", "workers 0/0"}},
		{"another cluster releases, and claims when the machine is free again", elsewhere, []*v1.MachineInventory{machine("a", 1, of(three, 0))}, nil,
			[]string{"ClaimReleased a", "workers: 0 of 3 claimed; no machine matches"}},
		{"a pool that is gone releases", claimOf(renamed), []*v1.MachineInventory{machine("a", 1, of(two, 0))}, nil,
			[]string{"ClaimReleased a", "nodes: 0 of 1 claimed; no machine matches"}},
		{"taken by hand: no more the claim's", claimOf(workers(1)), []*v1.MachineInventory{machine("a", 1, of(two, 0), assigned("c9"))},
			[]*v1.MachineInventory{machine("b", 1)}, []string{"ClaimLost a", "Claimed b", "workers 1/1"}},
		{"cleared by hand: what the claim had put in goes, too", claimOf(workers(1)), []*v1.MachineInventory{machine("a", 1, of(two, 0), assigned(""))},
			nil, []string{"ClaimReleased a", "workers: 0 of 1 claimed; no machine matches"}},
		{"a label without a record is not the claim's", claimOf(workers(1)), []*v1.MachineInventory{machine("a", 1, labelled(v1.LabelClaim, "site"))},
			nil, []string{"ClaimLost a", "workers: 0 of 1 claimed; no machine matches"}},
		{"a record without a label is not the claim's", claimOf(workers(1)),
			[]*v1.MachineInventory{machine("a", 1, of(two, 0), func(m *v1.MachineInventory) { delete(m.Labels, v1.LabelClaim) })},
			nil, []string{"ClaimLost a", "workers: 0 of 1 claimed; no machine matches"}},
		{"another's record under the claim's label is not the claim's", claimOf(workers(1)), []*v1.MachineInventory{machine("a", 1, of(other, 0), labelled(v1.LabelClaim, "site"))},
			nil, []string{"ClaimLost a", "workers: 0 of 1 claimed; no machine matches"}},
		{"a machine that goes is replaced", claimOf(workers(1)), []*v1.MachineInventory{machine("a", 1, of(two, 0), deleted)},
			[]*v1.MachineInventory{machine("b", 1)}, []string{"Claimed b", "workers 1/1"}},
		{"a claimed machine stays claimed when its labels change", claimOf(workers(1)), []*v1.MachineInventory{machine("a", 1, of(two, 0), labelled("rack", "z"))},
			[]*v1.MachineInventory{machine("b", 1)}, []string{"workers 1/1"}},
		{"the first pool comes first, and none gets what another has", claimOf(any1, workers(2)), nil,
			[]*v1.MachineInventory{machine("a", 0), machine("b", 1)},
			[]string{"Claimed a", "Claimed b", "any 1/1", "workers: 1 of 2 claimed; 2 machines match, 1 is in pool any"}},
		{"expressions", claimOf(expression), nil,
			[]*v1.MachineInventory{machine("a", 0), machine("b", 0, labelled("rack", "b")), machine("c", 0, labelled("rack", "c"), labelled("old", ""))},
			[]string{"Claimed b", "x: 1 of 2 claimed; no other machine matches"}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			for range 5 {
				rand.Shuffle(len(test.mine), func(i, j int) { test.mine[i], test.mine[j] = test.mine[j], test.mine[i] })
				rand.Shuffle(len(test.others), func(i, j int) { test.others[i], test.others[j] = test.others[j], test.others[i] })
				got, err := decide(gathered{claim: test.claim, mine: test.mine, others: test.others})
				require.NoError(t, err)
				require.Empty(t, cmp.Diff(test.want, told(got)), "in whatever order")
			}
		})
	}
}

func TestDecideRefusesASelectorThatIsNone(t *testing.T) {
	bad := workers(1)
	bad.Selector = &v1.MachineSelector{MatchExpressions: []v1.MachineSelectorRequirement{{Key: "a", Operator: metav1.LabelSelectorOpIn}}}
	_, err := decide(gathered{claim: claimOf(bad), mine: []*v1.MachineInventory{machine("a", 1, of(claimOf(bad), 0))}})
	require.ErrorContains(t, err, "the selector of pool workers cannot be used")
	require.Equal(t, v1.ReasonInvalidSpec, ready(claimOf(bad), choice{}, err).Reason)
}

func raw(text string) runtime.RawExtension { return runtime.RawExtension{Raw: []byte(text)} }

// rich is a pool that sets all that a pool can set.
func rich() v1.MachinePool {
	pool := workers(1)
	pool.Config = &v1.MachineConfig{
		Labels: map[string]v1.NodeLabelValue{"zone": "z", "tier": "t"},
		Taints: []v1.NodeTaint{{Key: "dedicated", Value: "db", Effect: "NoSchedule"}, {Key: "slow", Effect: "NoExecute"}},
		Extra:  map[string]runtime.RawExtension{"preInstructions": raw(`[{"name":"x"}]`), "motd": raw(`"hi"`)},
	}
	return pool
}

// Whatever a machine says already stays, and releasing it brings back what was there, byte for byte.
func TestClaimAndRelease(t *testing.T) {
	claim := claimOf(rich())
	tests := []struct {
		reason string
		own    *v1.MachineConfig
		want   string
	}{
		{"a machine that says nothing", nil,
			`{"labels":{"tier":"t","zone":"z"},"motd":"hi","preInstructions":[{"name":"x"}],"role":"agent",` +
				`"taints":[{"key":"dedicated","value":"db","effect":"NoSchedule"},{"key":"slow","effect":"NoExecute"}]}`},
		{"what it says stays", &v1.MachineConfig{Role: "agent", NodeName: "n1", Address: "192.0.2.1", Labels: map[string]v1.NodeLabelValue{"zone": "own", "mine": "m"},
			Taints: []v1.NodeTaint{{Key: "dedicated", Value: "own", Effect: "NoSchedule"}}, Extra: map[string]runtime.RawExtension{"motd": raw(`"own"`), "k": raw(`{"a":1}`)}},
			`{"address":"192.0.2.1","k":{"a":1},"labels":{"mine":"m","tier":"t","zone":"own"},"motd":"own","nodeName":"n1","preInstructions":[{"name":"x"}],"role":"agent",` +
				`"taints":[{"key":"dedicated","value":"own","effect":"NoSchedule"},{"key":"slow","effect":"NoExecute"}]}`},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			m := machine("a", 0, func(m *v1.MachineInventory) { m.Spec.Config = test.own })
			before := m.DeepCopy()
			of(claim, 0)(m)
			written, err := json.Marshal(m.Spec.Config)
			require.NoError(t, err)
			require.JSONEq(t, test.want, string(written))
			require.Equal(t, "c1", m.Spec.ClusterName)
			require.Equal(t, "site", m.Labels[v1.LabelClaim])

			again, err := claimed(m, claim, &claim.Spec.Pools[0])
			require.NoError(t, err)
			patch, err := again.patch(m)
			require.NoError(t, err)
			require.Nil(t, patch, "claimed twice is claimed once")

			apply(m, released(m))
			require.Empty(t, cmp.Diff(patched(before, []byte(`{}`)), m, cmp.Comparer(func(a, b map[string]string) bool { return len(a) == 0 && len(b) == 0 || cmp.Equal(a, b) })))
		})
	}
}

// The claim takes off what it put on, as far as that is still so.
func TestReleaseLeavesWhatSomebodyChanged(t *testing.T) {
	claim := claimOf(rich())
	m := machine("a", 0, of(claim, 0))
	m.Spec.Config.Role = "server"
	m.Spec.Config.Labels["zone"] = "changed"
	m.Spec.Config.Labels["new"] = "n"
	m.Spec.Config.Taints[0].Value = "changed"
	m.Spec.Config.Extra["motd"] = raw(`"changed"`)
	apply(m, released(m))
	require.Empty(t, m.Spec.ClusterName)
	require.Empty(t, m.Labels[v1.LabelClaim])
	require.Empty(t, m.Annotations)
	require.Empty(t, cmp.Diff(&v1.MachineConfig{Role: "server", Labels: map[string]v1.NodeLabelValue{"zone": "changed", "new": "n"},
		Taints: []v1.NodeTaint{{Key: "dedicated", Value: "changed", Effect: "NoSchedule"}}, Extra: map[string]runtime.RawExtension{"motd": raw(`"changed"`)}}, m.Spec.Config))
}

// Taken by hand, a machine keeps all but the marks: its new cluster needs the role.
func TestAbandon(t *testing.T) {
	m := machine("a", 0, of(claimOf(rich()), 0), assigned("c9"))
	want := m.DeepCopy()
	delete(want.Labels, v1.LabelClaim)
	delete(want.Annotations, v1.AnnotationClaimed)
	apply(m, abandoned(m))
	require.Equal(t, want.Spec, m.Spec)
	require.Equal(t, want.Labels, m.Labels)
	require.Empty(t, m.Annotations)
}

// A pool that is edited reaches the machines that it has.
func TestEditedPool(t *testing.T) {
	before, after := claimOf(rich()), claimOf(rich())
	pool := &after.Spec.Pools[0]
	pool.Role = "server"
	delete(pool.Config.Labels, "tier")
	pool.Config.Labels["zone"] = "y"
	pool.Config.Taints = pool.Config.Taints[:1]
	pool.Config.Extra = nil
	m := machine("a", 0, of(before, 0), func(m *v1.MachineInventory) { m.Spec.Config.Labels["own"] = "o" })
	chosen, err := decide(gathered{claim: after, mine: []*v1.MachineInventory{m}})
	require.NoError(t, err)
	require.Len(t, chosen.changes, 1)
	got := patched(m, chosen.changes[0].patch)
	require.Empty(t, cmp.Diff(&v1.MachineConfig{Role: "server", Labels: map[string]v1.NodeLabelValue{"zone": "y", "own": "o"},
		Taints: []v1.NodeTaint{{Key: "dedicated", Value: "db", Effect: "NoSchedule"}}}, got.Spec.Config))
}

// The patch fits the machine as it was read, and touches nothing but what is the claim's.
func TestPatch(t *testing.T) {
	claim := claimOf(workers(1))
	m := machine("a", 0)
	after, err := claimed(m, claim, &claim.Spec.Pools[0])
	require.NoError(t, err)
	patch, err := after.patch(m)
	require.NoError(t, err)
	require.JSONEq(t, `{"metadata":{"resourceVersion":"7","labels":{"rancheros.cattle.io/claim":"site"},"annotations":{"rancheros.cattle.io/claimed":
		"{\"claim\":\"site\",\"pool\":\"workers\",\"cluster\":\"c1\",\"config\":{\"role\":\"agent\"}}"}},"spec":{"clusterName":"c1","config":{"role":"agent"}}}`, string(patch))
	of(claim, 0)(m)
	patch, err = released(m).patch(m)
	require.NoError(t, err)
	require.JSONEq(t, `{"metadata":{"resourceVersion":"7","labels":{"rancheros.cattle.io/claim":null},"annotations":{"rancheros.cattle.io/claimed":null}},
		"spec":{"clusterName":null,"config":null}}`, string(patch))
}

func TestOldestFirst(t *testing.T) {
	machines := []*v1.MachineInventory{machine("b", 1), machine("a", 1), machine("c", 0)}
	var names []string
	for _, m := range oldestFirst(machines) {
		names = append(names, m.Name)
	}
	require.Equal(t, []string{"c", "a", "b"}, names)
	require.Equal(t, "b", machines[0].Name, "the caller's slice is left alone")
}
