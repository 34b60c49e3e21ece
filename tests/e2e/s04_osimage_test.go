package e2e

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const imageManifest = `apiVersion: rancheros.cattle.io/v1
kind: ManagedOSImage
metadata: {name: %s, namespace: %s}
spec: %s
`

func Test04CloudConfigTravelsAsSecret(t *testing.T) {
	ns := namespace(t, "s04-secret")
	createCluster(t, ns, "site")
	apply(t, fmt.Sprintf(imageManifest, "image", ns, `{osImage: "rancher/os2:v1", clusterTargets: [{clusterSelector: {}}], cloudConfig: {users: [{name: root, passwd: `+canary+`}]}}`))
	spec := plan(t, ns, "site", "image", anyPlan)
	secret := spec["secrets"].([]any)[0].(map[string]any)
	require.Equal(t, "/run/data", secret["path"])
	bundle := kubectl(t, "get", "bundle", "mos-image", "-n", ns, "-o", "yaml")
	require.NotContains(t, bundle, canary, "whoever may read Bundles must not read secrets")
	require.Contains(t, bundle, "downstreamResources")
	var arrived bool
	eventually(t, func() error {
		for _, object := range world.Rancher.Delivered(ns, "site") {
			if object.GetKind() == "Secret" && object.GetName() == secret["name"] {
				arrived = true
				return equal("namespace", object.GetNamespace(), "cattle-system")
			}
		}
		return fmt.Errorf("the Secret has not arrived")
	})
	require.True(t, arrived)
	kubectl(t, "patch", "managedosimage", "image", "-n", ns, "--type", "merge", "-p", `{"spec":{"cloudConfig":null}}`)
	plan(t, ns, "site", "image", func(spec map[string]any) error { return equal("secrets", spec["secrets"], nil) })
	eventually(t, func() error { return gone(t.Context(), "secret", "-n", ns, fmt.Sprint(secret["name"])) })
}

// What is taken out of the image by accident takes nothing away from the clusters.
func Test04ClearingKeepsTheRollout(t *testing.T) {
	ns := namespace(t, "s04-clear")
	createCluster(t, ns, "site")
	apply(t, fmt.Sprintf(imageManifest, "image", ns, `{osImage: "rancher/os2:v1", clusterTargets: [{clusterName: site}]}`))
	plan(t, ns, "site", "image", anyPlan)
	for patch, reason := range map[string]string{
		`{"spec":{"osImage":""}}`:                                   "NothingToDo",
		`{"spec":{"osImage":"rancher/os2:v1","clusterTargets":[]}}`: "NoTargets",
	} {
		kubectl(t, "patch", "managedosimage", "image", "-n", ns, "--type", "merge", "-p", patch)
		waitFor(t, ns, "managedosimage/image", "Ready", reason)
		plan(t, ns, "site", "image", anyPlan)
	}
	kubectl(t, "delete", "managedosimage", "image", "-n", ns)
	eventually(t, func() error { return gone(t.Context(), "bundle", "-n", ns, "mos-image") })
	eventually(t, func() error {
		if left := world.Rancher.Delivered(ns, "site"); len(left) != 0 {
			return fmt.Errorf("%d objects are left in the cluster", len(left))
		}
		return nil
	})
}

// A Bundle that is edited or deleted by hand comes back; one that was there before and is another's is left alone.
func Test04BundleByHand(t *testing.T) {
	ns := namespace(t, "s04-by-hand")
	createCluster(t, ns, "site")
	apply(t, fmt.Sprintf(imageManifest, "image", ns, `{osImage: "rancher/os2:v1", clusterTargets: [{clusterName: site}]}`))
	plan(t, ns, "site", "image", anyPlan)
	kubectl(t, "patch", "bundle", "mos-image", "-n", ns, "--type", "merge", "-p", `{"spec":{"resources":[]}}`)
	eventually(t, func() error {
		return equal("resources", kubectl(t, "get", "bundle", "mos-image", "-n", ns, "-o", "jsonpath={.spec.resources[*].name}"),
			"service-account.yaml cluster-role.yaml cluster-role-binding.yaml plan.yaml")
	})
	kubectl(t, "delete", "bundle", "mos-image", "-n", ns)
	eventually(t, func() error {
		_, err := world.Kubectl(t.Context(), "get", "bundle", "mos-image", "-n", ns)
		return err
	})

	apply(t, fmt.Sprintf("apiVersion: fleet.cattle.io/v1alpha1\nkind: Bundle\nmetadata: {name: mos-taken, namespace: %s}\nspec: {defaultNamespace: theirs}\n", ns))
	apply(t, fmt.Sprintf(imageManifest, "taken", ns, `{osImage: "rancher/os2:v1", clusterTargets: [{clusterName: site}]}`))
	waitFor(t, ns, "managedosimage/taken", "Ready", "ForeignBundle")
	require.Equal(t, "theirs", kubectl(t, "get", "bundle", "mos-taken", "-n", ns, "-o", "jsonpath={.spec.defaultNamespace}"))
}

func Test04Version(t *testing.T) {
	ns := namespace(t, "s04-version")
	createCluster(t, ns, "site")
	apply(t, fmt.Sprintf(imageManifest, "image", ns, `{managedOSVersionName: v2, clusterTargets: [{clusterName: site}]}`))
	waitFor(t, ns, "managedosimage/image", "Ready", "VersionNotFound")
	version := "apiVersion: rancheros.cattle.io/v1\nkind: ManagedOSVersion\nmetadata: {name: v2, namespace: %s}\nspec: {version: v2.0.0, metadata: %s}\n"
	apply(t, fmt.Sprintf(version, ns, `{displayName: "The second"}`))
	waitFor(t, ns, "managedosimage/image", "Ready", "VersionWithoutImage")
	apply(t, fmt.Sprintf(version, ns, `{upgradeImage: "registry.example.com:5000/os2:v2.0.0", displayName: "The second", build.number: 7}`))
	spec := plan(t, ns, "site", "image", anyPlan)
	upgrade := spec["upgrade"].(map[string]any)
	require.Equal(t, "registry.example.com:5000/os2:v2.0.0", upgrade["image"])
	require.Equal(t, []any{
		map[string]any{"name": "METADATA_BUILD_NUMBER", "value": "7"},
		map[string]any{"name": "METADATA_DISPLAYNAME", "value": "The second"},
		map[string]any{"name": "METADATA_UPGRADEIMAGE", "value": "registry.example.com:5000/os2:v2.0.0"},
	}, upgrade["envs"])
}

// Rancher's system-default-registry is followed, also when it changes.
func Test04SystemDefaultRegistry(t *testing.T) {
	ns := namespace(t, "s04-registry")
	createCluster(t, ns, "site")
	set := func(value string) {
		kubectl(t, "patch", "settings.management.cattle.io", "system-default-registry", "--type", "merge", "-p", fmt.Sprintf(`{"value":%q}`, value))
	}
	t.Cleanup(func() { set("") })
	apply(t, fmt.Sprintf(imageManifest, "image", ns, `{osImage: "rancher/os2:v1", clusterTargets: [{clusterName: site}]}`))
	set("registry.example.com:5000/")
	plan(t, ns, "site", "image", func(spec map[string]any) error {
		return equal("image", spec["upgrade"].(map[string]any)["image"], "registry.example.com:5000/rancher/os2:v1")
	})
	require.Equal(t, "registry.example.com:5000/rancher/os2:v1", kubectl(t, "get", "managedosimage", "image", "-n", ns, "-o", "jsonpath={.status.image}"))
}

// The jobs' service account may do what cordoning and draining a node takes, and nothing beyond it.
func Test04UpgraderRights(t *testing.T) {
	apply(t, fmt.Sprintf(imageManifest, "rights", "fleet-local", `{osImage: "rancher/os2:v1", concurrency: 0, drain: {disableEviction: true}}`))
	spec := plan(t, "fleet-local", "local", "rights", anyPlan)
	t.Cleanup(func() { kubectl(t, "delete", "managedosimage", "-n", "fleet-local", "rights") })
	user := fmt.Sprint("system:serviceaccount:cattle-system:", spec["serviceAccountName"])
	may := func(verb, group, resource, subresource string) bool {
		review, err := world.Kube.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{User: user, Groups: []string{"system:serviceaccounts", "system:authenticated"},
				ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: verb, Group: group, Resource: resource, Subresource: subresource, Namespace: "anywhere"}},
		}, metav1.CreateOptions{})
		require.NoError(t, err)
		return review.Status.Allowed
	}
	// The authorizer learns of a binding a moment after it was made.
	eventually(t, func() error {
		if !may("get", "", "nodes", "") {
			return errors.New("the job has no rights yet")
		}
		return nil
	})
	for _, right := range []struct {
		why, verb, group, resource, subresource string
		want                                    bool
	}{
		{"which node", "get", "", "nodes", "", true},
		{"cordon", "patch", "", "nodes", "", true},
		{"which pods", "list", "", "pods", "", true},
		{"whether they are gone", "get", "", "pods", "", true},
		{"evict", "create", "", "pods", "eviction", true},
		{"disableEviction", "delete", "", "pods", "", true},
		{"ignoreDaemonSets", "get", "apps", "daemonsets", "", true},
		{"no new node", "create", "", "nodes", "", false},
		{"no node less", "delete", "", "nodes", "", false},
		{"no new pod", "create", "", "pods", "", false},
		{"no shell", "create", "", "pods", "exec", false},
		{"no secret", "get", "", "secrets", "", false},
		{"no secrets", "list", "", "secrets", "", false},
		{"no right for others", "create", "rbac.authorization.k8s.io", "clusterrolebindings", "", false},
		{"no other plan", "create", "upgrade.cattle.io", "plans", "", false},
	} {
		require.Equal(t, right.want, may(right.verb, right.group, right.resource, right.subresource), "%s: %s %s", right.why, right.verb, right.resource)
	}
}
