package osimage

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	upgradev1 "github.com/rancher/system-upgrade-controller/pkg/apis/upgrade.cattle.io/v1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// unheld selects every node but those that somebody holds.
var unheld = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
	{Key: "rancheros.cattle.io/hold-upgrades", Operator: metav1.LabelSelectorOpDoesNotExist},
}}

func TestNodeTimeout(t *testing.T) {
	for in, want := range map[intstr.IntOrString]int64{intstr.FromString("90m"): 5400, intstr.FromInt32(60): 60, intstr.FromString("1500ms"): 2} {
		_, plan := rendered(t, newImage(func(s *v1.ManagedOSImageSpec) { s.NodeTimeout = &in }))
		require.Equal(t, want, *plan.Spec.JobActiveDeadlineSecs)
	}
	_, err := render(input{image: newImage(func(s *v1.ManagedOSImageSpec) { s.NodeTimeout = pointer(intstr.FromString("soon")) })})
	requireRefusal(t, err, v1.ReasonInvalidSpec, `nodeTimeout "soon" is not a duration`)
}

func TestDefaults(t *testing.T) {
	_, plan := rendered(t, newImage())
	require.Equal(t, int64(1), plan.Spec.Concurrency, "empty is 1")
	require.True(t, plan.Spec.Cordon)
	require.Nil(t, plan.Spec.Drain, "null means no draining")
	require.Equal(t, unheld, plan.Spec.NodeSelector, "all nodes: to system-upgrade-controller an absent selector is none")
	require.Equal(t, int64(3600), *plan.Spec.JobActiveDeadlineSecs, "by then a node is done, or has failed")
	require.True(t, plan.Spec.Exclusive, "two images never upgrade one node at once")
	require.Equal(t, []corev1.Toleration{{Operator: corev1.TolerationOpExists}}, plan.Spec.Tolerations)
	require.Equal(t, &upgradev1.ContainerSpec{Image: "rancher/os2:v1", Command: []string{"/usr/sbin/suc-upgrade"}}, plan.Spec.Upgrade)
	require.Nil(t, plan.Spec.Prepare)
	require.Equal(t, "spec.upgrade.image", plan.Annotations["upgrade.cattle.io/digest"], "another image under one tag is another upgrade")
	require.Equal(t, plan.Name, plan.Spec.ServiceAccountName)
}

func TestConcurrencyAndCordon(t *testing.T) {
	for _, want := range []int64{0, 1, 2, 1000} {
		_, plan := rendered(t, newImage(func(s *v1.ManagedOSImageSpec) { s.Concurrency = &want }))
		require.Equal(t, want, plan.Spec.Concurrency, "0 pauses")
	}
	no := false
	_, plan := rendered(t, newImage(func(s *v1.ManagedOSImageSpec) { s.Cordon = &no }))
	require.False(t, plan.Spec.Cordon)
}

func TestNodeSelector(t *testing.T) {
	_, plan := rendered(t, newImage(func(s *v1.ManagedOSImageSpec) {
		s.NodeSelector = &metav1.LabelSelector{MatchLabels: map[string]string{}}
	}))
	require.Equal(t, unheld.MatchExpressions, plan.Spec.NodeSelector.MatchExpressions, "the reference's matchLabels: {}")
	image := newImage(func(s *v1.ManagedOSImageSpec) {
		s.NodeSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: metav1.LabelSelectorOpExists}}}
	})
	_, plan = rendered(t, image)
	require.Len(t, plan.Spec.NodeSelector.MatchExpressions, 2, "nobody is upgraded who is held")
	require.Len(t, image.Spec.NodeSelector.MatchExpressions, 1, "what lies in the cache is not written to")
	_, err := render(input{image: newImage(func(s *v1.ManagedOSImageSpec) {
		s.NodeSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Like"}}}
	})})
	requireRefusal(t, err, v1.ReasonInvalidSpec, "nodeSelector is not a label selector")
}

func pointer[T any](value T) *T { return &value }

func TestDrainDurations(t *testing.T) {
	text, number := intstr.FromString, intstr.FromInt32
	for _, c := range []struct {
		why     string
		in      intstr.IntOrString
		timeout string
		grace   int32
	}{
		{"the seed's 5m", text("5m"), "5m0s", 300},
		{"a number of seconds", number(300), "5m0s", 300},
		{"seconds", text("300s"), "5m0s", 300},
		{"parts", text("1h30m"), "1h30m0s", 5400},
		{"none", number(0), "0s", 0},
		{"none in words", text("0s"), "0s", 0},
		{"a fraction of a second counts as one", text("1500ms"), "2s", 2},
		{"as does a fraction of an hour", text("0.5h"), "30m0s", 1800},
		{"and the least", text("1ms"), "1s", 1},
		{"a week", number(604800), "168h0m0s", 604800},
	} {
		t.Run(c.why, func(t *testing.T) {
			_, plan := rendered(t, newImage(func(s *v1.ManagedOSImageSpec) { s.Drain = &v1.DrainSpec{Timeout: &c.in, GracePeriod: &c.in} }))
			require.Equal(t, pointer(text(c.timeout)), plan.Spec.Drain.Timeout, "a string: a number is nanoseconds to system-upgrade-controller")
			require.Equal(t, &c.grace, plan.Spec.Drain.GracePeriod)
		})
	}
	_, plan := rendered(t, newImage(func(s *v1.ManagedOSImageSpec) { s.Drain = &v1.DrainSpec{GracePeriod: pointer(number(-1))} }))
	require.Equal(t, int32(-1), *plan.Spec.Drain.GracePeriod, "the pod's own")
	require.Nil(t, plan.Spec.Drain.Timeout)
}

// C47: what an older schema let through, or none saw.
func TestBadDrainDurations(t *testing.T) {
	for _, bad := range []string{"-5m", "5", "soon", "", "1e9h", "999999999h", "600000h", "5 m"} {
		value := intstr.FromString(bad)
		_, err := render(input{image: newImage(func(s *v1.ManagedOSImageSpec) { s.Drain = &v1.DrainSpec{Timeout: &value} })})
		requireRefusal(t, err, v1.ReasonInvalidSpec, "drain.timeout")
		_, err = render(input{image: newImage(func(s *v1.ManagedOSImageSpec) { s.Drain = &v1.DrainSpec{GracePeriod: &value} })})
		requireRefusal(t, err, v1.ReasonInvalidSpec, "drain.gracePeriod")
	}
	_, err := render(input{image: newImage(func(s *v1.ManagedOSImageSpec) {
		s.Drain = &v1.DrainSpec{PodSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Like"}}}}
	})})
	requireRefusal(t, err, v1.ReasonInvalidSpec, "drain.podSelector")
}

func TestDrainFlags(t *testing.T) {
	_, plan := rendered(t, newImage(func(s *v1.ManagedOSImageSpec) {
		s.Drain = &v1.DrainSpec{DeleteLocalData: pointer(false), IgnoreDaemonSets: pointer(true), SkipWaitForDeleteTimeout: 5}
	}))
	require.Empty(t, cmp.Diff(&upgradev1.DrainSpec{DeleteLocalData: pointer(false), IgnoreDaemonSets: pointer(true), SkipWaitForDeleteTimeout: 5}, plan.Spec.Drain),
		"false is said, too: what is left out is true to system-upgrade-controller")
	_, plan = rendered(t, newImage(func(s *v1.ManagedOSImageSpec) { s.Drain = &v1.DrainSpec{} }))
	require.NotNil(t, plan.Spec.Drain, "{} drains, with kubectl's defaults")

	both := func(local, emptyDir bool) *v1.ManagedOSImage {
		return newImage(func(s *v1.ManagedOSImageSpec) {
			s.Drain = &v1.DrainSpec{DeleteLocalData: &local, DeleteEmptydirData: &emptyDir}
		})
	}
	_, plan = rendered(t, both(true, true))
	require.Empty(t, cmp.Diff(&upgradev1.DrainSpec{DeleteEmptydirData: pointer(true)}, plan.Spec.Drain),
		"system-upgrade-controller stalls a Plan with both names of one thing")
	_, err := render(input{image: both(true, false)})
	requireRefusal(t, err, v1.ReasonInvalidSpec, "mean the same and differ")
}

func TestWindow(t *testing.T) {
	monday := time.Date(2026, 11, 23, 23, 30, 0, 0, time.UTC)
	for _, c := range []struct {
		why      string
		window   v1.WindowSpec
		in, out  time.Time
		wantDays int
	}{
		{"days and times", v1.WindowSpec{Days: []upgradev1.Day{"mo"}, StartTime: "22:00", EndTime: "23:45"}, monday, monday.AddDate(0, 0, 1), 1},
		{"no days are every day", v1.WindowSpec{StartTime: "22:00", EndTime: "23:45"}, monday.AddDate(0, 0, 3), monday.Add(20 * time.Minute), 7},
		{"no times are the whole day", v1.WindowSpec{Days: []upgradev1.Day{"monday"}}, monday.Add(29*time.Minute + 59*time.Second), monday.Add(time.Hour), 1},
		{"no end is the end of the day", v1.WindowSpec{StartTime: "10pm"}, monday, monday.Add(-5 * time.Hour), 7},
		{"no start is the start of the day", v1.WindowSpec{EndTime: "4am"}, monday.Add(time.Hour), monday, 7},
		{"across midnight", v1.WindowSpec{StartTime: "22:00", EndTime: "04:00"}, monday.Add(2 * time.Hour), monday.Add(12 * time.Hour), 7},
		{"in a time zone", v1.WindowSpec{StartTime: "00:00", EndTime: "01:00", TimeZone: "Europe/Berlin"}, monday, monday.Add(time.Hour), 7},
	} {
		t.Run(c.why, func(t *testing.T) {
			_, plan := rendered(t, newImage(func(s *v1.ManagedOSImageSpec) { s.Window = &c.window }))
			require.Len(t, plan.Spec.Window.Days, c.wantDays)
			// This is system-upgrade-controller's own code.
			require.True(t, plan.Spec.Window.Contains(c.in), "%s is within", c.in)
			require.False(t, plan.Spec.Window.Contains(c.out), "%s is not", c.out)
		})
	}
	for _, bad := range []v1.WindowSpec{{StartTime: "25:00"}, {EndTime: "soon"}, {Days: []upgradev1.Day{"blursday"}}, {StartTime: "22:00", TimeZone: "Mars/Olympus"}} {
		_, err := render(input{image: newImage(func(s *v1.ManagedOSImageSpec) { s.Window = &bad })})
		requireRefusal(t, err, v1.ReasonInvalidSpec, "window cannot be read: ")
	}
}

// The rights that arrive downstream are what cordoning and draining take: no Secret can be read with them, nothing made.
func TestRights(t *testing.T) {
	for _, rule := range newClusterRole("x").Rules {
		for _, list := range [][]string{rule.APIGroups, rule.Resources, rule.Verbs} {
			require.NotContains(t, list, "*")
		}
		require.NotContains(t, rule.Resources, "secrets")
		if rule.Resources[0] != "pods/eviction" {
			require.NotContains(t, rule.Verbs, "create")
		}
	}
}
