package e2e

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rancher/rancheros-operator/tests/harness"
)

// unseen are rights that the scenarios need not show a use of, each with the reason why it is granted all the same, and where its
// use is tested.
var unseen = map[string]string{
	"get machineregistrations.rancheros.cattle.io":       "two machines reserve a place in the same instant; pkg/registration/server",
	"get machineinventories.rancheros.cattle.io":         "two replicas make one machine in the same instant; tests/exactlyonce",
	"delete machineinventories.rancheros.cattle.io":      "one machine registers in two namespaces in the same instant; tests/exactlyonce",
	"get managedosversions.rancheros.cattle.io":          "somebody makes a version of the same name in the same instant; pkg/controllers/oschannel",
	"get seedimages.rancheros.cattle.io":                 "two replicas count a download in the same instant; pkg/media/library",
	"get bundles.fleet.cattle.io":                        "a leader that is new does not know of the Bundle that the old one has just made; pkg/controllers/osimage",
	"get clusterregistrationtokens.management.cattle.io": "a cache does not know yet of the token that is there; pkg/controllers/inventory",
	"get pods/log.": "no kubelet runs here, and so no pod prints anything; pkg/controllers/oschannel",
}

// What the chart grants is what the operator asked for in the scenarios: no verb is a wildcard, and none goes unused. That none
// is missing, Test99RightsWereEnough says.
func Test99EveryRightIsUsed(t *testing.T) {
	requests, err := world.OperatorRequests(time.Time{})
	require.NoError(t, err)
	used := map[string]bool{}
	for _, request := range requests {
		ref := request.ObjectRef
		resource := ref.Resource
		if ref.Subresource != "" {
			resource += "/" + ref.Subresource
		}
		used[right(ref.APIGroup, resource, request.Verb, "")] = true
		if ref.Name != "" {
			used[right(ref.APIGroup, resource, request.Verb, ref.Name)] = true
		}
	}
	var unused, all []string
	granted := 0
	for _, rule := range grantedRules(t) {
		for _, name := range rights(t, rule) {
			granted++
			all = append(all, name)
			if !used[name] && unseen[name] == "" && !usedAsWatch(used, name) {
				unused = append(unused, name)
			}
		}
	}
	require.Greater(t, granted, 40)
	for name := range unseen {
		require.Contains(t, all, name, "it is not granted any more")
	}
	if selected := flag.Lookup("test.run").Value.String(); selected != "" {
		// Some scenarios alone use some rights alone; that they use none that is not granted holds for them, too.
		t.Logf("with -test.run %s, %d of %d rights were used", selected, granted-len(unused), granted)
		t.Logf("unused: %v", unused)
		return
	}
	slices.Sort(unused)
	require.Empty(t, slices.Compact(unused), "granted, and used by no scenario: take them out of the chart, or test what they are for")
}

// usedAsWatch is for list: today's client-go fills caches by a watch that begins with what is there, and lists only where the API
// server is too old for that.
func usedAsWatch(used map[string]bool, name string) bool {
	return strings.HasPrefix(name, "list ") && used["watch "+strings.TrimPrefix(name, "list ")]
}

func right(group, resource, verb, name string) string {
	return strings.TrimSpace(fmt.Sprintf("%s %s.%s %s", verb, resource, group, name))
}

// rights are what a rule grants, one by one.
func rights(t *testing.T, rule rbacv1.PolicyRule) []string {
	t.Helper()
	require.Empty(t, rule.NonResourceURLs)
	names := rule.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	var all []string
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				require.NotContains(t, group+resource+verb, "*", "no wildcard")
				for _, name := range names {
					all = append(all, right(group, resource, verb, name))
				}
			}
		}
	}
	return all
}

// grantedRules are those of every role that is bound to the operator's ServiceAccount, wherever it is.
func grantedRules(t *testing.T) []rbacv1.PolicyRule {
	t.Helper()
	rbac := world.Kube.RbacV1()
	ours := func(subjects []rbacv1.Subject) bool {
		return slices.ContainsFunc(subjects, func(s rbacv1.Subject) bool {
			return s.Kind == rbacv1.ServiceAccountKind && "system:serviceaccount:"+s.Namespace+":"+s.Name == harness.OperatorUser
		})
	}
	var rules []rbacv1.PolicyRule
	bound := func(namespace string, role rbacv1.RoleRef) {
		if role.Kind == "ClusterRole" {
			got, err := rbac.ClusterRoles().Get(t.Context(), role.Name, metav1.GetOptions{})
			require.NoError(t, err)
			rules = append(rules, got.Rules...)
			return
		}
		got, err := rbac.Roles(namespace).Get(t.Context(), role.Name, metav1.GetOptions{})
		require.NoError(t, err)
		rules = append(rules, got.Rules...)
	}
	clusterBindings, err := rbac.ClusterRoleBindings().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	for _, binding := range clusterBindings.Items {
		if ours(binding.Subjects) {
			bound("", binding.RoleRef)
		}
	}
	bindings, err := rbac.RoleBindings("").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	for _, binding := range bindings.Items {
		if ours(binding.Subjects) {
			bound(binding.Namespace, binding.RoleRef)
		}
	}
	return rules
}
