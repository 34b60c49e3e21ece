package registration

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/clients"
	"github.com/rancher/rancheros-operator/pkg/settings"
)

func TestReady(t *testing.T) {
	good := observed{serverURL: "https://rancher.example.com", token: goodToken}
	noURL := fmt.Errorf("%w, but %q", settings.ErrServerURL, "")
	for _, c := range []struct {
		why         string
		seen        observed
		cloudConfig string
		status      metav1.ConditionStatus
		reason      string
		message     string
	}{
		{"all is there", good, "", metav1.ConditionTrue, v1.ReasonReady, "status.registrationURL"},
		{"and a cloudConfig that can be sent", good, `{"users":[]}`, metav1.ConditionTrue, v1.ReasonReady, "status.registrationURL"},
		{"C13: a cloudConfig with no room for ours", good, `{"rancherd":"x"}`, metav1.ConditionFalse, v1.ReasonCloudConfigConflict,
			"cloudConfig.rancherd must be a map to hold the operator's settings, but is a string; correct spec.cloudConfig"},
		{"C15: a cloudConfig too deep", good, strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100), metav1.ConditionFalse, v1.ReasonCloudConfigConflict, "nest deeper than 64"},
		{"G11: no server-url", observed{serverURLErr: noURL, token: goodToken}, "", metav1.ConditionFalse, v1.ReasonServerURLMissing, "set it in Rancher's global settings"},
		{"server-url cannot be read", observed{serverURLErr: errors.New("boom"), token: goodToken}, "", metav1.ConditionFalse, v1.ReasonAPIError, "boom; it is tried again"},
		{"the Secret is not ours", observed{serverURL: "https://r", tokenErr: &secretError{"Secret x is wrong; delete it"}}, "", metav1.ConditionFalse, v1.ReasonTokenSecretInvalid,
			"Secret x is wrong; delete it"},
		{"the namespace is not served", observed{serverURL: "https://r", tokenErr: fmt.Errorf("getting: %w", &clients.NotServedError{Namespace: "ns", Served: []string{"a", "b"}})}, "",
			metav1.ConditionFalse, v1.ReasonNamespaceNotServed, "namespace ns is none of those that the operator may keep Secrets in: a, b; add it to secretNamespaces"},
		{"the Secret cannot be made", observed{serverURL: "https://r", tokenErr: errors.New("forbidden")}, "", metav1.ConditionFalse, v1.ReasonAPIError, "forbidden; it is tried again"},
		{"of two problems, the token's comes first: without it there is no URL", observed{serverURLErr: noURL, tokenErr: &secretError{"wrong"}}, "", metav1.ConditionFalse,
			v1.ReasonTokenSecretInvalid, "wrong"},
	} {
		t.Run(c.why, func(t *testing.T) {
			registration := edge()
			if c.cloudConfig != "" {
				registration.Spec.CloudConfig = &runtime.RawExtension{Raw: []byte(c.cloudConfig)}
			}
			got := ready(registration, c.seen)
			require.Equal(t, []any{v1.ConditionReady, c.status, c.reason}, []any{got.Type, got.Status, got.Reason})
			require.Contains(t, got.Message, c.message)
			require.NotContains(t, got.Message, goodToken)
			require.Equal(t, got, ready(registration, c.seen), "the same on every run")
		})
	}
}

func TestComputeStatus(t *testing.T) {
	noTime := cmpopts.IgnoreFields(metav1.Condition{}, "LastTransitionTime")
	registration := edge()
	seen := observed{serverURL: "https://rancher.example.com", token: goodToken, machines: 7}
	require.Len(t, computeStatus(registration, seen), 1)
	want := v1.MachineRegistrationStatus{
		ObservedGeneration: 3,
		Conditions: []metav1.Condition{{Type: "Ready", Status: "True", Reason: "Ready", ObservedGeneration: 3,
			Message: "machines can register at the URL in status.registrationURL"}},
		RegistrationToken: goodToken,
		RegistrationURL:   "https://rancher.example.com/v1-rancheros/registration/" + goodToken,
		TokenSecretName:   "edge-registration-token",
		Machines:          7,
	}
	require.Empty(t, cmp.Diff(want, registration.Status, noTime))
	require.Empty(t, computeStatus(registration, seen), "nothing turns twice")

	// What does not hold any more is not shown any more.
	seen.serverURLErr = settings.ErrServerURL
	computeStatus(registration, seen)
	require.Empty(t, registration.Status.RegistrationURL)
	require.Equal(t, goodToken, registration.Status.RegistrationToken)
	seen.token, seen.tokenErr = "", &secretError{"wrong"}
	computeStatus(registration, seen)
	require.Empty(t, registration.Status.RegistrationToken, "the URL of a token that the server does not take is no URL")
}
