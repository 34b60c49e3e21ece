package check

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/rancher/rancheros-operator/pkg/version"
)

// Options are those of the operator that is asked about.
type Options struct {
	// Namespace holds the operator's lease.
	Namespace string
	// TunnelSecretNamespace and TunnelSecretName name the Secret that Rancher fills; an empty name means no tunnel.
	TunnelSecretNamespace, TunnelSecretName string
	// MediaDir is where base media are kept; empty means nowhere, or that this is another machine than the operator's.
	MediaDir string
}

// cluster is what the checks work with.
type cluster struct {
	Options
	now      time.Time
	kube     kubernetes.Interface
	dynamic  dynamic.Interface
	metadata metadata.Interface
}

// patience bounds a whole check: an API server that takes longer has a problem of its own.
const patience = 2 * time.Minute

// Run looks at the cluster. Whatever goes wrong is a finding.
func Run(ctx context.Context, config *rest.Config, options Options) (Report, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	report := Report{Version: version.Get().String()}
	config = rest.CopyConfig(config)
	// Warnings of the API server would stand between our lines.
	config.WarningHandler = rest.NoWarnings{}
	if config.QPS == 0 {
		config.QPS, config.Burst = 50, 100
	}
	c := &cluster{Options: options, now: time.Now()}
	var err error
	if c.kube, err = kubernetes.NewForConfig(config); err != nil {
		return report, fmt.Errorf("making client: %w", err)
	}
	if c.dynamic, err = dynamic.NewForConfig(config); err != nil {
		return report, fmt.Errorf("making client: %w", err)
	}
	if c.metadata, err = metadata.NewForConfig(config); err != nil {
		return report, fmt.Errorf("making client: %w", err)
	}
	served, err := c.kube.Discovery().ServerVersion()
	if err != nil {
		report.Findings = []Finding{found("API server", "%s does not answer: %v", config.Host, err).
			at(Problem, "correct the address or the credentials; nothing else can be looked at before")}
		return report, nil
	}
	report.Findings = []Finding{ok("API server", "Kubernetes %s answers at %s", served.GitVersion, config.Host)}
	for _, look := range []func(context.Context) []Finding{
		c.kinds, c.policies, c.settings, c.tunnel, c.fleet, c.upgraders, c.rights, c.leader, c.media,
	} {
		report.Findings = append(report.Findings, look(ctx)...)
	}
	return report, nil
}

// Impersonate makes the config another user's, with the groups that a ServiceAccount is in; it does nothing without a name.
func Impersonate(config *rest.Config, user string) {
	if user == "" {
		return
	}
	config.Impersonate = rest.ImpersonationConfig{UserName: user}
	if namespace, _, err := serviceaccount.SplitUsername(user); err == nil {
		config.Impersonate.Groups = append(serviceaccount.MakeGroupNames(namespace), "system:authenticated")
	}
}

// list reads all objects of a kind.
func (c *cluster) list(ctx context.Context, kind schema.GroupVersionResource) ([]unstructured.Unstructured, error) {
	var all []unstructured.Unstructured
	options := listOptions()
	for {
		page, err := c.dynamic.Resource(kind).List(ctx, options)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return all, nil
		}
	}
}

// unseen is the finding for what could not be read: that is no problem of the cluster where it is only a right that is missing.
func unseen(topic, what string, err error) Finding {
	if apierrors.IsForbidden(err) {
		return found(topic, "%s cannot be seen with these rights", what).at(Skipped, "run the check as an administrator to see it")
	}
	return found(topic, "reading %s: %v", what, err).at(Problem, "look at the API server")
}

func resource(group, version, name string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: group, Version: version, Resource: name}
}
