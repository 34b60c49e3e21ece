package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rancher/rancheros-operator/tests/machine"
)

// tenant may do everything with every kind of ours in one namespace, statuses included, and nothing anywhere else.
type tenant struct{ namespace, user string }

func newTenant(t *testing.T, namespace string) tenant {
	t.Helper()
	apply(t, fmt.Sprintf(`
apiVersion: v1
kind: ServiceAccount
metadata: {name: tenant, namespace: %[1]s}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: tenant, namespace: %[1]s}
rules: [{apiGroups: [rancheros.cattle.io], resources: ["*"], verbs: ["*"]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: tenant, namespace: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: tenant}
subjects: [{kind: ServiceAccount, name: tenant, namespace: %[1]s}]
`, namespace))
	return tenant{namespace: namespace, user: "system:serviceaccount:" + namespace + ":tenant"}
}

// kubectl is a real request in the tenant's name.
func (a tenant) kubectl(t *testing.T, args ...string) (string, error) {
	return world.Kubectl(t.Context(), append(args, "--as="+a.user)...)
}

func (a tenant) refused(t *testing.T, args ...string) {
	t.Helper()
	_, err := a.kubectl(t, args...)
	require.Error(t, err, args)
	require.Contains(t, strings.ToLower(err.Error()), "forbidden", args)
}

func (a tenant) patch(t *testing.T, object, patch string, args ...string) {
	t.Helper()
	_, err := a.kubectl(t, append([]string{"patch", object, "-n", a.namespace, "--type", "merge", "-p", patch}, args...)...)
	require.NoError(t, err)
}

// may asks the API server as RBAC sees it.
func (a tenant) may(t *testing.T, attributes authorizationv1.ResourceAttributes) bool {
	t.Helper()
	review, err := world.Kube.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{User: a.user, ResourceAttributes: &attributes}}, metav1.CreateOptions{})
	require.NoError(t, err)
	return review.Status.Allowed
}

// victims have a cluster, and a machine in it.
type victims struct {
	namespace, machine, managed string
	device                      *machine.Machine
}

func newVictims(t *testing.T, namespace string) victims {
	t.Helper()
	v := victims{namespace: namespace, device: newMachine(t, "S10-V")}
	v.machine = register(t, v.device, namespace, registration(t, namespace, "edge", "{}")).Name
	createCluster(t, namespace, "s10-prize")
	assign(t, namespace, v.machine, "s10-prize", "server")
	waitFor(t, namespace, "machineinventory/"+v.machine, "ClusterAssigned", "TokenReady")
	v.managed = managementCluster(t, namespace, "s10-prize")
	return v
}

// tokens are all ClusterRegistrationTokens of the victims' cluster.
func (v victims) tokens(t *testing.T) []string {
	t.Helper()
	tokens := strings.Fields(kubectl(t, "get", "clusterregistrationtokens", "-n", v.managed, "-o", "jsonpath={.items[*].metadata.name}"))
	slices.Sort(tokens)
	return tokens
}

// What RBAC says of a tenant with all rights on our kinds in one namespace: the matrix, and the same as real requests.
func Test10TenantReadsNothingOfOthers(t *testing.T) {
	a, v := newTenant(t, namespace(t, "s10-tenant-reads")), newVictims(t, namespace(t, "s10-victim-reads"))
	require.True(t, a.may(t, authorizationv1.ResourceAttributes{Verb: "patch", Group: "rancheros.cattle.io", Resource: "machineinventories", Subresource: "status", Namespace: a.namespace}),
		"the tenant of this test has all that one can have")
	kinds := []authorizationv1.ResourceAttributes{
		{Group: "rancheros.cattle.io", Resource: "machineinventories"}, {Group: "rancheros.cattle.io", Resource: "machineregistrations"},
		{Group: "provisioning.cattle.io", Resource: "clusters"}, {Group: "provisioning.cattle.io", Resource: "clusters", Subresource: "status"},
		{Group: "management.cattle.io", Resource: "clusterregistrationtokens"}, {Resource: "secrets"},
	}
	for _, namespace := range []string{a.namespace, v.namespace, v.managed, "fleet-default", "fleet-local", "cattle-system", ""} {
		for _, kind := range kinds {
			for _, verb := range []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"} {
				kind.Verb, kind.Namespace = verb, namespace
				own := kind.Group == "rancheros.cattle.io" && namespace == a.namespace
				require.Equal(t, own, a.may(t, kind), "%s %s.%s/%s in %q", verb, kind.Resource, kind.Group, kind.Subresource, namespace)
			}
		}
	}
	token := v.tokens(t)[0]
	a.refused(t, "get", "machineinventories", "-n", v.namespace)
	a.refused(t, "get", "machineinventories", "--all-namespaces")
	a.refused(t, "get", "clusters.provisioning.cattle.io", "s10-prize", "-n", v.namespace)
	a.refused(t, "get", "clusterregistrationtokens", token, "-n", v.managed)
	a.refused(t, "get", "secret", "crt-token-"+token, "-n", v.managed)
	a.refused(t, "get", "secrets", "-n", a.namespace)
	a.refused(t, "get", "secret", "edge-registration-token", "-n", v.namespace)
	a.refused(t, "annotate", "clusters.provisioning.cattle.io", "s10-prize", "-n", v.namespace, "rancheros.cattle.io/allowed-namespaces="+a.namespace)
	a.refused(t, "create", "token", "rancheros-operator", "-n", "cattle-rancheros-operator-system")
}

// Whatever a tenant writes into its own objects, the operator makes no token for it in a cluster that does not allow it,
// and the server serves it none that is there.
func Test10TenantJoinsNothingOfOthers(t *testing.T) {
	since := time.Now()
	a, v := newTenant(t, namespace(t, "s10-tenant-joins")), newVictims(t, namespace(t, "s10-victim-joins"))
	before := v.tokens(t)
	m := newMachine(t, "S10-T")
	name := register(t, m, a.namespace, registration(t, a.namespace, "edge", "{}")).Name
	object := "machineinventory/" + name
	token := inventory(t, v.namespace, v.machine).Status.ClusterRegistrationTokenName
	for _, attempt := range []struct{ why, spec, reason string }{
		{"its own namespace is meant", `{"clusterName":"s10-prize"}`, "WaitingForCluster"},
		{"the other's", `{"clusterName":"s10-prize","clusterNamespace":"` + v.namespace + `"}`, "ClusterNotAllowed"},
		{"the management cluster's own name", `{"clusterName":"` + v.managed + `","clusterNamespace":"` + v.managed + `"}`, "WaitingForCluster"},
		{"Rancher's own cluster", `{"clusterName":"local","clusterNamespace":"fleet-local"}`, "ClusterNotAllowed"},
		{"a Cluster that is nowhere", `{"clusterName":"s10-nothing","clusterNamespace":"` + v.namespace + `"}`, "WaitingForCluster"},
	} {
		t.Run(attempt.why, func(t *testing.T) {
			a.patch(t, object, `{"spec":{"clusterNamespace":null,"config":{"role":"server"}}}`)
			a.patch(t, object, `{"spec":`+attempt.spec+`}`)
			waitFor(t, a.namespace, object, "ClusterAssigned", attempt.reason)
			// A status that a tenant writes proves nothing (B27).
			a.patch(t, object, fmt.Sprintf(`{"status":{"clusterRegistrationTokenNamespace":%q,"clusterRegistrationTokenName":%q,`+
				`"conditions":[{"type":"ClusterAssigned","status":"True","reason":"TokenReady","message":"so I say","lastTransitionTime":"2026-11-20T12:00:00Z"}]}}`,
				v.managed, token), "--subresource=status")
			notYet(t, m)
			waitFor(t, a.namespace, object, "ClusterAssigned", attempt.reason)
			require.Empty(t, inventory(t, a.namespace, name).Status.ClusterRegistrationTokenName)
			require.Equal(t, before, v.tokens(t), "nothing was made, and nothing deleted")
			require.Empty(t, clusterTokens(t, a.namespace, name))
		})
	}
	_, err := a.kubectl(t, "patch", object, "-n", a.namespace, "--type", "merge", "-p", `{"spec":{"clusterName":"../`+v.managed+`"}}`)
	require.ErrorContains(t, err, "clusterName must be the name of a Cluster")
	requireRights(t, since)
}

// Nor can a tenant become somebody else's machine: by its TPM hash, by the operator's labels, by its name, by its place.
func Test10TenantIsNobodyElse(t *testing.T) {
	a, v := newTenant(t, namespace(t, "s10-tenant-is")), newVictims(t, namespace(t, "s10-victim-is"))
	before := v.tokens(t)
	hash, err := v.device.TPMHash(t.Context())
	require.NoError(t, err)
	written := "apiVersion: rancheros.cattle.io/v1\nkind: MachineInventory\nmetadata: {name: %s, namespace: " + a.namespace + ", labels: {%s}}\nspec: {%s}\n"
	create := func(name, labels, spec string) error {
		_, err := world.Apply(t.Context(), fmt.Sprintf(written, name, labels, spec), "--as="+a.user)
		return err
	}
	for _, label := range []string{"rancheros.cattle.io/registration: edge", "rancheros.cattle.io/assurance: Certificate"} {
		require.ErrorContains(t, create("forged", label, "tpm: "+hash), "are the operator's", "also with every right on statuses")
	}
	require.NoError(t, create(v.machine, "", "tpm: "+hash+", clusterName: s10-prize, config: {role: server}"))
	require.NoError(t, create("thief", "", "replaces: "+v.machine+", approved: true, tpm: "+strings.Repeat("ef", 32)))
	waitFor(t, a.namespace, "machineinventory/"+v.machine, "ClusterAssigned", "Revoked")
	waitFor(t, a.namespace, "machineinventory/thief", "Replacement", "Replaced")

	// The real one has kept all that it had.
	require.Empty(t, inventory(t, v.namespace, v.machine).Spec.ReplacedBy)
	require.Equal(t, before, v.tokens(t))
	require.Contains(t, joinCommand(t, v.device), "--node-name "+v.machine)
}
