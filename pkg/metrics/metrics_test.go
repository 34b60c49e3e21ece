package metrics

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	source "k8s.io/client-go/tools/cache/testing"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	"github.com/rancher/rancheros-operator/pkg/registration/server"
	"github.com/rancher/rancheros-operator/tests/memoryapi"
)

// counted is a server that has refused and let in.
type counted struct{}

func (counted) Rejected() map[server.Refusal]uint64 {
	return map[server.Refusal]uint64{
		{Surface: "registration", Reason: "pending"}: 2, {Surface: "registration", Reason: "busy"}: 3, {Surface: "registration", Reason: "rate-limited"}: 4,
		{Surface: "registration", Reason: "unavailable"}: 5, {Surface: "registration", Reason: "attestation-failed"}: 6, {Surface: "inventory", Reason: "not-assigned"}: 7,
	}
}

func (counted) Enrolled() server.Enrolled { return server.Enrolled{New: 10, Known: 11} }

func (counted) InFlight() []server.Usage {
	return []server.Usage{{Of: "requests", Taken: 12, Limit: 1024}}
}

type tunnel struct{ server.TunnelState }

func (t tunnel) State() server.TunnelState { return t.TunnelState }

// world is everything that tells.
type world struct {
	*Metrics
	machines *source.FakeControllerSource
}

func newWorld(t *testing.T, objects ...runtime.Object) *world {
	t.Helper()
	w := &world{Metrics: New(), machines: source.NewFakeControllerSource()}
	clients := memoryapi.New(t, objects...).Clients().RancherOS
	w.AddServer(counted{})
	w.AddTunnel(tunnel{server.TunnelState{Connected: true, Since: time.Unix(1000, 0), Reconnects: 3}})
	w.AddFleet(Fleet{Registrations: clients.MachineRegistration().Cache(), Images: clients.ManagedOSImage().Cache(), Channels: clients.ManagedOSVersionChannel().Cache()})
	informer := cache.NewSharedIndexInformer(w.machines, &v1.MachineInventory{}, 0, cache.Indexers{})
	go informer.RunWithContext(t.Context())
	require.NoError(t, w.AddMachines(t.Context(), informer))
	return w
}

// scrape is what Prometheus gets.
func (w *world) scrape(t *testing.T) string {
	t.Helper()
	recorder := httptest.NewRecorder()
	w.Handler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, recorder.Code)
	return recorder.Body.String()
}

func (w *world) requireHas(t *testing.T, lines ...string) {
	t.Helper()
	all := strings.Split(w.scrape(t), "\n")
	for _, line := range lines {
		require.Contains(t, all, line)
	}
}

func TestServing(t *testing.T) {
	w := newWorld(t)
	w.Ready(true)
	w.ChannelAsked(v1.ReasonSynced)
	w.Registering.Answer.Observe(.003)
	w.requireHas(t,
		`rancheros_registrations_total{outcome="registered"} 10`,
		`rancheros_registrations_total{outcome="known"} 11`,
		`rancheros_registrations_total{outcome="pending"} 2`,
		`rancheros_registrations_total{outcome="overloaded"} 7`,
		`rancheros_registrations_total{outcome="failed"} 5`,
		`rancheros_registrations_total{outcome="refused"} 6`,
		`rancheros_requests_refused_total{reason="not-assigned",surface="inventory"} 7`,
		`rancheros_in_flight{of="requests"} 12`,
		`rancheros_in_flight_limit{of="requests"} 1024`,
		`rancheros_tunnel_connected 1`,
		`rancheros_tunnel_reconnects_total 3`,
		`rancheros_tunnel_last_change_timestamp_seconds 1000`,
		`rancheros_ready 1`,
		`rancheros_channel_syncs_total{result="Synced"} 1`,
		`rancheros_answer_duration_seconds_bucket{surface="registration",le="0.0025"} 0`,
		`rancheros_answer_duration_seconds_bucket{surface="registration",le="0.005"} 1`,
		`leader_election_master_status{name="rancheros-operator"} 0`,
		`rancheros_writes_without_lease_total 0`,
	)
	require.Regexp(t, `rancheros_build_info\{commit="[^"]+",go_version="go[^"]+",version="[^"]+"\} 1`, w.scrape(t))
}

// Every code of the protocol has an outcome that fits: none but the server's own troubles page anybody.
func TestOutcomes(t *testing.T) {
	for code, want := range map[protocol.Code]string{
		protocol.CodePending: "pending", protocol.CodeRateLimited: "overloaded", protocol.CodeInProgress: "overloaded", protocol.CodeUnavailable: "failed",
		protocol.CodeInternal: "failed", protocol.CodeFull: "refused", protocol.CodeNotFound: "refused", protocol.CodeBadRequest: "refused",
		protocol.CodePaused: "refused", protocol.CodeRevoked: "refused", server.ReasonBusy: "overloaded", server.ReasonDowngrade: "refused",
	} {
		require.Equal(t, want, outcome(string(code)), code)
	}
}

// TestFleetIsTheLeadersAlone: sums over replicas are right, and a replica that loses the lease falls silent.
func TestFleetIsTheLeadersAlone(t *testing.T) {
	ready := metav1.Condition{Type: v1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1.ReasonReady}
	halted := metav1.Condition{Type: v1.ConditionReady, Status: metav1.ConditionFalse, Reason: v1.ReasonHalted}
	synced := metav1.Unix(5000, 0)
	w := newWorld(t,
		named("one", &v1.MachineRegistration{Status: v1.MachineRegistrationStatus{Conditions: []metav1.Condition{ready}}}),
		named("two", &v1.MachineRegistration{}),
		named("new", &v1.ManagedOSImage{}),
		named("stopped", &v1.ManagedOSImage{Status: v1.ManagedOSImageStatus{Conditions: []metav1.Condition{halted}, Nodes: &v1.NodeCounts{Total: 9, UpToDate: 4, Failed: 3, FellBack: 2}}}),
		named("good", &v1.ManagedOSVersionChannel{Status: v1.ManagedOSVersionChannelStatus{Conditions: []metav1.Condition{ready}, LastSync: &synced}}),
		named("off", &v1.ManagedOSVersionChannel{Spec: v1.ManagedOSVersionChannelSpec{Suspend: true}}),
		named("bad", &v1.ManagedOSVersionChannel{}))
	fleet := regexp.MustCompile(`(?m)^rancheros_(machines|machine_registrations|rollout|channel_(last|ready))`)
	require.NotRegexp(t, fleet, w.scrape(t))
	leaderProvider{w.Metrics}.On(LeaseName)
	w.requireHas(t,
		`leader_election_master_status{name="rancheros-operator"} 1`,
		`rancheros_machine_registrations{ready="true"} 1`,
		`rancheros_machine_registrations{ready="false"} 1`,
		`rancheros_rollout_nodes{image="stopped",namespace="fleet",state="up_to_date"} 4`,
		`rancheros_rollout_nodes{image="stopped",namespace="fleet",state="failed"} 3`,
		`rancheros_rollout_nodes{image="stopped",namespace="fleet",state="fell_back"} 2`,
		`rancheros_rollout_nodes{image="stopped",namespace="fleet",state="offline"} 0`,
		`rancheros_rollout_halted{image="stopped",namespace="fleet"} 1`,
		`rancheros_rollout_halted{image="new",namespace="fleet"} 0`,
		`rancheros_channel_ready{channel="good",namespace="fleet"} 1`,
		`rancheros_channel_ready{channel="off",namespace="fleet"} 1`,
		`rancheros_channel_ready{channel="bad",namespace="fleet"} 0`,
		`rancheros_channel_last_sync_timestamp_seconds{channel="good",namespace="fleet"} 5000`,
		`rancheros_channel_last_sync_timestamp_seconds{channel="bad",namespace="fleet"} 0`,
		`rancheros_machines{assurance="None",state="unassigned"} 0`,
	)
	leaderProvider{w.Metrics}.Off(LeaseName)
	require.NotRegexp(t, fleet, w.scrape(t))
}

// Beyond the bound images have no labels of their own, and none is lost from the sum.
func TestManyImages(t *testing.T) {
	var images []runtime.Object
	for i := range maxNamed + 20 {
		image := named(fmt.Sprintf("image-%04d", i), &v1.ManagedOSImage{Status: v1.ManagedOSImageStatus{Nodes: &v1.NodeCounts{Total: 2, Pending: 2}}})
		image.CreationTimestamp = metav1.Unix(int64(10_000-i), 0)
		images = append(images, image)
	}
	w := newWorld(t, images...)
	w.Lead(true)
	w.requireHas(t, `rancheros_rollout_nodes{image="",namespace="",state="pending"} 40`, `rancheros_rollout_nodes{image="image-0519",namespace="fleet",state="pending"} 2`)
	require.Len(t, regexp.MustCompile(`(?m)^rancheros_rollout_nodes\{.*state="pending"`).FindAllString(w.scrape(t), -1), maxNamed+1)
	require.NotContains(t, w.scrape(t), `"image-0000"`, "the newest")
}

// Machines are counted as they come, change and go, from whatever order of events an informer makes.
func TestMachines(t *testing.T) {
	no := false
	w := newWorld(t)
	w.Lead(true)
	machine := func(name string, change func(*v1.MachineInventory)) *v1.MachineInventory {
		inventory := named(name, &v1.MachineInventory{Status: v1.MachineInventoryStatus{Assurance: v1.AssuranceFirstUse}})
		inventory.UID = types.UID(name)
		change(inventory)
		return inventory
	}
	eventually := func(lines ...string) {
		t.Helper()
		require.Eventually(t, func() bool {
			all := strings.Split(w.scrape(t), "\n")
			return !slices.ContainsFunc(lines, func(line string) bool { return !slices.Contains(all, line) })
		}, 10*time.Second, 20*time.Millisecond, "%s", lines)
	}
	assign := func(i *v1.MachineInventory) {
		i.Spec.ClusterName = "site"
		i.Status.Conditions = []metav1.Condition{{Type: v1.ConditionClusterAssigned, Status: metav1.ConditionTrue}}
	}
	w.machines.Add(machine("a", func(i *v1.MachineInventory) { i.Spec.Approved = &no }))
	w.machines.Add(machine("b", func(*v1.MachineInventory) {}))
	w.machines.Add(machine("c", func(i *v1.MachineInventory) { i.Spec.ClusterName = "site" }))
	w.machines.Add(machine("d", assign))
	w.machines.Add(machine("e", func(i *v1.MachineInventory) { i.Spec.ReplacedBy = "d" }))
	w.machines.Add(machine("f", func(i *v1.MachineInventory) { i.Status.Assurance = "of a later version" }))
	eventually(
		`rancheros_machines{assurance="FirstUse",state="pending"} 1`, `rancheros_machines{assurance="FirstUse",state="unassigned"} 1`,
		`rancheros_machines{assurance="FirstUse",state="waiting"} 1`, `rancheros_machines{assurance="FirstUse",state="assigned"} 1`,
		`rancheros_machines{assurance="FirstUse",state="revoked"} 1`, `rancheros_machines{assurance="None",state="unassigned"} 1`)
	for range 3 {
		w.machines.Modify(machine("a", assign))
	}
	w.machines.Modify(machine("b", func(i *v1.MachineInventory) { now := metav1.Now(); i.DeletionTimestamp = &now }))
	eventually(`rancheros_machines{assurance="FirstUse",state="pending"} 0`, `rancheros_machines{assurance="FirstUse",state="assigned"} 2`,
		`rancheros_machines{assurance="FirstUse",state="deleting"} 1`)
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		w.machines.Delete(machine(name, func(*v1.MachineInventory) {}))
	}
	eventually(`rancheros_machines{assurance="FirstUse",state="assigned"} 0`, `rancheros_machines{assurance="FirstUse",state="deleting"} 0`,
		`rancheros_machines{assurance="FirstUse",state="unassigned"} 0`, `rancheros_machines{assurance="None",state="unassigned"} 0`)
	require.NotRegexp(t, `rancheros_machines\{.*\} -`, w.scrape(t))
}

// What a change of a machine costs here, with a hundred thousand of them.
func BenchmarkMachine(b *testing.B) {
	counts := newMachineCounts(&New().leading)
	inventories := make([]*v1.MachineInventory, 100_000)
	for i := range inventories {
		inventories[i] = named("a", &v1.MachineInventory{Status: v1.MachineInventoryStatus{Assurance: v1.AssuranceSharedSecret}})
		inventories[i].UID = types.UID(fmt.Sprint(i))
	}
	for i := 0; b.Loop(); i++ {
		counts.put(inventories[i%len(inventories)])
	}
}

func TestServe(t *testing.T) {
	none, err := Listen("")
	require.NoError(t, err)
	require.NoError(t, New().Serve(t.Context(), none), "empty is none")
	listener, err := Listen("127.0.0.1:0")
	require.NoError(t, err)
	_, err = Listen(listener.Addr().String())
	require.ErrorContains(t, err, "listening for Prometheus")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- New().Serve(ctx, listener) }()
	get := func(path string) (int, string) {
		response, err := http.Get("http://" + listener.Addr().String() + path)
		require.NoError(t, err)
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode, string(body)
	}
	code, body := get("/metrics")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, "go_goroutines")
	require.Contains(t, body, "process_cpu_seconds_total")
	code, _ = get("/")
	require.Equal(t, http.StatusNotFound, code)
	stop()
	require.NoError(t, <-ended)
}

// named puts the object into a namespace.
func named[T metav1.Object](name string, object T) T {
	object.SetNamespace("fleet")
	object.SetName(name)
	return object
}
