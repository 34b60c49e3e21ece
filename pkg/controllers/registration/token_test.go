package registration

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// goodToken is 54 characters of the alphabet.
const goodToken = "bcdfghjklmnpqrstvwxz2456789bcdfghjklmnpqrstvwxz2456789"

func edge() *v1.MachineRegistration {
	return &v1.MachineRegistration{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "edge", UID: "uid-edge", Generation: 3}}
}

func TestNewTokenSecret(t *testing.T) {
	secret, err := newTokenSecret(edge())
	require.NoError(t, err)
	require.Equal(t, "ns/edge-registration-token", secret.Namespace+"/"+secret.Name)
	require.Equal(t, v1.SecretTypeRegistration, secret.Type)
	require.Equal(t, map[string]string{v1.LabelRegistration: "edge"}, secret.Labels)
	require.Len(t, secret.OwnerReferences, 1, "the token goes with its registration")
	require.Equal(t, edge().UID, secret.OwnerReferences[0].UID)
	require.NoError(t, checkTokenSecret(edge(), secret), "what is made passes what is checked")

	another, err := newTokenSecret(edge())
	require.NoError(t, err)
	require.NotEqual(t, secret.Data, another.Data)
}

func TestCheckTokenSecret(t *testing.T) {
	for _, c := range []struct {
		why    string
		change func(*corev1.Secret)
		want   string // Empty: accepted.
	}{
		{"our own", func(*corev1.Secret) {}, ""},
		{"labels of others beside ours", func(s *corev1.Secret) { s.Labels["backup"] = "yes" }, ""},
		{"restored without its owner", func(s *corev1.Secret) { s.OwnerReferences = nil }, ""},
		{"another type: whoever may write Secrets would choose the URL", func(s *corev1.Secret) { s.Type = corev1.SecretTypeOpaque }, "is not of type rancheros.cattle.io/registration"},
		{"no label", func(s *corev1.Secret) { s.Labels = nil }, "lacks the label rancheros.cattle.io/registration=edge"},
		{"another registration's label", func(s *corev1.Secret) { s.Labels[v1.LabelRegistration] = "other" }, "lacks the label"},
		{"no token", func(s *corev1.Secret) { s.Data = nil }, "has no token of the operator's under the key token"},
		{"an empty token", func(s *corev1.Secret) { s.Data["token"] = nil }, "has no token"},
		{"a token that can be guessed", func(s *corev1.Secret) { s.Data["token"] = []byte("abc") }, "has no token"},
		{"a newline at the end, as `echo` makes it: the URL would not work", func(s *corev1.Secret) { s.Data["token"] = []byte(goodToken + "\n") }, "without a newline"},
		{"a token of another length: the server looks no such token up", func(s *corev1.Secret) { s.Data["token"] = []byte(goodToken[:53]) }, "has no token"},
		{"letters of another alphabet", func(s *corev1.Secret) { s.Data["token"] = []byte(strings.Repeat("a", 54)) }, "has no token"},
		{"a path", func(s *corev1.Secret) { s.Data["token"] = []byte("../" + goodToken[3:]) }, "has no token"},
	} {
		t.Run(c.why, func(t *testing.T) {
			secret, err := newTokenSecret(edge())
			require.NoError(t, err)
			secret.Data["token"] = []byte(goodToken)
			c.change(secret)
			err = checkTokenSecret(edge(), secret)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			var refused *secretError
			require.ErrorAs(t, err, &refused)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "edge-registration-token", "which Secret")
			require.ErrorContains(t, err, "delete", "the way out")
			require.NotContains(t, err.Error(), goodToken[:20], "no token in a message")
		})
	}
}
