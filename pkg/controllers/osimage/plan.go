package osimage

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/distribution/reference"
	"github.com/kubereboot/kured/pkg/timewindow"
	upgradev1 "github.com/rancher/system-upgrade-controller/pkg/apis/upgrade.cattle.io/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
)

const (
	// upgradeCommand is what an OS image upgrades its node with.
	upgradeCommand = "/usr/sbin/suc-upgrade"
	// digestAnnotation names what, beside the version, makes system-upgrade-controller upgrade a node again.
	digestAnnotation = "upgrade.cattle.io/digest"
	// runAgain is the annotation of a Plan that digestAnnotation names when nodes are to be upgraded once more. A dot in it would
	// be read as a step into the document.
	runAgain = "run-again"
	// defaultNodeTimeout is an hour, in seconds: time to drain a node, to fetch an image over a thin line, and to boot.
	defaultNodeTimeout = 3600
)

// newPlan is the Plan that upgrades the nodes of one cluster.
func newPlan(in input, image reference.Named, withCloudConfig bool) (*upgradev1.Plan, error) {
	spec := in.image.Spec
	if err := checkSelectors("nodeSelector", spec.NodeSelector); err != nil {
		return nil, err
	}
	drain, err := newDrain(spec.Drain)
	if err != nil {
		return nil, err
	}
	window, err := newWindow(spec.Window)
	if err != nil {
		return nil, err
	}
	timeout, err := nodeTimeout(in.image)
	if err != nil {
		return nil, err
	}
	upgrade, err := upgradeContainer(in, image)
	if err != nil {
		return nil, err
	}
	prepare, err := newContainer(spec.Prepare, "prepare")
	if err != nil {
		return nil, err
	}
	name := index.ObjectName(in.image)
	plan := &upgradev1.Plan{
		TypeMeta: metav1.TypeMeta{APIVersion: upgradev1.SchemeGroupVersion.String(), Kind: "Plan"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace:   planNamespace,
			Name:        name,
			Annotations: planAnnotations(in.image),
		},
		Spec: upgradev1.PlanSpec{
			Concurrency:        valueOr(spec.Concurrency, 1),
			Version:            planVersion(image),
			NodeSelector:       nodeSelector(spec.NodeSelector),
			ServiceAccountName: name,
			// A node is upgraded whatever keeps ordinary workloads off it.
			Tolerations:      []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Exclusive:        true,
			Cordon:           valueOr(spec.Cordon, true),
			Drain:            drain,
			Window:           window,
			Prepare:          prepare,
			Upgrade:          upgrade,
			ImagePullSecrets: slices.Clone(spec.ImagePullSecrets),
			// What is cordoned for longer has failed: system-upgrade-controller ends the job by then.
			JobActiveDeadlineSecs: new(int64(timeout)),
		},
	}
	if withCloudConfig {
		plan.Spec.Secrets = []upgradev1.SecretSpec{{Name: name, Path: cloudConfigPath}}
	}
	return plan, nil
}

// planAnnotations say what makes another upgrade; planHash knows of them. Without the image among it, another image under the
// same tag would upgrade nothing.
func planAnnotations(image *v1.ManagedOSImage) map[string]string {
	annotations := map[string]string{digestAnnotation: "spec.upgrade.image"}
	if value := image.Annotations[v1.AnnotationRunAgain]; value != "" {
		annotations[runAgain] = value
		annotations[digestAnnotation] += ",metadata.annotations." + runAgain
	}
	return annotations
}

// nodeSelector adds to what the image selects that nobody holds the node: the label counts from the moment that it is there,
// also for a job that runs. To system-upgrade-controller an absent selector selects none.
func nodeSelector(selector *metav1.LabelSelector) *metav1.LabelSelector {
	out := &metav1.LabelSelector{}
	if selector != nil {
		out = selector.DeepCopy()
	}
	out.MatchExpressions = append(out.MatchExpressions, metav1.LabelSelectorRequirement{Key: v1.LabelHold, Operator: metav1.LabelSelectorOpDoesNotExist})
	return out
}

// newDrain is nil for no draining. Durations become what system-upgrade-controller takes: the timeout a string, since
// a number there means nanoseconds, and the grace period whole seconds.
func newDrain(drain *v1.DrainSpec) (*upgradev1.DrainSpec, error) {
	if drain == nil {
		return nil, nil
	}
	out := &upgradev1.DrainSpec{
		DeleteLocalData:          drain.DeleteLocalData,
		DeleteEmptydirData:       drain.DeleteEmptydirData,
		IgnoreDaemonSets:         drain.IgnoreDaemonSets,
		Force:                    drain.Force,
		DisableEviction:          drain.DisableEviction,
		SkipWaitForDeleteTimeout: drain.SkipWaitForDeleteTimeout,
		PodSelector:              drain.PodSelector.DeepCopy(),
	}
	if err := checkSelectors("drain.podSelector", drain.PodSelector); err != nil {
		return nil, err
	}
	if out.DeleteLocalData != nil && out.DeleteEmptydirData != nil {
		// system-upgrade-controller takes one of the two names, and stalls a Plan with both.
		if *out.DeleteLocalData != *out.DeleteEmptydirData {
			return nil, refuse(v1.ReasonInvalidSpec, "drain.deleteLocalData and drain.deleteEmptydirData mean the same and differ; give one of them")
		}
		out.DeleteLocalData = nil
	}
	if drain.Timeout != nil {
		seconds, err := wholeSeconds(drain.Timeout, "drain.timeout")
		if err != nil {
			return nil, err
		}
		timeout := intstr.FromString((time.Duration(seconds) * time.Second).String())
		out.Timeout = &timeout
	}
	if drain.GracePeriod != nil {
		seconds, err := wholeSeconds(drain.GracePeriod, "drain.gracePeriod")
		if err != nil {
			return nil, err
		}
		out.GracePeriod = &seconds
	}
	return out, nil
}

// nodeTimeout is how long the upgrade of a node may take, in seconds.
func nodeTimeout(image *v1.ManagedOSImage) (int32, error) {
	if image.Spec.NodeTimeout == nil {
		return defaultNodeTimeout, nil
	}
	return wholeSeconds(image.Spec.NodeTimeout, "nodeTimeout")
}

// wholeSeconds reads a duration such as 5m, or a number of seconds; parts of a second count as one.
func wholeSeconds(value *intstr.IntOrString, field string) (int32, error) {
	if value.Type == intstr.Int {
		return value.IntVal, nil
	}
	duration, err := time.ParseDuration(value.StrVal)
	if err != nil || duration < 0 || duration.Seconds() > math.MaxInt32 {
		return 0, refuse(v1.ReasonInvalidSpec, "%s %q is not a duration such as 5m or 300s; correct it", field, value.StrVal)
	}
	return int32(math.Ceil(duration.Seconds())), nil
}

// newWindow says what the spec leaves open: to system-upgrade-controller, no days are no day at all, and a time that is
// missing makes a window that it cannot read.
func newWindow(window *v1.WindowSpec) (*upgradev1.TimeWindowSpec, error) {
	if window == nil {
		return nil, nil
	}
	out := &upgradev1.TimeWindowSpec{
		Days:      slices.Clone(window.Days),
		StartTime: cmp.Or(window.StartTime, "00:00"),
		EndTime:   cmp.Or(window.EndTime, "23:59:59"),
		TimeZone:  window.TimeZone,
	}
	if len(out.Days) == 0 {
		for _, day := range timewindow.EveryDay {
			out.Days = append(out.Days, upgradev1.Day(day))
		}
	}
	if _, err := readWindow(out); err != nil {
		return nil, refuse(v1.ReasonInvalidSpec, "window cannot be read: %v; correct it", err)
	}
	return out, nil
}

func newServiceAccount(name string) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"},
		ObjectMeta: metav1.ObjectMeta{Namespace: planNamespace, Name: name},
	}
}

// newClusterRole holds what cordoning and draining a node take, and nothing else.
func newClusterRole(name string) *rbacv1.ClusterRole {
	return &rbacv1.ClusterRole{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRole"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"get", "list", "watch", "patch", "update"}},
			{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "list", "watch", "delete"}},
			{APIGroups: []string{""}, Resources: []string{"pods/eviction"}, Verbs: []string{"create"}},
			{APIGroups: []string{"apps"}, Resources: []string{"daemonsets"}, Verbs: []string{"get", "list"}},
		},
	}
}

func newClusterRoleBinding(name string) *rbacv1.ClusterRoleBinding {
	return &rbacv1.ClusterRoleBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRoleBinding"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: planNamespace, Name: name}},
	}
}

func valueOr[T any](value *T, otherwise T) T {
	if value == nil {
		return otherwise
	}
	return *value
}
