package rancher

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	upgrade "github.com/rancher/system-upgrade-controller/pkg/apis/upgrade.cattle.io/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
)

// planState is a Plan in a cluster, and what system-upgrade-controller has come to with it.
type planState struct {
	plan     *upgrade.Plan
	selector labels.Selector
	hash     string
	// applying are the nodes that have a job, and since when.
	applying map[string]time.Time
}

// readPlans takes over what Fleet has brought. A Plan whose Secret is missing is not valid, and does nothing.
func (c *downstreamCluster) readPlans(delivered []unstructured.Unstructured) {
	plans := map[string]*planState{}
	for i := range delivered {
		if delivered[i].GetKind() != "Plan" {
			continue
		}
		plan, err := into[upgrade.Plan](&delivered[i])
		if err != nil {
			continue
		}
		selector, err := metav1.LabelSelectorAsSelector(plan.Spec.NodeSelector)
		hash, found := hashOf(plan, delivered)
		if err != nil || !found {
			continue
		}
		state := &planState{plan: plan, selector: selector, hash: hash, applying: map[string]time.Time{}}
		if before := c.plans[plan.Name]; before != nil && before.hash == hash {
			state.applying = before.applying
		}
		plans[plan.Name] = state
	}
	c.plans = plans
}

// upgrade is one round of system-upgrade-controller over a plan. Nodes that have a job keep it for as long as they are
// selected, also when no further one may start.
func (c *downstreamCluster) upgrade(p *planState, now time.Time, takes time.Duration) {
	for name, since := range p.applying {
		node := c.nodes[name]
		switch {
		case node == nil || !p.selects(node):
			delete(p.applying, name) // the job is deleted; the node stays as it is
		case node.outcome == Fails || node.silent:
		case now.Sub(since) >= takes:
			node.finish(p)
			delete(p.applying, name)
			c.restless = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.nodes)) {
		if int64(len(p.applying)) >= p.plan.Spec.Concurrency {
			break
		}
		node := c.nodes[name]
		if _, busy := p.applying[name]; busy || !p.selects(node) || c.busyElsewhere(name, p) {
			continue
		}
		p.applying[name] = now
		if (p.plan.Spec.Cordon || p.plan.Spec.Drain != nil) && node.cordonedAt.IsZero() {
			node.cordonedAt, node.dirty = now, true
		}
	}
	// A job that never succeeds needs no further look, until something else changes.
	for name := range p.applying {
		if c.nodes[name].outcome != Fails && !c.nodes[name].silent {
			c.restless = true
		}
	}
}

func (p *planState) label() string { return "plan.upgrade.cattle.io/" + p.plan.Name }

func (p *planState) selects(node *downstreamNode) bool {
	mark := node.labels[p.label()]
	return mark != p.hash && mark != "disabled" && node.labels[corev1.LabelHostname] != "" && p.selector.Matches(labels.Set(node.labels))
}

// busyElsewhere holds exclusive plans apart.
func (c *downstreamCluster) busyElsewhere(node string, p *planState) bool {
	for _, other := range c.plans {
		if _, busy := other.applying[node]; busy && other != p && (p.plan.Spec.Exclusive || other.plan.Spec.Exclusive) {
			return true
		}
	}
	return false
}

// finish is a job that has succeeded.
func (n *downstreamNode) finish(p *planState) {
	if n.outcome != FallsBack {
		n.OS = "RancherOS " + p.plan.Spec.Version
	}
	n.labels[p.label()] = p.hash
	n.cordonedAt = time.Time{}
	n.dirty = true
}

// hashOf is system-upgrade-controller's hash of a plan, with the fields that its digest annotation names.
func hashOf(plan *upgrade.Plan, delivered []unstructured.Unstructured) (hash string, valid bool) {
	sum := sha256.New224()
	fmt.Fprint(sum, strings.ReplaceAll(plan.Spec.Version, "+", "-"), plan.Spec.ServiceAccountName)
	if fields := plan.Annotations["upgrade.cattle.io/digest"]; fields != "" {
		body, err := json.Marshal(plan)
		if err != nil {
			return "", false
		}
		document := unstructured.Unstructured{}
		if err := json.Unmarshal(body, &document.Object); err != nil {
			return "", false
		}
		for _, field := range strings.Split(fields, ",") {
			fmt.Fprint(sum, text(&document, strings.Split(field, ".")...))
		}
	}
	for _, wanted := range plan.Spec.Secrets {
		at := slices.IndexFunc(delivered, func(object unstructured.Unstructured) bool {
			return object.GetKind() == "Secret" && object.GetName() == wanted.Name && object.GetNamespace() == plan.Namespace
		})
		if at < 0 {
			return "", false
		}
		fmt.Fprint(sum, secretHash(delivered[at]))
	}
	return hex.EncodeToString(sum.Sum(nil)), true
}

// secretHash is kubectl's.
func secretHash(secret unstructured.Unstructured) string {
	data := secret.Object["data"]
	body, _ := json.Marshal(map[string]any{"kind": "Secret", "type": text(&secret, "type"), "name": secret.GetName(), "data": data})
	sum := sha256.Sum256(body)
	letters := map[rune]rune{'0': 'g', '1': 'h', '3': 'k', 'a': 'm', 'e': 't'}
	return strings.Map(func(r rune) rune {
		if letter, found := letters[r]; found {
			return letter
		}
		return r
	}, hex.EncodeToString(sum[:])[:10])
}
