package chart

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rancher/rancheros-operator/tests/harness"
)

// asked is a question to the API server's authorizer.
type asked struct {
	verb, group, resource, subresource, namespace, name string
}

// may asks the authorizer itself.
func (w world) may(t *testing.T, user string, groups []string, a asked) bool {
	t.Helper()
	review, err := w.Kube.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{User: user, Groups: groups, ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: a.verb, Group: a.group, Resource: a.resource, Subresource: a.subresource, Namespace: a.namespace, Name: a.name,
		}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	return review.Status.Allowed
}

// Whoever takes the operator over reads no list of Secrets but those of the namespaces that it serves, and gives itself no right.
func operatorMay(t *testing.T, w world) {
	for _, c := range []struct {
		asked
		want bool
	}{
		{asked{verb: "list", resource: "secrets", namespace: served}, true},
		{asked{verb: "create", resource: "secrets", namespace: "fleet-local"}, true},
		{asked{verb: "get", resource: "secrets", namespace: "c-m-12345678", name: "crt-token-x"}, true},
		{asked{verb: "watch", resource: "secrets", namespace: namespace, name: "rancheros-operator-tunnel"}, true},
		{asked{verb: "list", resource: "secrets", namespace: namespace}, false},
		{asked{verb: "list", resource: "secrets"}, false},
		{asked{verb: "watch", resource: "secrets"}, false},
		{asked{verb: "list", resource: "secrets", namespace: "kube-system"}, false},
		{asked{verb: "create", resource: "secrets", namespace: "kube-system"}, false},
		{asked{verb: "delete", resource: "secrets", namespace: "cattle-system", name: "x"}, false},
		{asked{verb: "create", resource: "pods", namespace: namespace}, false},
		{asked{verb: "create", group: "rbac.authorization.k8s.io", resource: "clusterrolebindings"}, false},
		{asked{verb: "escalate", group: "rbac.authorization.k8s.io", resource: "clusterroles"}, false},
		{asked{verb: "impersonate", resource: "users"}, false},
		{asked{verb: "create", resource: "serviceaccounts", subresource: "token", namespace: namespace}, false},
		{asked{verb: "update", group: "apiextensions.k8s.io", resource: "customresourcedefinitions"}, false},
		{asked{verb: "update", group: "rancheros.cattle.io", resource: "machineregistrations", namespace: served}, false},
	} {
		require.Equal(t, c.want, w.may(t, harness.OperatorUser, nil, c.asked), "%+v", c.asked)
	}
}

// People get rights on our kinds with those that they have: the roles are added to Kubernetes' own.
func usersMay(t *testing.T, w world) {
	for _, role := range []string{"admin", "edit", "view"} {
		w.kubectl(t, "create", "rolebinding", role, "-n", "elsewhere", "--clusterrole", role, "--user", role)
	}
	// The controller manager gathers the roles, and the authorizer follows.
	require.NoError(t, harness.Eventually(t.Context(), patience, func() error {
		for _, role := range []string{"admin", "edit", "view"} {
			if _, err := w.Kubectl(t.Context(), "auth", "can-i", "list", "machineinventories.rancheros.cattle.io", "-n", "elsewhere", "--as", role); err != nil {
				return err
			}
		}
		return nil
	}))
	const group = "rancheros.cattle.io"
	for _, c := range []struct {
		verb, resource, subresource string
		admin, edit, view           bool
	}{
		{"list", "machineinventories", "", true, true, true},
		{"watch", "managedosimages", "", true, true, true},
		{"list", "managedosversionchannels", "", true, true, true},
		// Their statuses show addresses with tokens, which let a machine in: nothing for who may only look.
		{"get", "machineregistrations", "", true, true, false},
		{"get", "seedimages", "", true, true, false},
		{"update", "machineinventories", "", true, true, false},
		{"create", "managedosimages", "", true, true, false},
		{"create", "seedimages", "", true, true, false},
		{"delete", "machineclaims", "", true, true, false},
		// Who may register, and where releases come from, is for administrators to say.
		{"create", "machineregistrations", "", true, false, false},
		{"update", "managedosversionchannels", "", true, false, false},
		{"deletecollection", "machineinventories", "", true, false, false},
		// Statuses are the operator's.
		{"update", "machineinventories", "status", false, false, false},
		{"patch", "machineregistrations", "status", false, false, false},
	} {
		for role, want := range map[string]bool{"admin": c.admin, "edit": c.edit, "view": c.view} {
			got := w.may(t, role, nil, asked{verb: c.verb, group: group, resource: c.resource, subresource: c.subresource, namespace: "elsewhere"})
			require.Equal(t, want, got, "%s: %s %s %s", role, c.verb, c.resource, c.subresource)
			require.False(t, w.may(t, role, nil, asked{verb: c.verb, group: group, resource: c.resource, subresource: c.subresource, namespace: served}), "nowhere else")
		}
	}
	require.False(t, w.may(t, "view", nil, asked{verb: "get", resource: "secrets", namespace: "elsewhere"}), "no Secrets for who may only look")
	require.NotContains(t, w.kubectl(t, "get", "clusterrole", operator+"-view", operator+"-edit", operator+"-admin", "-o", "yaml"), "secrets")
}

// Under a chart without values the operator asked for nothing that it had no right to, and listed no Secrets but where it
// serves. A namespace that goes takes rights with it: that is the one refusal that is meant.
func rightsWereEnough(t *testing.T, w world) {
	requests, err := w.OperatorRequests(time.Time{})
	require.NoError(t, err)
	require.NotEmpty(t, requests)
	listed := map[string]bool{}
	for _, request := range requests {
		ref := request.ObjectRef
		if request.ResponseStatus.Code == http.StatusForbidden && ref.Namespace != "passing" && !strings.Contains(request.ResponseStatus.Message, "being terminated") {
			t.Error("the operator lacks a right:", request)
		}
		if ref.Resource == "secrets" && (request.Verb == "list" || request.Verb == "watch") {
			listed[ref.Namespace] = true
		}
	}
	require.Equal(t, map[string]bool{served: true, "fleet-local": true, "passing": true, namespace: true}, listed)
}
