package machinetoken

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/tests/memoryapi"
)

var token = strings.Repeat("t0k3n", 8)

func secret(namespace, name, token string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Type: v1.SecretTypeMachineToken,
		Data: map[string][]byte{v1.SecretKeyToken: []byte(token)}}
}

type world struct {
	*memoryapi.API
	*handler
	recorder *record.FakeRecorder
}

func newWorld(t *testing.T) world {
	api := memoryapi.New(t)
	c := api.Clients()
	recorder := record.NewFakeRecorder(100)
	return world{API: api, recorder: recorder,
		handler: &handler{secrets: c.MachineTokens.Cache(), indexes: index.Add(c), events: recorder, told: map[string]problem{}}}
}

// change is what somebody does to a Secret, and the handler's run after it; it returns the reasons of the events.
func (w world) change(t *testing.T, changed *corev1.Secret) []string {
	t.Helper()
	w.Put(changed)
	return w.run(t, changed.Namespace, changed.Name)
}

func (w world) run(t *testing.T, namespace, name string) []string {
	t.Helper()
	cached, err := w.secrets.Get(namespace, name)
	if err != nil {
		cached = nil
	}
	_, err = w.onSecret(namespace+"/"+name, cached)
	require.NoError(t, err)
	reasons := []string{}
	for len(w.recorder.Events) > 0 {
		event := <-w.recorder.Events
		require.NotContains(t, event, token, "the token is in no event")
		require.NotContains(t, event, "elsewhere", "another tenant's Secret is not named")
		reasons = append(reasons, strings.Fields(event)[1])
	}
	return reasons
}

// H55 and C39.
func TestProblems(t *testing.T) {
	for _, c := range []struct {
		why, token string
		want       []string
	}{
		{"as it should be", token, []string{}},
		{"exactly long enough", strings.Repeat("x", v1.MinMachineToken), []string{}},
		{"binary", strings.Repeat("\x00\xff", 20), []string{}},
		{"empty", "", []string{"TokenMissing"}},
		{"3 characters", "abc", []string{"TokenTooShort"}},
		{"31 characters", strings.Repeat("x", 31), []string{"TokenTooShort"}},
		{"a newline, as echo writes it", token + "\n", []string{"TokenEndsInNewline"}},
		{"a mebibyte", strings.Repeat("x", 1<<20), []string{"TokenTooLong"}},
	} {
		w := newWorld(t)
		require.Equal(t, c.want, w.change(t, secret("ns", "m", c.token)), c.why)
		require.Empty(t, w.run(t, "ns", "m"), "%s: once", c.why)
		require.Empty(t, w.Requests(), "%s: nothing is written", c.why)
	}
	w := newWorld(t)
	none := secret("ns", "m", "")
	none.Data = nil
	require.Equal(t, []string{"TokenMissing"}, w.change(t, none))
	require.Equal(t, []string{"TokenTooShort"}, w.change(t, secret("ns", "m", "abc")), "another problem is news")
	require.Empty(t, w.change(t, secret("ns", "m", token)))
	require.Equal(t, []string{"TokenTooShort"}, w.change(t, secret("ns", "m", "abc")), "and so is the old one when it comes back")
}

// H54: both are told, once each.
func TestSharedToken(t *testing.T) {
	w := newWorld(t)
	require.Empty(t, w.change(t, secret("ns", "a", token)))
	require.Equal(t, []string{"TokenShared", "TokenShared"}, w.change(t, secret("elsewhere", "b", token)))
	require.Empty(t, w.run(t, "ns", "a"))
	require.Empty(t, w.run(t, "elsewhere", "b"))
	require.Equal(t, []string{"TokenShared"}, w.change(t, secret("ns", "c", token)), "only the new one does not know yet")

	w.Secrets.Remove("ns", "c")
	w.Secrets.Remove("elsewhere", "b")
	require.Empty(t, w.run(t, "ns", "c"))
	require.Empty(t, w.run(t, "elsewhere", "b"))
	require.Empty(t, w.told, "nothing is remembered of what is gone or mended")
	require.Equal(t, []string{"TokenShared", "TokenShared"}, w.change(t, secret("elsewhere", "b", token)))
	require.Empty(t, w.change(t, secret("elsewhere", "b", strings.Repeat("other", 8))))
	require.Empty(t, w.told)
}

func TestEveryProblemHasASentence(t *testing.T) {
	for _, found := range []problem{tokenMissing, tokenTooShort, tokenTooLong, tokenShared, tokenEndsInNewline} {
		require.NotEmpty(t, sentence(found), found)
	}
	require.Empty(t, sentence(fine))
}
