package check

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rancher/rancheros-operator/chart"
	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// right is one thing that the chart lets the operator do.
type right struct {
	verb, group, resource, subresource, name, namespace string
}

func (r right) String() string {
	kind := r.resource
	if r.subresource != "" {
		kind += "/" + r.subresource
	}
	if r.group != "" {
		kind += "." + r.group
	}
	if r.name != "" {
		kind += " " + r.name
	}
	if r.namespace != "" {
		kind += " in " + r.namespace
	}
	return r.verb + " " + kind
}

// rights asks the API server for each right of the chart whether we have it: whoever runs the check, as the operator would.
func (c *cluster) rights(ctx context.Context) []Finding {
	const topic = "rights"
	wanted, err := granted(chart.Roles, c.Namespace, c.withSecrets(ctx))
	if err != nil {
		return []Finding{found(topic, "%v", err).at(Problem, "report this defect")}
	}
	missing := make([]string, len(wanted))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i, right := range wanted {
		group.Go(func() error {
			allowed, err := c.may(ctx, right)
			if err == nil && !allowed {
				missing[i] = right.String()
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return []Finding{unseen(topic, "what is allowed", err)}
	}
	if missing = slices.DeleteFunc(missing, func(right string) bool { return right == "" }); len(missing) > 0 {
		return []Finding{found(topic, "of %d rights that the chart grants, these are missing: %s", len(wanted), several(missing, 12)).
			at(Problem, "install the chart rancheros-operator of this version; where a namespace is named, its rights on Secrets there")}
	}
	return []Finding{ok(topic, "all %d rights that the chart grants are there", len(wanted))}
}

func (c *cluster) may(ctx context.Context, r right) (bool, error) {
	review, err := c.kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: r.verb, Group: r.group, Resource: r.resource, Subresource: r.subresource, Name: r.name, Namespace: r.namespace,
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return review.Status.Allowed, nil
}

// withSecrets are the namespaces of objects whose tokens and cloud-configs the operator keeps in Secrets beside them.
func (c *cluster) withSecrets(ctx context.Context) []string {
	var namespaces []string
	for _, plural := range []string{"machineregistrations", "seedimages", "managedosimages"} {
		objects, err := c.list(ctx, v1.SchemeGroupVersion.WithResource(plural))
		if err != nil {
			continue // The findings about kinds and rights say so.
		}
		for _, object := range objects {
			if _, brings, _ := unstructured.NestedFieldNoCopy(object.Object, "spec", "cloudConfig"); brings || plural != "managedosimages" {
				namespaces = append(namespaces, object.GetNamespace())
			}
		}
	}
	slices.Sort(namespaces)
	return slices.Compact(namespaces)
}

// granted are the rights in the chart's roles. A Role that names a namespace is bound in the operator's own, one that names none
// in each of the given ones.
func granted(roles []byte, namespace string, others []string) ([]right, error) {
	var all []right
	err := eachDocument(roles, func(object metav1.PartialObjectMetadata, raw []byte) error {
		var role rbacv1.Role
		if err := json.Unmarshal(raw, &role); err != nil {
			return fmt.Errorf("reading the chart's %s %s: %w", object.Kind, object.Name, err)
		}
		places := []string{""}
		switch {
		case object.Kind == "Role" && object.Namespace != "":
			places = []string{namespace}
		case object.Kind == "Role":
			places = others
		case object.Kind != "ClusterRole":
			return nil
		}
		for _, place := range places {
			for _, rule := range role.Rules {
				all = append(all, rightsOf(rule, place)...)
			}
		}
		return nil
	})
	return all, err
}

func rightsOf(rule rbacv1.PolicyRule, namespace string) []right {
	names := rule.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	var all []right
	for _, group := range rule.APIGroups {
		for _, kind := range rule.Resources {
			plural, subresource, _ := strings.Cut(kind, "/")
			for _, name := range names {
				for _, verb := range rule.Verbs {
					all = append(all, right{verb: verb, group: group, resource: plural, subresource: subresource, name: name, namespace: namespace})
				}
			}
		}
	}
	return all
}
