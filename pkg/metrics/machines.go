package metrics

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// assurances and states of machines; a machine is in one class of each. Unknown assurances count as the first.
var (
	assurances = [...]string{"None", v1.AssuranceCertificate, v1.AssuranceListed, v1.AssuranceFirstUse, v1.AssuranceSharedSecret}
	states     = [...]string{"unassigned", "pending", "waiting", "assigned", "revoked", "deleting"}
)

const (
	unassigned uint8 = iota
	pending
	waiting
	assigned
	revoked
	deleting
)

// class is a machine's assurance and state.
type class struct{ assurance, state uint8 }

// machineCounts counts machines as they change: a scrape looks at no machine. For each it keeps in which class it was, in about
// a hundred bytes, since the last event of an object that goes may tell of it in another state than the one before did.
type machineCounts struct {
	desc    *prometheus.Desc
	leading *atomic.Bool

	mutex   sync.Mutex
	classes map[types.UID]class
	counts  [len(assurances)][len(states)]int
}

func newMachineCounts(leading *atomic.Bool) *machineCounts {
	return &machineCounts{desc: desc(machines), leading: leading, classes: map[types.UID]class{}}
}

// AddMachines counts the machines of a running informer, and tells of them when it has seen all. It is for the replica that leads:
// the others, which do not tell of the fleet, need not look at each change.
func (m *Metrics) AddMachines(ctx context.Context, informer cache.SharedIndexInformer) error {
	counts := newMachineCounts(&m.leading)
	counting, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) { counts.put(object) },
		UpdateFunc: func(before, after any) {
			// Gone and made anew while nobody looked.
			if old, now := uid(before), uid(after); old != now {
				counts.drop(old)
			}
			counts.put(after)
		},
		DeleteFunc: func(object any) { counts.drop(uid(object)) },
	})
	if err != nil {
		return fmt.Errorf("counting machines: %w", err)
	}
	select {
	case <-counting.HasSyncedChecker().Done():
		m.registry.MustRegister(counts)
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func uid(object any) types.UID {
	if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = gone.Obj
	}
	if inventory, ok := object.(*v1.MachineInventory); ok {
		return inventory.UID
	}
	return ""
}

func (c *machineCounts) put(object any) {
	inventory, ok := object.(*v1.MachineInventory)
	if !ok {
		return
	}
	is := class{assuranceOf(inventory), stateOf(inventory)}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	was, known := c.classes[inventory.UID]
	if known && was == is {
		return
	}
	if known {
		c.counts[was.assurance][was.state]--
	}
	c.counts[is.assurance][is.state]++
	c.classes[inventory.UID] = is
}

func (c *machineCounts) drop(uid types.UID) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if was, known := c.classes[uid]; known {
		c.counts[was.assurance][was.state]--
		delete(c.classes, uid)
	}
}

func assuranceOf(inventory *v1.MachineInventory) uint8 {
	for i, name := range assurances {
		if name == inventory.Status.Assurance {
			return uint8(i)
		}
	}
	return 0
}

func stateOf(inventory *v1.MachineInventory) uint8 {
	switch {
	case inventory.DeletionTimestamp != nil:
		return deleting
	case inventory.Spec.ReplacedBy != "":
		return revoked
	case inventory.Spec.Approved != nil && !*inventory.Spec.Approved:
		return pending
	case inventory.Spec.ClusterName == "":
		return unassigned
	}
	if condition := meta.FindStatusCondition(inventory.Status.Conditions, v1.ConditionClusterAssigned); condition != nil && condition.Status == metav1.ConditionTrue {
		return assigned
	}
	return waiting
}

func (c *machineCounts) Describe(into chan<- *prometheus.Desc) { into <- c.desc }

func (c *machineCounts) Collect(into chan<- prometheus.Metric) {
	if !c.leading.Load() {
		return
	}
	c.mutex.Lock()
	counts := c.counts
	c.mutex.Unlock()
	for a, name := range assurances {
		for s, state := range states {
			into <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(counts[a][s]), name, state)
		}
	}
}
