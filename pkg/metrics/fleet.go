package metrics

import (
	"slices"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	rancheroscontrollers "github.com/rancher/rancheros-operator/pkg/generated/controllers/rancheros.cattle.io/v1"
)

// maxNamed is how many images, and how many channels, have labels of their own.
const maxNamed = 500

// Fleet are the caches of the kinds of which there are few enough to look at each for every scrape.
type Fleet struct {
	Registrations rancheroscontrollers.MachineRegistrationCache
	Images        rancheroscontrollers.ManagedOSImageCache
	Channels      rancheroscontrollers.ManagedOSVersionChannelCache
}

// AddFleet tells of registrations, rollouts and channels.
func (m *Metrics) AddFleet(f Fleet) {
	m.registry.MustRegister(&fleetCollector{Fleet: f, leading: &m.leading,
		registrations: desc(machineRegistrations), nodes: desc(rolloutNodes), halted: desc(rolloutHalted),
		lastSync: desc(channelLastSync), ready: desc(channelReady)})
}

type fleetCollector struct {
	Fleet
	leading                                       *atomic.Bool
	registrations, nodes, halted, lastSync, ready *prometheus.Desc
}

func (c *fleetCollector) Describe(into chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{c.registrations, c.nodes, c.halted, c.lastSync, c.ready} {
		into <- desc
	}
}

func (c *fleetCollector) Collect(into chan<- prometheus.Metric) {
	if !c.leading.Load() {
		return
	}
	for _, part := range []struct {
		of      *prometheus.Desc
		collect func(chan<- prometheus.Metric) error
	}{{c.registrations, c.collectRegistrations}, {c.nodes, c.collectImages}, {c.ready, c.collectChannels}} {
		if err := part.collect(into); err != nil {
			into <- prometheus.NewInvalidMetric(part.of, err)
		}
	}
}

func (c *fleetCollector) collectRegistrations(into chan<- prometheus.Metric) error {
	all, err := c.Registrations.List("", labels.Everything())
	counts := map[metav1.ConditionStatus]int{metav1.ConditionTrue: 0, metav1.ConditionFalse: 0}
	for _, registration := range all {
		status := metav1.ConditionFalse
		if meta.IsStatusConditionTrue(registration.Status.Conditions, v1.ConditionReady) {
			status = metav1.ConditionTrue
		}
		counts[status]++
	}
	for status, count := range counts {
		into <- prometheus.MustNewConstMetric(c.registrations, prometheus.GaugeValue, float64(count), strings.ToLower(string(status)))
	}
	return err
}

func (c *fleetCollector) collectImages(into chan<- prometheus.Metric) error {
	all, err := c.Images.List("", labels.Everything())
	named, rest := oldest(all)
	for _, image := range named {
		if image.Status.Nodes != nil {
			c.sendNodes(into, image.Status.Nodes, image.Namespace, image.Name)
		}
		condition := meta.FindStatusCondition(image.Status.Conditions, v1.ConditionReady)
		into <- prometheus.MustNewConstMetric(c.halted, prometheus.GaugeValue, number(condition != nil && condition.Reason == v1.ReasonHalted),
			image.Namespace, image.Name)
	}
	var sum v1.NodeCounts
	for _, image := range rest {
		add(&sum, image.Status.Nodes)
	}
	if len(rest) > 0 {
		c.sendNodes(into, &sum, "", "")
	}
	return err
}

func (c *fleetCollector) sendNodes(into chan<- prometheus.Metric, nodes *v1.NodeCounts, namespace, image string) {
	for _, count := range []struct {
		state string
		nodes int
	}{
		{"up_to_date", nodes.UpToDate}, {"updating", nodes.Updating}, {"pending", nodes.Pending}, {"failed", nodes.Failed},
		{"fell_back", nodes.FellBack}, {"blocked", nodes.Blocked}, {"offline", nodes.Offline},
	} {
		into <- prometheus.MustNewConstMetric(c.nodes, prometheus.GaugeValue, float64(count.nodes), namespace, image, count.state)
	}
}

func add(sum, nodes *v1.NodeCounts) {
	if nodes == nil {
		return
	}
	sum.UpToDate += nodes.UpToDate
	sum.Updating += nodes.Updating
	sum.Pending += nodes.Pending
	sum.Failed += nodes.Failed
	sum.FellBack += nodes.FellBack
	sum.Blocked += nodes.Blocked
	sum.Offline += nodes.Offline
}

func (c *fleetCollector) collectChannels(into chan<- prometheus.Metric) error {
	all, err := c.Channels.List("", labels.Everything())
	named, _ := oldest(all)
	for _, channel := range named {
		synced := 0.0
		if channel.Status.LastSync != nil {
			synced = float64(channel.Status.LastSync.Unix())
		}
		into <- prometheus.MustNewConstMetric(c.lastSync, prometheus.GaugeValue, synced, channel.Namespace, channel.Name)
		ready := channel.Spec.Suspend || meta.IsStatusConditionTrue(channel.Status.Conditions, v1.ConditionReady)
		into <- prometheus.MustNewConstMetric(c.ready, prometheus.GaugeValue, number(ready), channel.Namespace, channel.Name)
	}
	return err
}

// oldest are the objects with labels of their own, and those without. They are the oldest, so that none loses its labels
// to one that comes.
func oldest[T metav1.Object](all []T) (named, rest []T) {
	if len(all) <= maxNamed {
		return all, nil
	}
	sorted := slices.Clone(all)
	slices.SortFunc(sorted, func(a, b T) int {
		if byAge := a.GetCreationTimestamp().Compare(b.GetCreationTimestamp().Time); byAge != 0 {
			return byAge
		}
		return strings.Compare(a.GetNamespace()+"/"+a.GetName(), b.GetNamespace()+"/"+b.GetName())
	})
	return sorted[:maxNamed], sorted[maxNamed:]
}
