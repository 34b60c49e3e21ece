package inventory

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/tests/memoryapi"
)

var yes = true

// oldMachine has a place: labels, a role and a cluster.
func oldMachine(changes ...func(*v1.MachineInventory)) *v1.MachineInventory {
	m := machine("site")
	m.Name, m.UID = "old", "uid-old"
	m.Labels = map[string]string{"site": "berlin", "rack": "7", v1.LabelRegistration: "edge", v1.LabelAssurance: v1.AssuranceCertificate, v1.LabelSerialNumber: "A1"}
	m.Annotations = map[string]string{"rancheros.cattle.io/claimed": "by a claim", "rack-note": "bottom", v1.AnnotationEndorsementCertificate: v1.EndorsementOutsideValidity}
	m.Spec.TPM = strings.Repeat("aa", 32)
	m.Spec.Config.Address = "192.0.2.1"
	for _, change := range changes {
		change(m)
	}
	return m
}

// newMachine wants that place, and is approved.
func newMachine(changes ...func(*v1.MachineInventory)) *v1.MachineInventory {
	m := machine("")
	m.Name, m.UID = "new", "uid-new"
	m.Labels = map[string]string{"rack": "none", "own": "yes", v1.LabelRegistration: "spare", v1.LabelAssurance: v1.AssuranceFirstUse, v1.LabelSerialNumber: "B2"}
	m.Spec = v1.MachineInventorySpec{TPM: strings.Repeat("bb", 32), Replaces: "old", Approved: &yes}
	for _, change := range changes {
		change(m)
	}
	return m
}

func (w world) reconcileAll(t *testing.T) error {
	t.Helper()
	var errs []error
	for _, name := range []string{"new", "new-2", "old"} {
		cached, err := w.Inventories.Cache().Get("ns", name)
		if err != nil {
			cached = nil
		}
		_, err = w.onChange("ns/"+name, cached)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (w world) settleAll(t *testing.T) {
	t.Helper()
	for range 20 {
		w.fill()
		w.Requests()
		require.NoError(t, w.reconcileAll(t))
		if len(w.Requests()) == 0 {
			return
		}
	}
	t.Fatal("writes go on and on")
}

func (w world) named(name string) *v1.MachineInventory {
	for _, m := range w.Inventories.All() {
		if m.Name == name {
			return m
		}
	}
	return nil
}

func conditionOf(m *v1.MachineInventory, kind string) string {
	for _, condition := range m.Status.Conditions {
		if condition.Type == kind {
			return string(condition.Status) + " " + condition.Reason
		}
	}
	return ""
}

func tokenNameOf(machine string) string {
	return index.ClusterTokenName(&v1.MachineInventory{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: machine}})
}

// requireReplaced is how it must end, whatever happened on the way.
func (w world) requireReplaced(t *testing.T) {
	t.Helper()
	taken, left := w.named("new"), w.named("old")
	require.Equal(t, map[string]string{"site": "berlin", "rack": "7", "own": "yes", v1.LabelRegistration: "spare", v1.LabelAssurance: v1.AssuranceFirstUse, v1.LabelSerialNumber: "B2"}, taken.Labels,
		"how it proved who it is, and what is printed on it, stays its own")
	require.Equal(t, map[string]string{"rancheros.cattle.io/claimed": "by a claim", v1.AnnotationReplaced: "old"}, taken.Annotations,
		"what the operator has noted about the place goes with it, and what others have, stays")
	require.Equal(t, "site", taken.Spec.ClusterName)
	require.Equal(t, &v1.MachineConfig{Role: "server", Address: "192.0.2.1", NodeName: "old"}, taken.Spec.Config, "its node is called as the old one was")
	require.Equal(t, "True Replaced", conditionOf(taken, v1.ConditionReplacement))
	require.Equal(t, "True TokenReady", conditionOf(taken, v1.ConditionReady))
	require.Equal(t, "old", taken.Status.Replaced.Name)
	require.Equal(t, left.Spec.TPM, taken.Status.Replaced.TPMHash)

	require.Equal(t, "new", left.Spec.ReplacedBy)
	require.Equal(t, map[string]string{v1.LabelRegistration: "edge", v1.LabelAssurance: v1.AssuranceCertificate, v1.LabelSerialNumber: "A1"}, left.Labels, "no selector finds both")
	require.Equal(t, map[string]string{"rack-note": "bottom", v1.AnnotationEndorsementCertificate: v1.EndorsementOutsideValidity}, left.Annotations)
	require.Empty(t, left.Spec.ClusterName)
	require.False(t, *left.Spec.Approved)
	require.Equal(t, "new", left.Status.ReplacedBy.Name)
	require.Equal(t, taken.Spec.TPM, left.Status.ReplacedBy.TPMHash)
	for kind, want := range map[string]string{v1.ConditionRevoked: "True Revoked", v1.ConditionReady: "False Revoked",
		v1.ConditionApproved: "False Revoked", v1.ConditionClusterAssigned: "False Revoked"} {
		require.Equal(t, want, conditionOf(left, kind), kind)
	}
	require.Equal(t, []string{"c-m-a/" + tokenNameOf("new")}, w.ClusterTokens.Names(), "the old one's token is gone")
	require.Empty(t, left.Finalizers, "the record can be deleted at any time")
}

func TestReplace(t *testing.T) {
	w := newWorld(t, oldMachine(), cluster("site", "c-m-a"))
	w.settleAll(t)
	require.Equal(t, []string{"c-m-a/" + tokenNameOf("old")}, w.ClusterTokens.Names())
	w.emitted()
	w.Put(newMachine())
	w.settleAll(t)
	w.requireReplaced(t)
	events := w.emitted()
	require.Contains(t, events, "Normal Replaced")
	require.Contains(t, events, "Normal Revoked")
	require.Equal(t, 1, countOf(events, "Normal Revoked"), "four conditions say it, and one tells it")

	// What the new machine becomes later is its own business.
	taken := w.named("new")
	taken.Spec.ClusterName, taken.Labels["rack"], taken.Spec.Config.NodeName = "", "8", "renamed"
	w.Put(taken)
	w.settleAll(t)
	require.Equal(t, "renamed", w.named("new").Spec.Config.NodeName)
	require.Equal(t, "8", w.named("new").Labels["rack"])
	require.Equal(t, "True Released", conditionOf(w.named("new"), v1.ConditionReady))

	// And the record goes without a trace.
	require.NoError(t, w.Inventories.Delete("ns", "old", nil))
	w.settleAll(t)
	require.Equal(t, "True Replaced", conditionOf(w.named("new"), v1.ConditionReplacement))
	require.Equal(t, strings.Repeat("aa", 32), w.named("new").Status.Replaced.TPMHash)

	// A restore that lost every status does not take the place once more.
	bare := w.named("new")
	bare.Status = v1.MachineInventoryStatus{}
	w.Put(bare, oldMachine())
	w.settleAll(t)
	require.Equal(t, "renamed", w.named("new").Spec.Config.NodeName)
	require.Empty(t, w.named("new").Spec.ClusterName)
	require.Empty(t, w.named("old").Spec.ReplacedBy, "a machine of the old one's name is another one")
}

func countOf(events []string, event string) int {
	return len(slices.DeleteFunc(slices.Clone(events), func(e string) bool { return e != event }))
}

// Before any of its writes the operator may die. The next one goes on where it was.
func TestReplaceCrashAnywhere(t *testing.T) {
	for crash := 0; ; crash++ {
		w := newWorld(t, oldMachine(), cluster("site", "c-m-a"))
		w.settleAll(t)
		w.Put(newMachine())
		requests := 0
		w.Fail = func(memoryapi.Request) error {
			if requests++; requests > crash {
				return errors.New("dead")
			}
			return nil
		}
		_ = w.reconcileAll(t)
		died := requests > crash
		w.Fail = nil
		next := w
		next.handler = &handler{inventories: w.inventories, tokens: w.tokens, indexes: w.indexes, events: w.recorder, now: w.now}
		next.settleAll(t)
		next.requireReplaced(t)
		if !died {
			require.Greater(t, crash, 8, "all of them were tried")
			return
		}
	}
}

// Nothing moves before a person has said so.
func TestReplaceNeedsApproval(t *testing.T) {
	no := false
	for why, approved := range map[string]*bool{"nobody has said anything": nil, "it was refused": &no} {
		t.Run(why, func(t *testing.T) {
			w := newWorld(t, oldMachine(), cluster("site", "c-m-a"), newMachine(func(m *v1.MachineInventory) {
				m.Spec.Approved, m.Spec.ClusterName, m.Spec.Config = approved, "site", &v1.MachineConfig{Role: "agent"}
			}))
			w.settleAll(t)
			require.Equal(t, "False PendingApproval", conditionOf(w.named("new"), v1.ConditionReady))
			require.Equal(t, "False PendingApproval", conditionOf(w.named("new"), v1.ConditionReplacement))
			require.Equal(t, "True TokenReady", conditionOf(w.named("old"), v1.ConditionReady))
			require.Equal(t, []string{"c-m-a/" + tokenNameOf("old")}, w.ClusterTokens.Names(), "not even a token for the cluster that it names itself")

			// And it may be thought better of.
			m := w.named("new")
			m.Spec.Replaces, m.Spec.Approved = "", nil
			w.Put(m)
			w.settleAll(t)
			require.Equal(t, "True TokenReady", conditionOf(w.named("new"), v1.ConditionReady))
			require.Empty(t, conditionOf(w.named("new"), v1.ConditionReplacement))
		})
	}
}

func TestReplaceNonsense(t *testing.T) {
	for _, c := range []struct {
		why    string
		old    *v1.MachineInventory
		new    *v1.MachineInventory
		reason string
		words  string
	}{
		{why: "itself", old: oldMachine(), new: newMachine(func(m *v1.MachineInventory) { m.Spec.Replaces = "new" }), reason: v1.ReasonReplacementRefused, words: "its own place"},
		{why: "nobody", old: oldMachine(), new: newMachine(func(m *v1.MachineInventory) { m.Spec.Replaces = "nobody" }), reason: v1.ReasonReplacedMissing,
			words: "there is no MachineInventory nobody in namespace ns"},
		{why: "one in another namespace", old: oldMachine(func(m *v1.MachineInventory) { m.Namespace = "elsewhere" }), new: newMachine(), reason: v1.ReasonReplacedMissing, words: "in namespace ns"},
		{why: "one that is being deleted", old: oldMachine(func(m *v1.MachineInventory) { m.DeletionTimestamp, m.Finalizers = &deleted, []string{"x"} }), new: newMachine(),
			reason: v1.ReasonReplacedMissing, words: "there is no"},
		{why: "the same hardware", old: oldMachine(), new: newMachine(func(m *v1.MachineInventory) { m.Spec.TPM, m.Spec.TPMHash = "", strings.Repeat("aa", 32) }),
			reason: v1.ReasonReplacementRefused, words: "is the same machine"},
		{why: "the same token", old: oldMachine(func(m *v1.MachineInventory) { m.Spec.MachineTokenSecretName = "shared" }),
			new: newMachine(func(m *v1.MachineInventory) { m.Spec.MachineTokenSecretName = "shared" }), reason: v1.ReasonReplacementRefused, words: "is the same machine"},
		{why: "while it is in a cluster itself", old: oldMachine(), new: newMachine(func(m *v1.MachineInventory) { m.Spec.ClusterName = "own" }),
			reason: v1.ReasonReplacementRefused, words: "clear spec.clusterName"},
		{why: "one that has yet to take a third one's place", old: oldMachine(func(m *v1.MachineInventory) { m.Spec.Replaces = "nobody" }), new: newMachine(),
			reason: v1.ReasonReplacementRefused, words: "has yet to take the place of nobody itself"},
		{why: "one another", old: oldMachine(func(m *v1.MachineInventory) { m.Spec.Replaces, m.Spec.Approved, m.Spec.ClusterName = "new", &yes, "" }), new: newMachine(),
			reason: v1.ReasonReplacementRefused, words: "has yet to take"},
		{why: "one whose place is taken", old: oldMachine(func(m *v1.MachineInventory) { m.Spec.ReplacedBy = "somebody" }), new: newMachine(),
			reason: v1.ReasonReplacementRefused, words: "somebody has taken the place of old already"},
		{why: "another one than before", old: oldMachine(), new: newMachine(func(m *v1.MachineInventory) { m.Annotations = map[string]string{v1.AnnotationReplaced: "older"} }),
			reason: v1.ReasonReplacementRefused, words: "set spec.replaces to older"},
		{why: "while it is replaced itself", old: oldMachine(), new: newMachine(func(m *v1.MachineInventory) { m.Spec.ReplacedBy = "newest" }),
			reason: v1.ReasonReplacementRefused, words: "newest has taken this machine's own place"},
	} {
		t.Run(c.why, func(t *testing.T) {
			w := newWorld(t, c.old, c.new)
			before := c.old.DeepCopy()
			w.settleAll(t)
			replacing := w.named("new")
			require.Equal(t, "False "+c.reason, conditionOf(replacing, v1.ConditionReplacement))
			for _, condition := range replacing.Status.Conditions {
				if condition.Type == v1.ConditionReplacement {
					require.Contains(t, condition.Message, c.words)
				}
			}
			require.NotContains(t, []string{"True NoCluster", "True TokenReady"}, conditionOf(replacing, v1.ConditionReady))
			if left := w.named("old"); left != nil {
				require.Equal(t, before.Spec, left.Spec, "the other is left alone")
				require.Equal(t, before.Labels, left.Labels)
			}
			require.LessOrEqual(t, countOf(w.emitted(), "Warning "+c.reason), 2, "told once by each of the two")
		})
	}
}

// Two that want one place: the API server decides, and the other learns who has it.
func TestReplaceRace(t *testing.T) {
	second := newMachine(func(m *v1.MachineInventory) { m.Name, m.UID, m.Spec.TPM = "new-2", "uid-2", strings.Repeat("cc", 32) })
	w := newWorld(t, oldMachine(), cluster("site", "c-m-a"), newMachine(), second)
	w.settleAll(t)
	w.requireReplaced(t)
	loser := w.named("new-2")
	require.Equal(t, "False ReplacementRefused", conditionOf(loser, v1.ConditionReady))
	require.Empty(t, loser.Spec.ClusterName)
	require.Equal(t, "none", loser.Labels["rack"])

	// Both at once, each on a view from before the other.
	w = newWorld(t, oldMachine(), cluster("site", "c-m-a"), newMachine(), second)
	w.Inventories.Lag(true)
	err := w.reconcileAll(t)
	require.ErrorContains(t, err, "the object has been modified")
	w.Inventories.Lag(false)
	w.settleAll(t)
	w.requireReplaced(t)
}

// A chain is fine once each link of it is done: the newest has what the first had.
func TestReplaceChain(t *testing.T) {
	w := newWorld(t, oldMachine(), cluster("site", "c-m-a"), newMachine())
	w.settleAll(t)
	w.requireReplaced(t)
	w.Put(newMachine(func(m *v1.MachineInventory) {
		m.Name, m.UID, m.Spec.TPM, m.Spec.Replaces = "new-2", "uid-2", strings.Repeat("cc", 32), "new"
	}))
	w.settleAll(t)
	last := w.named("new-2")
	require.Equal(t, "old", last.Spec.Config.NodeName)
	require.Equal(t, "berlin", last.Labels["site"])
	require.Equal(t, []string{"c-m-a/" + tokenNameOf("new-2")}, w.ClusterTokens.Names())
	require.Equal(t, "True Revoked", conditionOf(w.named("new"), v1.ConditionRevoked))
	require.Equal(t, "True Replaced", conditionOf(w.named("new"), v1.ConditionReplacement), "both are true of the one in the middle")
}

// What the old one had no word for is the new one's own.
func TestReplaceOneWithoutConfig(t *testing.T) {
	w := newWorld(t, oldMachine(func(m *v1.MachineInventory) { m.Spec.Config, m.Spec.ClusterName, m.Labels = nil, "", nil }),
		newMachine(func(m *v1.MachineInventory) {
			m.Spec.ClusterName, m.Spec.Config, m.Labels = "site", &v1.MachineConfig{Role: "agent", NodeName: "own"}, nil
		}))
	w.settleAll(t)
	taken := w.named("new")
	require.Equal(t, &v1.MachineConfig{Role: "agent", NodeName: "old"}, taken.Spec.Config, "but for the node's name, which was the old one's")
	require.Equal(t, "site", taken.Spec.ClusterName)
}

// Anybody's token that carries the old machine's label goes with it, and what fails is tried again.
func TestReplaceWaitsForTheOldToken(t *testing.T) {
	w := newWorld(t, oldMachine(), cluster("site", "c-m-a"))
	w.settleAll(t)
	w.Put(newMachine())
	w.Fail = func(request memoryapi.Request) error {
		if request.Verb == "delete" {
			return errors.New("Rancher is away")
		}
		return nil
	}
	require.ErrorContains(t, w.reconcileAll(t), "Rancher is away")
	require.Equal(t, "new", w.named("old").Spec.ReplacedBy)
	require.Empty(t, w.named("new").Spec.ClusterName, "the place is taken when the old machine cannot use it any more")
	require.Equal(t, "False APIError", conditionOf(w.named("new"), v1.ConditionClusterAssigned))
	w.Fail = nil
	w.settleAll(t)
	w.requireReplaced(t)
}

// A MachineClaim goes on with the new machine: its label and its record move together, and are never on both in the end.
func TestReplaceClaimedMachine(t *testing.T) {
	const written = `{"claim":"site","pool":"workers","cluster":"site","config":{"role":"server"}}`
	w := newWorld(t, oldMachine(func(m *v1.MachineInventory) {
		m.Labels[v1.LabelClaim], m.Annotations = "site", map[string]string{v1.AnnotationClaimed: written}
	}), cluster("site", "c-m-a"))
	w.Put(newMachine())
	w.settleAll(t)
	require.Equal(t, "site", w.named("new").Labels[v1.LabelClaim])
	require.Equal(t, written, w.named("new").Annotations[v1.AnnotationClaimed])
	require.NotContains(t, w.named("old").Labels, v1.LabelClaim)
	require.NotContains(t, w.named("old").Annotations, v1.AnnotationClaimed)
}
