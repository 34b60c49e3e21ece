package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/tests/apichaos"
	"github.com/rancher/rancheros-operator/tests/harness"
)

// crashPoints is one more than the writes that any of the flows takes for one machine.
const crashPoints = 12

// flows are what a person does to a machine while no operator runs; no patch is a deletion.
var flows = []struct{ name, patch string }{
	{"move", `{"spec":{"clusterName":"move-b-%d"}}`},
	{"delete", ""},
	{"replace", `{"spec":{"approved":true}}`},
}

// victim is a machine, with the one that it replaces if it does, for which the operator dies after so many writes.
type victim struct {
	flow   string
	writes int
	// cluster and other are the management clusters of its own two Clusters: requests for tokens name these alone.
	cluster, other string
	// written is how many writes were asked for, and died is so when there were more than those.
	written int
	died    bool
}

func (v *victim) name() string { return fmt.Sprintf("%s-%d", v.flow, v.writes) }
func (v *victim) old() string  { return fmt.Sprintf("%s-old-%d", v.flow, v.writes) }

// deaths let an operator die for each victim at another point: the first writes for it pass, the answer to the last of
// these is lost, and nothing passes any more. So one process dies in all the places at once.
type deaths struct {
	mutex   sync.Mutex
	victims []*victim
}

var victimName = regexp.MustCompile(`/machineinventories/([a-z]+-)(?:old-)?(\d+)(?:/|$)`)

func (d *deaths) decide(r *http.Request) apichaos.Fault {
	if r.Method == http.MethodGet {
		return apichaos.None
	}
	d.mutex.Lock()
	defer d.mutex.Unlock()
	v := d.victimOf(r.URL.Path)
	if v == nil {
		return apichaos.None
	}
	v.written++
	switch {
	case v.written < v.writes:
		return apichaos.None
	case v.written == v.writes:
		return apichaos.LostAnswer
	}
	v.died = true
	return apichaos.Reset
}

func (d *deaths) victimOf(path string) *victim {
	if match := victimName.FindStringSubmatch(path); match != nil {
		return d.find(func(v *victim) bool { return v.name() == match[1]+match[2] })
	}
	return d.find(func(v *victim) bool {
		return strings.Contains(path, "/namespaces/"+v.cluster+"/clusterregistrationtokens") || strings.Contains(path, "/namespaces/"+v.other+"/clusterregistrationtokens")
	})
}

func (d *deaths) find(is func(*victim) bool) *victim {
	if at := slices.IndexFunc(d.victims, is); at >= 0 {
		return d.victims[at]
	}
	return nil
}

// alive are those for which the operator has not died.
func (d *deaths) alive() []*victim {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return slices.DeleteFunc(slices.Clone(d.victims), func(v *victim) bool { return v.died })
}

// Whatever write the operator dies after, in an assignment to another Cluster, in a deletion, in a replacement: the one that
// comes after it brings each machine to the same end, and nothing is left of the way there.
func Test12CrashAnywhere(t *testing.T) {
	ns := namespace(t, "s12-crash")
	dying := &deaths{victims: newCrashVictims(t, ns)}
	require.NoError(t, world.StopOperator())
	inventories := world.Clients.RancherOS.MachineInventory()
	for _, v := range dying.victims {
		patch := flows[slices.IndexFunc(flows, func(f struct{ name, patch string }) bool { return f.name == v.flow })].patch
		if patch == "" {
			require.NoError(t, inventories.Delete(ns, v.name(), &metav1.DeleteOptions{}))
			continue
		}
		if strings.Contains(patch, "%d") {
			patch = fmt.Sprintf(patch, v.writes)
		}
		_, err := inventories.Patch(ns, v.name(), types.MergePatchType, []byte(patch))
		require.NoError(t, err)
	}

	proxy, err := apichaos.New(world.Config)
	require.NoError(t, err)
	defer proxy.Close()
	proxy.Inject(dying.decide)
	replica, err := world.StartReplica(t.Context(), harness.ReplicaOptions{Name: "dying", APIServer: proxy.URL(), APIServerCA: proxy.CACert()})
	require.NoError(t, err)
	eventually(t, func() error { return ended(t, ns, dying.alive()) })
	require.NoError(t, replica.Stop())
	for _, flow := range flows {
		var died []int
		for _, v := range dying.victims {
			if v.flow == flow.name && v.died {
				died = append(died, v.writes)
			}
		}
		require.Contains(t, died, 0, "%s: the operator was not let write at all", flow.name)
		require.Contains(t, died, 1, "%s: nor more than once", flow.name)
		require.NotContains(t, died, crashPoints-1, "%s: there are more writes to die after than are tried", flow.name)
	}

	require.NoError(t, world.StartOperator(t.Context()))
	require.NoError(t, world.WaitForTunnel(t.Context()))
	eventually(t, func() error { return ended(t, ns, dying.victims) })
}

// newCrashVictims are machines in Clusters of their own, so that every request tells whose it is.
func newCrashVictims(t *testing.T, ns string) []*victim {
	t.Helper()
	var manifests strings.Builder
	var victims []*victim
	machine := func(name, spec string) {
		fmt.Fprintf(&manifests, "---\napiVersion: rancheros.cattle.io/v1\nkind: MachineInventory\nmetadata: {name: %s, namespace: %s}\nspec: {machineTokenSecretName: %s, %s}\n", name, ns, name, spec)
	}
	for _, flow := range flows {
		for writes := range crashPoints {
			v := &victim{flow: flow.name, writes: writes}
			victims = append(victims, v)
			for _, cluster := range []string{"a", "b"} {
				fmt.Fprintf(&manifests, "---\napiVersion: provisioning.cattle.io/v1\nkind: Cluster\nmetadata: {name: %s-%s-%d, namespace: %s}\nspec: {rkeConfig: {}}\n", v.flow, cluster, writes, ns)
			}
			place := fmt.Sprintf("clusterName: %s-a-%d, config: {role: agent}", v.flow, writes)
			if flow.name == "replace" {
				machine(v.old(), place)
				place = "approved: false, replaces: " + v.old()
			}
			machine(v.name(), place)
		}
	}
	apply(t, manifests.String())
	eventually(t, func() error {
		list, err := world.Clients.Provisioning.Cluster().List(ns, metav1.ListOptions{})
		require.NoError(t, err)
		managed := map[string]string{}
		for _, cluster := range list.Items {
			managed[cluster.Name] = cluster.Status.ClusterName
		}
		for _, v := range victims {
			v.cluster, v.other = managed[fmt.Sprintf("%s-a-%d", v.flow, v.writes)], managed[fmt.Sprintf("%s-b-%d", v.flow, v.writes)]
			if v.cluster == "" || v.other == "" {
				return fmt.Errorf("the Clusters of %s have no management clusters yet", v.name())
			}
			placed := v.name()
			if v.flow == "replace" {
				placed = v.old()
			}
			if reason := readyReason(inventory(t, ns, placed)); reason != "TokenReady" {
				return fmt.Errorf("%s is at %s", placed, reason)
			}
		}
		return nil
	})
	return victims
}

func readyReason(inventory *v1.MachineInventory) string {
	for _, condition := range inventory.Status.Conditions {
		if condition.Type == v1.ConditionReady {
			return condition.Reason
		}
	}
	return ""
}

// ended is an error as long as one of the victims is not where it belongs, or has left something on the way.
func ended(t *testing.T, ns string, victims []*victim) error {
	t.Helper()
	tokens, err := world.Clients.Management.ClusterRegistrationToken().List("", metav1.ListOptions{LabelSelector: v1.LabelMachineNamespace + "=" + ns})
	require.NoError(t, err)
	in := map[string][]string{}
	for _, token := range tokens.Items {
		in[token.Labels[v1.LabelMachine]] = append(in[token.Labels[v1.LabelMachine]], token.Namespace)
	}
	list, err := world.Clients.RancherOS.MachineInventory().List(ns, metav1.ListOptions{})
	require.NoError(t, err)
	machines := map[string]*v1.MachineInventory{}
	for i := range list.Items {
		machines[list.Items[i].Name] = &list.Items[i]
	}
	for _, v := range victims {
		var want []string
		switch v.flow {
		case "move":
			want = []string{v.other}
		case "replace":
			want = []string{v.cluster}
			err = replacedAt(machines[v.name()], machines[v.old()])
		case "delete":
			if machines[v.name()] != nil {
				err = fmt.Errorf("%s is still there", v.name())
			}
		}
		switch {
		case err != nil:
			return err
		case !slices.Equal(want, in[v.name()]) || len(in[v.old()]) > 0:
			return fmt.Errorf("the tokens of %s are in %v and %v, not in %v", v.name(), in[v.name()], in[v.old()], want)
		case v.flow != "delete" && readyReason(machines[v.name()]) != "TokenReady":
			return fmt.Errorf("%s is at %s", v.name(), readyReason(machines[v.name()]))
		}
	}
	return nil
}

// replacedAt tells whether the machine has the other's place, and both know.
func replacedAt(taken, left *v1.MachineInventory) error {
	switch {
	case taken.Status.Replaced == nil || left.Status.ReplacedBy == nil || left.Spec.ReplacedBy != taken.Name:
		return fmt.Errorf("%s and %s do not know of one another", taken.Name, left.Name)
	case taken.Spec.ClusterName == "" || taken.Spec.Config.NodeName != left.Name || left.Spec.ClusterName != "":
		return fmt.Errorf("%s has not the place of %s", taken.Name, left.Name)
	}
	return nil
}
