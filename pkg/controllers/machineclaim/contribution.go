package machineclaim

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/runtime"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// contribution is what a claim has put into a machine's spec. It is kept in an annotation of the machine.
type contribution struct {
	Claim   string `json:"claim"`
	Pool    string `json:"pool"`
	Cluster string `json:"cluster"`
	// Config is that part of spec.config which came from the claim.
	Config *v1.MachineConfig `json:"config,omitempty"`
}

// contributionOf is nil when the machine has none that can be read.
func contributionOf(machine *v1.MachineInventory) *contribution {
	var read contribution
	if json.Unmarshal([]byte(machine.Annotations[v1.AnnotationClaimed]), &read) != nil || read.Claim == "" {
		return nil
	}
	return &read
}

// belongings are those parts of a machine that a claim writes: its marks, and what the machine is told.
type belongings struct {
	// claim is the label's value, record the annotation's.
	claim, record string
	cluster       string
	config        *v1.MachineConfig
}

func belongingsOf(machine *v1.MachineInventory) belongings {
	return belongings{
		claim:   machine.Labels[v1.LabelClaim],
		record:  machine.Annotations[v1.AnnotationClaimed],
		cluster: machine.Spec.ClusterName,
		config:  machine.Spec.Config.DeepCopy(),
	}
}

// claimed are the machine's with what the pool puts in. What the claim had put in before goes first; what is there then
// is the machine's own, and stays.
func claimed(machine *v1.MachineInventory, claim *v1.MachineClaim, pool *v1.MachinePool) (belongings, error) {
	after := released(machine)
	own := after.config
	if own == nil {
		own = &v1.MachineConfig{}
	}
	added := additions(own, pool)
	written, err := json.Marshal(contribution{Claim: claim.Name, Pool: pool.Name, Cluster: claim.Spec.ClusterName, Config: added})
	if err != nil {
		return after, fmt.Errorf("encoding record of %s: %w", machine.Name, err)
	}
	put(own, added)
	return belongings{claim: claim.Name, record: string(written), cluster: claim.Spec.ClusterName, config: own}, nil
}

// released are the machine's without marks and without what its record says, as far as that is still as it was put there.
func released(machine *v1.MachineInventory) belongings {
	after, put := abandoned(machine), contributionOf(machine)
	if put == nil {
		return after
	}
	if after.cluster == put.Cluster {
		after.cluster = ""
	}
	if after.config != nil && put.Config != nil {
		takeOff(after.config, put.Config)
		if reflect.DeepEqual(*after.config, v1.MachineConfig{}) {
			after.config = nil
		}
	}
	return after
}

// abandoned are the machine's without marks; all else is as somebody wanted it.
func abandoned(machine *v1.MachineInventory) belongings {
	after := belongingsOf(machine)
	after.claim, after.record = "", ""
	return after
}

// additions are what the pool says and the machine's own config does not.
func additions(own *v1.MachineConfig, pool *v1.MachinePool) *v1.MachineConfig {
	added := &v1.MachineConfig{}
	if own.Role == "" {
		added.Role = pool.Role
	}
	if pool.Config == nil {
		return added
	}
	for key, value := range pool.Config.Labels {
		if _, has := own.Labels[key]; !has {
			added.Labels = with(added.Labels, key, value)
		}
	}
	for _, taint := range pool.Config.Taints {
		if !slices.ContainsFunc(own.Taints, func(t v1.NodeTaint) bool { return t.Key == taint.Key && t.Effect == taint.Effect }) {
			added.Taints = append(added.Taints, taint)
		}
	}
	for key, value := range pool.Config.Extra {
		if _, has := own.Extra[key]; !has {
			added.Extra = with(added.Extra, key, *value.DeepCopy())
		}
	}
	return added
}

func put(config, added *v1.MachineConfig) {
	if added.Role != "" {
		config.Role = added.Role
	}
	for key, value := range added.Labels {
		config.Labels = with(config.Labels, key, value)
	}
	config.Taints = append(config.Taints, added.Taints...)
	for key, value := range added.Extra {
		config.Extra = with(config.Extra, key, value)
	}
}

func takeOff(config, added *v1.MachineConfig) {
	if config.Role == added.Role {
		config.Role = ""
	}
	config.Labels = without(config.Labels, added.Labels, func(a, b v1.NodeLabelValue) bool { return a == b })
	config.Taints = slices.DeleteFunc(config.Taints, func(t v1.NodeTaint) bool { return slices.Contains(added.Taints, t) })
	if len(config.Taints) == 0 {
		config.Taints = nil
	}
	config.Extra = without(config.Extra, added.Extra, sameJSON)
}

func with[V any](values map[string]V, key string, value V) map[string]V {
	if values == nil {
		values = map[string]V{}
	}
	values[key] = value
	return values
}

// without changes values, which are copies of the caller's.
func without[V any](values, added map[string]V, same func(a, b V) bool) map[string]V {
	maps.DeleteFunc(values, func(key string, value V) bool {
		put, has := added[key]
		return has && same(put, value)
	})
	if len(values) == 0 {
		return nil
	}
	return values
}

// sameJSON compares what is written, not how.
func sameJSON(a, b runtime.RawExtension) bool {
	return jsonpatch.Equal(a.Raw, b.Raw)
}

// patch is the merge patch that makes the machine's belongings these, and that only fits the machine as it was read; nil
// when they are.
func (after belongings) patch(machine *v1.MachineInventory) ([]byte, error) {
	before := belongingsOf(machine)
	if reflect.DeepEqual(before, after) {
		return nil, nil // Nearly always, and much cheaper than what follows.
	}
	was, err := json.Marshal(before.document())
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", machine.Name, err)
	}
	becomes, err := json.Marshal(after.document())
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", machine.Name, err)
	}
	difference, err := jsonpatch.CreateMergePatch(was, becomes)
	if err != nil {
		return nil, fmt.Errorf("comparing %s: %w", machine.Name, err)
	}
	if string(difference) == "{}" {
		return nil, nil
	}
	guard, err := json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": machine.ResourceVersion}})
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", machine.Name, err)
	}
	return jsonpatch.MergeMergePatches(difference, guard)
}

// document is where the belongings lie in a MachineInventory. Empty ones are left out, so that a patch deletes them.
func (after belongings) document() map[string]any {
	labels, annotations, spec := map[string]any{}, map[string]any{}, map[string]any{}
	if after.claim != "" {
		labels[v1.LabelClaim] = after.claim
	}
	if after.record != "" {
		annotations[v1.AnnotationClaimed] = after.record
	}
	if after.cluster != "" {
		spec["clusterName"] = after.cluster
	}
	if after.config != nil {
		spec["config"] = after.config
	}
	return map[string]any{"metadata": map[string]any{"labels": labels, "annotations": annotations}, "spec": spec}
}
