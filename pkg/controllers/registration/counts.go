package registration

import (
	"sync"
	"time"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
)

// countDelay gathers the machines that register within it into one write of the registration's count.
const countDelay = 5 * time.Second

// counts remembers when each registration was last given another count. While machines come all the time, each write of a count
// brings the registration back, which has another one by then: without a pause, the writes would follow each other at once.
type counts struct {
	mutex sync.Mutex
	given map[string]time.Time
}

// due tells how long another count has to wait; zero when it may be given now, which is remembered.
func (c *counts) due(key string, now time.Time) time.Duration {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if wait := c.given[key].Add(countDelay).Sub(now); wait > 0 {
		return wait
	}
	if c.given == nil {
		c.given = map[string]time.Time{}
	}
	c.given[key] = now
	return 0
}

func (c *counts) forget(key string) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	delete(c.given, key)
}

// countMachines counts the registration's machines, or leaves it at the count that it has for now.
func (h *handler) countMachines(registration *v1.MachineRegistration, now time.Time) (all, pending int, err error) {
	machines, err := h.indexes.InventoriesByRegistration(registration.Namespace, registration.Name)
	if err != nil {
		return registration.Status.Machines, registration.Status.Pending, err
	}
	all, pending = count(machines)
	given := registration.Status
	if all == given.Machines && pending == given.Pending {
		return all, pending, nil
	}
	if wait := h.counts.due(registration.Namespace+"/"+registration.Name, now); wait > 0 {
		h.registrations.EnqueueAfter(registration.Namespace, registration.Name, wait)
		return given.Machines, given.Pending, nil
	}
	return all, pending, nil
}

// count leaves out machines that are being deleted. Those that were replaced wait for nobody's approval.
func count(machines []*v1.MachineInventory) (all, pending int) {
	for _, machine := range machines {
		if machine.DeletionTimestamp != nil {
			continue
		}
		all++
		if machine.Spec.ReplacedBy == "" && !index.Approved(machine) {
			pending++
		}
	}
	return all, pending
}
