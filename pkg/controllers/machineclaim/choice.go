package machineclaim

import (
	"cmp"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
)

// gathered is what a decision is made from; its objects lie in the cache and are only read.
type gathered struct {
	claim *v1.MachineClaim
	// mine are the machines that say that they are the claim's.
	mine []*v1.MachineInventory
	// others are those of the namespace that do not; left out where no pool can lack one.
	others []*v1.MachineInventory
}

// choice is the decision.
type choice struct {
	pools []pool
	// changes are what there is to write, releases before claims.
	changes []change
}

// change is one write to one machine, and the Event that tells of it, if one does.
type change struct {
	machine         *v1.MachineInventory
	patch           []byte
	reason, message string
}

// pool is a pool of the spec with its machines.
type pool struct {
	*v1.MachinePool
	selector labels.Selector
	// machines are those that it has when the changes are made, the oldest first.
	machines []*v1.MachineInventory
	// matched counts the machines that its selector matches, and excuses says of those that are no use to it why; only where
	// it lacks some.
	matched int
	excuses excuses
}

func (p *pool) lacks() int { return int(p.Replicas) - len(p.machines) }

// decide is pure. In whatever order the machines come, the same ones are chosen.
func decide(g gathered) (choice, error) {
	var c choice
	for i := range g.claim.Spec.Pools {
		selector, err := selectorOf(&g.claim.Spec.Pools[i])
		if err != nil {
			return choice{}, err
		}
		c.pools = append(c.pools, pool{MachinePool: &g.claim.Spec.Pools[i], selector: selector})
	}
	for _, decide := range []func(gathered) error{c.keep, c.shrink, c.grow} {
		if err := decide(g); err != nil {
			return choice{}, err
		}
	}
	return c, nil
}

// selectorError says that a selector that the schema accepts cannot be used all the same.
type selectorError struct {
	pool string
	err  error
}

func (e *selectorError) Error() string {
	return fmt.Sprintf("the selector of pool %s cannot be used: %v", e.pool, e.err)
}

func selectorOf(pool *v1.MachinePool) (labels.Selector, error) {
	if pool.Selector == nil {
		return labels.Everything(), nil
	}
	written := &metav1.LabelSelector{MatchLabels: map[string]string{}}
	for key, value := range pool.Selector.MatchLabels {
		written.MatchLabels[key] = string(value)
	}
	for _, requirement := range pool.Selector.MatchExpressions {
		expression := metav1.LabelSelectorRequirement{Key: requirement.Key, Operator: requirement.Operator}
		for _, value := range requirement.Values {
			expression.Values = append(expression.Values, string(value))
		}
		written.MatchExpressions = append(written.MatchExpressions, expression)
	}
	selector, err := metav1.LabelSelectorAsSelector(written)
	if err != nil {
		return nil, &selectorError{pool: pool.Name, err: err}
	}
	return selector, nil
}

// keep puts the claim's machines into their pools, and takes the marks off those that are not the claim's any more.
func (c *choice) keep(g gathered) error {
	cluster := g.claim.Spec.ClusterName
	for _, machine := range oldestFirst(g.mine) {
		if machine.DeletionTimestamp != nil || replaced(machine, g.mine) {
			continue
		}
		written, assigned := contributionOf(machine), machine.Spec.ClusterName
		var err error
		switch {
		case written == nil || written.Claim != g.claim.Name || machine.Labels[v1.LabelClaim] != g.claim.Name:
			err = c.change(machine, abandoned(machine), v1.ReasonClaimLost,
				fmt.Sprintf("the marks of MachineClaim %s were changed by hand: the machine is the claim's no more, and stays as it is", g.claim.Name))
		case assigned == "":
			err = c.change(machine, released(machine), v1.ReasonClaimReleased,
				fmt.Sprintf("released by hand from Cluster %s, which it had joined for MachineClaim %s", written.Cluster, g.claim.Name))
		case assigned != written.Cluster || index.ClusterNamespace(machine) != machine.Namespace:
			err = c.change(machine, abandoned(machine), v1.ReasonClaimLost,
				fmt.Sprintf("assigned to Cluster %s/%s by hand: the machine is no more of MachineClaim %s", index.ClusterNamespace(machine), assigned, g.claim.Name))
		case assigned != cluster:
			err = c.change(machine, released(machine), v1.ReasonClaimReleased,
				fmt.Sprintf("released from Cluster %s: MachineClaim %s is for Cluster %s now", assigned, g.claim.Name, cluster))
		case c.pool(written.Pool) == nil:
			err = c.change(machine, released(machine), v1.ReasonClaimReleased,
				fmt.Sprintf("released from Cluster %s: MachineClaim %s has no pool %s any more", assigned, g.claim.Name, written.Pool))
		default:
			pool := c.pool(written.Pool)
			pool.machines = append(pool.machines, machine)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// replaced tells of a machine whose place another has taken. It holds the claim's slot until that one says that it has it.
func replaced(machine *v1.MachineInventory, mine []*v1.MachineInventory) bool {
	return machine.Spec.ReplacedBy != "" && slices.ContainsFunc(mine, func(m *v1.MachineInventory) bool { return m.Name == machine.Spec.ReplacedBy })
}

// shrink releases what a pool has too many, the newest first, and brings the others to what the pool says now.
func (c *choice) shrink(g gathered) error {
	for i := range c.pools {
		pool := &c.pools[i]
		most := min(int(pool.Replicas), len(pool.machines))
		for _, machine := range pool.machines[most:] {
			err := c.change(machine, released(machine), v1.ReasonClaimReleased, fmt.Sprintf("released from Cluster %s: pool %s of MachineClaim %s asks for %d machines",
				g.claim.Spec.ClusterName, pool.Name, g.claim.Name, pool.Replicas))
			if err != nil {
				return err
			}
		}
		pool.machines = pool.machines[:most]
		for _, machine := range pool.machines {
			becomes, err := claimed(machine, g.claim, pool.MachinePool)
			if err != nil {
				return err
			}
			if err := c.change(machine, becomes, "", ""); err != nil {
				return err
			}
		}
	}
	return nil
}

// grow claims machines for the pools that lack some, the oldest first, and finds out what is with the others that match.
func (c *choice) grow(g gathered) error {
	others := oldestFirst(g.others)
	taken := map[string]bool{}
	for i := range c.pools {
		pool := &c.pools[i]
		for _, machine := range others {
			if pool.lacks() <= 0 {
				break
			}
			if taken[machine.Name] || !pool.selector.Matches(labels.Set(machine.Labels)) || whyNot(machine, pool.Role) != nil {
				continue
			}
			becomes, err := claimed(machine, g.claim, pool.MachinePool)
			if err != nil {
				return err
			}
			err = c.change(machine, becomes, v1.ReasonClaimed, fmt.Sprintf("claimed by MachineClaim %s (pool %s): it joins Cluster %s as %s",
				g.claim.Name, pool.Name, g.claim.Spec.ClusterName, becomes.config.Role))
			if err != nil {
				return err
			}
			pool.machines = append(pool.machines, machine)
			taken[machine.Name] = true
		}
	}
	for i := range c.pools {
		c.pools[i].explain(c, others, taken)
	}
	return nil
}

// explain counts, for a pool that lacks machines, those that match, and what keeps them from it.
func (p *pool) explain(c *choice, others []*v1.MachineInventory, taken map[string]bool) {
	if p.lacks() <= 0 {
		return
	}
	for i := range c.pools {
		for _, machine := range c.pools[i].machines {
			if !p.selector.Matches(labels.Set(machine.Labels)) {
				continue
			}
			p.matched++
			if c.pools[i].Name != p.Name {
				p.excuses.add(excuse{kind: inOtherPool, whose: c.pools[i].Name})
			}
		}
	}
	for _, machine := range others {
		if taken[machine.Name] || !p.selector.Matches(labels.Set(machine.Labels)) {
			continue
		}
		p.matched++
		if why := whyNot(machine, p.Role); why != nil {
			p.excuses.add(*why)
		}
	}
}

// whyNot is what keeps a machine from being claimed as role; nil when it is free.
func whyNot(machine *v1.MachineInventory, role string) *excuse {
	config, claim := machine.Spec.Config, machine.Labels[v1.LabelClaim]
	switch {
	case machine.DeletionTimestamp != nil:
		return &excuse{kind: deleting}
	case claim != "":
		return &excuse{kind: claimedBy, whose: machine.Namespace + "/" + claim}
	case machine.Spec.ClusterName != "":
		return &excuse{kind: assignedTo, whose: machine.Spec.ClusterName}
	case machine.Spec.ReplacedBy != "":
		return &excuse{kind: revoked}
	case !index.Approved(machine):
		return &excuse{kind: unapproved}
	case index.Replacing(machine):
		return &excuse{kind: replacing, whose: machine.Spec.Replaces}
	case index.ClusterNamespace(machine) != machine.Namespace:
		return &excuse{kind: forElsewhere, whose: machine.Spec.ClusterNamespace}
	case !proven(machine):
		return &excuse{kind: unproven}
	case config != nil && config.Role != "" && config.Role != role:
		return &excuse{kind: otherRole, whose: config.Role}
	}
	return nil
}

// proven machines came through a registration, or somebody has written down how they prove themselves. Others can never
// ask for a cluster.
func proven(machine *v1.MachineInventory) bool {
	return machine.Labels[v1.LabelRegistration] != "" || index.TPMHash(machine) != "" || machine.Spec.MachineTokenSecretName != ""
}

func (c *choice) pool(name string) *pool {
	for i := range c.pools {
		if c.pools[i].Name == name {
			return &c.pools[i]
		}
	}
	return nil
}

// change notes what there is to write, if there is.
func (c *choice) change(machine *v1.MachineInventory, after belongings, reason, message string) error {
	patch, err := after.patch(machine)
	if err == nil && patch != nil {
		c.changes = append(c.changes, change{machine: machine, patch: patch, reason: reason, message: message})
	}
	return err
}

// oldestFirst orders machines by when they were made, and by name among those of the same second.
func oldestFirst(machines []*v1.MachineInventory) []*v1.MachineInventory {
	return slices.SortedFunc(slices.Values(machines), func(a, b *v1.MachineInventory) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
}
