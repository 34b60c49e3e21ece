package why

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func before(passed time.Duration) metav1.Time { return metav1.NewTime(now.Add(-passed)) }

func condition(kind string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: before(5 * time.Minute)}
}

func named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "ns", Name: name, CreationTimestamp: before(time.Hour)}
}

// machine is one that waits for its cluster.
func machine() *v1.MachineInventory {
	seen := before(2 * time.Hour)
	inventory := &v1.MachineInventory{ObjectMeta: named("m1"), Spec: v1.MachineInventorySpec{ClusterName: "edge", TPM: "aa"}}
	inventory.Labels = map[string]string{v1.LabelRegistration: "default"}
	inventory.Status = v1.MachineInventoryStatus{
		TPMHash: "aa", Assurance: v1.AssuranceFirstUse, Hostname: "m1", OSImage: "RancherOS v1.0.0", LastSeen: &seen,
		Conditions: []metav1.Condition{
			condition(v1.ConditionReady, metav1.ConditionFalse, v1.ReasonWaitingForCluster, "no Cluster edge in namespace ns; create it"),
			condition(v1.ConditionClusterAssigned, metav1.ConditionFalse, v1.ReasonWaitingForCluster, "no Cluster edge in namespace ns; create it"),
		},
	}
	return inventory
}

func registration(conditions ...metav1.Condition) *v1.MachineRegistration {
	if len(conditions) == 0 {
		conditions = []metav1.Condition{condition(v1.ConditionReady, metav1.ConditionTrue, v1.ReasonReady, "machines can register")}
	}
	return &v1.MachineRegistration{ObjectMeta: named("default"), Status: v1.MachineRegistrationStatus{
		Conditions: conditions, RegistrationToken: "canary-token", RegistrationURL: "https://rancher.example.com/v1-rancheros/registration/canary-token"}}
}

func TestAMachineThatWaits(t *testing.T) {
	require.Equal(t, "MachineInventory ns/m1 is not ready (WaitingForCluster), and has not been for 5 minutes: no Cluster edge in namespace ns; create it. "+
		"It came from MachineRegistration default. Its identity is known by its key alone, which came first and may be software. "+
		"It called home 2 hours ago as m1 with RancherOS v1.0.0. There is no Cluster ns/edge. "+
		"1 minute ago, 4 times, SomethingElse: what else there is.",
		Explain(Facts{Kind: "MachineInventory", Now: now, Machine: machine(), Registration: registration(), Cluster: &Cluster{Namespace: "ns", Name: "edge"},
			Events: []corev1.Event{
				{Reason: v1.ReasonWaitingForCluster, Message: "no Cluster edge in namespace ns; create it", LastTimestamp: before(time.Second)},
				{Reason: "SomethingElse", Message: "what else there is", LastTimestamp: before(time.Minute), Count: 4},
			}}))
}

func TestMachines(t *testing.T) {
	for _, c := range []struct {
		why    string
		change func(*Facts)
		want   []string
		not    []string
	}{
		{"no operator has seen it", func(f *Facts) { f.Machine.Status = v1.MachineInventoryStatus{} }, []string{"has no status yet: no operator has looked at it in 1 hour", "It has not called home"}, nil},
		{"its registration is gone", func(f *Facts) { f.Registration = nil }, []string{"MachineRegistration default, which is not there any more"}, nil},
		{"its registration is paused", func(f *Facts) {
			f.Registration = registration(condition(v1.ConditionReady, metav1.ConditionFalse, v1.ReasonPausedRegistration, "new machines are refused"))
		}, []string{"That one is not ready (RegistrationPaused): new machines are refused."}, nil},
		{"by hand, without any identity", func(f *Facts) { f.Machine.Labels, f.Machine.Status.TPMHash = nil, "" }, []string{"neither a TPM hash nor a shared token"}, nil},
		{"by hand", func(f *Facts) { f.Machine.Labels = nil }, []string{"did not come from a registration"}, []string{"neither"}},
		{"it waits for approval", func(f *Facts) {
			f.Machine.Status.Conditions = append(f.Machine.Status.Conditions, condition(v1.ConditionApproved, metav1.ConditionFalse, v1.ReasonPendingApproval, "compare the hash"))
		}, []string{"Approved is False (PendingApproval): compare the hash."}, nil},
		{"it is revoked", func(f *Facts) {
			f.Machine.Status.Conditions = append(f.Machine.Status.Conditions, condition(v1.ConditionRevoked, metav1.ConditionTrue, v1.ReasonRevoked, "m2 has taken its place"))
		}, []string{"Revoked is True (Revoked): m2 has taken its place."}, nil},
		{"it is silent", func(f *Facts) { seen := before(72 * time.Hour); f.Machine.Status.LastSeen = &seen }, []string{"called home 3 days ago", "look whether it runs"}, nil},
		{"it runs", func(*Facts) {}, nil, []string{"look whether it runs"}},
		{"its cluster is being made", func(f *Facts) { f.Cluster.Found = true; f.Cluster.Trouble = "waiting for infrastructure" },
			[]string{"Rancher has not given it a management cluster yet.", "It says of itself: waiting for infrastructure."}, nil},
		{"its token is not filled", func(f *Facts) {
			f.Cluster.Found, f.Cluster.Management, f.Token = true, "c-m-1", &Token{Namespace: "c-m-1", Name: "m1-x", Found: true}
		}, []string{"Cluster ns/edge is there, as c-m-1.", "Rancher has not filled its ClusterRegistrationToken c-m-1/m1-x"}, nil},
		{"its token is gone", func(f *Facts) { f.Cluster.Found, f.Token = true, &Token{Namespace: "c-m-1", Name: "m1-x"} }, []string{"c-m-1/m1-x is gone"}, nil},
		{"all is there", func(f *Facts) { f.Cluster.Found, f.Token = true, &Token{Found: true, Filled: true} }, []string{"the machine gets it when it next asks"}, nil},
		{"a claim has it", func(f *Facts) { f.Machine.Labels[v1.LabelClaim] = "pool" }, []string{"MachineClaim pool has taken it."}, nil},
		{"it is held back", func(f *Facts) {
			gone := before(time.Minute)
			f.Machine.DeletionTimestamp, f.Machine.Finalizers = &gone, []string{v1.FinalizerClusterToken}
		}, []string{"has been going for 1 minute", "held back by rancheros.cattle.io/cluster-token"}, nil},
		{"an edit has not been looked at", func(f *Facts) { f.Machine.Generation = 2 }, []string{"This is about an older spec"}, nil},
		{"the cluster may not be seen", func(f *Facts) {
			f.Cluster, f.Unseen = nil, []string{"What its clusters have to do with it cannot be seen: you may not read them"}
		}, []string{"you may not read them"}, []string{"There is no Cluster"}},
	} {
		f := Facts{Kind: "MachineInventory", Now: now, Machine: machine(), Registration: registration(), Cluster: &Cluster{Namespace: "ns", Name: "edge"}}
		c.change(&f)
		got := Explain(f)
		for _, want := range c.want {
			require.Contains(t, got, want, c.why)
		}
		for _, not := range c.not {
			require.NotContains(t, got, not, c.why)
		}
		require.NotContains(t, got, "canary")
		require.NotContains(t, got, "..", c.why)
	}
}

func TestARolloutThatIsDegraded(t *testing.T) {
	image := &v1.ManagedOSImage{ObjectMeta: named("up"), Spec: v1.ManagedOSImageSpec{ManagedOSVersionChannelName: "stable"}}
	image.Status = v1.ManagedOSImageStatus{
		Image: "registry.example.com/os:v2",
		Conditions: []metav1.Condition{
			condition(v1.ConditionReady, metav1.ConditionFalse, v1.ReasonNodesFailed, "1 of 3 nodes has failed; look at status.attention"),
			condition(v1.ConditionDegraded, metav1.ConditionTrue, v1.ReasonNodesFailed, "1 of 3 nodes has failed; look at status.attention"),
			condition(v1.ConditionDelivered, metav1.ConditionFalse, v1.ReasonDelivering, "1 of 2 clusters have the plan"),
			condition(v1.ConditionConflict, metav1.ConditionFalse, v1.ReasonNoConflict, "no other image"),
		},
		Nodes:     &v1.NodeCounts{Total: 3, UpToDate: 1, Failed: 1, Offline: 1},
		Attention: []v1.NodeReport{{Cluster: "a", Node: "n1", State: "Failed", Reason: "Timeout", Message: "it took longer than 1h"}, {Cluster: "b", State: "Offline", Reason: "Disconnected", Message: "not heard of"}},
	}
	f := Facts{Kind: "ManagedOSImage", Now: now, Image: image, Bundle: &Bundle{Name: "mos-up", Found: true},
		Deployments: []Deployment{{Cluster: "a", Ready: true}, {Cluster: "b", Message: "no matches for kind Plan"}}}
	require.Equal(t, "ManagedOSImage ns/up is not ready (NodesFailed), and has not been for 5 minutes: 1 of 3 nodes has failed; look at status.attention. "+
		"Delivered is False (Delivering): 1 of 2 clusters have the plan. "+
		"It rolls out registry.example.com/os:v2, the newest of ManagedOSVersionChannel stable. Of 3 nodes, 1 run it, 1 have failed, 1 are offline. "+
		"Node n1 of cluster a: Failed (Timeout): it took longer than 1h. Cluster b: Offline (Disconnected): not heard of. "+
		"Fleet has brought Bundle mos-up to 1 of 2 clusters. In cluster b it is not ready: no matches for kind Plan.", Explain(f))
	for range 20 {
		image.Status.Attention = append(image.Status.Attention, v1.NodeReport{Cluster: "c", Node: "n", State: "Blocked"})
		f.Deployments = append(f.Deployments, Deployment{Cluster: "c"})
	}
	image.Status.Conflicts = []v1.ImageConflict{{Cluster: "c", Image: "older"}}
	got := Explain(f)
	require.Contains(t, got, "17 more are in status.attention.")
	require.Contains(t, got, "Cluster c belongs to ManagedOSImage older, which is older.")
	require.Equal(t, mostReports-1, strings.Count(got, "In cluster c it is not ready yet."))
	f.Bundle.Found = false
	require.Contains(t, Explain(f), "There is no Bundle mos-up: nothing has been given to Fleet.")
}

func TestTheOtherKinds(t *testing.T) {
	ready := []metav1.Condition{condition(v1.ConditionReady, metav1.ConditionTrue, v1.ReasonReady, "all is well")}
	limit, matched := 5, int32(1)
	soon := metav1.NewTime(now.Add(time.Hour))
	waiting := *machine()
	waiting.Status.Conditions = []metav1.Condition{condition(v1.ConditionApproved, metav1.ConditionFalse, v1.ReasonPendingApproval, "")}
	admitting := registration()
	admitting.Spec.Admission = &v1.AdmissionSpec{ExpiresAt: &soon, MaxMachines: &limit, Endorsement: v1.EndorsementCertificate}
	admitting.Status.Machines, admitting.Status.Admitted = 1, []string{"aa"}
	for kind, c := range map[string]struct {
		facts Facts
		want  []string
	}{
		"MachineRegistration": {Facts{Registration: admitting, Machines: []v1.MachineInventory{waiting}, Seeds: []string{"a", "b", "c", "d"}},
			[]string{"is ready (Ready)", "1 machine came from here.", "Waiting for approval: m1;", "until 2026-11-20 13:00 UTC.", "1 of 5 admissions are used.", "TPM shows Certificate", "Boot media that lead here: a, b, c and 1 more."}},
		"MachineClaim": {Facts{Claim: &v1.MachineClaim{ObjectMeta: named("c"), Status: v1.MachineClaimStatus{Conditions: ready, Machines: []string{"m1"},
			Pools: []v1.MachinePoolStatus{{Name: "p", Wanted: 2, Claimed: 1, Matched: &matched}}}}, Cluster: &Cluster{Namespace: "ns", Name: "edge"}},
			[]string{"Pool p has 1 of 2 machines; 1 machine of the namespace match its selector", "It has m1.", "There is no Cluster ns/edge yet"}},
		"ManagedOSVersion": {Facts{Version: &v1.ManagedOSVersion{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "v1", Labels: map[string]string{v1.LabelChannel: "stable", v1.LabelNoLongerListed: "true"}},
			Spec: v1.ManagedOSVersionSpec{Version: "v1.0.0", MinVersion: "v0.9.0"}}},
			[]string{"is release v1.0.0.", "run v0.9.0 or newer", "ManagedOSVersionChannel stable has found it.", "does not list it any more", "No ManagedOSImage rolls it out."}},
		"ManagedOSVersionChannel": {Facts{Channel: &v1.ManagedOSVersionChannel{ObjectMeta: named("stable"), Status: v1.ManagedOSVersionChannelStatus{Conditions: ready, Versions: 2, LatestVersion: "v1.1.0"}}, Images: []string{"up"}},
			[]string{"It has never given a good answer.", "It holds 2 versions, the newest of them v1.1.0.", "asked every 60m", "Rolled out by ManagedOSImage up."}},
		"SeedImage": {Facts{Seed: &v1.SeedImage{ObjectMeta: named("usb"), Spec: v1.SeedImageSpec{RegistrationName: "default", MaxDownloads: &limit, ExpiresAt: &soon},
			Status: v1.SeedImageStatus{Conditions: ready, Downloads: 1, DownloadURL: "https://rancher.example.com/canary", Base: &v1.SeedImageBase{Checksum: "sha256:ab"}}}},
			[]string{"There is no MachineRegistration default.", "handed out 1 time of 5 times.", "works until 2026-11-20 13:00 UTC.", "Its base is sha256:ab."}},
	} {
		c.facts.Kind, c.facts.Now = kind, now
		got := Explain(c.facts)
		for _, want := range c.want {
			require.Contains(t, got, want, kind)
		}
		require.NotContains(t, got, "canary", kind)
	}
}

func TestResource(t *testing.T) {
	for _, name := range []string{"machine", "MachineInventory", "machineinventories", "machineinventories.rancheros.cattle.io", "machineinventory"} {
		kind, resource, err := Resource(name)
		require.NoError(t, err, name)
		require.Equal(t, "MachineInventory", kind)
		require.Equal(t, "machineinventories", resource.Resource)
	}
	_, _, err := Resource("pod")
	require.ErrorContains(t, err, `there is no kind "pod"; those that can be explained are machineclaim (mclaim)`)
}
