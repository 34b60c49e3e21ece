package status

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/tests/memoryapi"
)

type patcher func(kind types.PatchType, data string, subresources []string) (*v1.MachineRegistration, error)

func (p patcher) Patch(_, _ string, kind types.PatchType, data []byte, subresources ...string) (*v1.MachineRegistration, error) {
	return p(kind, string(data), subresources)
}

func registration(status v1.MachineRegistrationStatus) *v1.MachineRegistration {
	return &v1.MachineRegistration{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "edge", ResourceVersion: "7", Generation: 3},
		Status:     status,
	}
}

func TestWritePatch(t *testing.T) {
	ready := metav1.Condition{Type: "Ready", Status: metav1.ConditionTrue, Reason: "Ready", Message: "m", LastTransitionTime: metav1.Unix(0, 0)}
	written := v1.MachineRegistrationStatus{ObservedGeneration: 3, Machines: 2, RegistrationURL: "https://r/x", Conditions: []metav1.Condition{ready}}
	for _, c := range []struct {
		why              string
		current, desired v1.MachineRegistrationStatus
		want             string // Empty: nothing is written.
	}{
		{"an unchanged world costs nothing", written, written, ""},
		{"the first status says its zeros, too: a column shows 0 and not nothing",
			v1.MachineRegistrationStatus{}, v1.MachineRegistrationStatus{ObservedGeneration: 3},
			`{"metadata":{"resourceVersion":"7"},"status":{"machines":0,"observedGeneration":3,"pending":0}}`},
		{"only what differs travels, so that fields of a newer version survive",
			written, v1.MachineRegistrationStatus{ObservedGeneration: 3, Machines: 3, RegistrationURL: "https://r/x", Conditions: []metav1.Condition{ready}},
			`{"metadata":{"resourceVersion":"7"},"status":{"machines":3}}`},
		{"what is gone is taken away",
			written, v1.MachineRegistrationStatus{ObservedGeneration: 3, Machines: 2, Conditions: []metav1.Condition{ready}},
			`{"metadata":{"resourceVersion":"7"},"status":{"registrationURL":null}}`},
		{"a list travels whole",
			v1.MachineRegistrationStatus{ObservedGeneration: 3, Machines: 2, RegistrationURL: "https://r/x"}, written,
			`{"metadata":{"resourceVersion":"7"},"status":{"conditions":[{"type":"Ready","status":"True","lastTransitionTime":"1970-01-01T00:00:00Z","reason":"Ready","message":"m"}]}}`},
	} {
		t.Run(c.why, func(t *testing.T) {
			patches := 0
			answer := registration(v1.MachineRegistrationStatus{Machines: 99})
			current := registration(c.current)
			got, err := Write(patcher(func(kind types.PatchType, data string, subresources []string) (*v1.MachineRegistration, error) {
				patches++
				require.Equal(t, types.MergePatchType, kind)
				require.Equal(t, []string{"status"}, subresources)
				require.JSONEq(t, c.want, data)
				return answer, nil
			}), current, registration(c.desired))
			require.NoError(t, err)
			if c.want == "" {
				require.Zero(t, patches)
				require.Same(t, current, got)
				return
			}
			require.Equal(t, 1, patches)
			require.Same(t, answer, got, "what is returned is what is stored")
		})
	}
}

func TestWriteFailure(t *testing.T) {
	current := registration(v1.MachineRegistrationStatus{})
	conflict := apierrors.NewConflict(v1.Resource("machineregistrations"), "edge", errors.New("modified"))
	got, err := Write(patcher(func(types.PatchType, string, []string) (*v1.MachineRegistration, error) { return nil, conflict }),
		current, registration(v1.MachineRegistrationStatus{ObservedGeneration: 3}))
	require.Same(t, current, got)
	require.ErrorContains(t, err, "writing status: ")
	require.True(t, apierrors.IsConflict(err), "the caller can still tell a conflict")
}

func TestWriteAgainstStaleView(t *testing.T) {
	api := memoryapi.New(t, registration(v1.MachineRegistrationStatus{}))
	stale, err := api.Registrations.Cache().Get("ns", "edge")
	require.NoError(t, err)
	api.Put(registration(v1.MachineRegistrationStatus{ObservedGeneration: 3, Machines: 5}))
	desired := stale.DeepCopy()
	desired.Status = v1.MachineRegistrationStatus{ObservedGeneration: 3, Machines: 4}
	_, err = Write(api.Registrations, stale, desired)
	require.True(t, apierrors.IsConflict(err), "a stale view never overwrites a newer one: %v", err)
}

// C7: a user with the right to it wrote a status. It is computed anew from facts, if not at once then by the next reconcile.
func TestWriteOverForgedStatus(t *testing.T) {
	api := memoryapi.New(t, registration(v1.MachineRegistrationStatus{RegistrationURL: "https://evil", Machines: 77}))
	truth := v1.MachineRegistrationStatus{ObservedGeneration: 3}
	for range 2 {
		current, err := api.Registrations.Cache().Get("ns", "edge")
		require.NoError(t, err)
		desired := current.DeepCopy()
		desired.Status = truth
		_, err = Write(api.Registrations, current, desired)
		require.NoError(t, err)
	}
	require.Empty(t, cmp.Diff(truth, api.Registrations.All()[0].Status))
}

func TestConditions(t *testing.T) {
	require.Equal(t, metav1.Condition{Type: "Ready", Status: metav1.ConditionTrue, Reason: "R", Message: "m"}, True("Ready", "R", "m"))
	require.Equal(t, metav1.ConditionFalse, False("Ready", "R", "m").Status)
	require.Equal(t, metav1.ConditionUnknown, Unknown("Ready", "R", "m").Status)

	for _, message := range []string{strings.Repeat("x", 5000), strings.Repeat("ü", 5000), "x" + strings.Repeat("€", 5000)} {
		cut := False("Ready", "R", message).Message
		require.LessOrEqual(t, len(cut), maxMessage)
		require.True(t, utf8.ValidString(cut), "no half character")
		require.True(t, strings.HasSuffix(cut, "..."))
		require.True(t, strings.HasPrefix(message, strings.TrimSuffix(cut, "...")))
	}
	require.Equal(t, strings.Repeat("x", maxMessage), False("Ready", "R", strings.Repeat("x", maxMessage)).Message)
}

func TestSet(t *testing.T) {
	long := metav1.NewTime(time.Now().Add(-time.Hour).Truncate(time.Second))
	before := metav1.Condition{Type: "Ready", Status: metav1.ConditionFalse, Reason: "Waiting", Message: "for a", LastTransitionTime: long, ObservedGeneration: 1}
	for _, c := range []struct {
		why    string
		set    metav1.Condition
		turned bool
		moved  bool // The time of the last transition.
	}{
		{"the same again", False("Ready", "Waiting", "for a"), false, false},
		{"another message is no turn: it would be an event on every retry", False("Ready", "Waiting", "for b"), false, false},
		{"another reason is a turn, but no transition", False("Ready", "Refused", "no"), true, false},
		{"another status is both", True("Ready", "Ready", "yes"), true, true},
		{"a new condition is both", True("Delivered", "Delivered", "yes"), true, true},
	} {
		t.Run(c.why, func(t *testing.T) {
			list := []metav1.Condition{before}
			turned := Set(&list, 2, c.set)
			if c.turned {
				require.Equal(t, []metav1.Condition{c.set}, turned)
			} else {
				require.Empty(t, turned)
			}
			got := list[len(list)-1]
			require.Equal(t, c.set.Message, got.Message)
			require.Equal(t, int64(2), got.ObservedGeneration)
			require.Equal(t, c.moved, !got.LastTransitionTime.Equal(&long))
		})
	}
}

func TestSetSeveral(t *testing.T) {
	var list []metav1.Condition
	require.Len(t, Set(&list, 1, True("A", "R", ""), False("B", "R", "")), 2)
	require.Empty(t, Set(&list, 2, True("A", "R", ""), False("B", "R", "")))
	require.Len(t, list, 2)
}
