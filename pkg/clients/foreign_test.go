package clients

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Going on without a kind that is there would be to take what holds something for what holds nothing.
func TestOnlyTheAPIServerSaysThatAKindIsAbsent(t *testing.T) {
	resource := schema.GroupResource{Group: "provisioning.cattle.io", Resource: "clusters"}
	there := func() error { return nil }
	answers := func(err error) func() error { return func() error { return err } }
	for _, c := range []struct {
		why   string
		kinds []func() error
		want  bool
	}{
		{"all are there", []func() error{there, there}, false},
		{"one is not", []func() error{there, answers(apierrors.NewNotFound(resource, ""))}, true},
		{"it may not be asked", []func() error{answers(apierrors.NewForbidden(resource, "", errors.New("no right")))}, false},
		{"it cannot be asked", []func() error{answers(errors.New("connection refused"))}, false},
		{"it is busy", []func() error{answers(apierrors.NewTooManyRequests("later", 1))}, false},
		{"it fails", []func() error{answers(apierrors.NewInternalError(errors.New("etcd is away")))}, false},
	} {
		require.Equal(t, c.want, (&foreign{kinds: c.kinds}).isAbsent(), c.why)
	}
	forbidden := []func() error{answers(apierrors.NewForbidden(resource, "", errors.New("no right")))}
	require.True(t, (&foreign{kinds: forbidden, missing: apierrors.IsForbidden}).isAbsent(), "a namespace that we have no right in is as if it held nothing")
	require.False(t, (&foreign{kinds: []func() error{there}, missing: apierrors.IsForbidden}).isAbsent())
}
